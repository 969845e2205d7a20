package status

import (
	"fmt"
	"regexp"
	"slices"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// hashSuffix ends the name of a ConfigMap that kustomize generated: ten characters of the alphabet of its hash
// (api/hasher in sigs.k8s.io/kustomize).
var hashSuffix = regexp.MustCompile(`-[bcdfghkmt2456789]{10}$`)

// slips warn of what is valid and most likely not meant, in the order in which people should mend it.
func (o *reporter) slips(r *desired.Runtime) []Condition {
	var out []Condition
	warn := func(reason, format string, args ...any) {
		out = append(out, Condition{Type: "Warning", Status: "True", Reason: reason, Message: fmt.Sprintf(format, args...)})
	}
	if r.Surviving || r.Asked() != nil {
		// What is in force is not what this spec says.
		return nil
	}
	if r.Spec != nil && r.Selected == 0 && !r.Removing {
		warn("NoNodeMatches", "the selector %q matches no node", r.Spec.NodeSelectorText)
	}
	if r.Source == nil {
		return out
	}
	for _, s := range r.Superseded {
		warn("OlderSpec", "ConfigMap %q is of the same runtime and older: nothing in it is obeyed; delete the one that is not meant", s.Name)
	}
	if before := o.moved[string(r.Source.UID)]; before != nil && (before.Spec == nil || before.Spec.DeletionPolicy != spec.DeletionOrphan) {
		warn("LabelMoved", "this ConfigMap was the spec of runtime %q, which has none since then; its nodes are uninstalled after the grace unless it gets one", before.Name)
	}
	if words := waveWords(r); words != "" {
		warn("SyncWave", "%s", words)
	}
	return out
}

// waveWords says what may happen to a spec with a hash in its name and a sync wave, "" for nothing. gitops-engine prunes waves in reverse, so that
// Argo CD may leave the runtime without a spec for as long as the other waves take.
func waveWords(r *desired.Runtime) string {
	foreground := r.Spec != nil && r.Spec.DeletionPolicy == spec.DeletionForeground
	switch {
	case r.Source.SyncWave == "" || r.Source.SyncWave == "0" || !hashSuffix.MatchString(r.Source.Name):
		return ""
	case foreground:
		return "Argo CD deletes a ConfigMap with a hash in its name sync waves before it creates the next one, and waits until it is gone: with deletionPolicy Foreground the runtime is uninstalled first; " +
			"give the ConfigMap a fixed name, or take the annotation " + observed.AnnotationSyncWave + " off"
	case r.Spec == nil || r.Spec.DeletionGrace == nil:
		return "Argo CD deletes a ConfigMap with a hash in its name sync waves before it creates the next one: if that takes longer than the grace, the runtime is uninstalled; " +
			"set deletionGrace, give the ConfigMap a fixed name, or take the annotation " + observed.AnnotationSyncWave + " off"
	}
	return ""
}

// movedLabels finds runtimes without a spec whose last spec speaks for another runtime now, by the uid of the spec.
func movedLabels(plan *desired.Plan) map[string]*desired.Runtime {
	var moved map[string]*desired.Runtime
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		if r.Source != nil || r.Carrying == 0 || len(r.History) == 0 {
			continue
		}
		if moved == nil {
			moved = map[string]*desired.Runtime{}
		}
		moved[r.LastSource().UID] = r
	}
	return moved
}

// preparing has a report speak of what the spec asks for, also before that is in force: nodes may have it from before.
func (o *reporter) preparing(r *desired.Runtime, asked *spec.Runtime, report *RuntimeReport) {
	revisions := asked.Revisions()
	if r.Current(asked.Revision()) {
		revisions = nil // nodes are counted as ever: only how carefully it is done changes
	}
	report.Total = 0
	done := 0
	for i := range o.snap.Nodes {
		node := &o.snap.Nodes[i]
		selected := asked.NodeSelector.Matches(&node.Labels)
		if selected || node.State(r.Name).Carries() {
			report.Total++
		}
		if p := node.Progress(r.Name); selected && p != nil && p.Phase == observed.PhaseReady && slices.Contains(revisions, p.Revision) {
			done++
		}
	}
	if revisions != nil {
		report.Revision, report.Done = asked.Revision(), done
	}
}
