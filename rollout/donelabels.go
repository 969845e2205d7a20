package rollout

import (
	"slices"

	"longshore.dev/longshore/observed"
)

// What Longshore itself does to done labels on a node:
//
//	a gate opens              the label of an earlier run goes; one whose absence will be the sign is set
//	taken back, not begun     what was set goes; the label of the install that still stands comes back
//	an uninstall is done      the labels of every revision that is known go

// labels are what has to be changed of a node's labels before the gate of a step opens: a done label of an earlier run goes, and one whose
// absence will be the sign is there.
func (d *decider) labels(v *visit, revision, step string) observed.Labels {
	var change observed.Labels
	label, ok := d.doneLabel(v, revision, step)
	if !ok {
		return change
	}
	have, there := v.node.Labels.Lookup(label.Key)
	switch {
	case label.Value == nil && !there:
		change.Set = map[string]string{label.Key: "true"}
	case label.Value != nil && there && have == *label.Value:
		change.Remove = []string{label.Key}
	}
	return change
}

// setLabel is the label that was set when the gate of a step opened, because its absence is the sign, "" if none was.
func (d *decider) setLabel(v *visit, revision, step string) string {
	label, ok := d.doneLabel(v, revision, step)
	if !ok || label.Value != nil || v.node.Labels.Get(label.Key) != "true" {
		return ""
	}
	return label.Key
}

// undoneLabels takes back what was done to the labels when the gate of an operation opened whose command has not begun.
func (d *decider) undoneLabels(v *visit, after *observed.Progress) observed.Labels {
	var change observed.Labels
	p := v.state.Progress
	if key := d.setLabel(v, p.Revision, d.stepOf(v, p)); key != "" && !d.leaves(v, p.Previous, key) {
		change.Remove = []string{key}
	}
	if after.Phase != observed.PhaseReady {
		return change
	}
	label, ok := d.doneLabel(v, after.Revision, observed.StepInstall)
	if ok && label.Value != nil && *label.Value != "" && v.node.Labels.Get(label.Key) != *label.Value {
		change.Set = map[string]string{label.Key: *label.Value}
	}
	return change
}

// leaves tells whether a revision leaves a label on its nodes.
func (d *decider) leaves(v *visit, revision, key string) bool {
	for _, step := range observed.Install.Steps() {
		if label, ok := d.doneLabel(v, revision, step); ok && label.Key == key && label.Value != nil {
			return true
		}
	}
	return false
}

// leftLabels are the done labels of any known revision that are still on the node: an uninstall leaves none, also of those that an upgrade
// has left behind.
func (d *decider) leftLabels(v *visit) observed.Labels {
	var change observed.Labels
	for _, rev := range v.r.History {
		if rev.Content == nil {
			continue
		}
		for step := range rev.Content.DoneLabels {
			label, ok := d.doneLabel(v, rev.Revision, step)
			if ok && v.node.Labels.Has(label.Key) && !slices.Contains(change.Remove, label.Key) {
				change.Remove = append(change.Remove, label.Key)
			}
		}
	}
	slices.Sort(change.Remove)
	return change
}
