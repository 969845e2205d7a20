package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// How a step is known to be done:
//
//	its installer has    is done when
//	a done label         its pod's command has begun and the label has been as wanted for labelSettle
//	a resident pod       the pod is Ready (completion Ready, the install alone)
//	neither              every command exited 0 and the pause container was started afterwards
//
// With completion NodeLabel an operation has several steps, each with a gate of its own. Between two of them the gate is closed, with the
// reason StepDone in the progress, until no installer pod is left on the node:
//
//	gate <rev>-pre ──done──► no gate, step install, StepDone ──pod has left──► gate <rev>-install ──done──► verified, Ready
//
// Where the spec verifies, that is one more step, whatever the completion, and begins when the node shows the handlers:
//
//	gate <rev>-install ──done, handlers reported──► no gate, step verify, StepDone ──pod has left──► gate <rev>-verify ──exited 0──► Ready

// labelSettle is how long a done label has to stand before it counts: a kubelet that registers again writes the labels that it remembers, and
// others a moment later.
const labelSettle = 3 * time.Second

// content is what is known of a revision, nil if nothing is.
func (d *decider) content(v *visit, revision string) *observed.RevisionContent {
	if rev := v.r.Revision(revision); rev != nil {
		return rev.Content
	}
	return nil
}

// gateOf is the gate label that belongs to a progress.
func (d *decider) gateOf(v *visit, p *observed.Progress) string {
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling:
		if p.Reason == string(StepDone) {
			return ""
		}
		return observed.GateValue(p.Revision, d.stepOf(v, p))
	case observed.PhaseReady:
		if d.resident(v, p.Revision) {
			return observed.GateValue(p.Revision, observed.StepInstall)
		}
	case observed.PhaseDraining, observed.PhaseBlocked:
		// What was there before is still at work.
		if !p.Broken && p.Previous != "" && p.Previous == p.Attempted && d.resident(v, p.Previous) {
			return observed.GateValue(p.Previous, observed.StepInstall)
		}
	case observed.PhasePending, observed.PhaseFailed:
	}
	return ""
}

// resident tells whether the pod of a revision's install stays for as long as the runtime is there.
func (d *decider) resident(v *visit, revision string) bool {
	content := d.content(v, revision)
	if content == nil {
		// Nobody knows; what stands there stays until somebody does.
		return v.state != nil && v.state.Gate == observed.GateValue(revision, observed.StepInstall)
	}
	return content.Completion == observed.CompletionReady
}

// runsOn tells whether the last command of a step is the main container of its pod, which the kubelet runs again however it ends.
func (d *decider) runsOn(v *visit, revision, step string) bool {
	if _, labelled := d.doneLabel(v, revision, step); labelled {
		return true
	}
	content := d.content(v, revision)
	return content != nil && content.Completion == observed.CompletionReady && step == observed.StepInstall
}

// stepOf is the step that an operation under way is at.
func (d *decider) stepOf(v *visit, p *observed.Progress) string {
	content := d.content(v, p.Revision)
	switch {
	case p.Step == observed.StepVerify:
		return p.Step
	case content == nil && v.state != nil:
		if revision, step, ok := observed.ParseGate(v.state.Gate); ok && revision == p.Revision && observed.OperationOf(step) == p.Operation {
			return step
		}
		// With completion Exit the progress may name a container: only a step has an installer of its own.
		if slices.Contains(p.Operation.Steps(), p.Step) && (p.Reason == string(StepDone) || d.installerThere(v.r.Name, p.Revision, p.Step)) {
			return p.Step
		}
	case content != nil && content.Completion == observed.CompletionNodeLabel:
		steps := content.Steps(p.Operation)
		if slices.Contains(steps, p.Step) {
			return p.Step
		}
		if len(steps) > 0 {
			return steps[0]
		}
	}
	return string(p.Operation)
}

// stepsOf are the steps of an operation, of which there is at least one. How an install is verified is no part of its revision: the spec in force says so, and only of
// the revision that is in force.
func (d *decider) stepsOf(v *visit, revision string, operation observed.Operation) []string {
	steps := []string{string(operation)}
	if content := d.content(v, revision); content != nil {
		if known := content.Steps(operation); len(known) > 0 {
			steps = known
		}
	}
	if operation == observed.Install && v.r.Spec != nil && v.r.Spec.Verify != nil && v.r.Current(revision) {
		steps = append(steps, observed.StepVerify)
	}
	return steps
}

