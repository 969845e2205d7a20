package rollout_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// TestEveryScenarioComesToRest carries every decision out until nothing is left to do: a world in which nobody else moves must not
// keep the controller writing. Each decision on the way obeys the invariants.
func TestEveryScenarioComesToRest(t *testing.T) {
	const most = 12
	for name, s := range allScenarios(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, s)
			var story []string
			for range most {
				decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
				story = append(story, fmt.Sprintf("pass %d:", len(story)))
				story = append(story, w.lines(decision)...)
				w.obeys(decision)
				if len(decision.Moves) == 0 && decision.Turns == nil {
					return
				}
				w.carryOut(decision)
			}
			t.Errorf("not at rest after %d passes:\n%s", most, story)
		})
	}
}

// obeys holds a decision against the invariants that can be seen from one decision and what it was made from.
func (w *world) obeys(d *rollout.Decision) {
	w.t.Helper()
	before := map[observed.NodeRuntime]observed.Turn{}
	for _, t := range w.snap.Turns.Booked {
		before[observed.NodeRuntime{Node: t.Node, Runtime: t.Runtime}] = t
	}
	moved := map[observed.NodeRuntime]bool{}
	for _, m := range d.Moves {
		key := observed.NodeRuntime{Node: m.UID, Runtime: m.Runtime}
		if moved[key] {
			w.t.Errorf("node %s is written twice for runtime %s", m.Node, m.Runtime)
		}
		moved[key] = true
		if m.Kind != rollout.OpenGate {
			continue
		}
		t := before[key]
		revision, step, _ := observed.ParseGate(m.Gate)
		if p := w.nodes[m.Node].Progress(m.Runtime); revision != t.Revision || observed.OperationOf(step) != t.Operation || (p != nil && p.Turn == t.ID) || m.After.Turn != t.ID {
			w.t.Errorf("the gate %s of node %s opens under the booking %+v", m.Gate, m.Node, t)
		}
	}
	for _, t := range d.Freed {
		for _, n := range w.snap.Nodes {
			if p := n.Progress(t.Runtime); n.UID == t.Node && p != nil && (p.Turn != t.ID || outOfService(p)) {
				w.t.Errorf("the place of node %s is free although its progress says %s", n.Name, p)
			}
		}
	}
}

// outOfService tells whether a node is under way, or has lost its payload to an operation that has not begun.
func outOfService(p *observed.Progress) bool {
	return p.Phase == observed.PhaseInstalling || p.Phase == observed.PhaseUninstalling || p.Reason == string(rollout.PayloadLeaving)
}

// carryOut writes what was decided.
func (w *world) carryOut(d *rollout.Decision) {
	for _, m := range d.Moves {
		n := w.nodes[m.Node]
		n.Annotations = maps.Clone(n.Annotations)
		for key, value := range map[string]string{observed.GateKey(m.Runtime): m.Gate, observed.ReadyKey(m.Runtime): m.Ready} {
			n.Labels = n.Labels.With(key, value)
			if value == "" {
				n.Labels = n.Labels.Without(key)
			}
		}
		for key, value := range m.Labels.Set {
			n.Labels = n.Labels.With(key, value)
		}
		for _, key := range m.Labels.Remove {
			n.Labels = n.Labels.Without(key)
		}
		if m.After == nil {
			n.Labels = n.Labels.Without(observed.PhaseKey(m.Runtime))
			delete(n.Annotations, observed.ProgressKey(m.Runtime))
			continue
		}
		n.Labels = n.Labels.With(observed.PhaseKey(m.Runtime), string(m.After.Phase))
		n.Annotations[observed.ProgressKey(m.Runtime)] = m.After.String()
	}
	for i := range w.snap.Nodes {
		n := w.nodes[w.snap.Nodes[i].Name]
		n.Index()
		w.snap.Nodes[i] = *n
	}
	if d.Turns == nil {
		return
	}
	version, err := strconv.Atoi(w.snap.Turns.ResourceVersion[1:])
	if err != nil {
		w.t.Fatal(err)
	}
	w.snap.Turns.Booked, w.snap.Turns.ResourceVersion = slices.Clone(d.Turns), fmt.Sprintf("t%d", version+1)
}
