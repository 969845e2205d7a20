package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// wish queues a node for a turn.
func (d *decider) wish(v *visit, operation observed.Operation) { d.wishRetry(v, operation, false) }

func (d *decider) wishRetry(v *visit, operation observed.Operation, retry bool) {
	d.queueUp(wish{visit: v, operation: operation, revision: d.revisionFor(v, operation), retry: retry})
	if d.unopened(v) && d.busy[v.n] == "" && !d.uncounted[v.key()] {
		d.busy[v.n] = v.r.Name
	}
}

func (d *decider) queueUp(w wish) {
	queue := d.queue[w.r.Name]
	if queue == nil {
		queue = make([]wish, 0, len(d.snap.Nodes)-w.n)
	}
	d.queue[w.r.Name] = append(queue, w)
}

// revisionFor is the revision whose command an operation runs: the goal for an install, and for an uninstall what was last
// attempted on the node, that is whose command began there; if that snapshot is lost, the newest that can uninstall.
func (d *decider) revisionFor(v *visit, operation observed.Operation) string {
	if operation == observed.Install {
		return v.r.Goal.Revision
	}
	if v.state != nil && v.state.Progress != nil {
		for _, name := range []string{attempted(v.state.Progress), v.state.Progress.Previous} {
			if rev := v.r.Revision(name); uninstalls(rev) {
				return rev.Revision
			}
		}
	}
	for _, rev := range v.r.History {
		if uninstalls(rev) {
			return rev.Revision
		}
	}
	return ""
}

func uninstalls(rev *observed.Revision) bool {
	return rev != nil && rev.Content != nil && rev.Content.DaemonSets[string(observed.Uninstall)] != nil
}

// turn is the node's booking for the runtime as it was observed.
func (d *decider) turn(v *visit) observed.Turn { return d.before[v.key()] }

// unopened tells whether the node has a booking that its progress does not name: a gate that was not opened yet, or one whose opening
// is not seen yet. A booking that an earlier operation left the node is named.
func (d *decider) unopened(v *visit) bool {
	return v.holds && (v.state == nil || v.state.Progress == nil || v.state.Progress.Turn != d.booked[v.key()].ID)
}

// set books anew, or in place of what is booked: nobody who believes in an earlier booking of the node is right after that.
func (d *decider) set(v *visit, revision string, operation observed.Operation) {
	d.put(v, observed.Turn{Revision: revision, Operation: operation, ID: d.snap.Turns.ResourceVersion})
}

func (d *decider) put(v *visit, t observed.Turn) {
	if !v.holds {
		v.holds, d.bookedNodes[v.n] = true, true
		d.take(v, 1)
	}
	t.Node, t.Runtime = v.node.UID, v.r.Name
	d.booked[v.key()] = t
}

// keep makes sure that a node that is out of service because of Longshore holds a place.
func (d *decider) keep(v *visit) {
	if !v.holds {
		d.put(v, turnOf(v.state.Progress))
	}
}

// turnOf is the booking that a progress was written under. A node whose payload has left names only what was installed.
func turnOf(p *observed.Progress) observed.Turn {
	if p.Phase == observed.PhasePending {
		return observed.Turn{Revision: p.Previous, Operation: observed.Install, ID: p.Turn}
	}
	return observed.Turn{Revision: p.Revision, Operation: p.Operation, ID: p.Turn}
}

// drop takes a booking out.
func (d *decider) drop(v *visit) {
	delete(d.booked, v.key())
	v.holds = false
	d.take(v, -1)
}

// free ends a booking, and tells whether that takes a write on the node first: one that the progress does not name ends only after
// the progress names it, which makes the gate of anybody fail who still believes in the booking.
func (d *decider) free(v *visit) bool {
	if !v.holds {
		return false
	}
	if !d.unopened(v) {
		d.drop(v)
		return false
	}
	d.returnTurn(v, "the turn was not needed any more")
	return true
}

// returnTurn writes on the node that its turn was given back. What the node has to tell besides stays.
func (d *decider) returnTurn(v *visit, why string) {
	id := d.booked[v.key()].ID
	if v.state == nil || v.state.Progress == nil {
		next := observed.Progress{
			Phase: observed.PhasePending, Since: d.snap.Time, Reason: string(TurnReturned), Message: why,
			MachineID: v.node.MachineID, BootID: v.node.BootID, Turn: id,
		}
		d.move(v, ReturnTurn, &next, "", "")
		return
	}
	next := *v.state.Progress
	next.Turn = id
	if next.Phase == observed.PhasePending {
		next.Reason, next.Message = string(TurnReturned), why
	}
	d.move(v, ReturnTurn, &next, d.gateOf(v, &next), d.readyLabel(v))
}

