package rollout

import (
	"fmt"

	"longshore.dev/longshore/observed"
)

// A payload that stays leaves its node before the next operation begins there. From then on the node is out of service and under way, although
// no command has begun and its phase is Pending:
//
//	Ready, gate <rev>-install ──dismiss──► Pending, PayloadLeaving ──pod has left──► the operation that was booked
//	                                                               ──nothing may begin──► Ready again, with its gate
//
// So the place in the budget stays, and nothing that only keeps operations from beginning holds this one up.

// dismiss closes the gate of a payload that stays, so that its pod leaves before the next operation begins; the turn is kept. What the payload
// offered stays on offer where the next revision offers it too.
func (d *decider) dismiss(w *wish) {
	p := w.state.Progress
	ready := ""
	if w.operation == observed.Install {
		ready = d.keptReady(w.visit, w.revision)
	}
	next := p.Next(observed.Progress{
		Phase: observed.PhasePending, Previous: installed(p), Attempted: attempted(p), Since: d.snap.Time, Reason: string(PayloadLeaving),
		Message:   fmt.Sprintf("the payload of revision %s leaves the node before the %s begins", installed(p), w.operation),
		MachineID: p.MachineID, BootID: p.BootID, Retry: p.Retry, Turn: p.Turn, Cordoned: w.cordonedByUs(),
	})
	d.move(w.visit, CloseGate, next, "", ready)
}

// dismissed tells whether the payload that stays has left a node, or is leaving it, and no operation has begun since.
func (d *decider) dismissed(v *visit) bool {
	if v.state == nil || v.state.Progress == nil {
		return false
	}
	p := v.state.Progress
	return p.Phase == observed.PhasePending && p.Previous != "" && (p.Reason == string(PayloadLeaving) || d.resident(v, p.Previous))
}

// keepDismissed makes sure that a node whose payload has left keeps its place, and that no other runtime begins there.
func (d *decider) keepDismissed(v *visit) {
	d.keep(v)
	if d.busy[v.n] == "" {
		d.busy[v.n] = v.r.Name
	}
}

// restore has the payload come back to a node on which nothing may begin any more. Where another command may have begun since, or nobody
// knows what stood there, the node waits.
func (d *decider) restore(v *visit) {
	p := v.state.Progress
	if !v.node.Ready || p.Attempted != p.Previous || !d.resident(v, p.Previous) {
		d.holdTarget(v)
		return
	}
	if left := d.lingering(v); left != nil {
		d.hold(v, InstallerLeft, leaving(left))
		return
	}
	d.need(v, p.Previous, observed.Install)
	next := p.Next(observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: p.Previous, Attempt: 1, Since: d.snap.Time,
		MachineID: p.MachineID, BootID: p.BootID, Retry: p.Retry, Turn: d.booked[v.key()].ID,
	})
	back := v.with(next)
	next.Reason, next.Message = d.proof(back)
	d.move(v, Repair, next, d.gateOf(v, next), d.readyLabel(back))
}
