package rollout

import (
	"maps"
	"slices"

	"longshore.dev/longshore/observed"
)

// finishTurns compares the bookings with those observed.
func (d *decider) finishTurns() {
	before := d.before
	if maps.Equal(before, d.booked) {
		return
	}
	d.out.Turns = slices.AppendSeq(make([]observed.Turn, 0, len(d.booked)), maps.Values(d.booked))
	slices.SortFunc(d.out.Turns, observed.Turn.Compare)
	for _, t := range d.out.Turns {
		if before[observed.NodeRuntime{Node: t.Node, Runtime: t.Runtime}] != t {
			d.out.Booked = append(d.out.Booked, t)
		}
	}
	for key, t := range before {
		if _, ok := d.booked[key]; !ok {
			d.out.Freed = append(d.out.Freed, t)
		}
	}
	slices.SortFunc(d.out.Freed, observed.Turn.Compare)
}

// Rebuild computes the bookings that must exist from what stands on the nodes: for a ConfigMap of turns that was lost. Nodes
// that hold a place all show it in their progress.
func Rebuild(nodes []observed.Node) []observed.Turn {
	var turns []observed.Turn
	for i := range nodes {
		for _, s := range nodes[i].States() {
			if s.Progress == nil || !placed(s.Progress) {
				continue
			}
			if t := turnOf(s.Progress); t.Revision != "" {
				t.Node, t.Runtime = nodes[i].UID, s.Runtime
				turns = append(turns, t)
			}
		}
	}
	slices.SortFunc(turns, observed.Turn.Compare)
	return turns
}

// placed tells whether a progress alone shows that the node is out of service.
func placed(p *observed.Progress) bool {
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseFailed, observed.PhaseDraining, observed.PhaseBlocked:
		return true
	case observed.PhasePending:
		return p.Reason == string(PayloadLeaving)
	case observed.PhaseReady:
		// A node that still soaks gets its place back at the next pass, before anything is booked.
	}
	return false
}
