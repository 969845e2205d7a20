package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// What all the mechanism is for: what works is never taken away without a person asking for it.

// asked is what people said of a runtime that may take it from nodes.
type asked struct {
	// edited is true once they edited its selector, or made a spec anew; agreed is true once they agreed to uninstalls of nodes that lost their labels.
	edited, agreed bool
}

// loses reports whether a write takes a runtime from a node that offers it at a proven revision, and what it was: an uninstall, or the ready label.
func (w *World) loses(c *change, rt string) (what string) {
	before, after := &c.before.seen, &c.after.seen
	p, next := before.Progress(rt), after.Progress(rt)
	if w.wiped[before.Name] || p == nil || p.Phase != observed.PhaseReady || before.Labels.Get(observed.ReadyKey(rt)) != "true" || !w.proven[rt+" "+p.Revision] {
		return ""
	}
	view := find2(c.by.view, before.Name)
	switch {
	case view == nil || view.MachineID != before.MachineID || (p.MachineID != "" && p.MachineID != before.MachineID):
		return ""
	case next == nil:
		return "everything is taken off"
	case next.Operation == observed.Uninstall && next.Phase != observed.PhaseReady:
		return "an uninstall begins"
	case after.Labels.Get(observed.ReadyKey(rt)) == "" && next.Phase == observed.PhaseReady && !w.scene.Resident && !denied(view, rt):
		return "the ready label goes"
	}
	return ""
}

func denied(n *observed.Node, rt string) bool {
	return n.Handlers != nil && !slices.Contains(n.Handlers, rt)
}

// keep looks whether what works was taken away without a person asking for it.
func (w *World) keep() string {
	for i := range w.last {
		c := &w.last[i]
		if c.after == nil {
			continue
		}
		for _, rt := range w.scene.Runtimes {
			if what := w.loses(c, rt); what != "" {
				if why := w.unasked(c, rt); why != "" {
					return fmt.Sprintf("%s offers %s at a proven revision, and %s: %s", c.after.seen.Name, rt, what, why)
				}
			}
		}
	}
	return ""
}

// unasked says why nobody asked for what a leader does to a node, by what that leader saw, "" where somebody did.
func (w *World) unasked(c *change, rt string) string {
	view := c.by.view
	var newest *observed.Revision
	for i := range view.Revisions {
		if r := &view.Revisions[i]; r.Runtime == rt && (newest == nil || r.Number > newest.Number) {
			newest = r
		}
	}
	there := false
	for i := range view.Specs {
		there = there || (view.Specs[i].Runtime == rt && !view.Specs[i].Deleting)
	}
	if newest == nil {
		return ""
	}
	if !there {
		gone, err := time.Parse(time.RFC3339, newest.Annotations[observed.AnnotationVanished])
		grace := desired.DefaultOptions().VanishGrace
		if w.dice == nil {
			// In small worlds there is none.
			grace = 0
		}
		if err != nil || view.Time.Sub(gone) < grace {
			return "the spec is gone, and its grace is not over"
		}
		return ""
	}
	selector := selectorOf(newest)
	node := find2(view, c.after.seen.Name)
	switch {
	case selector == nil:
		return ""
	case selector.Matches(&node.Labels):
		return "the spec is there, and selects it"
	case w.said[rt].edited || w.said[rt].agreed:
		return ""
	}
	return w.lost(view, rt, selector)
}

// lost says that too many nodes lost their labels for anybody to have meant it.
func (w *World) lost(view *observed.Snapshot, rt string, selector labels.Selector) string {
	carrying, lost := 0, 0
	for i := range view.Nodes {
		if s := view.Nodes[i].State(rt); !s.Carries() || s.LabelsAlone() {
			continue
		}
		carrying++
		if !selector.Matches(&view.Nodes[i].Labels) {
			lost++
		}
	}
	if lost == carrying {
		return fmt.Sprintf("all %d nodes that carry the runtime have lost their labels, and nobody edited the selector", lost)
	}
	return ""
}

// selectorOf is the selector of what is in force, nil where it cannot be read.
func selectorOf(rev *observed.Revision) labels.Selector {
	var data map[string]string
	if json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &data) != nil {
		return nil
	}
	parsed, errs := spec.Parse(rev.Runtime, data, nil)
	if len(errs) > 0 {
		return nil
	}
	return parsed.NodeSelector
}

// neverGivenUp looks whether a revision is given up by a leader that was proven.
func (w *World) neverGivenUp() string {
	for i := range w.last {
		c := &w.last[i]
		if c.marked == nil {
			continue
		}
		key := c.marked.Runtime + " " + c.marked.Revision
		if c.marked.Annotations[observed.AnnotationProven] != "" {
			w.proven[key] = true
		}
		if bad := c.marked.Bad(); bad != nil && !bad.Asked && w.proven[key] && c.wasGood {
			return fmt.Sprintf("revision %s was proven, and is given up: %s", c.marked.Name, bad.Reason)
		}
	}
	return ""
}

// blame looks whether something counts as our failure that others caused.
func (w *World) blame() string {
	for i := range w.last {
		c := &w.last[i]
		if c.after == nil {
			continue
		}
		view := find2(c.by.view, c.after.seen.Name)
		for _, rt := range w.scene.Runtimes {
			before, after := c.before.seen.Progress(rt), c.after.seen.Progress(rt)
			if view == nil || before == nil || after == nil || after.Phase != observed.PhaseFailed || before.Phase == observed.PhaseFailed || view.Others == "" {
				continue
			}
			switch rollout.Reason(after.Reason) {
			case rollout.HandlerLost, rollout.PayloadNotReady:
			default:
				return fmt.Sprintf("%s fails with %s (%s: %s), and somebody else is at work there: %s", view.Name, rt, after.Reason, after.Message, view.Others)
			}
		}
	}
	return ""
}

// mends reports whether an install brings a proven revision to a node that offers nothing. Nodes that failed and are Ready are not in its way.
func (w *World) mends(view *observed.Snapshot, n *observed.Node, rt string, operation observed.Operation, revision string) bool {
	if operation != observed.Install || n.Labels.Get(observed.ReadyKey(rt)) != "" {
		return false
	}
	return revisionIn(view, rt, revision).Proven()
}

func revisionIn(view *observed.Snapshot, rt, revision string) *observed.Revision {
	for i := range view.Revisions {
		if view.Revisions[i].Name == observed.RevisionName(rt, revision) {
			return &view.Revisions[i]
		}
	}
	return nil
}

func failedAndReady(n *observed.Node, rt string) bool {
	p := n.Progress(rt)
	return n.Ready && p != nil && p.Phase == observed.PhaseFailed && p.Operation == observed.Install
}
