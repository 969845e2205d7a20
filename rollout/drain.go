package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Before a gate opens, pods may have to leave the node: all that a drain evicts, and those that use a handler which the operation takes away. The
// ready label goes first, so that no new ones come:
//
//	booked ──► Draining: cordoned, not ready ──no pod is in the way──► the gate opens, cordoned
//	               │            ▲                                          │ succeeds
//	               ▼ pods that may not be evicted                          ▼
//	            Blocked ──► installTimeout is over: as it was before   uncordoned
//
// No command has begun until then, so that a node in these phases is still one that wishes for a turn: whatever keeps turns from beginning has it
// become again what it was. Only a node that had failed before (broken) stays where it is: it is out of service anyhow. Who waits, for what and since when is all
// on the node and in the API server; what was asked of the API server a moment ago is asked again.

// lookSettle is how long a node has been closed to new pods before what is seen there counts: until then a scheduler, or a view, may be late.
const lookSettle = 3 * time.Second

// MostLooks is how many nodes are looked at at once, each by a watch of its own. Those beyond have their turn, and wait until others are done.
const MostLooks = 200

// evictionRetry is how long after an eviction the same pod is evicted again, if it is still there: as long as `kubectl drain` waits.
const evictionRetry = 5 * time.Second

// emptying is what has to be done about the pods of a node before its turn begins.
type emptying struct {
	// cordon is true where the node is cordoned, drain where all pods that a drain evicts have to leave besides.
	cordon, drain bool
	// classes are the RuntimeClasses whose pods have to be gone, evict is true where they are evicted.
	classes map[string]bool
	evict   bool
}

func (e emptying) looks() bool  { return e.drain || len(e.classes) > 0 }
func (e emptying) evicts() bool { return e.drain || (e.evict && len(e.classes) > 0) }

// emptying says what a wish takes. A node that is not in service yet has no pods that could be lost.
func (d *decider) emptying(w *wish) emptying {
	if w.r.Spec == nil || w.starts() {
		return emptying{}
	}
	e := emptying{cordon: w.r.Spec.Drain != spec.DrainNone, drain: w.r.Spec.Drain == spec.DrainDrain, evict: w.r.Spec.InUsePolicy == spec.InUseEvict}
	if w.r.Spec.InUsePolicy == spec.InUseIgnore {
		return e
	}
	lost := d.lostHandlers(w)
	for i := range d.snap.RuntimeClasses {
		if c := &d.snap.RuntimeClasses[i]; slices.Contains(lost, c.Handler) {
			if e.classes == nil {
				e.classes = map[string]bool{}
			}
			e.classes[c.Name] = true
		}
	}
	return e
}

// lostHandlers are those that an operation takes away from a node, or may: of what was installed or attempted there, without what will be.
func (d *decider) lostHandlers(w *wish) []string {
	var lost []string
	before := []string{w.revision}
	if w.state != nil && w.state.Progress != nil {
		before = []string{installed(w.state.Progress), attempted(w.state.Progress)}
	}
	for _, revision := range before {
		if content := d.content(w.visit, revision); content != nil && revision != "" {
			lost = append(lost, d.handlersOf(content)...)
		}
	}
	if content := d.content(w.visit, w.revision); content != nil && w.operation == observed.Install {
		kept := d.handlersOf(content)
		lost = slices.DeleteFunc(lost, func(h string) bool { return slices.Contains(kept, h) })
	}
	return lost
}

// emptied tells whether a node is being emptied: closed to new pods, with no gate open yet.
func emptied(v *visit) bool {
	if v.state == nil || v.state.Progress == nil {
		return false
	}
	phase := v.state.Progress.Phase
	return phase == observed.PhaseDraining || phase == observed.PhaseBlocked
}

// broken tells whether a node that is being emptied holds a place whatever becomes of that.
func (v *visit) broken() bool { return emptied(v) && v.state.Progress.Broken }

// cordonedByUs tells whether it was Longshore that cordoned a node, for this runtime.
func (v *visit) cordonedByUs() bool {
	return v.node.Unschedulable && v.state != nil && v.state.Progress != nil && v.state.Progress.Cordoned
}

// cordoner is the runtime that a node is cordoned for, "" where it was somebody else, or nobody.
func cordoner(node *observed.Node) string {
	for _, s := range node.States() {
		if node.Unschedulable && s.Progress != nil && s.Progress.Cordoned {
			return s.Runtime
		}
	}
	return ""
}

