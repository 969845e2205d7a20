package desired_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

func planned(t *testing.T, w *world) *desired.Runtime {
	t.Helper()
	plan := desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions())
	if len(plan.Runtimes) != 1 {
		t.Fatalf("%d runtimes", len(plan.Runtimes))
	}
	return &plan.Runtimes[0]
}

func asking(s observed.Spec, key, value string) observed.Spec {
	s.People = map[string]string{key: value}
	return s
}

// prepared is what has to be written down under a key, "nothing" where nothing has to be written at all.
func prepared(r *desired.Runtime, key string) string {
	if r.Prepare == nil {
		return "nothing"
	}
	return r.Prepare.Annotations[key]
}

func TestAPauseOutlivesTheConfigMapThatItWasWrittenOn(t *testing.T) {
	first, second := specOf("kata-1", 20, data("one")), specOf("kata-2", 10, data("two"))
	mark := observed.Pause{Reason: "INC-4711", On: "uid-kata-1"}.Text()
	for name, c := range map[string]struct {
		source observed.Spec
		before []string
		want   string
	}{
		"somebody pauses":                         {asking(first, observed.AnnotationPause, "INC-4711"), nil, mark},
		"it is written down":                      {asking(first, observed.AnnotationPause, "INC-4711"), []string{observed.AnnotationPause, mark}, "nothing"},
		"for another reason now":                  {asking(first, observed.AnnotationPause, ""), []string{observed.AnnotationPause, mark}, observed.Pause{On: "uid-kata-1"}.Text()},
		"A6: it is wiped where it was written":    {first, []string{observed.AnnotationPause, mark}, "nothing"},
		"people resume where it was written":      {asking(first, observed.AnnotationPause, "false"), []string{observed.AnnotationPause, mark}, ""},
		"another ConfigMap does not have it":      {second, []string{observed.AnnotationPause, mark}, mark},
		"people resume on the other one":          {asking(second, observed.AnnotationPause, "false"), []string{observed.AnnotationPause, mark}, ""},
		"a slip in the spec keeps nobody from it": {asking(specOf("kata-1", 20, data("one", "soak", "a while")), observed.AnnotationPause, "INC-4711"), nil, mark},
	} {
		w := world{specs: []observed.Spec{c.source}, history: []observed.Revision{revision(1, first, c.before...)}}
		if got := prepared(planned(t, &w), observed.AnnotationPause); got != c.want {
			t.Errorf("%s: %q is to be written down, expected %q", name, got, c.want)
		}
	}
	w := world{specs: []observed.Spec{second}, history: []observed.Revision{revision(1, first, observed.AnnotationPause, mark)}}
	if got := planned(t, &w).Pause; got == nil || got.Reason != "INC-4711" {
		t.Errorf("the pause in force is %+v", got)
	}
}

func TestABadRevisionStaysBadUntilTheDataChangesOrPeopleHaveItTriedAgain(t *testing.T) {
	one, two := specOf("kata-1", 20, data("one")), specOf("kata-1", 20, data("two"))
	good, other := revision(1, one), revision(1, one).Revision
	bad := observed.Bad{To: other, Reason: "2 nodes failed", Time: now.Add(-time.Hour)}.Text()
	rollback := revision(2, two).Revision + " " + other
	byHand := observed.Bad{To: other, Asked: true, Reason: "people asked for that", Time: now}.Text()
	for name, c := range map[string]struct {
		source observed.Spec
		marks  []string
		want   string
	}{
		"it stays":                               {two, []string{observed.AnnotationBad, bad}, "nothing"},
		"under another name as well":             {specOf("kata-2", 10, data("two")), []string{observed.AnnotationBad, bad}, bad},
		"another budget is another try":          {specOf("kata-1", 20, data("two", "maxUnavailable", "2")), []string{observed.AnnotationBad, bad}, ""},
		"people have it tried again":             {asking(two, observed.AnnotationRetry, "1"), []string{observed.AnnotationBad, bad}, ""},
		"that was heard before":                  {asking(two, observed.AnnotationRetry, "1"), []string{observed.AnnotationBad, bad, observed.AnnotationRetry, "1"}, "nothing"},
		"A6: that was heard before, and wiped":   {two, []string{observed.AnnotationBad, bad, observed.AnnotationRetry, "1"}, "nothing"},
		"people give it up":                      {asking(two, observed.AnnotationRollback, rollback), nil, byHand},
		"that was heard before, and tried again": {asking(two, observed.AnnotationRollback, rollback), []string{observed.AnnotationRollback, rollback}, "nothing"},
		"A6: and wiped since":                    {two, []string{observed.AnnotationRollback, rollback, observed.AnnotationBad, byHand}, "nothing"},
		"A6: the same once more, at another time": {
			asking(two, observed.AnnotationRollback, rollback+" 2026-11-20T12:00:01Z"), []string{observed.AnnotationRollback, rollback + " 2026-11-20T12:00:00Z"}, byHand,
		},
		"A6: the same once more, at the same time": {
			asking(two, observed.AnnotationRollback, rollback+" 2026-11-20T12:00:00Z"), []string{observed.AnnotationRollback, rollback + " 2026-11-20T12:00:00Z"}, "nothing",
		},
		"they gave up what is not asked for":      {asking(two, observed.AnnotationRollback, other+" "+other), nil, ""},
		"the revision to go back to is not there": {asking(two, observed.AnnotationRollback, revision(2, two).Revision+" a000000000"), nil, ""},
		"back to itself":                          {asking(two, observed.AnnotationRollback, revision(2, two).Revision+" "+revision(2, two).Revision), nil, ""},
	} {
		w := world{specs: []observed.Spec{c.source}, history: []observed.Revision{good, revision(2, two, c.marks...)}}
		if got := prepared(planned(t, &w), observed.AnnotationBad); got != c.want {
			t.Errorf("%s: %q is to be written down, expected %q", name, got, c.want)
		}
	}
	w := world{specs: []observed.Spec{asking(two, observed.AnnotationRollback, revision(2, two).Revision+" a000000000")}, history: []observed.Revision{good, revision(2, two)}}
	if got, want := planned(t, &w).Unheard, `annotation longshore.dev/rollback: there is no revision "a000000000" to go back to; longshore history kata has those that there are`; got != want {
		t.Errorf("people are told %q", got)
	}
}

