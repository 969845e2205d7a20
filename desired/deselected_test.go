package desired_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// fleet is so many nodes that carry the runtime, of which the first ones have lost their label, each so long ago.
func fleet(size int, lost ...time.Duration) ([]observed.Node, map[string]time.Duration) {
	var nodes []observed.Node
	mismatch := map[string]time.Duration{}
	for i := range size {
		name := fmt.Sprintf("n%02d", i)
		words := []string{"kata=x"}
		if i >= len(lost) {
			words = append(words, "use")
		} else {
			mismatch[name] = lost[i]
		}
		nodes = append(nodes, node(name, words...))
	}
	return nodes, mismatch
}

func minutes(of ...int) []time.Duration {
	var out []time.Duration
	for _, m := range of {
		out = append(out, time.Duration(m)*time.Minute)
	}
	return out
}

// counts are the targets of a plan, `want why number`.
func counts(r *desired.Runtime) string {
	seen := map[string]int{}
	for _, t := range r.Targets {
		if t.Want != desired.Unconcerned {
			seen[wants[t.Want]+" "+whys[t.Why]]++
		}
	}
	var words []string
	for word, n := range seen {
		words = append(words, fmt.Sprintf("%s %d", word, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func TestA3ManyNodesThatLoseTheirLabelsAtOnceAreNotUninstalled(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	for name, c := range map[string]struct {
		size int
		lost []time.Duration
		want string
	}{
		"one of three":                           {3, minutes(2), "Installed Selected 2, Removed Deselected 1"},
		"two of three are more than half":        {3, minutes(2, 2), "Installed Selected 1, Removed Deselected 2"},
		"but three of five are many":             {5, minutes(2, 2, 2), "Installed Selected 2, Keep MassDeselected 3"},
		"half of six are not more than half":     {6, minutes(2, 2, 2), "Installed Selected 3, Removed Deselected 3"},
		"spread over ten minutes":                {5, minutes(9, 5, 0), "Installed Selected 2, Keep MassDeselected 3"},
		"one after the other over an hour":       {5, minutes(60, 30, 2), "Installed Selected 2, Removed Deselected 3"},
		"all, although there is only one":        {1, minutes(2), "Keep NothingSelected 1"},
		"all, whenever each of them lost it":     {3, minutes(300, 200, 2), "Keep NothingSelected 3"},
		"a moment ago, before the grace is over": {5, minutes(0, 0, 0), "Installed Selected 2, Keep MassDeselected 3"},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, mismatch := fleet(c.size, c.lost...)
			w := world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: nodes, mismatch: mismatch}
			if got := counts(planned(t, &w)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestA3AControllerThatStartsAnewHaltsWhateverItFindsUnlabelled(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	nodes, _ := fleet(5, minutes(60, 60, 60)...)
	w := world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: nodes}
	if got, want := counts(planned(t, &w)), "Installed Selected 2, Keep MassDeselected 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestA3ACommandThatLooksOnceKnowsOnlyWhatTheControllerWroteDown(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	nodes, _ := fleet(5, minutes(60, 60, 60)...)
	halted := observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 3, Time: now.Add(-time.Hour)}.Text()
	for want, marks := range map[string][]string{
		"Installed Selected 2, Keep Mismatch 3":       nil,
		"Installed Selected 2, Keep MassDeselected 3": {observed.AnnotationDeselection, halted},
	} {
		snap := (&world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one, marks...)}, nodes: nodes}).snapshot()
		snap.LabelsUnwatched = true
		if got := counts(&desired.Of(snap, spec.Parse, desired.DefaultOptions()).Runtimes[0]); got != want {
			t.Errorf("with marks %v: got %s, want %s", marks, got, want)
		}
	}
}

func TestA3NodesThatWereUninstalledMeanwhileCount(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	nodes, mismatch := fleet(5, minutes(4, 3, 2)...)
	// The first of them was quick, and carries nothing any more.
	nodes[0] = node("n00")
	w := world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: nodes, mismatch: mismatch}
	snap := w.snapshot()
	plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
	if got, want := counts(&plan.Runtimes[0]), "Installed Selected 2, Keep MassDeselected 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, kept := plan.Mismatches(snap)[observed.NodeRuntime{Node: nodes[0].UID, Runtime: "kata"}]; !kept {
		t.Error("it is forgotten that the node lost its label a moment ago")
	}
}