// visitEmptied is for a node that is being emptied for an operation.
func (d *decider) visitEmptied(v *visit) {
	p := v.state.Progress
	v.sum.Draining++
	d.busy[v.n] = v.r.Name
	d.keep(v)
	if d.noteLate(v) || d.repair(v, d.readyLabel(v)) {
		return
	}
	asBefore := !p.Broken && p.Previous == p.Attempted
	switch want := v.target.Want; {
	case want == desired.Installed && asBefore && v.r.Current(p.Previous) && len(d.missing(v, p.Previous)) == 0:
		d.refill(v, TurnReturned, "what the node has is what it should have")
	case want == desired.Installed:
		d.wish(v, observed.Install)
	case want == desired.Removed && asBefore && p.Previous == "":
		d.refill(v, TurnReturned, "nothing was ever begun on the node")
	case want == desired.Removed:
		d.wish(v, observed.Uninstall)
	case p.Broken, v.target.Why == desired.WhyMismatch, v.target.Why == desired.WhyVanished, v.target.Why == desired.WhySurvivor && v.r.Waiting:
		// That will be over in a minute. Whoever led before may know more of it, and two of them must not undo each other's work.
		d.holdTarget(v)
	default:
		d.refill(v, TurnReturned, "the turn was not needed any more")
	}
}

// unseen says which right is missing that an operation takes, "" if none is. It is asked before a place is taken.
func (d *decider) unseen(w *wish) string {
	rights := d.snap.Rights
	if rights == nil || (rights.Pods && rights.Evictions) {
		return ""
	}
	e := d.emptying(w)
	const remedy = "which comes with kustomize/components/workloads"
	switch {
	case e.looks() && !rights.Pods:
		return "the controller may not see the pods of other namespaces, " + remedy + "; without it, drain has to be None or Cordon, and inUsePolicy Ignore"
	case e.evicts() && !rights.Evictions:
		return "the controller may not evict pods, " + remedy + "; without it, drain has to be None or Cordon, and inUsePolicy Wait or Ignore"
	}
	return ""
}

// rests says since when a node rests that had its turn in vain because of the pods on it, and until when. It goes last, and not at once: in
// between it is as useful as it was before.
func (d *decider) rests(w *wish) obstacle {
	if !resting(w.visit) || !d.emptying(w).looks() || (w.state.Retry != "" && w.state.Retry != w.state.Progress.Retry) {
		return obstacle{}
	}
	p := w.state.Progress
	until := p.Since.Add(d.timeout(w.visit))
	if !d.snap.Time.Before(until) {
		return obstacle{}
	}
	return obstacle{reason: Reason(p.Reason), message: p.Message + "; tried again from " + until.UTC().Format(time.RFC3339) + " on", until: until}
}

// resting tells whether a node had its turn in vain because of the pods on it.
func resting(v *visit) bool {
	if v.state == nil || v.state.Progress == nil {
		return false
	}
	p := v.state.Progress
	return (p.Phase == observed.PhaseReady || p.Phase == observed.PhasePending) && inTheWay(Reason(p.Reason))
}

// inTheWay tells whether a reason says that pods kept a node from its turn.
func inTheWay(reason Reason) bool {
	return reason == PodsInUse || reason == BarePods || reason == DrainTimedOut
}

// empty does the next thing that is to be done about the pods of a booked node, and tells whether nothing is in the way of the gate.
func (d *decider) empty(w *wish, begin *observed.Progress) bool {
	e := d.emptying(w)
	begin.Cordoned = begin.Cordoned || (e.cordon && !w.node.Unschedulable)
	if !e.looks() || d.dismissed(w.visit) {
		return true
	}
	if !emptied(w.visit) || d.unopened(w.visit) {
		next := *begin
		next.Phase, next.Step, next.Attempt = observed.PhaseDraining, "", 0
		next.Broken = w.failed() || w.broken()
		ready := ""
		if w.operation == observed.Install {
			ready = d.keptReady(w.visit, w.revision)
		}
		d.move(w.visit, Drain, &next, d.gateOf(w.visit, &next), ready)
		return false
	}
	if len(d.out.Looks) < MostLooks {
		d.out.Looks = append(d.out.Looks, w.node.Name)
	}
	f := d.find(w, e)
	due := w.state.Progress.Since.Add(d.timeout(w.visit))
	late := !d.snap.Time.Before(due) && !w.broken()
	switch {
	case f.reason == "":
		return true
	case late && f.until.IsZero():
		reason := f.reason
		if !f.blocked {
			reason = DrainTimedOut
		}
		d.refill(w.visit, reason, f.message)
	case f.blocked == (w.state.Progress.Phase == observed.PhaseBlocked) && !tells(w, f):
		d.evict(w, f.evict)
		if f.until.IsZero() && !w.broken() {
			f.until = due
		}
		d.holdFor(w.visit, f.obstacle)
	default:
		next := *w.state.Progress
		next.Phase, next.Reason, next.Message = observed.PhaseDraining, "", ""
		kind := Drain
		switch {
		case f.blocked:
			kind, next.Phase, next.Reason, next.Message = Block, observed.PhaseBlocked, string(f.reason), f.message
		case f.reason == EvictionRefused:
			next.Reason, next.Message = string(f.reason), f.message
		}
		d.move(w.visit, kind, &next, d.gateOf(w.visit, &next), d.readyLabel(w.with(&next)))
	}
	return false
}

// tells has the first refusal of an eviction written on the node: whoever else looks at it cannot know of it otherwise.
func tells(w *wish, f found) bool {
	return f.reason == EvictionRefused && w.state.Progress.Reason != string(EvictionRefused)
}

