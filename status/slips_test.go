package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

func TestSlipsAreWarnedOf(t *testing.T) {
	wave := func(name string) func(*desired.Runtime) {
		return func(r *desired.Runtime) { r.Source = &observed.Spec{Name: name, UID: "u", SyncWave: "1"} }
	}
	grace := time.Hour
	cases := map[string]struct {
		change func(*desired.Runtime)
		moved  map[string]*desired.Runtime
		want   []string
	}{
		"nothing is wrong":               {nil, nil, nil},
		"no node matches":                {func(r *desired.Runtime) { r.Selected = 0 }, nil, []string{`NoNodeMatches: the selector "use=kata" matches no node`}},
		"none has to when the spec went": {func(r *desired.Runtime) { r.Selected, r.Removing, r.Source = 0, true, nil }, nil, nil},
		"older specs are left": {
			func(r *desired.Runtime) { r.Superseded = []*observed.Spec{{Name: "kata-0"}, {Name: "kata-00"}} }, nil,
			[]string{
				`OlderSpec: ConfigMap "kata-0" is of the same runtime and older: nothing in it is obeyed; delete the one that is not meant`,
				`OlderSpec: ConfigMap "kata-00" is of the same runtime and older: nothing in it is obeyed; delete the one that is not meant`,
			},
		},
		"the label was another one": {
			func(r *desired.Runtime) { r.Source = &observed.Spec{Name: "s", UID: "u"} },
			map[string]*desired.Runtime{"u": {Name: "gvisor"}, "": {Name: "other"}},
			[]string{`LabelMoved: this ConfigMap was the spec of runtime "gvisor", which has none since then; its nodes are uninstalled after the grace unless it gets one`},
		},
		"a hash and a sync wave": {
			wave("kata-7g5k8m2t9h"), nil,
			[]string{
				"SyncWave: Argo CD deletes a ConfigMap with a hash in its name sync waves before it creates the next one: if that takes longer than the grace, the runtime is uninstalled; " +
					"set deletionGrace, give the ConfigMap a fixed name, or take the annotation argocd.argoproj.io/sync-wave off",
			},
		},
		"a fixed name and a sync wave":         {wave("kata-containers"), nil, nil},
		"what looks like a hash and is none":   {wave("kata-abcdefghij"), nil, nil},
		"a hash, a sync wave and a long grace": {func(r *desired.Runtime) { wave("kata-7g5k8m2t9h")(r); r.Spec = &spec.Runtime{DeletionGrace: &grace} }, nil, nil},
		"with a policy that holds the old one, a long grace does not help": {
			func(r *desired.Runtime) {
				wave("kata-7g5k8m2t9h")(r)
				r.Spec = &spec.Runtime{DeletionGrace: &grace, DeletionPolicy: spec.DeletionForeground}
			}, nil,
			[]string{
				"SyncWave: Argo CD deletes a ConfigMap with a hash in its name sync waves before it creates the next one, and waits until it is gone: with deletionPolicy Foreground the runtime is uninstalled first; " +
					"give the ConfigMap a fixed name, or take the annotation argocd.argoproj.io/sync-wave off",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range (&reporter{moved: c.moved}).slips(inForce(c.change)) {
				got = append(got, w.Reason+": "+w.Message)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARuntimeWhoseSpecSpeaksForAnotherOneIsFound(t *testing.T) {
	source := map[string]string{observed.AnnotationSource: `{"name":"s","uid":"u"}`}
	was := desired.Runtime{Name: "gvisor", Carrying: 2, History: []*observed.Revision{{Annotations: source}}}
	plan := &desired.Plan{Runtimes: []desired.Runtime{was, {Name: "kata", Source: &observed.Spec{UID: "u"}, History: []*observed.Revision{{Annotations: source}}}}}
	if got := movedLabels(plan); len(got) != 1 || got["u"] != &plan.Runtimes[0] {
		t.Errorf("found %v", got)
	}
	plan.Runtimes[0].Carrying = 0
	if got := movedLabels(plan); len(got) != 0 {
		t.Errorf("nothing of it is left, and it was found: %v", got)
	}
}
