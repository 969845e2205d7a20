package desired_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unique"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

const gone = "longshore.dev/vanished"

func ago(d time.Duration) string { return now.Add(-d).Format(time.RFC3339) }

// Each case is a world and what should be where in it. The marks of a prepared revision are behind its number; -x takes x off.
func TestWhatShouldBeWhere(t *testing.T) {
	one, two := specOf("kata-1", 20, data("one")), specOf("kata-2", 10, data("two"))
	invalid := specOf("kata-2", 10, data("two", "nodeSelector", "", "soak", "later"))
	orphan := specOf("kata-1", 20, data("one", "deletionPolicy", "Orphan"))
	foreign := of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: kata, handler: other}]")))
	handler := of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: other, handler: kata}]")))
	class := func(handler, owner string) observed.RuntimeClass {
		return observed.RuntimeClass{Name: "kata", Handler: handler, Labels: map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: owner}}
	}
	none := data("one", "nodeSelector", "use=nothing")
	const plain = " -nothing-selected -payload -vanished"
	cases := map[string]struct {
		world
		want []string
	}{
		"nothing is there": {},
		"a first spec is prepared before anything happens": {
			world{specs: []observed.Spec{one}, nodes: []observed.Node{node("a", "use"), node("b")}},
			[]string{"source kata-1", "prepare new one as 1" + plain},
		},
		"a spec in force is installed where it selects": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use"), node("b"), node("c", "use", "kata=x")}},
			[]string{"source kata-1", "in force one", "a Installed Selected", "c Installed Selected"},
		},
		"the newest spec wins": {
			world{specs: []observed.Spec{one, two}, history: []observed.Revision{revision(1, two)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-2", "superseded kata-1", "in force two", "a Installed Selected"},
		},
		"of two specs of the same second the last name wins": {
			world{specs: []observed.Spec{specOf("kata-x", 10, data("one")), specOf("kata-z", 10, data("two")), specOf("kata-y", 10, data("one"))}},
			[]string{"source kata-z", "superseded kata-x", "superseded kata-y", "prepare new two as 1" + plain},
		},
		"a spec that is being deleted does not speak": {
			world{specs: []observed.Spec{one, deleting(two)}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", "in force one", "a Installed Selected"},
		},
		"a change of what is installed is a new revision, and the old one stays in force meanwhile": {
			world{specs: []observed.Spec{two}, history: []observed.Revision{revision(3, one)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-2", "in force one", "prepare new two as 4" + plain, "a Installed Selected"},
		},
		"a change of how carefully is a mark on the same revision": {
			world{specs: []observed.Spec{specOf("kata-1", 20, data("one", "soak", "5m"))}, history: []observed.Revision{revision(3, one)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", "in force one", "prepare mark one as 3" + plain, "a Installed Selected"},
		},
		"the same data under another name is a mark on the same revision": {
			world{specs: []observed.Spec{specOf("kata-2", 10, data("one"))}, history: []observed.Revision{revision(3, one)}},
			[]string{"source kata-2", "in force one", "prepare mark one as 3" + plain},
		},
		"content that was there before becomes the newest again": {
			world{specs: []observed.Spec{specOf("kata-3", 5, data("one"))}, history: []observed.Revision{revision(1, one), revision(2, two)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-3", "in force two", "prepare mark one as 3" + plain, "a Installed Selected"},
		},
		"an invalid change keeps the last good spec in force and says all that is wrong": {
			world{specs: []observed.Spec{invalid}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use", "kata=x"), node("b", "kata=x")}},
			[]string{
				"source kata-2", "error data[nodeSelector]", "error data[soak]",
				"in force one", "a Installed Selected", "b Keep Mismatch for 1m0s", "again in 1m0s",
			},
		},
		"a spec that never was valid does nothing, and nodes keep what they have": {
			world{specs: []observed.Spec{invalid}, nodes: []observed.Node{node("a", "use"), node("b", "kata=x")}},
			[]string{
				"source kata-2", "error data[nodeSelector]", "error data[soak]",
				"b Keep NoGoal",
			},
		},
		"a spec that gets the pool label as well is invalid, and the last good one stays in force": {
			world{
				specs: []observed.Spec{specOf("kata-1", 20, data("two"))}, pools: []observed.Spec{specOf("kata-1", 20, data("two"))},
				history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use")},
			},
			[]string{"source kata-1", "error metadata.labels[longshore.dev/pool]", "in force one", "a Installed Selected"},
		},
		"a pool beside a spec changes nothing about what should be where": {
			world{
				specs: []observed.Spec{one}, pools: []observed.Spec{{Name: "databases", Pool: "databases"}},
				history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use")},
			},
			[]string{"source kata-1", "in force one", "a Installed Selected"},
		},

		"a vanished spec is remembered first": {
			world{history: []observed.Revision{revision(2, one)}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"in force one", "prepare mark one as 2 +vanished=2026-11-20T12:00:00Z", "a Keep Vanished"},
		},
		"a vanished spec keeps everything as it is within the grace": {
			world{history: []observed.Revision{revision(2, one, gone, ago(45*time.Second))}, nodes: []observed.Node{node("a", "use", "kata=x"), node("b", "kata=x"), node("c", "use"), node("d")}},
			[]string{"in force one", "gone for 45s", "a Keep Vanished", "b Keep Vanished", "c Keep Vanished", "again in 15s"},
		},
		"a vanished spec is uninstalled everywhere when the grace is over": {
			world{history: []observed.Revision{revision(2, one, gone, ago(time.Minute))}, nodes: []observed.Node{node("a", "use", "kata=x"), node("b", "kata=x"), node("c", "use")}},
			[]string{"in force one", "removing, gone for 1m0s", "a Removed Deleted", "b Removed Deleted"},
		},
		"a spec that is only being deleted counts as vanished": {
			world{specs: []observed.Spec{deleting(one)}, history: []observed.Revision{revision(2, one)}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"in force one", "prepare mark one as 2 +vanished=2026-11-20T12:00:00Z", "a Keep Vanished"},
		},
		"a spec that comes back within the grace takes the mark off": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, one, gone, ago(45*time.Second))}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"source kata-1", "in force one", "gone for 45s", "prepare mark one as 2" + plain, "a Keep Vanished"},
		},
		"a spec that comes back after the grace stops the uninstall before its mark is written": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, one, gone, ago(time.Hour))}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"source kata-1", "in force one", "gone for 1h0m0s", "prepare mark one as 2" + plain, "a Keep Vanished"},
		},
		"a spec that comes back changed is a new revision without the mark": {
			world{specs: []observed.Spec{two}, history: []observed.Revision{revision(2, one, gone, ago(45*time.Second))}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"source kata-2", "in force one", "gone for 45s", "prepare new two as 3" + plain, "a Keep Vanished"},
		},
		"a spec that comes back invalid takes the mark off all the same": {
			world{specs: []observed.Spec{specOf("kata-1", 20, data("one", "soak", "later"))}, history: []observed.Revision{revision(2, one, gone, ago(45*time.Second))}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{
				"source kata-1", "error data[soak]", "in force one", "gone for 45s",
				"prepare mark one as 2 -vanished", "a Keep Vanished",
			},
		},
		"a mark that is no time is no mark": {
			world{history: []observed.Revision{revision(2, one, gone, "soon")}, nodes: []observed.Node{node("a", "kata=x")}},
			[]string{"in force one", "prepare mark one as 2 +vanished=2026-11-20T12:00:00Z", "a Keep Vanished"},
		},

		"a node whose labels stop to match is kept for a minute": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "kata=x"), node("b", "use", "kata=x")}, mismatch: map[string]time.Duration{"a": 20 * time.Second}},
			[]string{"source kata-1", "in force one", "a Keep Mismatch for 40s", "b Installed Selected", "again in 40s"},
		},
		"and then it is deselected": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "kata=x"), node("b", "use", "kata=x")}, mismatch: map[string]time.Duration{"a": time.Minute}},
			[]string{"source kata-1", "in force one", "a Removed Deselected", "b Installed Selected"},
		},
		"the last nodes that are relabelled stay until people say more": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "kata=x"), node("b", "kata=x")}, mismatch: map[string]time.Duration{"a": 2 * time.Hour, "b": time.Minute}},
			[]string{
				"source kata-1", "in force one", `prepare mark one as 1 +deselection={"halted":"NothingSelected","nodes":2,"time":"2026-11-20T12:00:00Z"} -nothing-selected -payload -vanished`,
				"a Keep NothingSelected", "b Keep NothingSelected",
			},
		},
		"an edit that selects nothing is marked as such": {
			world{specs: []observed.Spec{specOf("kata-1", 20, none)}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"source kata-1", "in force one", "prepare mark one as 1 +nothing-selected=true -payload -vanished", "a Installed Selected"},
		},
		"an edit that selects nothing keeps everything": {
			world{
				specs: []observed.Spec{specOf("kata-1", 20, none)}, history: []observed.Revision{revision(1, specOf("kata-1", 20, none), "longshore.dev/nothing-selected", "true")},
				nodes: []observed.Node{node("a", "use", "kata=x")}, mismatch: map[string]time.Duration{"a": time.Hour},
			},
			[]string{"source kata-1", "in force one", "a Keep NothingSelected"},
		},
		"an edit that selects nothing and changes the payload keeps everything": {
			world{specs: []observed.Spec{specOf("kata-1", 20, data("two", "nodeSelector", "use=nothing"))}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use", "kata=x")}},
			[]string{"source kata-1", "in force one", "prepare new two as 2 +nothing-selected=true -payload -vanished", "a Installed Selected"},
		},
		"a selector that selects something again ends that": {
			world{
				specs: []observed.Spec{one}, history: []observed.Revision{revision(1, specOf("kata-1", 20, none), "longshore.dev/nothing-selected", "true")},
				nodes: []observed.Node{node("a", "use", "kata=x")},
			},
			[]string{"source kata-1", "in force one", "prepare mark one as 1" + plain, "a Keep NothingSelected"},
		},
		"a node that is relabelled so that it matches ends that": {
			world{
				specs: []observed.Spec{specOf("kata-1", 20, none)}, history: []observed.Revision{revision(1, specOf("kata-1", 20, none), "longshore.dev/nothing-selected", "true")},
				nodes: []observed.Node{{Name: "a", UID: "uid-a", Labels: observed.LabelsOf(map[string]string{"kubernetes.io/os": "linux", "use": "nothing"})}, node("b", "kata=x")},
			},
			[]string{"source kata-1", "in force one", "prepare mark one as 1" + plain, "a Installed Selected", "b Keep NothingSelected"},
		},
		"an edit that selects nothing where nothing is installed is nothing special": {
			world{specs: []observed.Spec{specOf("kata-1", 20, none)}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", "in force one", "prepare mark one as 1" + plain, "a Installed Selected"},
		},
		"deleting a spec that selects nothing uninstalls": {
			world{
				history: []observed.Revision{revision(1, specOf("kata-1", 20, none), "longshore.dev/nothing-selected", "true", gone, ago(time.Minute))},
				nodes:   []observed.Node{node("a", "use", "kata=x")},
			},
			[]string{"in force one", "removing, gone for 1m0s", "a Removed Deleted"},
		},

		"a spec whose policy is Orphan leaves what nodes carry, and nothing else": {
			world{
				history: []observed.Revision{revision(1, orphan, observed.AnnotationVanished, now.Add(-time.Hour).Format(time.RFC3339))},
				nodes:   []observed.Node{node("a", "use", "kata="+revision(1, orphan).Revision), node("b", "use")},
			},
			[]string{"in force one", "gone for 1h0m0s", "a Keep Orphaned"},
		},
		"a later spec goes on with what was left": {
			world{
				specs:   []observed.Spec{one},
				history: []observed.Revision{revision(1, orphan, observed.AnnotationVanished, now.Add(-time.Hour).Format(time.RFC3339))},
				nodes:   []observed.Node{node("a", "use", "kata="+revision(1, orphan).Revision)},
			},
			[]string{"source kata-1", "in force one", "gone for 1h0m0s", "prepare mark one as 1 -nothing-selected -payload -vanished", "a Keep Vanished"},
		},
		"a class of an older runtime is not taken": {
			world{specs: []observed.Spec{one, foreign}, history: []observed.Revision{revision(1, foreign)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", `conflict RuntimeClass "kata" belongs to runtime "other"`},
		},
		"a class whose name came without a new revision is not taken": {
			world{
				specs: []observed.Spec{one, foreign},
				history: []observed.Revision{revision(1, of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: before, handler: other}]"))),
					observed.AnnotationSpec, revision(1, foreign).Annotations[observed.AnnotationSpec])},
			},
			[]string{"source kata-1", `conflict RuntimeClass "kata" belongs to runtime "other"`},
		},
		"a handler of an older runtime is not taken": {
			world{specs: []observed.Spec{one, handler}, history: []observed.Revision{revision(1, handler)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", `conflict handler "kata" belongs to runtime "other"`},
		},
		"a conflict keeps what was in force": {
			world{
				specs:   []observed.Spec{specOf("kata-1", 20, data("two", "runtimeClasses", "[{name: kata, handler: kata}, {name: other, handler: other2}]")), of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: other, handler: other}]")))},
				history: []observed.Revision{revision(1, one), revision(1, of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: other, handler: other}]"))))}, nodes: []observed.Node{node("a", "use")},
			},
			[]string{"source kata-1", `conflict RuntimeClass "other" belongs to runtime "other"`, "in force one", "a Installed Selected"},
		},
		"a class that nodes still carry from an old revision of another runtime is not taken": {
			world{
				specs: []observed.Spec{one, of("other", specOf("other", 30, data("two", "runtimeClasses", "[]")))},
				history: []observed.Revision{
					revision(1, foreign), revision(2, of("other", specOf("other", 30, data("two", "runtimeClasses", "[]")))),
				},
				nodes: []observed.Node{node("a", "use", "other="+revision(1, foreign).Revision)},
			},
			[]string{"source kata-1", `conflict RuntimeClass "kata" belongs to runtime "other"`},
		},
		"a class that another runtime gave up is free": {
			world{
				specs: []observed.Spec{one, of("other", specOf("other", 30, data("two", "runtimeClasses", "[]")))},
				history: []observed.Revision{
					revision(1, foreign), revision(2, of("other", specOf("other", 30, data("two", "runtimeClasses", "[]")))),
				},
				nodes: []observed.Node{node("a", "use")},
			},
			[]string{"source kata-1", "prepare new one as 1" + plain},
		},
		"of two runtimes that are both new the first by name has the class": {
			world{specs: []observed.Spec{one, of("zeta", specOf("zeta", 30, data("one")))}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-1", "prepare new one as 1" + plain},
		},
		"a handler of a class that is there cannot be changed": {
			world{
				specs: []observed.Spec{specOf("kata-1", 20, data("two", "runtimeClasses", "[{name: kata, handler: kata2}]"))}, history: []observed.Revision{revision(1, one)},
				nodes: []observed.Node{node("a", "use")}, classes: []observed.RuntimeClass{class("kata", "kata")},
			},
			[]string{
				"source kata-1",
				"error data[runtimeClasses][0].handler",
				"in force one", "a Installed Selected",
			},
		},
		"a class of somebody else says nothing about the handler": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, classes: []observed.RuntimeClass{class("other", "other")}},
			[]string{"source kata-1", "in force one"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
			if diff := cmp.Diff(c.want, c.tell(snap, plan)); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
		})
	}
}