// verifies tells whether what is left of an operation is to verify it.
func (d *decider) verifies(v *visit) bool {
	p := v.state.Progress
	steps := d.stepsOf(v, p.Revision, p.Operation)
	at := slices.Index(steps, d.stepOf(v, p))
	return at >= 0 && at+1 < len(steps) && steps[at+1] == observed.StepVerify
}

// doneLabel is the label by which a step says that it is done, false if it has none.
func (d *decider) doneLabel(v *visit, revision, step string) (spec.DoneLabel, bool) {
	content := d.content(v, revision)
	if content == nil || content.DoneLabels[step] == "" {
		return spec.DoneLabel{}, false
	}
	label, err := spec.ParseDoneLabel(content.DoneLabels[step])
	return label, err == nil
}

// unprepared says what a step's installer still needs before its gate opens, "" if it has all.
func (d *decider) unprepared(v *visit, revision, step string) string {
	if !d.installerThere(v.r.Name, revision, step) {
		return "waiting for DaemonSet " + observed.DaemonSetName(v.r.Name, step, revision)
	}
	label, ok := d.doneLabel(v, revision, step)
	if !ok {
		return ""
	}
	pod := &d.content(v, revision).DaemonSets[step].Spec.Template.Spec
	switch {
	case pod.AutomountServiceAccountToken == nil || !*pod.AutomountServiceAccountToken:
		// It changes the label with rights of its own.
	case d.snap.DoneLabels == nil:
		return fmt.Sprintf("ConfigMap %s is not there, which kustomize/default ships: without it no payload may change label %s on its node", observed.DoneLabelsName, label.Key)
	case !slices.Contains(strings.Split(*d.snap.DoneLabels, "\n"), label.Key):
		return fmt.Sprintf("label %s is being added to ConfigMap %s, which says what payloads may change on their nodes", label.Key, observed.DoneLabelsName)
	}
	return ""
}

// stepDone tells whether the step that a node is at is done, and if it is not, what it waits for, in words that go behind those about the pod.
// again is when time alone may make it done.
func (d *decider) stepDone(v *visit, pod *observed.Pod) (done bool, waits string, again time.Time) {
	p := v.state.Progress
	step := d.stepOf(v, p)
	if label, ok := d.doneLabel(v, p.Revision, step); ok {
		return d.labelDone(v, pod, label)
	}
	if p.Operation == observed.Install && d.content(v, p.Revision) != nil && d.resident(v, p.Revision) {
		if pod != nil && pod.Ready {
			return true, "", time.Time{}
		}
		return false, "waiting for the pod to become ready", time.Time{}
	}
	return pod != nil && finished(pod), "", time.Time{}
}

// labelDone is for a step that is done when the payload has set, or removed, a label on its own node.
func (d *decider) labelDone(v *visit, pod *observed.Pod, label spec.DoneLabel) (done bool, waits string, again time.Time) {
	have, there := v.node.Labels.Lookup(label.Key)
	switch {
	case label.Value == nil && there:
		return false, fmt.Sprintf("waiting for label %s to be removed", label.Key), time.Time{}
	case label.Value != nil && !there:
		return false, fmt.Sprintf("waiting for label %s", label), time.Time{}
	case label.Value != nil && have != *label.Value:
		return false, fmt.Sprintf("waiting for label %s, which is %q", label, have), time.Time{}
	case pod == nil || !started(pod):
		return false, fmt.Sprintf("label %s is as wanted, but no command has begun", label), time.Time{}
	}
	key := v.key()
	since, known := d.snap.Labelled[key]
	if !known {
		since = d.snap.Time
	}
	if d.out.Labelled == nil {
		d.out.Labelled = map[observed.NodeRuntime]time.Time{}
	}
	d.out.Labelled[key] = since
	if due := since.Add(labelSettle); d.snap.Time.Before(due) {
		return false, fmt.Sprintf("label %s is as wanted; it counts when it has stood for %s", label, labelSettle), due
	}
	return true, "", time.Time{}
}