func TestA3WhatEndsAMassDeselection(t *testing.T) {
	halted := observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 3, Time: now.Add(-time.Hour)}.Text()
	agreed := observed.Deselection{Nodes: 3, Time: now}.Text()
	one := specOf("kata-1", 20, data("one"))
	for name, c := range map[string]struct {
		source observed.Spec
		lost   []time.Duration
		marks  []string
		// want are the targets now, and text what is to be written down.
		want, text string
	}{
		"an hour alone does not": {
			one, minutes(61, 61, 61), []string{observed.AnnotationDeselection, halted}, "Installed Selected 2, Keep MassDeselected 3", "nothing",
		},
		"two labels that are back do not": {
			one, minutes(61), []string{observed.AnnotationDeselection, halted}, "Installed Selected 4, Keep MassDeselected 1", "nothing",
		},
		"all labels that are back do": {
			one, nil, []string{observed.AnnotationDeselection, halted}, "Installed Selected 5", "",
		},
		"an edit of the budget does not": {
			specOf("kata-1", 20, data("one", "maxUnavailable", "2")), minutes(61, 61, 61), []string{observed.AnnotationDeselection, halted}, "Installed Selected 2, Keep MassDeselected 3", halted,
		},
		"an edit of the selector does": {
			specOf("kata-1", 20, data("one", "nodeSelector", "use in (kata)")), minutes(61, 61, 61), []string{observed.AnnotationDeselection, halted}, "Installed Selected 2, Keep MassDeselected 3", agreed,
		},
		"people say so": {
			asking(one, observed.AnnotationUninstallDeselected, "7"), minutes(61, 61, 61), []string{observed.AnnotationDeselection, halted}, "Installed Selected 2, Keep MassDeselected 3", agreed,
		},
		"what they said of another time does not": {
			asking(one, observed.AnnotationUninstallDeselected, "7"), minutes(61, 61, 61),
			[]string{observed.AnnotationDeselection, halted, observed.AnnotationUninstallDeselected, "7"},
			"Installed Selected 2, Keep MassDeselected 3", "nothing",
		},
		"then they are uninstalled": {
			one, minutes(2, 2, 2), []string{observed.AnnotationDeselection, agreed}, "Installed Selected 2, Removed Deselected 3", "nothing",
		},
		"those that are done are not agreed to any more": {
			one, minutes(2), []string{observed.AnnotationDeselection, agreed}, "Installed Selected 4, Removed Deselected 1", observed.Deselection{Nodes: 1, Time: now}.Text(),
		},
		"but not more than people knew of": {
			one, minutes(2, 2, 2, 0),
			[]string{observed.AnnotationDeselection, agreed},
			"Installed Selected 1, Keep MassDeselected 4",
			observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 4, Time: now}.Text(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, mismatch := fleet(5, c.lost...)
			w := world{specs: []observed.Spec{c.source}, history: []observed.Revision{revision(1, one, c.marks...)}, nodes: nodes, mismatch: mismatch}
			r := planned(t, &w)
			if got := counts(r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got := prepared(r, observed.AnnotationDeselection); got != c.text {
				t.Errorf("to be written down is %q, want %q", got, c.text)
			}
		})
	}
}

func TestA3AnEditThatDeselectsManyNodesIsMeant(t *testing.T) {
	before := specOf("kata-1", 20, data("one", "nodeSelector", "kubernetes.io/os"))
	after := specOf("kata-1", 20, data("one"))
	nodes, mismatch := fleet(5, minutes(0, 0, 0)...)
	w := world{specs: []observed.Spec{after}, history: []observed.Revision{revision(1, before)}, nodes: nodes}
	if got, want := prepared(planned(t, &w), observed.AnnotationDeselection), (observed.Deselection{Nodes: 3, Time: now}).Text(); got != want {
		t.Fatalf("to be written down is %q, want %q", got, want)
	}
	w = world{specs: []observed.Spec{after}, history: []observed.Revision{revision(1, after, observed.AnnotationDeselection, observed.Deselection{Nodes: 3, Time: now}.Text())}, nodes: nodes, mismatch: mismatch}
	if got, want := counts(planned(t, &w)), "Installed Selected 2, Keep Mismatch 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestA3AnEditOfTheSelectorKnowsOfNodesThatAreAboutToBegin(t *testing.T) {
	before := specOf("kata-1", 20, data("one", "nodeSelector", "kubernetes.io/os"))
	after := specOf("kata-1", 20, data("one"))
	nodes, _ := fleet(3, minutes(0, 0)...)
	nodes = append(nodes, node("x"))
	w := world{specs: []observed.Spec{after}, history: []observed.Revision{revision(1, before)}, nodes: nodes}
	snap := w.snapshot()
	snap.Turns.Booked = []observed.Turn{{Node: "uid-x", Runtime: "kata", Revision: "a1", Operation: observed.Install, ID: "1"}}
	plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
	if got, want := prepared(&plan.Runtimes[0], observed.AnnotationDeselection), (observed.Deselection{Nodes: 3, Time: now}).Text(); got != want {
		t.Errorf("to be written down is %q, want %q", got, want)
	}
}