func TestAChangedHandlerIsToldToUseANewName(t *testing.T) {
	w := world{
		specs:   []observed.Spec{specOf("kata-1", 20, data("two", "runtimeClasses", "[{name: kata, handler: kata2}]"))},
		classes: []observed.RuntimeClass{{Name: "kata", Handler: "kata", Labels: map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}}},
	}
	errs := desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions()).Runtimes[0].Errors
	const want = `data[runtimeClasses][0].handler: Invalid value: "kata2": RuntimeClass "kata" has handler "kata", and a handler cannot be changed; give the class a new name`
	if len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("got  %v\nwant %s", errs, want)
	}
}

func TestARevisionWhoseSnapshotIsDamagedIsAnErrorThatSaysHowToMendIt(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	rev := revision(1, one)
	rev.Content, rev.Problem = nil, "the revision's data is not readable: unexpected end of JSON input"
	snap := (&world{specs: []observed.Spec{one}, history: []observed.Revision{rev}, nodes: []observed.Node{node("a", "use"), node("b", "kata=x")}}).snapshot()
	r := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Runtimes[0]
	if r.Goal != nil || r.Prepare != nil || len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Error(), `ControllerRevision "`+rev.Name+`"`) || !strings.Contains(r.Errors[0].Error(), "delete it") {
		t.Errorf("goal %v, prepare %v, errors %v", r.Goal, r.Prepare, r.Errors)
	}
	if r.Targets[0].Want != desired.Unconcerned || r.Targets[1].Want != desired.Keep {
		t.Errorf("targets are %+v", r.Targets)
	}
}

