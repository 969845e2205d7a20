package rollout

import (
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
)

// readyLabel is the ready label as it should be: true only while the node offers what its progress says.
func (d *decider) readyLabel(v *visit) string {
	p := v.state.Progress
	revision := p.Revision
	switch p.Phase {
	case observed.PhaseReady:
		if d.absent(v) != "" || (v.state.Ready == "" && d.unknown(v)) {
			return ""
		}
	case observed.PhaseInstalling, observed.PhaseFailed, observed.PhaseDraining, observed.PhaseBlocked:
		// Only what was there before may stay, as long as nothing denies it.
		if v.state.Ready == "" || p.Previous == "" || p.Operation != observed.Install || failedInSoak(p) || p.Broken {
			return ""
		}
		if !d.keepsHandlers(v, p.Previous, p.Revision) {
			return ""
		}
		if p.Phase == observed.PhaseFailed && (d.resident(v, p.Previous) || p.Step == observed.StepVerify) {
			// What was on offer left before the operation began, or was seen not to work.
			return ""
		}
		revision = p.Previous
	case observed.PhasePending:
		if v.state.Ready == "" || p.Previous == "" {
			return ""
		}
		if p.Reason != string(PayloadLeaving) && d.resident(v, p.Previous) {
			return ""
		}
		revision = p.Previous
	case observed.PhaseUninstalling:
		return ""
	}
	if len(d.missing(v, revision)) > 0 {
		return ""
	}
	return "true"
}

// unknown tells whether nobody can say how the pod of a payload that stays is: the pods of a node that is NotReady are all said not to be
// ready. The ready label stays as it is then.
func (d *decider) unknown(v *visit) bool {
	return !v.node.Ready && d.resident(v, v.state.Progress.Revision)
}

// missing are the handlers of a revision that the node denies. A node that reports no handlers at all denies none.
func (d *decider) missing(v *visit, revision string) []string {
	if v.node.Handlers == nil {
		return nil
	}
	rev := v.r.Revision(revision)
	if rev == nil || rev.Content == nil {
		return nil
	}
	var missing []string
	for _, h := range d.handlersOf(rev.Content) {
		if !slices.Contains(v.node.Handlers, h) {
			missing = append(missing, h)
		}
	}
	return missing
}

// handlersOf are the handlers of a revision, put together once.
func (d *decider) handlersOf(content *observed.RevisionContent) []string {
	handlers, ok := d.handlers[content]
	if !ok {
		handlers = content.Handlers()
		d.handlers[content] = handlers
	}
	return handlers
}

// keepsHandlers tells whether a revision offers every handler that the one before offered.
func (d *decider) keepsHandlers(v *visit, before, after string) bool {
	old, next := v.r.Revision(before), v.r.Revision(after)
	if old == nil || next == nil || old.Content == nil || next.Content == nil {
		return false
	}
	offered := d.handlersOf(next.Content)
	for _, h := range d.handlersOf(old.Content) {
		if !slices.Contains(offered, h) {
			return false
		}
	}
	return true
}

// named joins the handlers that have a name; the default handler of a node has none.
func named(handlers []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(handlers), func(h string) bool { return h == "" }), ", ")
}
