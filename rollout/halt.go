package rollout

import (
	"fmt"
	"slices"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// countFailed lists the nodes that failed at what they should have now. Failures of another revision do not count: they are history.
func (d *decider) countFailed(index int, sum *Summary) {
	r := &d.plan.Runtimes[index]
	failed := func(s *observed.State) bool { return s.Progress != nil && s.Progress.Phase == observed.PhaseFailed }
	if !slices.ContainsFunc(d.kinds[index], failed) {
		return
	}
	for i, s := range d.stands[index] {
		if s.state == nil || !failed(s.state) {
			continue
		}
		p := s.state.Progress
		want := r.Targets[i].Want
		// A failed uninstall has to be completed before anything else, whatever the node should have now.
		uninstall := p.Operation == observed.Uninstall && (want == desired.Removed || want == desired.Installed)
		install := p.Operation == observed.Install && want == desired.Installed && r.Current(p.Revision)
		// What others took from the node, or are taking, is no failure of the revision.
		blameless := p.Reason == string(HandlerLost) || d.snap.Nodes[i].Deleting
		if (uninstall || install) && !blameless {
			sum.FailedNodes = append(sum.FailedNodes, FailedNode{Node: d.snap.Nodes[i].Name, Reason: p.Reason, Message: p.Message, Operation: p.Operation, Since: p.Since})
		}
	}
}

// lostWords says which labels are gone, and what people can do.
func lostWords(r *desired.Runtime) string {
	lost := fmt.Sprintf("%d of %d nodes that carry the runtime lost the labels of the selector %q", r.Lost.Nodes, r.Carrying, r.Spec.NodeSelectorText)
	if r.Lost.Halted == desired.HaltedNothingSelected {
		lost += ", so that no node has them any more"
	}
	return fmt.Sprintf("%s at about the same time, at %s, and nobody edited the selector: nothing is uninstalled until the labels are back or the selector is edited; if the runtime is to go from these nodes, say: longshore resume --deselected %s",
		lost, r.Lost.Time.UTC().Format(time.RFC3339), r.Name)
}

// halt says whether the runtime gives no new turns, and why.
func (d *decider) halt(index int, sum *Summary) {
	r := &d.plan.Runtimes[index]
	if why, frozen := r.Frozen(); frozen && why == desired.WhyNothingSelected {
		sum.Halted = NothingSelected
		sum.HaltedMessage = fmt.Sprintf("the spec selects no node any more while %d nodes carry the runtime; nothing is uninstalled until it selects some or is deleted", r.Carrying)
		return
	}
	if why, frozen := r.Frozen(); frozen && why == desired.WhyMassDeselected {
		sum.Halted, sum.HaltedMessage = Reason(r.Lost.Halted), lostWords(r)
		return
	}
	if r.Spec == nil || r.Goal == nil || r.Spec.OnFailure == spec.OnFailureContinue {
		return
	}
	limit := spec.ScaledFailed(r.Spec.MaxFailed, r.Total)
	if len(sum.FailedNodes) <= limit {
		return
	}
	failed := failedWords(sum.FailedNodes, r.Spec.MaxFailed.String())
	sum.Halted = Halted
	rollback := r.Spec.OnFailure == spec.OnFailureRollback && r.Bad == nil && r.Source != nil && !r.Removing && slices.ContainsFunc(sum.FailedNodes, FailedNode.install)
	switch settled, next := d.settledFailures(sum.FailedNodes); {
	case r.Goal.Proven():
		sum.HaltedMessage = fmt.Sprintf("%s; revision %s is proven and stays in force: mend the nodes, and annotate them with %s to try them again", failed, r.Goal.Revision, observed.RetryKey(r.Name))
	case rollback && len(settled) > limit:
		bad := Bad{Runtime: r.Name, Revision: r.Goal.Revision, To: d.lastGood(index), Reason: failedWords(settled, r.Spec.MaxFailed.String())}
		if !d.waits(d.refusal("ControllerRevision", r.Goal.Name, r.Name)) {
			d.out.Bad = append(d.out.Bad, bad)
		}
		sum.HaltedMessage = failed + "; revision " + bad.Revision + " is given up"
	case rollback && !next.IsZero():
		d.again(next)
		sum.HaltedMessage = fmt.Sprintf("%s; revision %s is given up if they are still there at %s", failed, r.Goal.Revision, next.UTC().Format(time.RFC3339))
	default:
		sum.HaltedMessage = fmt.Sprintf("%s; mend the spec, or annotate a node with %s to try it again", failed, observed.RetryKey(r.Name))
	}
}
