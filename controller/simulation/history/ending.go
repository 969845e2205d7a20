package history

import (
	"fmt"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// decide is what a leader would decide that sees everything.
func (w *World) decide() (*desired.Plan, *rollout.Decision) {
	l := w.newLeader()
	defer l.end()
	snap := l.Snapshot(w.now)
	plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
	return plan, rollout.Decide(snap, plan)
}

// unexplained says which node is not what it should be, with nothing to be done and no reason given.
func (w *World) unexplained() string {
	plan, decision := w.decide()
	if len(decision.Moves) > 0 || decision.Turns != nil {
		return fmt.Sprintf("everything stands still, and there is something to do: %+v %+v", decision.Moves, decision.Turns)
	}
	holds := map[[2]string]rollout.Hold{}
	for _, h := range decision.Holds {
		holds[[2]string{h.Node, h.Runtime}] = h
	}
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		for n, e := range w.nodes.now() {
			p := e.value.seen.Progress(r.Name)
			done := p != nil && p.Phase == observed.PhaseReady && r.Current(p.Revision)
			failed := p != nil && p.Phase == observed.PhaseFailed && p.Reason != "" && p.Message != ""
			want := r.Targets[n].Want
			if want == desired.Unconcerned || want == desired.Keep || failed || (done && want == desired.Installed) {
				continue
			}
			if h := holds[[2]string{e.name, r.Name}]; h.Reason == "" || h.Message == "" {
				return fmt.Sprintf("%s is not done with %s, and no reason is given", e.name, r.Name)
			}
		}
	}
	return ""
}

// unfinished says which node does not have the last payload.
func (w *World) unfinished() string {
	plan, decision := w.decide()
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		for _, e := range w.nodes.now() {
			p := e.value.seen.Progress(r.Name)
			m := w.machines[e.name]
			switch {
			case p == nil || p.Phase != observed.PhaseReady || !r.Current(p.Revision) || e.value.object.Labels[observed.ReadyKey(r.Name)] != "true":
				return fmt.Sprintf("people have mended everything, and %s does not have %s; holds are %+v", e.name, r.Name, decision.Holds)
			case m.installed[r.Name] != p.Revision:
				return fmt.Sprintf("%s says that it has %s %s; it has %q", e.name, r.Name, p.Revision, m.installed[r.Name])
			case e.value.object.Labels[observed.GateKey(r.Name)] != "" && !w.scene.Resident:
				return fmt.Sprintf("a gate of %s is left on %s", r.Name, e.name)
			}
		}
		if s := w.specOf(r.Name); s == nil || s.Annotations[observed.SpecPhase] != "Ready" {
			return fmt.Sprintf("every node is done, and the spec of %s does not read Ready: %v", r.Name, s)
		}
	}
	for _, e := range w.nodes.now() {
		if e.value.seen.Unschedulable {
			return fmt.Sprintf("%s is still cordoned, by %q", e.name, w.machines[e.name].cordoner)
		}
	}
	return ""
}

// untouched says what was written although there was nothing to do, "" for nothing.
func (w *World) untouched(r *Result) string {
	w.crash(w.leaders[0], "with nothing to do")
	before, sent, lines := w.version, w.sent, len(w.story)
	for end := w.now.Add(24 * time.Hour); w.now.Before(end); w.now = w.now.Add(8 * time.Hour) {
		w.leaders[0].dirty = true
		w.settle(r, time.Hour)
	}
	if w.version == before && w.sent == sent {
		return ""
	}
	var said []string
	for i := lines; i < len(w.story); i++ {
		said = append(said, w.story[i].words())
	}
	return fmt.Sprintf("%d writes were sent: ", w.sent-sent) + strings.Join(said, "; ")
}

// left says what is left of ours, "" for nothing.
func (w *World) left() string {
	for _, e := range w.nodes.now() {
		for _, s := range e.value.seen.States() {
			if s.Carries() {
				return fmt.Sprintf("%s carries keys of %s", e.name, s.Runtime)
			}
		}
		if m := w.machines[e.name]; len(m.begun) > 0 {
			return fmt.Sprintf("on %s a payload is left: %v", e.name, m.begun)
		}
		if e.value.seen.Unschedulable {
			return fmt.Sprintf("%s is still cordoned", e.name)
		}
	}
	switch {
	case len(w.sets.now()) > 0:
		return "DaemonSet " + w.sets.now()[0].name + " is left"
	case len(w.revisions.now()) > 0:
		return "ControllerRevision " + w.revisions.now()[0].name + " is left"
	case len(w.classes.now()) > 0:
		return "RuntimeClass " + w.classes.now()[0].name + " is left"
	case len(w.pods.now()) > 0:
		return "pod " + w.pods.now()[0].name + " is left"
	}
	for _, e := range w.turns.now() {
		if len(e.value.Booked) > 0 {
			return fmt.Sprintf("turns are left: %v", e.value.Booked)
		}
	}
	return ""
}
