package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// frame is what `longshore status -w` shows at one moment, in a given space.
type frame struct {
	width, height int
	now           time.Time
	lines         []line
}

func (f *frame) add(s style, text string) {
	f.lines = append(f.lines, line{text: plain(text), style: s})
}

// last adds a line at the end, in place of the last one where there is no room left.
func (f *frame) last(s style, text string) {
	if f.height > 0 {
		f.lines = f.lines[:min(len(f.lines), f.height-1)]
		f.add(s, text)
	}
}

// stories fills the frame with the stories of nodes.
func (f *frame) stories(stories []status.Story) error {
	var b bytes.Buffer
	if err := printStories(&b, "table", told{Time: f.now, Nodes: stories}); err != nil {
		return err
	}
	for text := range strings.Lines(b.String()) {
		f.add(normal, strings.TrimRight(text, "\n"))
	}
	f.fit()
	return nil
}

// fit cuts the lines down to the height, and says how many are left out.
func (f *frame) fit() {
	over := len(f.lines) - f.height
	if over <= 0 {
		return
	}
	f.lines = f.lines[:max(f.height-1, 0)]
	f.last(faint, fmt.Sprintf("… and %d lines more", over+1))
}

// pools adds the pools that there is something to say about: one of which no version is in force holds every runtime.
func (f *frame) pools(pools []status.PoolReport) {
	for _, p := range pools {
		if p.Phase == status.Ready {
			continue
		}
		s := normal
		if p.Phase == status.Invalid {
			s = bad
		}
		for _, text := range wrap(plain(poolWords(&p)), max(f.width, 20), 3) {
			f.add(s, text)
		}
	}
}

func poolWords(p *status.PoolReport) string {
	return fmt.Sprintf("pool %s (ConfigMap %s) %s: %s", p.Name, p.ConfigMap, p.Phase, p.Message)
}

// runtimes fills the frame: for each runtime its bar, its message, its failed nodes with their words and its nodes under way. The room
// is shared; a runtime that does not need its share leaves it to the next.
func (f *frame) runtimes(reports []status.RuntimeReport) {
	if len(reports) == 0 {
		f.add(normal, "No runtimes: no ConfigMap with the label "+observed.LabelRuntime+" is in the namespace.")
	}
	widest := 0
	for i := range reports {
		widest = max(widest, cellsOf(plain(reports[i].Name)))
	}
	for i := range reports {
		room := max((f.height-len(f.lines))/(len(reports)-i), 2)
		f.runtime(&reports[i], widest, room)
	}
	f.fit()
}

func (f *frame) runtime(r *status.RuntimeReport, widest, room int) {
	underWay, failed := nodesOf(r)
	head := fmt.Sprintf("%s%s  %-12s ", plain(r.Name), strings.Repeat(" ", widest-cellsOf(plain(r.Name))), r.Phase)
	tail := fmt.Sprintf(" %d/%d", r.Done, r.Total)
	space := min(max(f.width-cellsOf(head)-cellsOf(tail)-2, 10), 50)
	f.add(strong, head+"["+bar(r, len(underWay), space)+"]"+tail)
	f.add(normal, "  "+r.Message)
	room -= 2
	if r.Done < r.Total {
		f.add(faint, "  "+leftWords(r.Left(f.now)))
		room--
	}
	// Failures first: they are what somebody has to do something about. But they leave half of the room to the others.
	shown := failureLines(failed, f.now, f.width-2)
	others := nodeLines(underWay, f.now)
	f.some(bad, shown, max(room-min(len(others), room/2), 0))
	f.some(normal, others, max(room-min(len(shown), max(room-min(len(others), room/2), 0)), 0))
}

// some adds as many lines as there is room for; the last says how many there are besides.
func (f *frame) some(s style, texts []string, room int) {
	if len(texts) > room && room > 0 {
		texts = append(slices.Clone(texts[:room-1]), fmt.Sprintf("… and %d lines more", len(texts)-room+1))
	}
	for _, text := range texts[:min(len(texts), room)] {
		f.add(s, "  "+text)
	}
}

// nodesOf are the nodes of a runtime that are under way, and those that failed.
func nodesOf(r *status.RuntimeReport) (underWay, failed []*status.NodeReport) {
	for i := range r.Nodes {
		n := &r.Nodes[i]
		switch {
		case n.Done:
		case n.Phase == string(observed.PhaseFailed) && !n.Since.IsZero() && !turning(n):
			failed = append(failed, n)
		case n.Phase != string(observed.PhasePending) && n.Phase != string(observed.PhaseReady) && n.Phase != string(observed.PhaseFailed), turning(n):
			underWay = append(underWay, n)
		}
	}
	return underWay, failed
}

// turning tells whether a node has a place in the budget, or gets one now, whatever its phase.
func turning(n *status.NodeReport) bool {
	switch n.Reason {
	case string(rollout.Soaking), string(rollout.WaitingForTurn), string(rollout.PreparingInstaller), string(rollout.InstallerLeft),
		string(status.OpeningGate), string(status.WritingResult), string(status.Repairing):
		return true
	}
	return false
}

// bar draws how far a runtime is: = done, > under way, ! failed.
func bar(r *status.RuntimeReport, underWay, space int) string {
	_, failed := nodesOf(r)
	var b strings.Builder
	for _, part := range []struct {
		sign  string
		count int
	}{{"=", r.Done}, {">", underWay}, {"!", len(failed)}} {
		if part.count == 0 || r.Total == 0 {
			continue
		}
		// Whatever there is can be seen, and only what is complete fills the bar.
		places := max(part.count*space/r.Total, 1)
		b.WriteString(strings.Repeat(part.sign, min(places, space-b.Len())))
	}
	return b.String() + strings.Repeat(" ", space-b.Len())
}

func leftWords(e status.Estimate) string {
	if !e.Known {
		return "time left unknown: " + e.How
	}
	return "about " + duration.HumanDuration(e.Left) + " left: " + e.How
}

func nodeLines(nodes []*status.NodeReport, now time.Time) []string {
	name, phase, step := 0, 0, 0
	for _, n := range nodes {
		name, phase, step = max(name, cellsOf(n.Node)), max(phase, cellsOf(n.Phase)), max(step, cellsOf(plain(stepOf(n))))
	}
	texts := make([]string, 0, len(nodes))
	for _, n := range nodes {
		texts = append(texts, fmt.Sprintf("%-*s  %-*s  %-*s  %4s  %s: %s", name, n.Node, phase, n.Phase, step, plain(stepOf(n)), dash(age(n.Since, now)), n.Reason, plain(n.Message)))
	}
	return texts
}

// stepOf is the step at work and the number of the try, if it is not the first.
func stepOf(n *status.NodeReport) string {
	text := n.Step
	if text == "" {
		text = string(n.Operation)
	}
	if n.Attempt > 1 {
		text += fmt.Sprintf(" (try %d)", n.Attempt)
	}
	return text
}

// failureLines are the failed nodes with their words, which may take three lines each.
func failureLines(nodes []*status.NodeReport, now time.Time, width int) []string {
	var texts []string
	for _, n := range nodes {
		text := fmt.Sprintf("%s  %s %s ago  %s: %s", n.Node, n.Phase, dash(age(n.Since, now)), n.Reason, plain(n.Message))
		for i, part := range wrap(text, max(width-2, 20), 3) {
			if i > 0 {
				part = "  " + part
			}
			texts = append(texts, part)
		}
	}
	return texts
}
