// Package status answers: how is it going?
//
// One Report feeds the annotations on specs, the events, the metrics and the command line.
package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// Phase is how a spec stands.
type Phase string

// The phases of a spec.
const (
	Progressing  Phase = "Progressing"
	Ready        Phase = "Ready"
	Paused       Phase = "Paused"
	Halted       Phase = "Halted"
	Invalid      Phase = "Invalid"
	Conflict     Phase = "Conflict"
	Uninstalling Phase = "Uninstalling"
	Superseded   Phase = "Superseded"
	RollingBack  Phase = "RollingBack"
)

// Report is how every runtime and every node of it stands.
type Report struct {
	Time     time.Time       `json:"time"`
	Runtimes []RuntimeReport `json:"runtimes"`
	Pools    []PoolReport    `json:"pools,omitempty"`
}

// RuntimeReport is how one runtime stands.
type RuntimeReport struct {
	Name     string `json:"name"`
	Phase    Phase  `json:"phase"`
	Message  string `json:"message"`
	Revision string `json:"revision,omitempty"`
	// Spec is the ConfigMap that speaks for the runtime, "" when it is gone.
	Spec string `json:"spec,omitempty"`
	// Done of Total nodes are Ready at the goal and watched for long enough.
	Done  int `json:"done"`
	Total int `json:"total"`
	// Places of the budget that are taken, and how many there are.
	BudgetUsed int          `json:"budgetUsed"`
	Budget     int          `json:"budget"`
	Conditions []Condition  `json:"conditions,omitempty"`
	Nodes      []NodeReport `json:"nodes,omitempty"`
	// Superseded are other specs of the name.
	Superseded []string `json:"superseded,omitempty"`
	// Tainted says that the payload is not the spec's, "" where it is.
	Tainted string `json:"tainted,omitempty"`
	// Panic is what the code failed with that reports on the runtime, with its stack, "" where it did not fail.
	Panic string `json:"panic,omitempty"`
}