func TestNodesGoBackToTheRevisionBeforeABadOneAsTheSpecOfTodayRollsOut(t *testing.T) {
	one := specOf("kata-1", 20, data("one", "runtimeClasses", "[{name: kata, handler: kata, overhead: {memory: 1Gi}}]", "maxUnavailable", "1"))
	two := specOf("kata-1", 20, data("two", "runtimeClasses", "[{name: kata, handler: kata}, {name: kata-2, handler: kata-2}]", "maxUnavailable", "7", "nodeSelector", "*"))
	bad := observed.Bad{To: revision(1, one).Revision, Reason: "2 nodes failed", Time: now}.Text()
	w := world{specs: []observed.Spec{two}, history: []observed.Revision{revision(1, one), revision(2, two, observed.AnnotationBad, bad)}, nodes: []observed.Node{node("a")}}
	r := planned(t, &w)
	if r.Goal == nil || r.Goal.Revision != revision(1, one).Revision || r.BadRevision != revision(2, two).Revision || r.GivenUp() {
		t.Fatalf("the goal is %+v, bad is %s", r.Goal, r.BadRevision)
	}
	if !r.Current(revision(1, one).Revision) || r.Current(revision(2, two).Revision) || r.Targets[0].Want != desired.Installed {
		t.Error("the revision before is not what nodes should have")
	}
	memory := r.Spec.RuntimeClasses[0].Overhead["memory"]
	if len(r.Spec.RuntimeClasses) != 1 || memory.String() != "1Gi" || r.Spec.Revision() != revision(1, one).Revision {
		t.Errorf("what is in force is %+v", r.Spec)
	}
	if r.Spec.MaxUnavailable.IntValue() != 7 || r.Spec.NodeSelectorText != "*" {
		t.Errorf("it is rolled out with maxUnavailable %s on %q", r.Spec.MaxUnavailable.String(), r.Spec.NodeSelectorText)
	}
	if r.Prepare != nil {
		t.Errorf("to be written is %+v", r.Prepare)
	}

	// A snapshot that was lost leaves nodes as they are.
	w.history = w.history[1:]
	w.nodes = []observed.Node{node("a", "kata="+revision(2, two).Revision), node("b")}
	r = planned(t, &w)
	if diff := cmp.Diff([]desired.Want{desired.Keep, desired.Unconcerned}, []desired.Want{r.Targets[0].Want, r.Targets[1].Want}); diff != "" || r.Goal != nil {
		t.Errorf("with the goal %+v nodes should have %s", r.Goal, diff)
	}

	// Without one before, the nodes that never offered it are uninstalled, and no others are touched.
	failed := observed.Progress{Phase: observed.PhaseFailed, Operation: observed.Install, Revision: revision(2, two).Revision, Since: now.Add(-time.Hour)}
	w.nodes[0].Annotations[observed.ProgressKey("kata")] = failed.String()
	w.nodes[0].Index()
	w.history = []observed.Revision{revision(2, two, observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: now}.Text())}
	r = planned(t, &w)
	if diff := cmp.Diff([]desired.Want{desired.Removed, desired.Unconcerned}, []desired.Want{r.Targets[0].Want, r.Targets[1].Want}); diff != "" || !r.GivenUp() {
		t.Errorf("nodes should have %s", diff)
	}
}
