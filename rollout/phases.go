package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// visit is the state machine of one node; the phase that stands on the node chooses the row.
func (d *decider) visit(v *visit) {
	if v.state != nil && v.state.Gate != "" && v.state.Progress == nil {
		// Whatever the annotation said, an installer may be at work.
		d.busy[v.n] = v.r.Name
	}
	if v.state != nil && v.state.Problem != "" {
		v.sum.Failed++
		d.hold(v, UnreadableProgress, v.state.Problem+"; take the annotation off to have the node installed anew")
		return
	}
	if v.state.LabelsAlone() && d.visitLabel(v) {
		return
	}
	if v.state == nil || v.state.Progress == nil {
		if v.state != nil && v.state.Gate != "" {
			d.visitWiped(v)
			return
		}
		d.visitBlank(v)
		return
	}
	p := v.state.Progress
	if p.MachineID != "" && v.node.MachineID != "" && p.MachineID != v.node.MachineID {
		d.visitReplaced(v)
		return
	}
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling:
		d.visitUnderWay(v)
	case observed.PhaseReady:
		d.visitReady(v)
	case observed.PhaseFailed:
		d.visitFailed(v)
	case observed.PhaseDraining, observed.PhaseBlocked:
		d.visitEmptied(v)
	case observed.PhasePending:
		d.visitPending(v)
	}
}

// visitBlank is for a node without progress: never touched, or wiped by somebody.
func (d *decider) visitBlank(v *visit) {
	switch v.target.Want {
	case desired.Installed:
		v.sum.Pending++
		d.wish(v, observed.Install)
	case desired.Removed:
		// Something of ours is left although nobody knows what was installed: take it off with the newest commands.
		v.sum.Pending++
		d.wish(v, observed.Uninstall)
	case desired.Keep:
		v.sum.Pending++
		d.holdTarget(v)
	case desired.Unconcerned:
		switch {
		case v.holds && d.booked[v.key()].Operation == observed.Uninstall:
			// Nothing of ours is left, which is the result of an uninstall.
			d.drop(v)
		case v.holds:
			d.returnTurn(v, "the node is not concerned any more")
		}
	}
}

// visitLabel is for a node on which nothing but the ready label stands. Longshore writes it with a progress only: people put it there, for the sake of an autoscaler perhaps, or wiped
// everything else. Pods are sent to the node because of it, so that it goes at once where the node denies the runtime; what is paused or held is no reason to keep it. A
// label alone is no sign of a payload either, so that nothing is uninstalled for it.
func (d *decider) visitLabel(v *visit) bool {
	denied := false
	for _, rev := range v.r.History {
		// The goal, or else the newest that is known.
		if rev.Content != nil && (v.r.Goal == nil || rev == v.r.Goal) {
			denied = len(d.missing(v, rev.Revision)) > 0
			break
		}
	}
	if !denied && v.target.Want != desired.Removed {
		return false
	}
	v.sum.Pending++
	d.move(v, RemoveKeys, nil, "", "")
	return true
}

// visitWiped is for a node with a gate and no progress. A booking says that the gate is ours, and the operation goes on. The gate of a payload
// that stays is what such a node has when nothing is under way: were it to close, every node would lose its payload at once. Any other gate
// closes, and an install that it may have led to will be undone or done again.
func (d *decider) visitWiped(v *visit) {
	v.sum.Pending++
	revision, step, _ := observed.ParseGate(v.state.Gate)
	if t := d.turn(v); v.holds && revision == t.Revision && slices.Contains(d.stepsOf(v, t.Revision, t.Operation), step) {
		next := d.begin(v, t.Revision, t.Operation)
		next.Attempted, next.Step = t.Revision, step
		d.move(v, Repair, next, d.gateOf(v, next), "")
		return
	}
	if d.content(v, revision) != nil && d.resident(v, revision) && step == observed.StepInstall {
		next := &observed.Progress{
			Phase: observed.PhaseReady, Operation: observed.Install, Revision: revision, Attempt: 1, Since: d.snap.Time,
			MachineID: v.node.MachineID, BootID: v.node.BootID, Turn: d.turn(v).ID,
		}
		found := v.with(next)
		next.Reason, _ = d.proof(found)
		next.Message = "found with its gate, and without a progress"
		d.move(v, Repair, next, v.state.Gate, d.readyLabel(found))
		return
	}
	if v.r.Revision(revision) == nil {
		revision = ""
	}
	d.move(v, Repair, &observed.Progress{
		Phase: observed.PhasePending, Attempted: revision, Since: d.snap.Time, Reason: string(TurnReturned), Message: "a gate label stood on the node without a turn",
		MachineID: v.node.MachineID, BootID: v.node.BootID, Turn: d.turn(v).ID,
	}, "", "")
}

