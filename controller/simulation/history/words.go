package history

import (
	"fmt"
	"strings"

	"longshore.dev/longshore/observed"
)

// turnsText are bookings in words.
func turnsText(nodes []observed.Node, turns []observed.Turn) string {
	words := make([]string, 0, len(turns))
	for _, t := range turns {
		node := string(t.Node)
		for i := range nodes {
			if nodes[i].UID == t.Node {
				node = nodes[i].Name
			}
		}
		words = append(words, fmt.Sprintf("%s %s %s %s #%s", node, t.Runtime, t.Operation, t.Revision, t.ID))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// moveText is a transition in words.
func moveText(t *observed.Transition) string {
	text := "all keys off"
	if p := t.After; p != nil {
		text = fmt.Sprintf("%s %s %s previous=%s attempted=%s #%s %s %q", p.Phase, p.Operation, p.Revision, p.Previous, p.Attempted, p.Turn, p.Reason, p.Message)
	}
	if t.Gate != "" {
		text += " gate=" + t.Gate
	}
	if t.Ready != "" {
		text += " ready"
	}
	if t.Cordon != "" {
		text += " " + string(t.Cordon)
	}
	return text
}

// String is the state of the world in words.
func (w *World) String() string {
	var b strings.Builder
	for _, e := range w.specs.now() {
		fmt.Fprintf(&b, "spec %s: payload %s, selector %s, people %v, status %s: %s\n", e.name, e.value.Data["payloadImage"], e.value.Data["nodeSelector"], e.value.People,
			e.value.Annotations[observed.SpecPhase], e.value.Annotations[observed.SpecMessage])
	}
	for _, e := range w.nodes.now() {
		n := &e.value.seen
		fmt.Fprintf(&b, "%s: ready %t, cordoned %t, handlers %v, really %+v\n", n.Name, n.Ready, n.Unschedulable, n.Handlers, *w.machines[n.Name])
		for _, s := range n.States() {
			fmt.Fprintf(&b, "    %s: gate %q, ready %q, hold %q, %s\n", s.Runtime, s.Gate, s.Ready, s.Hold, s.Raw)
		}
		for _, p := range w.onNode(n.Name) {
			fmt.Fprintf(&b, "    pod %s: at %d of %d, runs %t, hangs %t, leaves %t\n", p.pod, p.at, len(p.steps), p.running, p.hangs, p.leaves)
		}
	}
	for _, e := range w.turns.now() {
		fmt.Fprintf(&b, "turns %s\n", turnsText(w.seen(), e.value.Booked))
	}
	for _, e := range w.revisions.now() {
		fmt.Fprintf(&b, "revision %s number %d bad %q pause %q vanished %q\n", e.name, e.value.Number, e.value.Annotations[observed.AnnotationBad],
			e.value.Annotations[observed.AnnotationPause], e.value.Annotations[observed.AnnotationVanished])
	}
	for _, e := range w.sets.now() {
		fmt.Fprintf(&b, "DaemonSet %s\n", e.name)
	}
	for _, e := range w.workloads.now() {
		fmt.Fprintf(&b, "workload %+v\n", e.value)
	}
	return b.String()
}

// seen are the nodes as they are.
func (w *World) seen() []observed.Node {
	nodes := make([]observed.Node, 0, len(w.nodes.now()))
	for _, e := range w.nodes.now() {
		nodes = append(nodes, e.value.seen)
	}
	return nodes
}
