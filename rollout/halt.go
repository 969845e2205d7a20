package rollout

import (
	"fmt"
	"slices"
	"strings"

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
		if uninstall || install {
			sum.FailedNodes = append(sum.FailedNodes, FailedNode{Node: d.snap.Nodes[i].Name, Reason: p.Reason, Message: p.Message, Operation: p.Operation})
		}
	}
}

// halt says whether the runtime gives no new turns, and why.
func (d *decider) halt(index int, sum *Summary) {
	r := &d.plan.Runtimes[index]
	if why, frozen := r.Frozen(); frozen && why == desired.WhyNothingSelected {
		sum.Halted = NothingSelected
		sum.HaltedMessage = fmt.Sprintf("the spec selects no node any more while %d nodes carry the runtime; nothing is uninstalled until it selects some or is deleted", r.Carrying)
		return
	}
	if r.Spec == nil || r.Spec.OnFailure == spec.OnFailureContinue {
		return
	}
	limit := spec.ScaledFailed(r.Spec.MaxFailed, r.Total)
	if len(sum.FailedNodes) <= limit {
		return
	}
	names := make([]string, 0, len(sum.FailedNodes))
	for _, f := range sum.FailedNodes {
		names = append(names, f.Node)
	}
	failed := fmt.Sprintf("%d nodes failed (maxFailed %s): %s", len(names), r.Spec.MaxFailed.String(), few(names))
	sum.Halted = Halted
	if r.Spec.OnFailure == spec.OnFailureRollback && r.Bad == nil && r.Source != nil && !r.Removing && slices.ContainsFunc(sum.FailedNodes, FailedNode.install) {
		bad := Bad{Runtime: r.Name, Revision: r.Goal.Revision, To: d.lastGood(index), Reason: failed}
		d.out.Bad = append(d.out.Bad, bad)
		sum.HaltedMessage = failed + "; revision " + bad.Revision + " is given up"
		return
	}
	sum.HaltedMessage = fmt.Sprintf("%s; mend the spec, or annotate a node with %s to try it again", failed, observed.RetryKey(r.Name))
}

// lastGood is the revision to go back to: the newest that some node has offered last, but for the goal and those that are bad. Of a revision that no node ever offered nobody
// knows that it is any good.
func (d *decider) lastGood(index int) string {
	r := &d.plan.Runtimes[index]
	offered := map[string]bool{}
	for _, s := range d.kinds[index] {
		if s.Progress != nil {
			offered[installed(s.Progress)] = true
		}
	}
	for _, rev := range r.History {
		if offered[rev.Revision] && !r.Current(rev.Revision) && rev.Content != nil && rev.Bad() == nil {
			return rev.Revision
		}
	}
	return ""
}

// few joins names and cuts the list after three.
func few(names []string) string {
	const limit = 3
	if len(names) <= limit {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), len(names)-limit)
}