func TestAPoolIsRefusedWithAllThatIsWrongAndSaysWhatToDo(t *testing.T) {
	both := specOf("kata-1", 20, map[string]string{"nodeSelector": "*"})
	both.Pool = "kata"
	w := world{specs: []observed.Spec{both}, pools: []observed.Spec{
		{Name: "blue", Pool: "databases", Data: map[string]string{"nodeSelector": "*"}}, {Name: "green", Data: map[string]string{"paused": "no"}}, both,
	}}
	plan := desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions())
	want := [][]string{
		{"blue", "mend it, or delete it: kubectl delete configmap blue"},
		{"green", "mend it, or delete it: kubectl delete configmap green", "metadata.labels[longshore.dev/pool]", "data[paused]", "data[nodeSelector]"},
		{"kata-1", "take the pool label off: kubectl label configmap kata-1 longshore.dev/pool-", "metadata.labels[longshore.dev/pool]"},
	}
	var got [][]string
	for i := range plan.Pools {
		p := &plan.Pools[i]
		words := []string{p.Source.Name, p.Remedy()}
		for _, e := range p.Errors {
			words = append(words, e.Field)
		}
		got = append(got, words)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
}

func TestARefusedPoolStaysAtItsLastGoodVersion(t *testing.T) {
	good := map[string]string{"nodeSelector": "tier=db", "maxUnavailable": "2"}
	look := func(data, annotations map[string]string) desired.Pool {
		w := world{pools: []observed.Spec{{Name: "blue", Pool: "databases", Data: data, Annotations: annotations}}}
		return desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions()).Pools[0]
	}
	first := look(good, nil)
	if len(first.Errors) > 0 || first.Pool == nil || first.LastGood != `{"maxUnavailable":"2","nodeSelector":"tier=db"}` {
		t.Fatalf("a valid pool is %+v", first)
	}
	bad := map[string]string{"nodeSelector": "tier=db", "paused": "no"}
	for name, c := range map[string]struct {
		remembered, stays string
	}{
		"its last version":         {first.LastGood, first.LastGood},
		"nothing":                  {"", ""},
		"what cannot be read":      {"{", "{"},
		"what is not valid either": {`{"nodeSelector":""}`, `{"nodeSelector":""}`},
	} {
		got := look(bad, map[string]string{observed.PoolLastGood: c.remembered})
		inForce := got.Pool != nil && got.Pool.NodeSelectorText == "tier=db" && !got.Pool.Paused
		if len(got.Errors) != 1 || inForce != (c.stays == first.LastGood) || got.LastGood != c.stays {
			t.Errorf("a pool of which %s is remembered is %+v", name, got)
		}
	}
}