// visitPending is for a node that gave a turn back, was replaced, or lost a payload that stays to an operation that has not begun.
func (d *decider) visitPending(v *visit) {
	v.sum.Pending++
	if d.dismissed(v) {
		d.keepDismissed(v)
	}
	if d.noteLate(v) || d.repair(v, d.readyLabel(v)) {
		return
	}
	switch want := v.target.Want; {
	case want == desired.Installed:
		d.wish(v, observed.Install)
	case want == desired.Keep && (v.r.Source != nil || len(v.r.History) > 0):
		if d.dismissed(v) {
			d.restore(v)
			return
		}
		d.free(v)
		d.holdTarget(v)
	default:
		// A runtime that nothing is known of has nothing on a node where no command began.
		if v.state.Progress.Previous != "" || v.state.Progress.Attempted != "" {
			d.wish(v, observed.Uninstall)
			return
		}
		d.clear(v)
	}
}

// clear takes the keys off a node on which no command ever began, once no pod is left whose command might.
func (d *decider) clear(v *visit) {
	for _, pod := range d.pods[v.n] {
		if pod.Runtime == v.r.Name {
			d.hold(v, InstallerLeft, leaving(pod))
			return
		}
	}
	if d.free(v) {
		return
	}
	d.move(v, RemoveKeys, nil, "", "")
	if p := v.state.Progress; p.Revision != "" {
		if key := d.setLabel(v, p.Revision, d.stepsOf(v, p.Revision, p.Operation)[0]); key != "" {
			d.out.Moves[len(d.out.Moves)-1].Labels.Remove = []string{key}
		}
	}
}

func leaving(pod *observed.Pod) string { return "waiting for pod " + pod.Name + " to leave the node" }

// visitReplaced is for a node whose machine is another one than the one that was worked on: it starts from nothing.
func (d *decider) visitReplaced(v *visit) {
	v.sum.Pending++
	next := v.state.Progress.Next(observed.Progress{
		Phase: observed.PhasePending, Since: d.snap.Time, Reason: string(MachineReplaced),
		Message:   fmt.Sprintf("machine %s was replaced by %s", v.state.Progress.MachineID, v.node.MachineID),
		MachineID: v.node.MachineID, BootID: v.node.BootID, Retry: v.state.Progress.Retry, Turn: v.state.Progress.Turn,
	})
	d.move(v, Restart, next, "", "")
}

