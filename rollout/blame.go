package rollout

import (
	"fmt"

	"longshore.dev/longshore/observed"
)

// A node that goes NotReady, or whose operation does not end, may have been broken by the payload, and may as well have been taken away: by an autoscaler, by
// whoever reboots machines, by the cloud. What others caused is no failure of a revision.

// taken says who else is at work on a node, so that what happens to it now is not our failure, "" for nobody.
func (v *visit) taken() string {
	n := v.node
	switch {
	case n.Deleting:
		return "the node is being deleted"
	case n.Others != "":
		return n.Others
	case n.Unschedulable && !n.Ready && cordoner(n) == "":
		return "somebody cordoned the node"
	}
	return ""
}

// interrupt ends an operation that has used up its time, or its attempts, while somebody else was at work on the node: its turn goes back, and nothing has failed.
// What the command has done nobody knows, so that it counts as begun.
func (d *decider) interrupt(v *visit, pod *observed.Pod, by string) {
	p := v.state.Progress
	next := p.Next(observed.Progress{
		Phase: observed.PhasePending, Previous: p.Previous, Attempted: p.Attempted, Since: d.snap.Time, Reason: string(TurnReturned),
		Message:   fmt.Sprintf("the %s of revision %s was interrupted and is not counted as failed: %s", p.Operation, p.Revision, by),
		MachineID: p.MachineID, BootID: p.BootID, Retry: p.Retry, Turn: p.Turn,
	})
	if p.PodUID != "" || !v.node.Ready || (pod != nil && started(pod)) {
		next.Attempted = p.Revision
		if p.Operation == observed.Uninstall {
			next.Previous = ""
		}
	}
	if next.Previous != "" && d.resident(v, next.Previous) {
		// The node is without its payload, which left for this operation: it keeps its place.
		next.Reason = string(PayloadLeaving)
	}
	ready := d.readyLabel(v.with(next))
	if !v.node.Ready {
		ready = ""
	}
	d.move(v, Redirect, next, "", ready)
	d.out.Moves[len(d.out.Moves)-1].Labels = d.undoneLabels(v, next)
}

// watchTaken is for a node that went NotReady while it soaks, and that somebody else is at work on.
func (d *decider) watchTaken(v *visit, by string) {
	d.keep(v)
	v.sum.Soaking++
	d.holdUntil(v, NodeNotReady, d.soaked(v), "the node is NotReady"+since(v.node)+", which is not counted as a failure: "+by)
}