func TestPreparedAnnotationsHoldTheSpecAndWhereItCameFrom(t *testing.T) {
	one := specOf("kata-1", 20, data("one", "soak", "5m"))
	p := desired.Of((&world{specs: []observed.Spec{one}}).snapshot(), spec.Parse, desired.DefaultOptions()).Runtimes[0].Prepare
	want := revision(1, one).Annotations
	for key, value := range want {
		if p.Annotations[key] != value {
			t.Errorf("%s is %q, want %q", key, p.Annotations[key], value)
		}
	}
	if p.Source == nil || p.Source.Name != "kata-1" {
		t.Errorf("the source is %+v", p.Source)
	}
}

// Every node that does not match is remembered with the time it was first seen so, and forgotten when it matches again.
func TestMismatchesAreRememberedUntilTheyEnd(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	w := world{
		specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)},
		nodes:    []observed.Node{node("fresh", "kata=x"), node("known", "kata=x"), node("due", "kata=x"), node("back", "use", "kata=x"), node("never")},
		mismatch: map[string]time.Duration{"known": 30 * time.Second, "due": time.Hour, "back": 10 * time.Second, "vanished": time.Second},
	}
	snap := w.snapshot()
	got := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Mismatches(snap)
	want := map[observed.NodeRuntime]time.Time{
		{Node: "uid-fresh", Runtime: "kata"}: now,
		{Node: "uid-known", Runtime: "kata"}: now.Add(-30 * time.Second),
		{Node: "uid-due", Runtime: "kata"}:   now.Add(-time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

func TestPercentagesAreOfNodesSelectedOrCarrying(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	w := world{
		specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)},
		nodes: []observed.Node{node("a", "use"), node("b", "use", "kata=x"), node("c", "kata=x"), node("d"), node("e", "other=x")},
	}
	windows := node("w", "use")
	windows.Labels = windows.Labels.With("kubernetes.io/os", "windows")
	virtual := node("v", "use")
	virtual.Labels = virtual.Labels.With("type", "virtual-kubelet")
	w.nodes = append(w.nodes, windows, virtual)
	plan := desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions())
	i := slices.IndexFunc(plan.Runtimes, func(r desired.Runtime) bool { return r.Name == "kata" })
	r := plan.Runtimes[i]
	if r.Selected != 2 || r.Carrying != 2 || r.Total != 3 {
		t.Errorf("selected %d, carrying %d, total %d", r.Selected, r.Carrying, r.Total)
	}
	// A runtime that only stands on nodes any more is in the plan as well.
	if j := slices.IndexFunc(plan.Runtimes, func(r desired.Runtime) bool { return r.Name == "other" }); j < 0 || plan.Runtimes[j].Carrying != 1 {
		t.Errorf("the plan's runtimes are %+v", plan.Runtimes)
	}
}

