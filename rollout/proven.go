package rollout

import (
	"fmt"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// A revision is proven once every selected node was done with it, or left alone. From then on a node that fails at it says something about that node, and nothing
// about the revision:
//
//	the rollout of a revision that is not proven   halts, or is taken back, when too many nodes fail
//	the same, nodes that offer nothing             get the newest proven revision meanwhile
//	a node that lost its handler                   has it repaired, at the proven revision that it has
//	a proven revision                              is never given up by itself; only nodes that have another one wait

// prove notes that a revision is proven now.
func (d *decider) prove(index int) {
	r, sum := &d.plan.Runtimes[index], &d.sums[index]
	if r.Goal == nil || r.Source == nil || r.Prepare != nil || r.Bad != nil || r.Stale || r.Goal.Proven() || sum.Done == 0 || d.waits(d.refusal("ControllerRevision", r.Goal.Name, r.Name)) {
		return
	}
	excused := sum.Done < r.Selected && d.fewFailed(index)
	wanted := 0
	for i := range r.Targets {
		if r.Targets[i].Want != desired.Installed {
			continue
		}
		wanted++
		if s := d.stands[index][i].state; sum.Done < r.Selected && (d.passedBy(r, &d.snap.Nodes[i], s) || (excused && failedAt(r, s))) {
			wanted--
		}
	}
	if sum.Done == wanted {
		d.out.Proven = append(d.out.Proven, Proven{Runtime: r.Name, Revision: r.Goal.Revision})
	}
}

// fewFailed reports whether no more nodes have failed at the goal than maxFailed puts up with, whatever becomes of failures.
func (d *decider) fewFailed(index int) bool {
	r, failed := &d.plan.Runtimes[index], 0
	if r.Spec == nil {
		return false
	}
	for _, s := range d.stands[index] {
		if failedAt(r, s.state) {
			failed++
		}
	}
	return failed <= spec.ScaledFailed(r.Spec.MaxFailed, r.Total)
}

// failedAt reports whether a node has failed at the goal, and is not tried again.
func failedAt(r *desired.Runtime, s *observed.State) bool {
	if s == nil || s.Progress == nil || s.Progress.Phase != observed.PhaseFailed || s.Progress.Operation != observed.Install {
		return false
	}
	return r.Current(s.Progress.Revision) && (s.Retry == "" || s.Retry == s.Progress.Retry)
}

// passedBy reports whether a node is left alone, or not in service yet, and has not got the goal: it says nothing about that.
func (d *decider) passedBy(r *desired.Runtime, node *observed.Node, s *observed.State) bool {
	if node.Starting(r.Name) && (s == nil || s.Progress == nil || !r.Current(s.Progress.Revision)) {
		return true
	}
	if !d.idle(node, s) || s == nil || s.Progress == nil {
		return d.idle(node, s)
	}
	p := s.Progress
	return !r.Current(p.Revision) && !r.Current(p.Attempted) && (p.Phase == observed.PhaseReady || p.Phase == observed.PhasePending)
}

// provenRevision reports whether a revision of a runtime is proven.
func provenRevision(r *desired.Runtime, revision string) bool { return r.Revision(revision).Proven() }

// lastGood is the revision to go back to, "" for none: the newest proven one, else the newest that some node has offered, but for the goal and those that are bad.
func (d *decider) lastGood(index int) string {
	r := &d.plan.Runtimes[index]
	if rev := newestOf(r, func(rev *observed.Revision) bool { return rev.Proven() && !r.Current(rev.Revision) }); rev != "" {
		return rev
	}
	offered := d.offeredBefore(index)
	return newestOf(r, func(rev *observed.Revision) bool { return offered[rev.Revision] && !r.Current(rev.Revision) })
}

// offeredBefore are the revisions that some node offers, or offered before the one that it has now.
func (d *decider) offeredBefore(index int) map[string]bool {
	offered := map[string]bool{}
	for _, s := range d.kinds[index] {
		if s.Progress != nil {
			offered[installed(s.Progress)], offered[s.Progress.Previous] = true, true
		}
	}
	delete(offered, "")
	return offered
}

// newestOf is the newest revision that can be installed, is not bad, and is as asked for, "" for none.
func newestOf(r *desired.Runtime, is func(rev *observed.Revision) bool) string {
	for _, rev := range r.History {
		if rev.Content != nil && rev.Bad() == nil && is(rev) {
			return rev.Revision
		}
	}
	return ""
}

// offersNothing reports whether a node offers no revision of the runtime now: it is new, or it has lost its handler.
func (d *decider) offersNothing(w *wish) bool {
	if w.state == nil || w.state.Progress == nil {
		return w.state == nil || w.state.Ready == ""
	}
	p := w.state.Progress
	if w.state.Ready != "" {
		return false
	}
	switch p.Phase {
	case observed.PhaseReady:
		return d.lostHandler(w.visit)
	case observed.PhasePending:
		return p.Previous == "" || len(d.missing(w.visit, p.Previous)) > 0
	case observed.PhaseDraining, observed.PhaseBlocked:
		return p.Operation == observed.Install && (p.Previous == "" || p.Previous == p.Revision)
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseFailed:
	}
	return false
}

// lostHandler reports whether the kubelet denies a handler of what a Ready node has, whatever was written on the node since.
func (d *decider) lostHandler(v *visit) bool {
	p := v.state.Progress
	return p.Phase == observed.PhaseReady && (p.Reason == string(HandlerLost) || len(d.missing(v, p.Revision)) > 0)
}

// mends reports whether a wish brings a proven revision to a node that offers nothing. No halted rollout of another revision, and no node that failed and is
// Ready, holds that up.
func (d *decider) mends(w *wish) bool {
	return w.operation == observed.Install && provenRevision(w.r, w.revision) && d.offersNothing(w)
}

// settleFor chooses another revision for a node that cannot get the goal now: the rollout is halted, or, for a node that is not in service yet, in an earlier wave.
func (d *decider) settleFor(w *wish) {
	if w.operation != observed.Install {
		return
	}
	if d.mends(w) {
		// Nothing is tried out with it, so that it waits for no wave.
		w.instead = true
		return
	}
	_, early := d.early(w.visit)
	if w.sum.Halted == "" && (!early || !w.starts()) {
		return
	}
	revision := d.fallback(w)
	if revision == "" || (!w.retry && w.failed() && w.state.Progress.Revision == revision) {
		// There is none, or it failed here as well.
		return
	}
	w.revision, w.instead = revision, true
}

// fallback is the revision that a node gets in place of the goal, "" for none.
func (d *decider) fallback(w *wish) string {
	proven := func(rev *observed.Revision) bool { return rev.Proven() }
	if !w.starts() {
		switch {
		case !d.offersNothing(w):
			return ""
		case w.state != nil && w.state.Progress != nil && has(w.state.Progress) != "":
			// Drift is repaired at the revision that the node has.
			return newestOf(w.r, func(rev *observed.Revision) bool { return rev.Proven() && rev.Revision == has(w.state.Progress) })
		}
		return newestOf(w.r, proven)
	}
	if rev := newestOf(w.r, proven); rev != "" {
		return rev
	}
	index := w.pair / len(d.snap.Nodes)
	if rev := d.lastGood(index); rev != "" {
		return rev
	}
	offered := d.offeredBefore(index)
	if w.sum.Halted != "" && offered[w.r.Goal.Revision] {
		return w.r.Goal.Revision
	}
	return ""
}

// has is the revision that a node has, with or without its handler, "" for none.
func has(p *observed.Progress) string {
	switch p.Phase {
	case observed.PhaseReady:
		return p.Revision
	case observed.PhaseDraining, observed.PhaseBlocked, observed.PhasePending:
		return p.Previous
	default:
		return ""
	}
}

// settled reports whether an operation under way is that of a node which got another revision because the rollout is halted.
func (v *visit) settled() bool {
	p := v.state.Progress
	return v.sum.Halted != "" && (p.Previous == "" || p.Previous == p.Revision) && provenRevision(v.r, p.Revision)
}

// usedFor is how many places of the budget are in the way of a wish. Nodes that failed and are Ready are in the way of everything but of what mends.
func (d *decider) usedFor(w *wish) int {
	used := d.used(w.r.Name)
	if !d.mends(w) {
		return used
	}
	failed, known := d.beside[w.r.Name]
	if !known {
		index := w.pair / len(d.snap.Nodes)
		for i, s := range d.stands[index] {
			node := &d.snap.Nodes[i]
			if !failedAt(w.r, s.state) {
				// It is tried again.
				continue
			}
			if key := (observed.NodeRuntime{Node: node.UID, Runtime: w.r.Name}); node.Ready && d.hasTurn(w.r.Name, node) && !node.Starting(w.r.Name) && !d.uncounted[key] {
				failed++
			}
		}
		d.beside[w.r.Name] = failed
	}
	return used - failed
}

// giveUpAfter is how long a node that went NotReady in its soak has failed before its revision is given up: a cloud that takes a machine away says so by deleting the
// node, and that takes it some minutes.
const giveUpAfter = 5 * time.Minute

// settledFailures are those that count for giving a revision up by now, and when the next one will.
func (d *decider) settledFailures(failed []FailedNode) (settled []FailedNode, next time.Time) {
	for _, f := range failed {
		due := f.Since.Add(giveUpAfter)
		if f.Reason == string(NotReadyInSoak) && d.snap.Time.Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		settled = append(settled, f)
	}
	return settled, next
}

// failedWords lists nodes that failed.
func failedWords(failed []FailedNode, limit string) string {
	names := make([]string, 0, len(failed))
	for _, f := range failed {
		names = append(names, f.Node)
	}
	return fmt.Sprintf("%d nodes failed (maxFailed %s): %s", len(names), limit, few(names))
}

// few joins names and cuts the list after three.
func few(names []string) string {
	const limit = 3
	if len(names) <= limit {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), len(names)-limit)
}