// found is what is in the way of a gate, and what can be done about it.
type found struct {
	obstacle
	// blocked is true where nothing can be done but to wait for people.
	blocked bool
	evict   []*observed.Workload
}

// find sorts the pods of a node.
func (d *decider) find(w *wish, e emptying) found {
	look, p := d.snap.Look(w.node.Name), w.state.Progress
	switch {
	case look == nil && p.Reason != "":
		// Who has not looked, or not yet, knows what the one says who has.
		return found{blocked: p.Phase == observed.PhaseBlocked, obstacle: obstacle{reason: Reason(p.Reason), message: p.Message}}
	case look == nil:
		return found{obstacle: obstacle{reason: PodsUnseen, message: "looking at the pods on the node, and waiting for those to leave that are in the way"}}
	case look.Problem != "":
		return found{obstacle: obstacle{reason: PodsUnseen, message: "the pods on the node cannot be seen: " + look.Problem}}
	}
	var bare, leave, use []*observed.Workload
	for i := range look.Pods {
		pod := &look.Pods[i]
		uses := e.classes[pod.Class] && pod.Class != ""
		evicts := (e.drain && (pod.Evictable || pod.Bare)) || (e.evict && uses && !pod.Static)
		switch {
		case pod.Ended:
		case pod.Bare && !pod.Deleting && (e.drain || (e.evict && uses)):
			bare = append(bare, pod)
		case evicts:
			leave = append(leave, pod)
		case uses:
			use = append(use, pod)
		}
	}
	switch {
	case len(bare) > 0:
		return found{blocked: true, obstacle: obstacle{reason: BarePods, message: "nobody would make these pods anew, so that they are not evicted: " + named3(bare) + "; delete them, if they may be lost"}}
	case len(leave) > 0:
		return d.leave(leave)
	case len(use) > 0:
		words := "waiting for pods that use the runtime: " + named3(use)
		if w.operation == observed.Install {
			words = "waiting for pods that use a handler which the upgrade drops: " + named3(use)
		}
		return found{blocked: true, obstacle: obstacle{reason: PodsInUse, message: words + "; their RuntimeClasses are " + classesOf(use)}}
	}
	if settled := p.Since.Add(lookSettle); d.snap.Time.Before(settled) {
		return found{obstacle: obstacle{reason: WaitingForPods, message: "no pod is in the way; the gate opens if that stays so", until: settled}}
	}
	return found{}
}

// leave is about pods that leave, or are to be evicted.
func (d *decider) leave(pods []*observed.Workload) found {
	f := found{obstacle: obstacle{reason: WaitingForPods, message: fmt.Sprintf("waiting for %d pods to leave the node: %s", len(pods), named3(pods))}}
	for _, pod := range pods {
		asked, known := d.snap.Evictions[pod.UID]
		if asked.Refused != "" && !pod.Deleting && f.reason != EvictionRefused {
			f.reason, f.message = EvictionRefused, f.message+"; the eviction of "+pod.String()+" is refused: "+asked.Refused
		}
		if pod.Deleting {
			continue
		}
		if again := asked.At.Add(evictionRetry); known && d.snap.Time.Before(again) {
			d.again(again)
			continue
		}
		f.evict = append(f.evict, pod)
	}
	return f
}

func (d *decider) evict(w *wish, pods []*observed.Workload) {
	for _, pod := range pods {
		d.out.Evictions = append(d.out.Evictions, Eviction{Node: w.node.Name, Runtime: w.r.Name, Pod: *pod})
		d.again(d.snap.Time.Add(evictionRetry))
	}
}

// refill opens a node to pods again whose turn has not begun: it is what it was before, and not watched anew. One that was broken stays as it is.
func (d *decider) refill(v *visit, reason Reason, message string) {
	p := v.state.Progress
	turn := p.Turn
	if v.holds {
		turn = d.booked[v.key()].ID
	}
	next := p.Next(observed.Progress{
		Phase: observed.PhasePending, Previous: p.Previous, Attempted: p.Attempted, Since: d.snap.Time, Reason: string(reason), Message: message,
		MachineID: p.MachineID, BootID: p.BootID, Retry: p.Retry, Turn: turn, Repairs: max(p.Repairs-1, 0),
	})
	if p.Previous != "" && p.Previous == p.Attempted {
		next.Phase, next.Operation, next.Revision, next.Previous, next.Attempted, next.Unwatched = observed.PhaseReady, observed.Install, p.Previous, "", "", true
	}
	d.move(v, ReturnTurn, next, d.gateOf(v, next), d.readyLabel(v.with(next)))
}

// named3 names pods, the first three of them.
func named3(pods []*observed.Workload) string {
	names := make([]string, 0, len(pods))
	for _, pod := range pods {
		names = append(names, pod.String())
	}
	slices.Sort(names)
	return few(names)
}

func classesOf(pods []*observed.Workload) string {
	var classes []string
	for _, pod := range pods {
		if pod.Class != "" && !slices.Contains(classes, pod.Class) {
			classes = append(classes, pod.Class)
		}
	}
	slices.Sort(classes)
	return strings.Join(classes, ", ")
}