// Condition is one fact about a spec, in the form that Kubernetes objects have it.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Object is what a refused write was to, as kind/name; Since is when it was first refused, and Words are why.
	Object string    `json:"object,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Words  string    `json:"words,omitempty"`
}

// Refusals are the refused writes that the status of the specs tells of: only the controller that met them knows them otherwise. They are taken to be left alone for a minute from
// now on.
func Refusals(snap *observed.Snapshot) map[observed.ObjectRef]observed.Refusal {
	var refused map[observed.ObjectRef]observed.Refusal
	for i := range snap.Specs {
		s := &snap.Specs[i]
		var conditions []Condition
		if s.Annotations[observed.SpecWarnings] == "" || json.Unmarshal([]byte(s.Annotations[observed.SpecConditions]), &conditions) != nil {
			continue
		}
		for _, c := range conditions {
			kind, name, ok := strings.Cut(c.Object, "/")
			if !ok || c.Words == "" {
				continue
			}
			if refused == nil {
				refused = map[observed.ObjectRef]observed.Refusal{}
			}
			refused[observed.ObjectRef{Kind: kind, Name: name, Runtime: s.Runtime}] = observed.Refusal{Words: c.Words, Since: c.Since, Until: snap.Time.Add(time.Minute), Times: 1}
		}
	}
	return refused
}

// Of reports on a decision.
func Of(snap *observed.Snapshot, plan *desired.Plan, decision *rollout.Decision) *Report {
	report := &Report{Time: snap.Time, Pools: pools(plan, decision)}
	o := newReporter(snap, decision)
	o.moved = movedLabels(plan)
	for i := range plan.Runtimes {
		r, sum := &plan.Runtimes[i], &decision.Runtimes[i]
		if r.Source == nil && len(r.History) == 0 && r.Carrying == 0 {
			continue
		}
		report.Runtimes = append(report.Runtimes, o.isolated(r, sum))
	}
	return report
}

// reporter finds what a decision says about a node.
type reporter struct {
	snap     *observed.Snapshot
	decision *rollout.Decision
	// By runtime, then by node.
	holds map[string]map[string]rollout.Hold
	moves map[string]map[string]rollout.Move
	// pods are the newest installer pods that are not on their way out, by runtime, then by node.
	pods map[string]map[string]*observed.Pod
	// moved are the runtimes that specs spoke for before their label was changed, by the uid of the spec.
	moved map[string]*desired.Runtime
}

// isolated is the report of a runtime. A panic there says so, and ends no other report.
func (o *reporter) isolated(r *desired.Runtime, sum *rollout.Summary) (report RuntimeReport) {
	defer func() {
		if failed := recover(); failed != nil {
			report = RuntimeReport{Name: r.Name, Total: sum.Total, Done: sum.Done, BudgetUsed: sum.Used, Budget: sum.Allowed, Panic: fmt.Sprintf("%v\n%s", failed, debug.Stack())}
			if r.Source != nil {
				report.Spec = r.Source.Name
			}
			report.fail(fmt.Sprint(failed))
		}
	}()
	return o.runtime(r, sum)
}

// Fail has a runtime say that Longshore failed with an internal error when it looked at it, or wrote for it.
func (r *Report) Fail(runtime, what string) {
	for i := range r.Runtimes {
		if r.Runtimes[i].Name == runtime {
			r.Runtimes[i].fail(what)
		}
	}
}

// PanicWords say what an internal error means for a runtime.
func PanicWords(what string) string {
	return "Longshore failed with an internal error and leaves the runtime alone; the controller's log has the stack, please report it: " + what
}

func (r *RuntimeReport) fail(what string) {
	r.Phase, r.Message = Halted, PanicWords(what)
	r.Conditions = append(slices.DeleteFunc(r.Conditions, func(c Condition) bool { return c.Type == "Halted" || c.Type == "Ready" }),
		Condition{Type: "Ready", Status: "False", Reason: string(Halted)},
		Condition{Type: "Halted", Status: "True", Reason: string(rollout.InternalError), Message: r.Message})
}

func newReporter(snap *observed.Snapshot, decision *rollout.Decision) *reporter {
	o := &reporter{
		snap: snap, decision: decision, holds: map[string]map[string]rollout.Hold{}, moves: map[string]map[string]rollout.Move{},
		pods: map[string]map[string]*observed.Pod{},
	}
	waiting := map[string]int{}
	for i := range decision.Holds {
		waiting[decision.Holds[i].Runtime]++
	}
	for runtime, count := range waiting {
		o.holds[runtime] = make(map[string]rollout.Hold, count)
	}
	for _, h := range decision.Holds {
		put(o.holds, h.Runtime, h.Node, h)
	}
	for _, m := range decision.Moves {
		put(o.moves, m.Runtime, m.Node, m)
	}
	for i := range snap.Pods {
		pod := &snap.Pods[i]
		if before := o.pods[pod.Runtime][pod.Node]; !pod.Deleting && (before == nil || before.Created.Before(pod.Created)) {
			put(o.pods, pod.Runtime, pod.Node, pod)
		}
	}
	return o
}

func put[T any](index map[string]map[string]T, runtime, node string, value T) {
	if index[runtime] == nil {
		index[runtime] = map[string]T{}
	}
	index[runtime][node] = value
}

func (o *reporter) runtime(r *desired.Runtime, sum *rollout.Summary) RuntimeReport {
	report := RuntimeReport{Name: r.Name, Done: sum.Done, Total: sum.Total, BudgetUsed: sum.Used, Budget: sum.Allowed}
	if r.Goal != nil {
		report.Revision = r.Goal.Revision
	}
	if r.Surviving {
		// What is in force is not what this spec says.
		report.Revision, report.Done = "", 0
	}
	if asked := r.Asked(); asked != nil {
		o.preparing(r, asked, &report)
	}
	if r.Source != nil {
		report.Spec = r.Source.Name
	}
	for _, s := range r.Superseded {
		report.Superseded = append(report.Superseded, s.Name)
	}
	report.Nodes = o.nodes(r)
	if o.decision.Rebuild {
		// Nothing was decided, so nothing was counted.
		counted := *sum
		counted.Done = report.done()
		sum, report.Done = &counted, counted.Done
	}
	report.Phase, report.Message = phaseOf(r, sum, o.holds[r.Name])
	if o.decision.Rebuild && report.Phase == Progressing {
		report.Message += "; the turns are made anew from the nodes before anything else happens"
	}
	if report.Tainted = r.Overridden(); report.Tainted != "" {
		report.Message += "; " + report.Tainted
	}
	report.Conditions = append(conditions(r, sum, o.decision, report), o.slips(r)...)
	return report
}

// done counts the nodes that are done.
func (r *RuntimeReport) done() int {
	count := 0
	for i := range r.Nodes {
		if r.Nodes[i].Done {
			count++
		}
	}
	return count
}

// phaseOf is the table of phases: the first line that fits.
//
//	Longshore fails with an internal error       Halted
//	the spec that is left is stale               Conflict
//	it is not in force yet                       Progressing
//	another runtime has what this one asks for   Conflict
//	the newest data is not valid                 Invalid
//	the spec is gone, its policy was Orphan      Ready
//	the spec is gone                             Uninstalling
//	the newest revision is bad, nodes go back    RollingBack
//	the same, and all are back, or cannot go     Halted
//	too many nodes failed, or none is selected   Halted
//	paused with nodes left to do                 Paused
//	every node is done                           Ready
//	otherwise                                    Progressing
func phaseOf(r *desired.Runtime, sum *rollout.Summary, holds map[string]rollout.Hold) (Phase, string) {
	switch {
	case sum.Halted == rollout.InternalError:
		return Halted, sum.HaltedMessage
	case r.Stale:
		return Conflict, r.Conflict
	case r.Waiting:
		return Progressing, "the ConfigMap that was in force is gone, and this one is older; nodes stay as they are" + waitWords(r)
	case r.Conflict != "":
		return Conflict, r.Conflict + lastGood(r) + pausedWords(r)
	case len(r.Errors) > 0:
		return Invalid, errorsText(r.Errors) + lastGood(r) + pausedWords(r)
	case r.Orphaned:
		return Ready, fmt.Sprintf("the spec is gone since %s; %d nodes keep the runtime, because its deletionPolicy was Orphan", r.Vanished.UTC().Format(time.RFC3339), r.Carrying)
	case r.Source == nil && !r.Vanished.IsZero() && !r.Removing:
		return Uninstalling, "the spec is gone since " + r.Vanished.UTC().Format(time.RFC3339) + "; the uninstall begins after the grace unless it comes back" + letGo(r)
	case r.Removing:
		return Uninstalling, fmt.Sprintf("%d nodes left%s%s", sum.Total, why(sum, holds), letGo(r))
	case r.Spec == nil || r.Preparing():
		return Progressing, "the revision is being prepared"
	case r.Bad != nil && sum.Halted == "" && goingBack(r, sum):
		return RollingBack, badWords(r, sum) + tail(sum, holds)
	case r.Bad != nil:
		return Halted, badWords(r, sum) + tail(sum, holds)
	case sum.Halted != "":
		return Halted, sum.HaltedMessage + tail(sum, holds)
	case sum.Total == 0:
		return Ready, fmt.Sprintf("the selector %q matches no node", r.Spec.NodeSelectorText)
	case sum.Done == sum.Total:
		return Ready, fmt.Sprintf("%d of %d nodes done", sum.Done, sum.Total)
	case r.Spec.Paused:
		return Paused, fmt.Sprintf("paused with %d of %d nodes done%s", sum.Done, sum.Total, why(sum, holds))
	case r.Pause != nil:
		return Paused, fmt.Sprintf("people paused the runtime (%q) with %d of %d nodes done%s", r.Pause.Reason, sum.Done, sum.Total, why(sum, holds))
	}
	return Progressing, fmt.Sprintf("%d of %d nodes done%s", sum.Done, sum.Total, why(sum, holds))
}

// waitWords say until when an older spec waits, once that is written down.
func waitWords(r *desired.Runtime) string {
	if r.InForceAt.IsZero() {
		return ""
	}
	at := r.InForceAt.UTC().Format(time.RFC3339)
	if r.ComesIntoForce() {
		return "; it comes into force at " + at + " unless a newer one comes before; longshore retry " + r.Name + " has it in force at once"
	}
	return "; it is a Conflict at " + at + " unless a newer one comes before; longshore retry " + r.Name + " has it in force"
}

// goingBack reports whether nodes still have to go back to the revision before a bad one, or have to be uninstalled.
func goingBack(r *desired.Runtime, sum *rollout.Summary) bool {
	left := -sum.Done
	for i := range r.Targets {
		if r.Targets[i].Want == desired.Installed || r.Targets[i].Want == desired.Removed {
			left++
		}
	}
	return left > 0
}

// pausedWords says that people paused a runtime whose spec is not in force, "" where nobody did.
func pausedWords(r *desired.Runtime) string {
	if r.Pause == nil {
		return ""
	}
	return fmt.Sprintf("; people paused the runtime (%q)", r.Pause.Reason)
}

// GivenUpWords says what becomes of nodes when a revision is bad, and why it is.
func GivenUpWords(revision string, bad *observed.Bad) string {
	if bad.To == "" {
		return fmt.Sprintf("revision %s is given up, and there is none to go back to: nodes that offer the runtime keep it, the others are uninstalled: %s", revision, bad.Reason)
	}
	return fmt.Sprintf("revision %s is given up, and nodes go back to revision %s: %s", revision, bad.To, bad.Reason)
}

// badWords says what is bad, and what people can do.
func badWords(r *desired.Runtime, sum *rollout.Summary) string {
	words := GivenUpWords(r.BadRevision, r.Bad)
	if r.Goal == nil {
		words += "; the ControllerRevision of that one is not there any more, so that nodes stay as they are"
	}
	if sum.Halted != "" {
		words += "; going back is halted: " + sum.HaltedMessage
	}
	return words + "; change the spec, or have it tried again with: longshore retry " + r.Name
}

// letGo says what holds a spec that was deleted, "" where nothing does.
func letGo(r *desired.Runtime) string {
	if len(r.Ending) == 0 {
		return ""
	}
	return "; the ConfigMap goes when no node carries the runtime any more, or at once with: longshore release " + r.Name
}

func lastGood(r *desired.Runtime) string {
	if r.Surviving {
		return "; the ConfigMap that was in force is gone, and nodes stay as they are"
	}
	if r.Goal == nil {
		return "; nothing valid was there before, so nothing is done"
	}
	return "; revision " + r.Goal.Revision + " stays in force"
}

func errorsText(errs field.ErrorList) string {
	words := make([]string, 0, len(errs))
	for _, e := range errs {
		words = append(words, e.Error())
	}
	return strings.Join(words, "; ")
}

func tail(sum *rollout.Summary, holds map[string]rollout.Hold) string {
	return fmt.Sprintf(" (%d of %d nodes done%s)", sum.Done, sum.Total, why(sum, holds))
}

// why counts the nodes that are not done by reason.
func why(sum *rollout.Summary, holds map[string]rollout.Hold) string {
	counts := map[string]int{}
	for _, h := range holds {
		counts[string(h.Reason)]++
	}
	if n := len(sum.FailedNodes); n > 0 {
		counts["Failed"] = n
	}
	if len(counts) == 0 {
		return ""
	}
	return "; " + countWords(counts)
}

// countWords names reasons in order, each with its number.
func countWords(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", reason, counts[reason]))
	}
	return strings.Join(words, ", ")
}

// conditions are the facts that a phase alone does not tell.
func conditions(r *desired.Runtime, sum *rollout.Summary, decision *rollout.Decision, report RuntimeReport) []Condition {
	truth := func(b bool) string {
		if b {
			return "True"
		}
		return "False"
	}
	out := []Condition{
		{Type: "Ready", Status: truth(report.Phase == Ready), Reason: string(report.Phase)},
		{Type: "Valid", Status: truth(len(r.Errors) == 0 && r.Conflict == ""), Reason: validReason(r)},
		halted(r, sum, truth),
	}
	if report.Tainted != "" {
		out = append(out, Condition{Type: "Tainted", Status: "True", Reason: "PayloadConfig", Message: report.Tainted})
	}
	for _, w := range decision.Objects.Warnings {
		if w.Runtime == r.Name {
			c := Condition{Type: "Warning", Status: "True", Reason: w.Reason, Message: w.Message}
			if w.Refused != nil {
				c.Object, c.Since, c.Words = w.Refused.Object.Kind+"/"+w.Refused.Object.Name, w.Refused.Since, w.Refused.Words
			}
			out = append(out, c)
		}
	}
	return out
}

// halted says whether new turns are given for what the spec asks for.
func halted(r *desired.Runtime, sum *rollout.Summary, truth func(bool) string) Condition {
	c := Condition{Type: "Halted", Status: truth(sum.Halted != "" || r.Bad != nil), Reason: cmp.Or(string(sum.Halted), "Running"), Message: sum.HaltedMessage}
	if r.Bad != nil {
		c.Reason, c.Message = "RevisionBad", badWords(r, sum)
	}
	return c
}

func validReason(r *desired.Runtime) string {
	switch {
	case r.Conflict != "":
		return "Conflict"
	case len(r.Errors) > 0:
		return "Invalid"
	}
	return "Accepted"
}
