package desired_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// held is a spec with the finalizer, and one of somebody else's.
func held(s observed.Spec) observed.Spec {
	s.Finalizers = []string{"example.com/mine", observed.Finalizer}
	return s
}

func TestTheFinalizerIsWhereSomebodyCanTakeItOff(t *testing.T) {
	one, other := specOf("kata-1", 20, data("one", "deletionPolicy", "Foreground")), specOf("kata-2", 10, data("one", "deletionPolicy", "Foreground"))
	background := specOf("kata-1", 20, data("one"))
	gone := func(s observed.Spec) observed.Revision {
		return revision(1, s, observed.AnnotationVanished, "2026-11-20T11:00:00Z")
	}
	carrying := []observed.Node{node("a", "use", "kata=x"), node("b", "use")}
	cases := map[string]struct {
		world
		terminating string
		want        []string
	}{
		"a spec in force that asks for it gets it": {world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}}, "", []string{"kata-1 on"}},
		"once":                      {world{specs: []observed.Spec{held(one)}, history: []observed.Revision{revision(1, one)}}, "", nil},
		"not before it is in force": {world{specs: []observed.Spec{one}}, "", nil},
		"one that does not ask any more loses it":      {world{specs: []observed.Spec{held(background)}, history: []observed.Revision{revision(1, background)}}, "", []string{"kata-1 off"}},
		"a superseded one loses it":                    {world{specs: []observed.Spec{held(one), held(other)}, history: []observed.Revision{revision(1, other)}}, "", []string{"kata-1 off"}},
		"a refused one keeps it":                       {world{specs: []observed.Spec{held(specOf("kata-1", 20, data("one", "soak", "long")))}, history: []observed.Revision{revision(1, one)}}, "", nil},
		"a deleted one keeps it while nodes carry":     {world{specs: []observed.Spec{deleting(held(one))}, history: []observed.Revision{gone(one)}, nodes: carrying}, "", nil},
		"and loses it when none does":                  {world{specs: []observed.Spec{deleting(held(one))}, history: []observed.Revision{gone(one)}, nodes: []observed.Node{node("b", "use")}}, "", []string{"kata-1 off"}},
		"or when another one speaks":                   {world{specs: []observed.Spec{deleting(held(one)), held(other)}, history: []observed.Revision{revision(1, other)}, nodes: carrying}, "", []string{"kata-1 off"}},
		"or when nothing is known of it":               {world{specs: []observed.Spec{deleting(held(one))}, nodes: carrying}, "", []string{"kata-1 off"}},
		"or when its policy was another one by then":   {world{specs: []observed.Spec{deleting(held(background))}, history: []observed.Revision{gone(background)}, nodes: carrying}, "", []string{"kata-1 off"}},
		"nobody is held when Longshore itself goes":    {world{specs: []observed.Spec{held(one)}, history: []observed.Revision{revision(1, one)}}, "namespace longshore", []string{"kata-1 off: namespace longshore is being deleted: nobody will uninstall runtime kata when the spec is deleted"}},
		"not even with nodes that carry the runtime":   {world{specs: []observed.Spec{deleting(held(one))}, history: []observed.Revision{gone(one)}, nodes: carrying}, "namespace longshore", []string{"kata-1 off: namespace longshore is being deleted: the spec is let go, and 1 nodes keep runtime kata"}},
		"and nobody is held anew":                      {world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}}, "namespace longshore", nil},
		"a deleted one that is not held is of no note": {world{specs: []observed.Spec{deleting(one)}, history: []observed.Revision{gone(one)}, nodes: carrying}, "", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			snap.Terminating = c.terminating
			var got []string
			for _, r := range desired.Of(snap, spec.Parse, desired.DefaultOptions()).Runtimes {
				for _, f := range r.Finalize {
					state := " off"
					switch strings.Join(f.Finalizers, " ") {
					case "example.com/mine", "":
					case observed.Finalizer:
						state = " on"
					default:
						t.Errorf("finalizers %v", f.Finalizers)
					}
					if f.Warn != "" {
						state += ": " + f.Warn
					}
					got = append(got, f.Spec.Name+state)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("finalizers (-want +got):\n%s", diff)
			}
		})
	}
}
