package rollout

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// A node with the startup taint `<runtime>.longshore.dev/not-ready` is not in service yet: nobody loses anything while it is worked on. So it goes first, and outside of every budget,
// wave and maintenance window; holds and pauses are obeyed. The taint is taken off when the runtime is there.

// starting tells whether a node is not in service yet.
func (v *visit) starting() bool { return v.node.Starting(v.r.Name) }

// starts tells whether a wish is for the install of a node that is not in service yet.
func (w *wish) starts() bool { return w.operation == observed.Install && w.starting() }

// take counts a booking that is made, or ends, in the budgets of the runtime and of the node's pools.
func (d *decider) take(v *visit, more int) {
	if v.starting() || d.uncounted[v.key()] {
		return
	}
	d.places[v.r.Name] += more
	d.count(v.n, int32(more))
}

// exceptStarting takes the bookings of nodes that are not in service yet out of what counts.
func (d *decider) exceptStarting() {
	for i := range d.snap.Nodes {
		node := &d.snap.Nodes[i]
		if d.turnsOn[i] == 0 || len(node.Taints) == 0 {
			continue
		}
		for j := range d.plan.Runtimes {
			name := d.plan.Runtimes[j].Name
			if _, booked := d.booked[observed.NodeRuntime{Node: node.UID, Runtime: name}]; booked && node.Starting(name) {
				d.places[name]--
				d.turnsOn[i]--
			}
		}
	}
}

// untaint takes the startup taint off a node that has the runtime, and tells whether it had to. The node is in service from then on; it was nobody's loss before, so that its turn
// ends with that.
func (d *decider) untaint(v *visit) bool {
	if !v.starting() || v.state.Ready == "" || !v.node.Ready || v.target.Want == desired.Removed {
		return false
	}
	key := observed.NotReadyTaint(v.r.Name)
	after := slices.DeleteFunc(slices.Clone(v.node.Taints), func(t corev1.Taint) bool { return t.Key == key })
	next := *v.state.Progress
	next.Unwatched = true
	d.move(v, Untaint, &next, d.gateOf(v, &next), v.state.Ready)
	d.out.Moves[len(d.out.Moves)-1].Taints = &observed.Taints{Before: v.node.Taints, After: after}
	if v.holds && !d.unopened(v) {
		d.drop(v)
	}
	return true
}
