package status

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// inForce is a runtime with a spec in force; change makes it another one.
func inForce(change func(*desired.Runtime)) *desired.Runtime {
	r := &desired.Runtime{
		Name: "kata", Source: &observed.Spec{Name: "kata-1", Runtime: "kata"}, Spec: &spec.Runtime{NodeSelectorText: "use=kata"},
		Goal: &observed.Revision{Revision: "a1"}, Selected: 3, Total: 3, History: []*observed.Revision{{Revision: "a1"}},
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestThePhaseOfASpec(t *testing.T) {
	invalid := func(r *desired.Runtime) {
		r.Errors = field.ErrorList{
			field.Required(field.NewPath("data").Key("installCmd"), "the command that installs"),
			field.Invalid(field.NewPath("data").Key("soak"), "x", "expected a duration"),
		}
	}
	conflict := func(r *desired.Runtime) { r.Conflict = `RuntimeClass "kata" belongs to runtime "other"` }
	vanished := func(r *desired.Runtime) { r.Source, r.Vanished = nil, now.Add(-20*time.Second) }
	removing := func(r *desired.Runtime) { vanished(r); r.Removing = true }
	prepare := func(r *desired.Runtime) { r.Prepare = &desired.Prepare{} }
	paused := func(r *desired.Runtime) { r.Spec.Paused = true }
	halted := rollout.Summary{Total: 3, Done: 1, Halted: rollout.Halted, HaltedMessage: "1 nodes failed (maxFailed 0): b", FailedNodes: []rollout.FailedNode{{Node: "b"}}}
	some := rollout.Summary{Total: 3, Done: 1}
	both := func(changes ...func(*desired.Runtime)) func(*desired.Runtime) {
		return func(r *desired.Runtime) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	cases := map[string]struct {
		change  func(*desired.Runtime)
		sum     rollout.Summary
		reasons []rollout.Reason
		phase   Phase
		message string
	}{
		"going on":                             {nil, some, []rollout.Reason{rollout.BudgetUsed, rollout.CommandRunning}, Progressing, "1 of 3 nodes done; BudgetUsed 1, CommandRunning 1"},
		"everything done":                      {nil, rollout.Summary{Total: 3, Done: 3}, nil, Ready, "3 of 3 nodes done"},
		"no node selected":                     {nil, rollout.Summary{}, nil, Ready, `the selector "use=kata" matches no node`},
		"paused":                               {paused, some, []rollout.Reason{rollout.Paused, rollout.Paused}, Paused, "paused with 1 of 3 nodes done; Paused 2"},
		"paused with everything done is Ready": {paused, rollout.Summary{Total: 3, Done: 3}, nil, Ready, "3 of 3 nodes done"},
		"halted":                               {nil, halted, []rollout.Reason{rollout.Halted}, Halted, "1 nodes failed (maxFailed 0): b (1 of 3 nodes done; Failed 1, Halted 1)"},
		"halted wins over paused":              {paused, halted, nil, Halted, "1 nodes failed (maxFailed 0): b (1 of 3 nodes done; Failed 1)"},
		"a new revision is being prepared":     {prepare, some, nil, Progressing, "the revision is being prepared"},
		"nothing in force yet":                 {func(r *desired.Runtime) { r.Spec, r.Goal = nil, nil }, rollout.Summary{}, nil, Progressing, "the revision is being prepared"},
		"invalid": {
			invalid,
			rollout.Summary{Total: 3, Done: 3},
			nil, Invalid,
			`data[installCmd]: Required value: the command that installs; data[soak]: Invalid value: "x": expected a duration; revision a1 stays in force`,
		},
		"invalid from the start": {
			both(invalid, func(r *desired.Runtime) { r.Spec, r.Goal = nil, nil }),
			rollout.Summary{},
			nil, Invalid,
			`data[installCmd]: Required value: the command that installs; data[soak]: Invalid value: "x": expected a duration; nothing valid was there before, so nothing is done`,
		},
		"invalid wins over halted": {
			invalid, halted, nil, Invalid,
			`data[installCmd]: Required value: the command that installs; data[soak]: Invalid value: "x": expected a duration; revision a1 stays in force`,
		},
		"conflict":                   {conflict, some, nil, Conflict, `RuntimeClass "kata" belongs to runtime "other"; revision a1 stays in force`},
		"gone, within the grace":     {vanished, some, nil, Uninstalling, "the spec is gone since 2026-11-20T11:59:40Z; the uninstall begins after the grace unless it comes back"},
		"gone, being uninstalled":    {removing, rollout.Summary{Total: 2}, []rollout.Reason{rollout.BudgetUsed}, Uninstalling, "2 nodes left; BudgetUsed 1"},
		"gone wins over halted":      {removing, halted, nil, Uninstalling, "3 nodes left; Failed 1"},
		"back, its mark still there": {both(prepare, func(r *desired.Runtime) { r.Vanished = now }), some, nil, Progressing, "the revision is being prepared"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			holds := map[string]rollout.Hold{}
			for i, reason := range c.reasons {
				holds[string(rune('a'+i))] = rollout.Hold{Reason: reason}
			}
			phase, message := phaseOf(inForce(c.change), &c.sum, holds)
			if phase != c.phase || message != c.message {
				t.Errorf("got  %s %q\nwant %s %q", phase, message, c.phase, c.message)
			}
		})
	}
}

// world is a plan of one runtime with these nodes, all of which are selected.
func world(nodes ...observed.Node) (*observed.Snapshot, *desired.Plan, *rollout.Decision) {
	r := inForce(nil)
	for range nodes {
		r.Targets = append(r.Targets, desired.Target{Want: desired.Installed, Why: desired.WhySelected})
	}
	for i := range nodes {
		nodes[i].Index()
	}
	decision := &rollout.Decision{Runtimes: []rollout.Summary{{Runtime: "kata", Total: len(nodes)}}}
	return &observed.Snapshot{Time: now, Nodes: nodes}, &desired.Plan{Runtimes: []desired.Runtime{*r}}, decision
}

func node(name string, p *observed.Progress) observed.Node {
	n := observed.Node{Name: name}
	if p != nil {
		n.Annotations = map[string]string{"kata.longshore.dev/progress": p.String()}
	}
	return n
}

func TestEveryNodeIsReportedWithTheReasonWhyItWaits(t *testing.T) {
	since := now.Add(-time.Minute)
	snap, plan, decision := world(
		node("done", &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: "a1", Attempt: 1, Since: since, Reason: "HandlersReported", Message: "the node reports handler kata"}),
		node("failed", &observed.Progress{Phase: observed.PhaseFailed, Operation: observed.Install, Revision: "a1", Attempt: 3, Since: since, Reason: "InstallFailed", Message: "exited 3"}),
		node("fresh", nil),
		node("old", &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: "a0", Since: since, Reason: "HandlersReported"}),
		node("others", nil),
		node("soaking", &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: "a1", Since: since}),
	)
	plan.Runtimes[0].Targets[4] = desired.Target{}
	decision.Holds = []rollout.Hold{
		{Node: "fresh", Runtime: "kata", Reason: rollout.BudgetUsed, Message: "1 of 1 nodes out of service: failed"},
		{Node: "old", Runtime: "kata", Reason: rollout.BudgetUsed, Message: "1 of 1 nodes out of service: failed"},
		{Node: "soaking", Runtime: "kata", Reason: rollout.Soaking, Message: "installed; watched"},
		{Node: "fresh", Runtime: "another", Reason: rollout.Held, Message: "not for kata"},
	}
	want := []NodeReport{
		{Node: "done", Phase: "Ready", Operation: observed.Install, Revision: "a1", Attempt: 1, Since: since, Reason: "HandlersReported", Message: "the node reports handler kata", Done: true},
		{Node: "failed", Phase: "Failed", Operation: observed.Install, Revision: "a1", Attempt: 3, Since: since, Reason: "InstallFailed", Message: "exited 3"},
		{Node: "fresh", Phase: "Pending", Reason: "BudgetUsed", Message: "1 of 1 nodes out of service: failed"},
		{Node: "old", Phase: "Ready", Operation: observed.Install, Revision: "a0", Since: since, Reason: "BudgetUsed", Message: "1 of 1 nodes out of service: failed"},
		{Node: "soaking", Phase: "Ready", Operation: observed.Install, Revision: "a1", Since: since, Reason: "Soaking", Message: "installed; watched"},
	}
	report := Of(snap, plan, decision)
	if diff := cmp.Diff(want, report.Runtimes[0].Nodes); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	if !report.Time.Equal(now) {
		t.Errorf("the time is %s", report.Time)
	}
}