func TestARevisionOfAnyKnownFormatIsCurrent(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	r := desired.Of((&world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}}).snapshot(), spec.Parse, desired.DefaultOptions()).Runtimes[0]
	if !r.Current(r.Goal.Revision) || r.Current("a000000000") || r.Current("") {
		t.Error("the goal, and it alone, is current")
	}
	if r.Revision(r.Goal.Revision) != r.Goal || r.Revision("a000000000") != nil {
		t.Error("revisions are found by name")
	}
	if (&desired.Runtime{}).Current("") {
		t.Error("without a goal nothing is current")
	}
}

func TestOfChangesNothingInTheSnapshot(t *testing.T) {
	one, two := specOf("kata-1", 20, data("one")), specOf("kata-2", 10, data("two"))
	build := func() *observed.Snapshot {
		return (&world{
			specs: []observed.Spec{one, two}, history: []observed.Revision{revision(1, one), revision(5, two), revision(3, specOf("x", 1, data("three")))},
			nodes: []observed.Node{node("a", "use", "kata=x"), node("b", "kata=x")}, mismatch: map[string]time.Duration{"b": time.Second},
		}).snapshot()
	}
	snap := build()
	desired.Of(snap, spec.Parse, desired.DefaultOptions())
	if diff := cmp.Diff(build(), snap, cmp.AllowUnexported(observed.Node{}, observed.Progress{}), cmpopts.EquateComparable(unique.Handle[observed.Says]{})); diff != "" {
		t.Errorf("before (-) and after (+):\n%s", diff)
	}
}