func TestA3ANodeThatGaveItsTurnBackBeforeItBeganHasNothingToLose(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	nodes, mismatch := fleet(3, minutes(2)...)
	for _, name := range []string{"x1", "x2", "x3"} {
		n := node(name)
		n.Annotations[observed.ProgressKey("kata")] = (&observed.Progress{Phase: observed.PhasePending, Since: now}).String()
		n.Index()
		nodes = append(nodes, n)
		mismatch[name] = time.Minute
	}
	w := world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: nodes, mismatch: mismatch}
	if got, want := counts(planned(t, &w)), "Installed Selected 2, Removed Deselected 4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestA3ALabelThatNothingBacksIsNoNodeThatWasLost(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	nodes, mismatch := fleet(2, minutes(5)...)
	for _, name := range []string{"x1", "x2", "x3"} {
		n := node(name)
		n.Labels = n.Labels.With(observed.ReadyKey("kata"), "true")
		n.Index()
		nodes = append(nodes, n)
		mismatch[name] = time.Minute
	}
	w := world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: nodes, mismatch: mismatch}
	if got, want := counts(planned(t, &w)), "Installed Selected 1, Removed Deselected 4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheGracesOfASpecWinOverThoseOfTheController(t *testing.T) {
	patient := specOf("kata-1", 20, data("one", "deletionGrace", "24h", "deselectionGrace", "30m"))
	nodes, mismatch := fleet(5, minutes(20)...)
	w := world{specs: []observed.Spec{patient}, history: []observed.Revision{revision(1, patient)}, nodes: nodes, mismatch: mismatch}
	if got, want := counts(planned(t, &w)), "Installed Selected 4, Keep Mismatch 1"; got != want {
		t.Errorf("after 20 minutes of 30: got %s, want %s", got, want)
	}
	w = world{history: []observed.Revision{revision(1, patient, gone, ago(23*time.Hour))}, nodes: nodes}
	if got, want := counts(planned(t, &w)), "Keep Vanished 5"; got != want {
		t.Errorf("after 23 hours of 24 without a spec: got %s, want %s", got, want)
	}
	w.history = []observed.Revision{revision(1, patient, gone, ago(24*time.Hour))}
	if got, want := counts(planned(t, &w)), "Removed Deleted 5"; got != want {
		t.Errorf("after 24 hours without a spec: got %s, want %s", got, want)
	}
}

func TestA5ARollbackOfASpecThatIsInvalidIsShownAsPending(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	invalid := asking(specOf("kata-1", 20, data("two", "soak", "later")), observed.AnnotationRollback, "a1 a2")
	w := world{specs: []observed.Spec{invalid}, history: []observed.Revision{revision(1, one)}}
	if got, want := planned(t, &w).Unheard, `annotation longshore.dev/rollback is not obeyed before the spec is valid again: "a1 a2"`; got != want {
		t.Errorf("people are told %q, want %q", got, want)
	}
}

func TestAPanicInOnePlanLeavesTheOthersAlone(t *testing.T) {
	one, other := specOf("kata-1", 20, data("one")), of("other", specOf("other", 30, data("one", "runtimeClasses", "[{name: other, handler: other}]")))
	w := world{specs: []observed.Spec{one, other}, history: []observed.Revision{revision(1, one), revision(1, other)}, nodes: []observed.Node{node("a", "use", "kata=x", "other=x")}}
	for stage, when := range map[string]int{"what is in force is read": 1, "what is asked for is read": 2} {
		calls := 0
		plan := desired.Of(w.snapshot(), func(name string, d map[string]string, b map[string][]byte) (*spec.Runtime, field.ErrorList) {
			if name == "kata" {
				calls++
				if calls == when {
					panic("a bug")
				}
			}
			return spec.Parse(name, d, b)
		}, desired.DefaultOptions())
		for i := range plan.Runtimes {
			r := &plan.Runtimes[i]
			want := map[string]string{"kata": "Keep Panic 1", "other": "Installed Selected 1"}[r.Name]
			if got := counts(r); got != want || (r.Panic != "") != (r.Name == "kata") {
				t.Errorf("%s fails: %s has %s and panic %.40q, want %s", stage, r.Name, got, r.Panic, want)
			}
		}
	}
}