// need says that the installers of an operation have to exist.
func (d *decider) need(v *visit, revision string, operation observed.Operation) {
	for _, step := range d.stepsOf(v, revision, operation) {
		d.needed[Installer{Runtime: v.r.Name, Revision: revision, Step: step}] = true
	}
}

func (d *decider) installerThere(runtime, revision, step string) bool {
	name := observed.DaemonSetName(runtime, step, revision)
	i, found := slices.BinarySearchFunc(d.snap.DaemonSets, name, func(s observed.DaemonSet, name string) int { return cmp.Compare(s.Name, name) })
	return found && !d.snap.DaemonSets[i].Deleting
}

// book gives turns to the nodes that wish for one, and opens the gates of those that were given one before.
func (d *decider) book(r *desired.Runtime) {
	queue := d.queue[r.Name]
	for i := range queue {
		queue[i].rank, queue[i].place = rank(&queue[i]), d.placeOf(queue[i].visit)
	}
	if !slices.IsSortedFunc(queue, wish.compare) {
		slices.SortFunc(queue, wish.compare)
	}
	waiting := zones{}
	for i := range queue {
		w := &queue[i]
		d.settleFor(w)
		o := d.blocked(w)
		if first := waiting.before(w); o.reason == "" && first != "" {
			o = obstacle{reason: WaitingForZone, message: first}
		}
		keeps := false
		if o.reason == "" {
			o, keeps = d.outgrown(w)
		}
		if o.reason != "" {
			if passes(o.reason) {
				waiting.waits(w)
			}
			if !keeps {
				d.giveBack(w, o)
			}
			if w.holds && w.revision != "" {
				// It goes on as soon as nothing is in its way.
				d.need(w.visit, w.revision, w.operation)
			}
			d.holdFor(w.visit, o)
			continue
		}
		d.busy[w.n] = r.Name
		if w.holds {
			d.open(w)
			continue
		}
		d.set(w.visit, w.revision, w.operation)
		d.need(w.visit, w.revision, w.operation)
		d.hold(w.visit, WaitingForTurn, "the turn is being booked")
	}
}

// compare is the order of turns; no two nodes are equal.
func (w wish) compare(other wish) int {
	switch {
	case w.rank != other.rank:
		return cmp.Compare(w.rank, other.rank)
	case w.rank == rankInVain && !w.state.Progress.Since.Equal(other.state.Progress.Since):
		return w.state.Progress.Since.Compare(other.state.Progress.Since)
	case w.place.wave != other.place.wave:
		return cmp.Compare(w.place.wave, other.place.wave)
	case w.place.zone != other.place.zone:
		return cmp.Compare(w.place.zone, other.place.zone)
	}
	return cmp.Compare(w.n, other.n)
}

// passes tells whether what a node waits for goes by soon and without anybody's help, so that nodes of other zones let it go first.
func passes(reason Reason) bool {
	switch reason {
	case Held, NodeNotReady, NodeDeleting, NodeCordoned, OthersAtWork, NoSnapshot, PoolPaused, OutsideWindow, PodsUnseen, WriteRefused, HandlerLost:
		return false
	default:
		return true
	}
}

// The order of turns: nodes that hold a place, then those that are not in service yet, then those that people asked to try again, then the rest, and last
// those that had their turn in vain because of the pods on them, of these the one first that has waited longest.
const (
	rankHolds = iota
	rankStarts
	rankRetry
	rankRest
	rankInVain
)

func rank(w *wish) int {
	switch {
	case w.holds:
		return rankHolds
	case w.starts():
		return rankStarts
	case w.retry:
		return rankRetry
	case resting(w.visit):
		return rankInVain
	}
	return rankRest
}