// BenchmarkOf is the plan of 5,000 nodes that five runtimes select and carry.
func BenchmarkOf(b *testing.B) {
	var w world
	for r := range 5 {
		name := "runtime-" + strconv.Itoa(r)
		s := of(name, specOf(name, 20, data("one", "runtimeClasses", "[{name: "+name+", handler: "+name+"}]")))
		w.specs = append(w.specs, s)
		w.history = append(w.history, revision(1, s))
	}
	for i := range 5000 {
		words := []string{"use"}
		for r := range w.history {
			words = append(words, w.history[r].Runtime+"="+w.history[r].Revision)
		}
		w.nodes = append(w.nodes, node("node-"+strconv.Itoa(i), words...))
		w.nodes[i].UID = types.UID("uid-" + strconv.Itoa(i))
	}
	snap := w.snapshot()
	// The controller's parser remembers what it has read; so does this one.
	parsed := map[string]*spec.Runtime{}
	for i := range w.specs {
		parsed[w.specs[i].Runtime], _ = spec.Parse(w.specs[i].Runtime, w.specs[i].Data, nil)
	}
	parse := func(name string, _ map[string]string, _ map[string][]byte) (*spec.Runtime, field.ErrorList) {
		return parsed[name], nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if plan := desired.Of(snap, parse, desired.DefaultOptions()); plan.Runtimes[4].Total != 5000 {
			b.Fatalf("total is %d", plan.Runtimes[4].Total)
		}
	}
}