// nextStep closes the gate of a step that is done where another one follows, and tells whether one does.
func (d *decider) nextStep(v *visit, pod *observed.Pod) bool {
	p := v.state.Progress
	steps := d.stepsOf(v, p.Revision, p.Operation)
	at := slices.Index(steps, d.stepOf(v, p))
	if at < 0 || at == len(steps)-1 {
		return false
	}
	next := *p
	next.PodUID, next.Exits = string(pod.UID), exits(pod)
	next.Step, next.Attempt, next.Excused = steps[at+1], 1, false
	next.Reason, next.Message = string(StepDone), fmt.Sprintf("step %s is done; step %s follows when its pod has left the node", steps[at], steps[at+1])
	d.move(v, CloseGate, &next, "", d.readyLabel(v))
	return true
}

// betweenSteps is for a node whose last step is done and whose next one has no gate yet.
func (d *decider) betweenSteps(v *visit) {
	p := v.state.Progress
	if d.repair(v, d.readyLabel(v)) {
		return
	}
	switch left, needs := d.lingering(v), d.unprepared(v, p.Revision, p.Step); {
	case left != nil:
		d.holdOrTimeOut(v, nil, InstallerLeft, p.Message+"; "+leaving(left))
	case !v.node.Ready:
		d.holdOrTimeOut(v, nil, NodeNotReady, p.Message+"; the node is NotReady"+since(v.node))
	case needs != "":
		d.holdOrTimeOut(v, nil, PreparingInstaller, needs)
	default:
		next := *p
		next.Reason, next.Message = "", ""
		d.moveLabels(v, NextStep, &next, d.labels(v, p.Revision, p.Step))
	}
}

// lingering is an installer pod that has to leave the node before a gate opens there, nil if there is none. The pods of runtimes that are
// Ready and whose payloads stay do not count.
func (d *decider) lingering(v *visit) *observed.Pod {
	for _, pod := range d.pods[v.n] {
		state := v.node.State(pod.Runtime)
		if !pod.Deleting && state != nil && state.Progress != nil && idlePhase(state.Progress.Phase) {
			if revision, step, ok := observed.ParseGate(state.Gate); ok && pod.DaemonSet == observed.DaemonSetName(pod.Runtime, step, revision) {
				continue
			}
		}
		return pod
	}
	return nil
}

// idlePhase tells whether no command is at work in a phase, so that a pod which stands behind its gate is that of a payload that stays.
func idlePhase(phase observed.Phase) bool {
	return phase == observed.PhaseReady || phase == observed.PhaseDraining || phase == observed.PhaseBlocked
}

// absent says what is wrong with the pod of a payload that stays, "" where it is Ready or where none stays. Of a node that is NotReady
// nobody knows.
func (d *decider) absent(v *visit) string {
	p := v.state.Progress
	if !d.resident(v, p.Revision) || d.content(v, p.Revision) == nil || d.unknown(v) {
		return ""
	}
	pod := d.pods.of(v.n, observed.DaemonSetName(v.r.Name, observed.StepInstall, p.Revision))
	if pod != nil && pod.Ready {
		return ""
	}
	_, words := d.waiting(pod)
	return "the payload's pod is not ready: " + words
}

// waitingFor says what a step under way waits for: what its pod shows, and what the step wants besides.
func (d *decider) waitingFor(v *visit, pod *observed.Pod, waits string) (Reason, string) {
	reason, words := d.waiting(pod)
	if waits == "" {
		return reason, words
	}
	if reason == WaitingForMain || (reason == PodNotStarted && current(pod).Restarts > 0) {
		// It has no other container to wait for.
		reason, words = CommandRunning, "the command exited 0, and the kubelet runs it again"
	}
	if reason == CommandRunning {
		reason = WaitingForReady
		if _, labelled := d.doneLabel(v, v.state.Progress.Revision, d.stepOf(v, v.state.Progress)); labelled {
			reason = WaitingForLabel
		}
	}
	return reason, words + "; " + waits
}
