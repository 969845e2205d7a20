package history

import (
	"fmt"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
)

// Phases are the columns of the coverage: where a node may be with a runtime when something happens. Nothing is a node that carries nothing of the runtime,
// Soaking one that is Ready and still watched.
var Phases = []string{"Nothing", "Pending", "Draining", "Blocked", "Installing", "Soaking", "Ready", "Failed", "Uninstalling"}

// Coverage counts how often something happened to a node in a phase.
type Coverage struct{ counts map[[2]string]int }

// NewCoverage counts from zero.
func NewCoverage() *Coverage { return &Coverage{counts: map[[2]string]int{}} }

// Add adds what others counted.
func (c *Coverage) Add(other *Coverage) {
	for pair, n := range other.counts {
		c.counts[pair] += n
	}
}

// Count is how often the event met the phase.
func (c *Coverage) Count(event, phase string) int { return c.counts[[2]string{event, phase}] }

// meet counts an event on a node, in the phase of every runtime there.
func (w *World) meet(event, name string) {
	e := w.nodes.get(name)
	if e == nil {
		return
	}
	for _, rt := range w.scene.Runtimes {
		w.coverage.counts[[2]string{event, w.phaseOf(&e.value.seen, rt)}]++
	}
}

// meetAll counts an event that concerns all nodes.
func (w *World) meetAll(event string) {
	for _, e := range w.nodes.now() {
		w.meet(event, e.name)
	}
}

func (w *World) phaseOf(n *observed.Node, runtime string) string {
	p := n.Progress(runtime)
	switch {
	case p == nil:
		return "Nothing"
	case p.Phase == observed.PhaseReady && w.soaks(p, 0):
		return "Soaking"
	}
	return string(p.Phase)
}

// Table is the coverage in lines of text.
func (c *Coverage) Table(events []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s", "")
	for _, p := range Phases {
		fmt.Fprintf(&b, "%13s", p)
	}
	b.WriteByte('\n')
	for _, event := range events {
		fmt.Fprintf(&b, "%-24s", event)
		for _, p := range Phases {
			fmt.Fprintf(&b, "%13d", c.Count(event, p))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Missing are the pairs that were not met and that are not among those that cannot be.
func (c *Coverage) Missing(events []string) []string {
	var missing []string
	for _, event := range events {
		for _, p := range Phases {
			if c.Count(event, p) == 0 && Impossible(event, p) == "" {
				missing = append(missing, event+" × "+p)
			}
		}
	}
	slices.Sort(missing)
	return missing
}