// open opens the gate of a booked node, once a booking is written for just this operation and the installer is there. A booking opens
// one gate: the one that an earlier operation left the node is replaced first.
func (d *decider) open(w *wish) {
	t := d.turn(w.visit)
	if t.Revision != w.revision || t.Operation != w.operation || (!d.unopened(w.visit) && !emptied(w.visit)) {
		d.set(w.visit, w.revision, w.operation)
		d.need(w.visit, w.revision, w.operation)
		d.hold(w.visit, WaitingForTurn, "the turn is being booked")
		return
	}
	d.need(w.visit, w.revision, w.operation)
	next := d.begin(w.visit, w.revision, w.operation)
	step := d.stepOf(w.visit, next)
	if needs := d.unprepared(w.visit, w.revision, step); needs != "" {
		d.hold(w.visit, PreparingInstaller, needs)
		return
	}
	if !d.empty(w, next) {
		return
	}
	if d.residing(w.visit) {
		d.dismiss(w)
		return
	}
	ready := ""
	if w.operation == observed.Install {
		ready = d.keptReady(w.visit, w.revision)
	}
	d.move(w.visit, OpenGate, next, d.gateOf(w.visit, next), ready)
	d.out.Moves[len(d.out.Moves)-1].Labels = d.labels(w.visit, w.revision, step)
}

// residing tells whether a payload that stays is at work on a node on which no operation is.
func (d *decider) residing(v *visit) bool {
	if v.state == nil || v.state.Progress == nil || !idlePhase(v.state.Progress.Phase) {
		return false
	}
	revision, _, _ := observed.ParseGate(d.gateOf(v, v.state.Progress))
	return revision != ""
}

// giveBack gives a turn back that cannot be used now, so that another node may have the place, and another runtime the node.
func (d *decider) giveBack(w *wish, o obstacle) {
	late := emptied(w.visit) && !d.snap.Time.Before(w.state.Progress.Since.Add(d.timeout(w.visit)))
	switch o.reason {
	case Held, NodeNotReady, NodeDeleting, NodeCordoned, OthersAtWork, Paused, Halted, PoolPaused, OutsideWindow, WaitingForWave, PodsInUse, BarePods, DrainTimedOut, PodsUnseen,
		WriteRefused, BudgetUsed, NothingSelected, MassDeselection:
	default:
		if !late {
			return
		}
	}
	switch {
	case w.broken():
		// It is out of service anyhow.
	case emptied(w.visit):
		d.refill(w.visit, TurnReturned, o.message)
	case !w.holds || d.dismissed(w.visit):
		// A node without its payload is out of service, and what it says is all that anybody knows of that.
	case d.holdsPlace(w.visit):
		// The place stays, whatever it was booked for.
		d.put(w.visit, turnOf(w.state.Progress))
	case d.unopened(w.visit):
		d.returnTurn(w.visit, o.message)
	default:
		d.drop(w.visit)
	}
}

// holdsPlace tells whether a node that is not under way counts in the budget all the same: it failed, or is still watched.
func (d *decider) holdsPlace(v *visit) bool {
	if v.state == nil || v.state.Progress == nil {
		return false
	}
	switch v.state.Progress.Phase {
	case observed.PhaseFailed:
		return !d.passedOver(v, v.state.Progress)
	case observed.PhaseReady:
		return d.snap.Time.Before(d.soaked(v))
	case observed.PhaseDraining, observed.PhaseBlocked:
		return v.broken()
	case observed.PhasePending, observed.PhaseInstalling, observed.PhaseUninstalling:
	}
	return false
}

// blocked is the ordered chain of checks before a node's turn: the first that fits is the reason shown. What has begun with the leave of a
// payload is finished: it waits only for what would be in its way on the node.
func (d *decider) blocked(w *wish) obstacle {
	begins := !d.dismissed(w.visit)
	if o := d.unfit(w, begins); o.reason != "" {
		return o
	}
	if begins {
		if o := d.untimely(w); o.reason != "" {
			return o
		}
		if message, early := d.early(w.visit); early && w.operation == observed.Install && !w.instead {
			return obstacle{reason: WaitingForWave, message: message}
		}
		if message := d.unseen(w); message != "" {
			return obstacle{reason: PodsUnseen, message: message}
		}
		if o := d.rests(w); o.reason != "" {
			return o
		}
	}
	switch {
	case d.busy[w.n] != "" && d.busy[w.n] != w.r.Name:
		return obstacle{reason: OtherRuntime, message: "runtime \"" + d.busy[w.n] + "\" is at work on the node"}
	case w.holds && d.lingering(w.visit) != nil:
		return obstacle{reason: InstallerLeft, message: leaving(d.lingering(w.visit))}
	case !w.holds && len(d.booked) >= observed.MaxTurns:
		return obstacle{reason: BudgetUsed, message: "as many nodes are out of service as can be booked, over all runtimes"}
	case !w.holds && w.starts():
	case !w.holds && d.usedFor(w) >= w.allowed():
		return obstacle{reason: BudgetUsed, message: d.budgetUsed(w.r.Name, w.allowed())}
	case !w.holds:
		if message := d.crowded(w); message != "" {
			return obstacle{reason: PoolBudgetUsed, message: message}
		}
	}
	return obstacle{}
}

