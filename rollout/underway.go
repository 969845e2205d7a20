package rollout

import (
	"fmt"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// visitUnderWay is for a node with an open gate.
func (d *decider) visitUnderWay(v *visit) {
	p := v.state.Progress
	if p.Operation == observed.Install {
		v.sum.Installing++
	} else {
		v.sum.Uninstalling++
	}
	d.busy[v.n] = v.r.Name
	d.keep(v)
	d.need(v, p.Revision, p.Operation)
	// Of a revision that cannot be read nothing else says that this step has an installer.
	d.needed[Installer{Runtime: v.r.Name, Revision: p.Revision, Step: d.stepOf(v, p)}] = true
	if p.Reason == string(StepDone) {
		d.betweenSteps(v)
		return
	}
	pod := d.pods.of(v.n, observed.DaemonSetName(v.r.Name, d.stepOf(v, p), p.Revision))
	if d.turnBack(v, pod) || d.noteExit(v, pod) || d.noteBegun(v, pod) || d.repair(v, d.readyLabel(v)) {
		return
	}
	done, waits, again := d.stepDone(v, pod)
	if done {
		if d.verifies(v) || !d.nextStep(v, pod) {
			d.verify(v, pod)
		}
		return
	}
	if !again.IsZero() {
		d.again(again)
	}
	reason, message := d.waitingFor(v, pod, waits)
	if !v.node.Ready {
		// What the pod shows may be old news then.
		message += "; the node is NotReady" + since(v.node)
	}
	d.holdOrTimeOut(v, pod, reason, message)
}

// turnBack takes an operation back whose command has not begun and which is not wanted any more. The gate closes first: the next one
// opens when the pod has left, so that two installers never meet on a node. What a NotReady node has begun nobody knows.
func (d *decider) turnBack(v *visit, pod *observed.Pod) bool {
	p := v.state.Progress
	if p.PodUID != "" || !v.node.Ready || (pod != nil && started(pod)) || !d.unwanted(v) {
		return false
	}
	if v.state.Gate != d.gateOf(v, p) {
		// Somebody wiped the gate: a command may have begun, and be gone with its pod.
		return false
	}
	next := p.Next(observed.Progress{
		Phase: observed.PhasePending, Previous: p.Previous, Attempted: p.Attempted, Since: d.snap.Time, Reason: string(TurnReturned),
		Message:   fmt.Sprintf("the %s of revision %s was not wanted any more before its command began", p.Operation, p.Revision),
		MachineID: p.MachineID, BootID: p.BootID, Retry: p.Retry, Turn: p.Turn, Repairs: max(p.Repairs-1, 0),
	})
	switch {
	case p.Previous == "" || p.Previous != p.Attempted:
	case d.resident(v, p.Previous):
		// It is as it was before the gate opened: without the payload, which left for this operation.
		next.Reason, next.Message = string(PayloadLeaving), next.Message+"; the payload of revision "+p.Previous+" has left the node"
	default:
		// The node is as it was.
		next.Phase, next.Operation, next.Revision, next.Previous, next.Attempted = observed.PhaseReady, observed.Install, p.Previous, "", ""
	}
	d.move(v, Redirect, next, "", d.readyLabel(v.with(next)))
	d.out.Moves[len(d.out.Moves)-1].Labels = d.undoneLabels(v, next)
	return true
}

// unwanted tells whether an operation under way is not what the node should have.
func (d *decider) unwanted(v *visit) bool {
	p := v.state.Progress
	if p.Operation == observed.Uninstall {
		return v.target.Want == desired.Installed || v.target.Why == desired.WhyMassDeselected || v.target.Why == desired.WhyNothingSelected
	}
	return v.target.Want == desired.Removed || (d.closed == "" && v.target.Want == desired.Installed && !v.r.Current(p.Revision) && !v.starting() && !v.settled())
}

// with is the visit of the same node with another progress.
func (v *visit) with(p *observed.Progress) *visit {
	other, state := *v, *v.state
	state.Progress = p
	other.state = &state
	return &other
}

// noteBegun writes down that a command began in a pod that did not live to tell how it ended: an uninstall will have to undo it.
func (d *decider) noteBegun(v *visit, pod *observed.Pod) bool {
	if v.state.Progress.PodUID != "" {
		return false
	}
	set := observed.DaemonSetName(v.r.Name, d.stepOf(v, v.state.Progress), v.state.Progress.Revision)
	for _, left := range d.pods[v.n] {
		if left != pod && left.DaemonSet == set && started(left) {
			next := *v.state.Progress
			next.PodUID, next.Exits = string(left.UID), exits(left)
			d.move(v, Repair, &next, d.gateOf(v, &next), d.readyLabel(v))
			return true
		}
	}
	return false
}

// noteLate writes down that a command began just as its gate was closing, before that could be seen.
func (d *decider) noteLate(v *visit) bool {
	p := v.state.Progress
	for _, pod := range d.pods[v.n] {
		if pod.Runtime != v.r.Name || string(pod.UID) == p.PodUID || !started(pod) {
			continue
		}
		operation, revision := operationOf(pod)
		next := *p
		switch {
		case p.Phase == observed.PhaseFailed && p.PodUID == "":
			next.PodUID = string(pod.UID)
		case p.Phase == observed.PhaseFailed, attempted(p) == revision && (operation == observed.Install || installed(p) == ""):
			continue
		default:
			next.Phase, next.Operation, next.Revision, next.Previous, next.Attempted = observed.PhasePending, "", "", installed(p), revision
			if operation == observed.Uninstall {
				next.Previous = ""
			}
			next.Since, next.Reason, next.Message = d.snap.Time, string(TurnReturned), fmt.Sprintf("the %s of revision %s began as its gate was closing", operation, revision)
		}
		d.move(v, Repair, &next, d.gateOf(v, &next), d.readyLabel(v.with(&next)))
		return true
	}
	return false
}

// noteExit counts failed ends of the command, and fails the node when its attempts are used up.
func (d *decider) noteExit(v *visit, pod *observed.Pod) bool {
	if pod == nil {
		return false
	}
	p := v.state.Progress
	fresh := d.freshExits(v, pod)
	if fresh <= 0 {
		return false
	}
	step, exit := lastExit(pod)
	next := *p
	next.PodUID, next.Exits = string(pod.UID), exits(pod)
	if exit != nil && killed(exit) && !p.Excused {
		next.Excused = true
		fresh--
	}
	next.Attempt = max(p.Attempt, 1) + fresh
	next.Step, next.Reason, next.Message = "", string(CommandFailed), "a command of the installer failed"
	if exit != nil {
		next.Step, next.Message = step, fmt.Sprintf("step %s %s", step, words(exit))+d.fetchAdvice(v, p.Revision, exit)
	}
	if content := d.content(v, p.Revision); p.Step == observed.StepVerify || (content != nil && content.Completion == observed.CompletionNodeLabel) {
		// The step is what the gate is of.
		next.Step = d.stepOf(v, p)
	}
	if done, _, settles := d.stepDone(v, pod); done || !settles.IsZero() {
		// The success that follows tells the whole story in one write; if its label goes again, the end is counted then.
		return false
	}
	if limit := d.attempts(v); next.Attempt > limit {
		if by := v.taken(); by != "" {
			d.interrupt(v, pod, by)
			return true
		}
		next.Attempt = limit
		reason := InstallFailed
		switch {
		case p.Operation == observed.Uninstall:
			reason = UninstallFailed
		case d.stepOf(v, p) == observed.StepVerify:
			reason = VerifyFailed
		}
		d.failAs(v, &next, reason, fmt.Sprintf("attempt %d of %d: %s", limit, limit, next.Message))
		return true
	}
	d.move(v, NoteExit, &next, d.gateOf(v, &next), d.readyLabel(v))
	return true
}

// freshExits is how many failed ends of the command are not counted yet. A command that is the pod's main container is run again after every
// end, and the kubelet counts those with 0 among its restarts: of several at once only the last is known to have failed.
func (d *decider) freshExits(v *visit, pod *observed.Pod) int {
	p := v.state.Progress
	seen := p.Exits
	if p.PodUID != string(pod.UID) {
		seen = 0
	}
	fresh := exits(pod) - seen
	if len(pod.Steps) > 0 && pod.Steps[len(pod.Steps)-1].Exit != nil && d.runsOn(v, p.Revision, d.stepOf(v, p)) {
		return min(fresh, 1)
	}
	return fresh
}

// verify is for a pod that has done its work: the node has to show it.
func (d *decider) verify(v *visit, pod *observed.Pod) {
	p := v.state.Progress
	switch {
	case !v.node.Ready:
		d.holdOrTimeOut(v, pod, WaitingForNode, "every step exited 0, but the node is NotReady")
	case d.stepOf(v, p) == observed.StepPre:
		d.holdOrTimeOut(v, pod, NoSnapshot, "step pre is done; no snapshot that can be read has the step that follows")
	case p.Operation == observed.Uninstall:
		d.move(v, RemoveKeys, nil, "", "")
		d.out.Moves[len(d.out.Moves)-1].Labels = d.leftLabels(v)
	case d.stepOf(v, p) != observed.StepVerify && len(d.missing(v, p.Revision)) > 0:
		d.holdOrTimeOut(v, pod, WaitingForHandlers, fmt.Sprintf("every step exited 0, but the node reports handlers %s; expected also %s",
			named(v.node.Handlers), strings.Join(d.missing(v, p.Revision), ", ")))
	case d.nextStep(v, pod):
	default:
		next := p.Next(observed.Progress{
			Phase: observed.PhaseReady, Operation: p.Operation, Revision: p.Revision, Attempt: p.Attempt, Since: d.snap.Time,
			PodUID: string(pod.UID), MachineID: v.node.MachineID, BootID: v.node.BootID, Retry: p.Retry, Turn: p.Turn, Repairs: p.Repairs,
		})
		if p.Previous != p.Revision {
			next.Previous = p.Previous
		}
		next.Reason, next.Message = d.proof(v)
		if d.stepOf(v, p) == observed.StepVerify {
			next.Reason, next.Message = string(Verified), "the command of verify exited 0 under the runtime"
		}
		d.move(v, Succeed, next, d.gateOf(v, next), d.readyLabel(v.with(next)))
	}
}

// proof says what a Ready node has shown.
func (d *decider) proof(v *visit) (reason, message string) {
	rev := v.r.Revision(v.state.Progress.Revision)
	switch {
	case rev == nil || rev.Content == nil || len(rev.Content.Classes) == 0:
		return string(NoHandlers), "every step exited 0; the runtime has no RuntimeClass"
	case v.node.Handlers == nil:
		return string(HandlersUnreported), "every step exited 0; the node reports no handlers, so that nothing more is known"
	}
	return string(HandlersReported), "the node reports handler " + strings.Join(rev.Content.Handlers(), ", ")
}

// holdOrTimeOut waits, or fails the node when the time for one operation is used up.
func (d *decider) holdOrTimeOut(v *visit, pod *observed.Pod, reason Reason, message string) {
	p := v.state.Progress
	due := p.Since.Add(d.timeout(v))
	if d.snap.Time.Before(due) {
		d.holdUntil(v, reason, due, message)
		return
	}
	if by := v.taken(); by != "" {
		d.interrupt(v, pod, by)
		return
	}
	failure := TimedOut
	if reason == WaitingForHandlers {
		failure = HandlersMissing
	}
	if (reason == CommandRunning || reason == WaitingForLabel || reason == WaitingForReady) && p.Message != "" {
		message += "; before that, " + p.Message
	}
	next := *p
	if pod != nil && (started(pod) || !v.node.Ready) {
		// What a NotReady node has begun nobody knows.
		next.PodUID = string(pod.UID)
	}
	if reason == WaitingForMain && !strings.Contains(pod.Main.Waiting, "Image") {
		// The container runtime did not come back: what was on offer before is not any more.
		v = v.with(p)
		v.state.Ready = ""
	}
	d.failAs(v, &next, failure, fmt.Sprintf("not done after %s: %s", d.timeout(v), message))
}

func (d *decider) timeout(v *visit) time.Duration {
	if v.r.Spec == nil {
		return 15 * time.Minute
	}
	return v.r.Spec.InstallTimeout
}

func (d *decider) attempts(v *visit) int {
	if v.r.Spec == nil {
		return 3
	}
	return v.r.Spec.Attempts
}

// fail ends an operation, or a soak, as failed.
func (d *decider) fail(v *visit, reason Reason, message string) {
	next := *v.state.Progress
	d.failAs(v, &next, reason, message)
}

func (d *decider) failAs(v *visit, next *observed.Progress, reason Reason, message string) {
	next.Phase, next.Since = observed.PhaseFailed, d.snap.Time
	next.Reason, next.Message = string(reason), message
	// One that gives its place back is in service.
	passedOver := d.passedOver(v, next)
	next.Cordoned = next.Cordoned && !passedOver
	if !passedOver {
		d.keep(v)
	}
	ready := d.readyLabel(v.with(next))
	if !v.node.Ready {
		// What was there before may be broken as well.
		ready = ""
	}
	d.move(v, Fail, next, "", ready)
}

// begin is the progress of a node whose gate opens now.
func (d *decider) begin(v *visit, revision string, operation observed.Operation) *observed.Progress {
	phase := observed.PhaseInstalling
	if operation == observed.Uninstall {
		phase = observed.PhaseUninstalling
	}
	next := observed.Progress{
		Phase: phase, Operation: operation, Step: d.stepsOf(v, revision, operation)[0], Revision: revision, Attempt: 1, Since: d.snap.Time,
		MachineID: v.node.MachineID, BootID: v.node.BootID, Turn: d.turn(v).ID,
	}
	if v.state == nil {
		return &next
	}
	next.Retry = v.state.Retry
	next.Cordoned = v.cordonedByUs()
	if p := v.state.Progress; p != nil {
		next.Previous, next.Attempted = installed(p), attempted(p)
		switch {
		case d.lostHandler(v) && p.Revision == revision:
			next.Repairs = d.repairsInARow(p) + 1
		case emptied(v):
			next.Repairs = p.Repairs
		}
		return p.Next(next)
	}
	return &next
}

// installed is the revision that a node offered last, "" if it never offered any.
func installed(p *observed.Progress) string {
	if p.Phase == observed.PhaseReady || failedInSoak(p) {
		return p.Revision
	}
	return p.Previous
}

// failedInSoak reports whether an operation was done before the node, or the payload that stays, failed.
func failedInSoak(p *observed.Progress) bool { return p.FailedAfter() }

// attempted is the revision whose command last began on a node, "" if none ever did. One that may have begun counts.
func attempted(p *observed.Progress) string {
	switch p.Phase {
	case observed.PhasePending, observed.PhaseDraining, observed.PhaseBlocked:
		return p.Attempted
	case observed.PhaseFailed:
		if p.PodUID == "" {
			return p.Attempted
		}
	default:
	}
	return p.Revision
}

// keptReady is the ready label of a node whose gate opens: it stays where the runtime stays on offer all along.
func (d *decider) keptReady(v *visit, revision string) string {
	if v.state == nil || v.state.Progress == nil || v.state.Ready == "" {
		return ""
	}
	before := installed(v.state.Progress)
	if before == "" || !d.keepsHandlers(v, before, revision) || len(d.missing(v, before)) > 0 {
		return ""
	}
	return v.state.Ready
}