// visitReady is for a node that offers the runtime.
func (d *decider) visitReady(v *visit) {
	p := v.state.Progress
	v.sum.Ready++
	if d.resident(v, p.Revision) {
		d.need(v, p.Revision, observed.Install)
	}
	ready := d.readyLabel(v)
	end := d.soaked(v)
	soaking := d.snap.Time.Before(end) && d.mayWatch(v)
	if by := v.taken(); soaking && !v.node.Ready && by != "" {
		d.watchTaken(v, by)
		return
	}
	if soaking && !v.node.Ready {
		// It was Ready when the install ended, whatever the clock of the kubelet says.
		d.fail(v, NotReadyInSoak, fmt.Sprintf("the node went NotReady at %s, %s after the install", v.node.ReadySince.UTC().Format(time.RFC3339),
			max(v.node.ReadySince.Sub(p.Since).Round(time.Second), 0)))
		return
	}
	lost := p.Reason == string(HandlerLost)
	switch denied := v.r.Current(p.Revision) || provenRevision(v.r, p.Revision); {
	case soaking && v.target.Want == desired.Installed && v.r.Current(p.Revision) && len(d.missing(v, p.Revision)) > 0 && v.taken() == "" && !otherBoot(p.BootID, v.node):
		d.fail(v, HandlerLostInSoak, "the node does not report handler "+strings.Join(d.missing(v, p.Revision), ", ")+" any more, "+
			d.snap.Time.Sub(p.Since).Round(time.Second).String()+" after the install")
		return
	case v.target.Want == desired.Installed && denied && ready == "" && len(d.missing(v, p.Revision)) > 0:
		d.visitLost(v)
		return
	case (lost && ready != "") || (inTheWay(Reason(p.Reason)) && v.target.Want == desired.Installed && v.r.Current(p.Revision)):
		next := *p
		next.Reason, next.Message = d.proof(v)
		d.move(v, Repair, &next, d.gateOf(v, &next), ready)
		return
	}
	if d.noteLate(v) || d.repair(v, ready) || d.untaint(v) || d.noteReboot(v) {
		return
	}
	if soaking {
		d.keep(v)
	}
	switch absent := d.absent(v); {
	case v.target.Want == desired.Removed:
		d.wish(v, observed.Uninstall)
	case v.target.Want == desired.Installed && !v.r.Current(p.Revision):
		d.wish(v, observed.Install)
	case absent != "" && soaking:
		d.holdUntil(v, PayloadNotReady, end, absent)
	case absent != "" && v.holds && !d.unopened(v):
		// The place that it was watched in would never be free.
		d.fail(v, PayloadNotReady, "at the end of its soak "+absent)
	case absent != "" && v.target.Want == desired.Installed:
		d.free(v)
		d.hold(v, PayloadNotReady, absent)
	case soaking:
		v.sum.Soaking++
		d.holdUntil(v, Soaking, end, "installed; watched until "+end.UTC().Format(time.TimeOnly)+" UTC before it counts")
	case v.target.Want == desired.Installed:
		v.sum.Done++
		if v.course != nil {
			v.course.done[v.n] = true
		}
		d.free(v)
	default:
		d.free(v)
		d.holdTarget(v)
	}
}

// otherBoot tells whether a machine was booted since it was last looked at; where nobody says, it was not.
func otherBoot(boot string, node *observed.Node) bool {
	return boot != "" && node.BootID != "" && boot != node.BootID
}

// noteReboot writes down that a machine that was booted anew shows what it showed before, and tells whether it had to. That is a check, no operation: what a handler that is missing then asks for is decided
// before, and as long as the node, or the payload that stays, is not back, nothing is known.
func (d *decider) noteReboot(v *visit) bool {
	p := v.state.Progress
	if !otherBoot(p.BootID, v.node) || !v.node.Ready || d.absent(v) != "" || len(d.missing(v, p.Revision)) > 0 {
		return false
	}
	next := *p
	next.BootID = v.node.BootID
	if reason, shown := d.proof(v); !inTheWay(Reason(p.Reason)) {
		next.Reason, next.Message = cmp.Or(p.Reason, reason), "the machine was rebooted, and needed nothing: "+shown
	}
	d.move(v, Repair, &next, d.gateOf(v, &next), d.readyLabel(v))
	return true
}

// mayWatch tells whether a node that is within its soak has, or may have, a place in the budget to be watched in. One that had given its
// place back when somebody asked for a longer soak takes none beyond the budget: with it, it could begin whatever comes next. And if it
// went NotReady before that, it is not our failure.
func (d *decider) mayWatch(v *visit) bool {
	return v.holds || (v.node.Ready && d.used(v.r.Name) < v.allowed())
}