// outgrown keeps gates closed where more turns are booked than the budget allows now: people made it smaller, or a node counts again that could not be written. As many turns are given
// back as there are too many; keeps is true for those that wait until these are.
func (d *decider) outgrown(w *wish) (o obstacle, keeps bool) {
	if !w.holds || w.starts() || d.uncounted[w.key()] || emptied(w.visit) || d.dismissed(w.visit) || d.holdsPlace(w.visit) || d.usedFor(w) <= w.allowed() {
		return obstacle{}, false
	}
	d.returned[w.r.Name]++
	keeps = d.returned[w.r.Name] > d.usedFor(w)-w.allowed()
	return obstacle{reason: BudgetUsed, message: d.budgetUsed(w.r.Name, w.allowed())}, keeps
}

// unfit is the part of the chain about the node, and about people who hold it or its runtime.
func (d *decider) unfit(w *wish, begins bool) obstacle {
	switch {
	case w.revision == "":
		return obstacle{reason: NoSnapshot, message: "no ControllerRevision of the runtime knows how to uninstall it; take the node's " + w.r.Name + ".longshore.dev keys off by hand"}
	case w.node.Deleting:
		return obstacle{reason: NodeDeleting, message: "the node is being deleted"}
	case d.refusedNode(w).reason != "":
		return d.refusedNode(w)
	case begins && w.state != nil && w.state.Held:
		return obstacle{reason: Held, message: fmt.Sprintf("held: %q", w.state.Hold)}
	case !w.node.Ready:
		return obstacle{reason: NodeNotReady, message: "the node is NotReady" + since(w.node)}
	case w.node.Others != "":
		return obstacle{reason: OthersAtWork, message: w.node.Others}
	case begins && w.node.Unschedulable && !w.cordonedByUs():
		if runtime := cordoner(w.node); runtime != "" {
			return obstacle{reason: NodeCordoned, message: "the node is cordoned for runtime \"" + runtime + "\""}
		}
		return obstacle{reason: NodeCordoned, message: "somebody cordoned the node"}
	case begins && d.closed != "":
		return obstacle{reason: PoolInvalid, message: d.closed}
	case begins && w.r.Spec != nil && w.r.Spec.Paused && !w.r.Removing && !emptied(w.visit):
		return obstacle{reason: Paused, message: "the spec is paused"}
	case begins && w.r.Pause != nil && !w.r.Removing && !emptied(w.visit):
		return obstacle{reason: Paused, message: fmt.Sprintf("people paused the runtime: %q", w.r.Pause.Reason)}
	case begins && w.sum.Halted != "" && !w.retry && !w.instead && !w.broken() && !d.mends(w):
		return obstacle{reason: Halted, message: w.sum.HaltedMessage}
	case begins:
		return d.refusedInstaller(w)
	}
	return obstacle{}
}

func since(node *observed.Node) string {
	if node.ReadySince.IsZero() {
		return ""
	}
	return " since " + node.ReadySince.UTC().Format("2006-01-02T15:04:05Z")
}

// used is how many places of a runtime's budget are taken.
func (d *decider) used(runtime string) int { return d.places[runtime] }

// full is a budget that is used up, in words; that of a wave may be another one than the runtime's.
type full struct {
	allowed int
	words   string
}

// budgetUsed says who holds the places. Thousands of nodes may wait for the same reason: it is put into words once.
func (d *decider) budgetUsed(runtime string, allowed int) string {
	said := d.full[runtime]
	if said.allowed != allowed {
		said = full{allowed, fmt.Sprintf("%d of %d nodes out of service: %s", d.used(runtime), allowed, d.holders(runtime))}
		d.full[runtime] = said
	}
	return said.words
}

// holders names the nodes that hold a runtime's places, the first few of them.
func (d *decider) holders(runtime string) string {
	const few = 3
	var names []string
	more := 0
	for i := range d.snap.Nodes {
		if !d.bookedNodes[i] {
			continue
		}
		if _, ok := d.booked[observed.NodeRuntime{Node: d.snap.Nodes[i].UID, Runtime: runtime}]; !ok || d.snap.Nodes[i].Starting(runtime) {
			continue
		}
		if len(names) == few {
			more++
			continue
		}
		names = append(names, d.snap.Nodes[i].Name)
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