func TestARuntimeThatLeftNothingBehindIsNotReported(t *testing.T) {
	snap, plan, decision := world()
	plan.Runtimes[0] = desired.Runtime{Name: "kata"}
	if got := Of(snap, plan, decision).Runtimes; len(got) != 0 {
		t.Errorf("reported %+v", got)
	}
	plan.Runtimes[0].Carrying = 1
	if got := Of(snap, plan, decision).Runtimes; len(got) != 1 {
		t.Error("a runtime that only stands on a node is not reported")
	}
}

func TestConditionsTellWhatAPhaseAloneDoesNot(t *testing.T) {
	snap, plan, decision := world()
	r := &plan.Runtimes[0]
	r.Selected, r.Total = 0, 0
	decision.Objects.Warnings = []rollout.Warning{{Runtime: "kata", Reason: "ForeignRuntimeClass", Message: "left alone"}, {Runtime: "other", Reason: "X"}}
	want := []Condition{
		{Type: "Ready", Status: "True", Reason: "Ready"},
		{Type: "Valid", Status: "True", Reason: "Accepted"},
		{Type: "Halted", Status: "False", Reason: "Running"},
		{Type: "Warning", Status: "True", Reason: "ForeignRuntimeClass", Message: "left alone"},
		{Type: "Warning", Status: "True", Reason: "NoNodeMatches", Message: `the selector "use=kata" matches no node`},
	}
	if diff := cmp.Diff(want, Of(snap, plan, decision).Runtimes[0].Conditions); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	r.Conflict, decision.Objects.Warnings = "taken", nil
	decision.Runtimes[0].Halted, decision.Runtimes[0].HaltedMessage = rollout.NothingSelected, "none"
	want = []Condition{
		{Type: "Ready", Status: "False", Reason: "Conflict"},
		{Type: "Valid", Status: "False", Reason: "Conflict"},
		{Type: "Halted", Status: "True", Reason: "NothingSelected", Message: "none"},
		{Type: "Warning", Status: "True", Reason: "NoNodeMatches", Message: `the selector "use=kata" matches no node`},
	}
	if diff := cmp.Diff(want, Of(snap, plan, decision).Runtimes[0].Conditions); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

func TestTheStatusAnnotationsOfASpec(t *testing.T) {
	report := RuntimeReport{
		Phase: Halted, Message: strings.Repeat("x", 2000), Revision: "a1", Done: 37, Total: 500, Conditions: []Condition{{Type: "Ready", Status: "False", Reason: "Halted"}},
	}
	got := report.Annotations(&observed.Spec{Runtime: "kata", Data: map[string]string{"b": "2", "a": "1"}})
	want := map[string]string{
		"longshore.dev/phase": "Halted", "longshore.dev/progress": "37/500", "longshore.dev/revision": "a1",
		"longshore.dev/message":       "…" + strings.Repeat("x", 1021),
		"longshore.dev/conditions":    `[{"type":"Ready","status":"False","reason":"Halted"}]`,
		"longshore.dev/observed-data": "keys=2\na=1\n--a\nb=2\n--b\nruntime=kata binaryData=0\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	report.Revision = ""
	if _, ok := report.Annotations(&observed.Spec{})[observed.SpecRevision]; ok {
		t.Error("a revision that is not there is told")
	}
	for key := range got {
		if !slices.Contains(observed.SpecAnnotations, key) {
			t.Errorf("%s is not in the list of status annotations, so that it would not be read back", key)
		}
	}
}

func TestASupersededSpecSaysWhichOneWinsAndHowToPrune(t *testing.T) {
	got := SupersededAnnotations(&observed.Spec{Name: "kata-1", Runtime: "kata", Data: map[string]string{"a": "1"}}, "kata-2")
	want := map[string]string{
		"longshore.dev/phase":         "Superseded",
		"longshore.dev/message":       `nothing in this ConfigMap is obeyed: ConfigMap "kata-2" of runtime "kata" is newer. If this one is meant, delete that one: kubectl delete configmap kata-2; else delete this one: kubectl delete configmap kata-1`,
		"longshore.dev/observed-data": "keys=1\na=1\n--a\nruntime=kata binaryData=0\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

// manyKeys are so many short keys that their copy is longer than data may be.
func manyKeys() map[string]string {
	data := map[string]string{}
	for i := range 15000 {
		data[strconv.FormatInt(int64(i), 36)] = ""
	}
	return data
}

func TestObservedDataHasTheFormOfTheContract(t *testing.T) {
	cases := map[string]struct {
		spec observed.Spec
		want string
	}{
		"no data": {observed.Spec{Runtime: "kata"}, "keys=0\nruntime=kata binaryData=0\n"},
		"sorted keys": {
			observed.Spec{Runtime: "kata", Data: map[string]string{"soak": "60s", "nodeSelector": "*", "a": ""}},
			"keys=3\na=\n--a\nnodeSelector=*\n--nodeSelector\nsoak=60s\n--soak\nruntime=kata binaryData=0\n",
		},
		"lines in a value": {
			observed.Spec{Runtime: "kata", Data: map[string]string{"installCmd": "- a\n- b\n", "z": "1"}},
			"keys=2\ninstallCmd=- a\n- b\n\n--installCmd\nz=1\n--z\nruntime=kata binaryData=0\n",
		},
		"binary data":                {observed.Spec{Runtime: "kata", BinaryData: map[string][]byte{"a": {1}, "b": nil}}, "keys=0\nruntime=kata binaryData=2\n"},
		"a pool":                     {observed.Spec{Pool: "blue"}, "keys=0\npool=blue binaryData=0\n"},
		"both labels":                {observed.Spec{Runtime: "kata", Pool: "blue"}, "keys=0\npool=blue binaryData=0\n"},
		"too large":                  {observed.Spec{Runtime: "kata", Data: map[string]string{"a": strings.Repeat("x", 40<<10)}, BinaryData: map[string][]byte{"b": make([]byte, 40<<10)}}, ""},
		"too many keys":              {observed.Spec{Runtime: "kata", Data: manyKeys()}, ""},
		"a value with its end in it": {observed.Spec{Runtime: "kata", Data: map[string]string{"a": "x\n--a\nb=1", "b": "2"}}, ""},
		"one that ends with its end": {observed.Spec{Runtime: "kata", Data: map[string]string{"a": "--a"}}, ""},
		"the end of another key":     {observed.Spec{Runtime: "kata", Data: map[string]string{"a": "--b"}}, "keys=1\na=--b\n--a\nruntime=kata binaryData=0\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ObservedData(&c.spec); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestNoTwoSpecsHaveTheSameObservedData is what health checks build on: a status that has this text speaks of this data and of no other.
func TestNoTwoSpecsHaveTheSameObservedData(t *testing.T) {
	key := rapid.StringMatching(`[a-b]{1,2}`)
	value := rapid.OneOf(rapid.StringMatching(`[a-b=\n-]{0,9}`), rapid.SampledFrom([]string{"x\n--a\nb=1", "1\n--a\nb=2", "--a\nb=2", "x"}))
	data := rapid.MapOfN(key, value, 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		one, other := data.Draw(t, "one"), data.Draw(t, "other")
		text := ObservedData(&observed.Spec{Runtime: "kata", Data: one})
		if text != "" && !maps.Equal(one, other) && text == ObservedData(&observed.Spec{Runtime: "kata", Data: other}) {
			t.Fatalf("%q and %q give the same text %q", one, other, text)
		}
	})
	one, other := map[string]string{"a": "x\n--a\nb=1", "b": "2"}, map[string]string{"a": "x", "b": "1\n--a\nb=2"}
	if ObservedData(&observed.Spec{Data: one}) == ObservedData(&observed.Spec{Data: other}) {
		t.Error("the pair for which the rule is there gives the same text")
	}
}