// visitLost is for a Ready node whose kubelet denies a handler that was there: drift, repaired through the budget. A payload that stays leaves
// when the node has its turn.
func (d *decider) visitLost(v *visit) {
	missing := strings.Join(d.missing(v, v.state.Progress.Revision), ", ")
	gate := d.gateOf(v, v.state.Progress)
	if v.state.Ready != "" || v.state.Gate != gate || v.state.Phase != string(observed.PhaseReady) {
		next := *v.state.Progress
		next.Reason, next.Message = string(HandlerLost), "the node does not report handler "+missing+" any more"
		d.move(v, Repair, &next, gate, "")
		return
	}
	repairs := d.repairsInARow(v.state.Progress)
	if repairs >= len(repairPauses) && !v.holds {
		d.fail(v, HandlerLost, fmt.Sprintf("handler %s was lost %d times, each time within %s of its install: something else rewrites the configuration of the container runtime", missing, repairs+1, lostSoon))
		return
	}
	if due := v.state.Progress.Since.Add(repairPauses[min(repairs, len(repairPauses)-1)]); d.snap.Time.Before(due) && !v.holds {
		d.holdUntil(v, HandlerLost, due, fmt.Sprintf("the node does not report handler %s any more, soon after its install; it is repaired from %s on", missing, due.UTC().Format(time.RFC3339)))
		return
	}
	d.wish(v, observed.Install)
}

// A handler that is lost soon after every repair is taken away by something else. Each repair restarts the container runtime, so that they come more and more seldom,
// and end.
const lostSoon = time.Hour

// repairPauses are how long after an install the handler may be repaired that was lost soon after it: at once, and later where it is the second or third time in a row.
var repairPauses = []time.Duration{0, 5 * time.Minute, 15 * time.Minute}

// repairsInARow is how many installs before this one brought back a handler that was lost soon.
func (d *decider) repairsInARow(p *observed.Progress) int {
	if d.snap.Time.Before(p.Since.Add(lostSoon)) {
		return p.Repairs
	}
	return 0
}

// visitFailed is for a node whose operation failed: it waits for people, a new revision or a retry.
func (d *decider) visitFailed(v *visit) {
	p := v.state.Progress
	v.sum.Failed++
	if d.noteLate(v) || d.repair(v, d.readyLabel(v)) {
		return
	}
	if !d.passedOver(v, p) {
		d.keep(v)
	}
	retry := v.state.Retry != "" && v.state.Retry != p.Retry
	switch v.target.Want {
	case desired.Removed:
		switch {
		case p.Operation == observed.Uninstall && !retry:
			d.keepFailed(v)
		case attempted(p) == "" && p.Previous == "":
			d.clear(v)
		default:
			d.wishRetry(v, observed.Uninstall, retry)
		}
	case desired.Installed:
		switch {
		case p.Operation == observed.Uninstall && !retry:
			// An uninstall that has begun is completed even if the spec comes back.
			d.keepFailed(v)
		case p.Operation == observed.Uninstall:
			d.wishRetry(v, observed.Uninstall, retry)
		case retry || !v.r.Current(p.Revision):
			d.wishRetry(v, observed.Install, retry)
		default:
			d.keepFailed(v)
		}
	case desired.Keep, desired.Unconcerned:
		d.keepFailed(v)
	}
}

// keepFailed leaves a failed node alone. It keeps its place in the budget, unless failures are to be passed over and the node works.
func (d *decider) keepFailed(v *visit) {
	if d.passedOver(v, v.state.Progress) {
		d.free(v)
		return
	}
	d.keep(v)
}

// passedOver reports whether a node that failed so gives its place back: because failures are to be passed over, or because others caused it.
func (d *decider) passedOver(v *visit, p *observed.Progress) bool {
	if !v.node.Ready {
		return false
	}
	if p.Reason == string(HandlerLost) || (v.r.Spec != nil && v.r.Spec.OnFailure == spec.OnFailureContinue) {
		return true
	}
	// It offered nothing before, and the revision is known to work: that is the node's own trouble.
	return p.Operation == observed.Install && v.state.Ready == "" && (p.Previous == "" || p.Previous == p.Revision) && !failedInSoak(p) && provenRevision(v.r, p.Revision)
}
