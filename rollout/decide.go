package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Invariants. Whatever happens, in whatever order, and however old the view is that a decision was made from:
//
//   - Budget: a gate opens only on a node whose booking was written by an earlier compare-and-swap on the one ConfigMap of turns.
//     No more nodes are booked for a runtime than its budget allows, but for those that already are out of service.
//   - Place: a booking ends only when the node's own progress shows that its place is free, or the node is gone. A node whose payload has
//     left for an operation holds its place until the payload, or the next one, is there.
//   - One operation a node: no turn is booked on a node where another runtime is under way, and no gate opens while any installer pod
//     is left on the node.
//     What is not in service yet, by the startup taint, is in no budget.
//   - Pools: while of a pool no version is in force, nothing is booked for a node that holds no place, and no gate opens but of what is under way.
//     No node is booked that would be one more out of service than a pool allows, over all runtimes, and no gate opens on a node whose pools are
//     paused or outside of their windows, but of what is under way.
//   - Finish: an operation whose command has started is not given up before its result, its attempts or its time are used up.
//   - Cordons: no node is uncordoned but one that was cordoned for the same runtime, and that nobody has uncordoned since.
//   - Evictions: no pod is evicted but on a node that is being emptied, and none that nobody would make anew.
//   - Truth: the ready label stands only where the command exited 0, the main container was started afterwards, the node is Ready
//     and does not deny the handlers.
//   - Calm: a snapshot in which everything is as it should be leads to no move.
//
// And what all this is for: what works is never taken away without a person asking for it.
//   - Keep: a node that offers the runtime at a proven revision loses it only because its spec was deleted, its selector was edited, its own labels were
//     changed for longer than the grace and not with those of many others, an upgrade is under way on it, or people asked for that node or revision.
//   - Proven: a proven revision is never given up by itself.
//   - Blame: nothing counts as our failure that others caused: the NotReady of a node that is being deleted, or that others work on, and a
//     handler that is lost again and again long after its install.

// Decide says what to do now. It changes neither argument. A panic in what concerns one runtime leaves that one alone, and nothing else.
func Decide(snap *observed.Snapshot, plan *desired.Plan) *Decision {
	alone := map[string]string{}
	for i := range plan.Runtimes {
		if text := plan.Runtimes[i].Panic; text != "" {
			alone[plan.Runtimes[i].Name] = text
		}
	}
	for {
		decision, failed := try(snap, plan, alone)
		if failed == nil {
			return decision
		}
		alone[failed.Runtime] = failed.Text
	}
}

// decider is the scratch of one decision. What is asked for every node and runtime is in slices, not in maps: thousands of nodes should
// cost no more than reading them.
type decider struct {
	snap *observed.Snapshot
	plan *desired.Plan
	out  *Decision
	pods podIndex

	// before are the turns as observed, booked as they will be; places counts the latter by runtime.
	before, booked map[observed.NodeRuntime]observed.Turn
	places         map[string]int
	// full says in words why a budget is used up.
	full map[string]full
	// stands are what stands on the nodes, by runtime, then by node.
	stands [][]stand
	// kinds are one state of every kind that stands on any node, by runtime: what many nodes say alike is looked at once.
	kinds [][]*observed.State
	// offers numbers the lists of handlers that nodes report: the same number, the same list.
	offers []int
	// bookedNodes tells of each node whether it has, or had, any booking; turnsOn counts those that it has.
	bookedNodes []bool
	turnsOn     []int32
	// busy names the runtime that is under way (or about to be) on a node, "" for none.
	busy []string
	// handlers are those of revisions that were asked for before.
	handlers map[*observed.RevisionContent][]string
	// order is where each of the holds belongs among all pairs of runtime and node.
	order []int
	// closed says why nothing starts on any node, "" if it may. groups are the pools that are in force.
	closed string
	groups []*group
	// zoneOf numbers the zones of the nodes, nil as long as nobody asked.
	zoneOf []int32
	// courses are the waves, by runtime.
	courses []*course
	// queue are the nodes that want a turn, by runtime.
	queue map[string][]wish
	// sums are indexed like the plan's runtimes.
	sums []Summary
	// needed are installers that a gate or a booking names.
	needed map[Installer]bool
	// alone are runtimes that are left alone because the code failed that looked at them, and at is the one that is looked at now.
	alone map[string]string
	at    string
	// uncounted are bookings that count in no budget: of nodes that refuse to be written to.
	uncounted map[observed.NodeRuntime]bool
	// beside is how many failed nodes stand in nobody's way who mends, by runtime; see [decider.usedFor].
	beside map[string]int
	// returned is how many turns are given back because the budget is smaller now, by runtime.
	returned map[string]int
	// pairs are the pairs of runtime and node that the moves are of.
	pairs []int
}

// decide is Decide with the runtimes named that are left alone, and why.
func (d *decider) decide() *Decision {
	plan := d.plan
	d.out.Again = plan.Again
	d.sortStates()
	d.sortOffers()
	if !d.snap.Turns.Exists {
		d.out.Rebuild = true
		for i := range plan.Runtimes {
			d.sums = append(d.sums, newSummary(&plan.Runtimes[i]))
		}
		d.gather()
		d.poolSums()
		d.objects()
		d.sum()
		return d.out
	}
	for _, t := range d.snap.Turns.Booked {
		d.before[observed.NodeRuntime{Node: t.Node, Runtime: t.Runtime}] = t
		d.places[t.Runtime]++
	}
	d.booked = maps.Clone(d.before)
	d.freeTheGone()
	d.gather()
	for i := range plan.Runtimes {
		d.at = plan.Runtimes[i].Name
		d.walk(i)
		d.openWave(i)
		d.prove(i)
	}
	d.at = ""
	d.makeRoom()
	for i := range plan.Runtimes {
		d.at = plan.Runtimes[i].Name
		d.book(&plan.Runtimes[i])
	}
	d.at = ""
	d.finishTurns()
	d.poolSums()
	d.objects()
	d.withhold()
	d.sum()
	return d.out
}

func newDecider(snap *observed.Snapshot, plan *desired.Plan) *decider {
	return &decider{
		snap: snap, plan: plan, out: &Decision{}, pods: indexPods(snap),
		before: map[observed.NodeRuntime]observed.Turn{}, places: map[string]int{}, full: map[string]full{}, busy: make([]string, len(snap.Nodes)), turnsOn: make([]int32, len(snap.Nodes)),
		closed: closedBy(plan.Pools), queue: map[string][]wish{}, needed: map[Installer]bool{}, handlers: map[*observed.RevisionContent][]string{}, sums: make([]Summary, 0, len(plan.Runtimes)),
		beside: map[string]int{}, returned: map[string]int{},
	}
}

// wish is a node that wants a turn.
type wish struct {
	*visit
	revision  string
	operation observed.Operation
	// retry is true when people asked for another try.
	retry bool
	// instead is true when the revision is the last good one and not the goal.
	instead bool
	// rank and place are the order of turns.
	rank  int
	place place
}

// visit is one node seen by one runtime.
type visit struct {
	r      *desired.Runtime
	node   *observed.Node
	state  *observed.State
	target desired.Target
	sum    *Summary
	course *course
	// n is the node's place in the snapshot, pair that of node and runtime among all pairs.
	n, pair int
	// holds is true while the node has a booking for the runtime.
	holds bool
}

func (v *visit) key() observed.NodeRuntime {
	return observed.NodeRuntime{Node: v.node.UID, Runtime: v.r.Name}
}

func (d *decider) again(t time.Time) {
	if d.out.Again.IsZero() || t.Before(d.out.Again) {
		d.out.Again = t
	}
}

func (d *decider) hold(v *visit, reason Reason, message string) {
	d.order = append(d.order, v.pair)
	d.out.Holds = append(d.out.Holds, Hold{Node: v.node.Name, Runtime: v.r.Name, Reason: reason, Message: message})
}

// holdFor is for a turn with something in its way.
func (d *decider) holdFor(v *visit, o obstacle) {
	if o.until.IsZero() {
		d.hold(v, o.reason, o.message)
		return
	}
	d.holdUntil(v, o.reason, o.until, o.message)
}

func (d *decider) holdUntil(v *visit, reason Reason, until time.Time, message string) {
	d.again(until)
	d.order = append(d.order, v.pair)
	d.out.Holds = append(d.out.Holds, Hold{Node: v.node.Name, Runtime: v.r.Name, Reason: reason, Message: message, Until: until})
}

// freeTheGone ends the bookings of nodes that are not there any more.
func (d *decider) freeTheGone() {
	d.bookedNodes = make([]bool, len(d.snap.Nodes))
	turns, there := make(map[types.UID]int32, len(d.booked)), make(map[types.UID]bool, len(d.booked))
	for key := range d.booked {
		turns[key.Node]++
	}
	for i := range d.snap.Nodes {
		uid := d.snap.Nodes[i].UID
		if count := turns[uid]; count > 0 {
			there[uid], d.bookedNodes[i], d.turnsOn[i] = true, true, count
		}
	}
	for key := range d.booked {
		if !there[key.Node] && !d.snap.MaybeThere[key.Node] {
			delete(d.booked, key)
			d.places[key.Runtime]--
		}
	}
	d.exceptStarting()
	d.exceptRefused()
}

// newSummary is that of a runtime before any of its nodes was looked at.
func newSummary(r *desired.Runtime) Summary {
	sum := Summary{Runtime: r.Name, Selected: r.Selected, Total: r.Total}
	if r.Spec != nil {
		sum.Allowed = spec.ScaledMax(r.Spec.MaxUnavailable, r.Total)
	}
	return sum
}

// makeRoom is for the holds of all who wish for a turn: most of them wait.
func (d *decider) makeRoom() {
	wishes := 0
	for _, queue := range d.queue {
		wishes += len(queue)
	}
	d.out.Holds, d.order = slices.Grow(d.out.Holds, wishes), slices.Grow(d.order, wishes)
}

// soaked is when a Ready node has been watched for long enough; nothing is watched that nobody asked for any more.
func (d *decider) soaked(v *visit) time.Time {
	since := v.state.Progress.Since
	if v.r.Spec == nil || v.state.Progress.Unwatched {
		return since
	}
	if w := v.wave(); w != nil {
		return since.Add(w.soak)
	}
	return since.Add(v.r.Spec.Soak)
}

func (d *decider) holdTarget(v *visit) {
	switch v.target.Why {
	case desired.WhyVanished:
		d.hold(v, SpecGone, "the spec is gone; the uninstall begins unless it comes back")
	case desired.WhySurvivor:
		d.hold(v, SpecGone, fmt.Sprintf("the spec that was in force is gone, and ConfigMap %q, an older one, is not in force", v.r.Source.Name))
	case desired.WhyOrphaned:
		d.hold(v, Orphaned, "the spec is gone; its deletionPolicy was Orphan, so that the node keeps what it has")
	case desired.WhyNothingSelected:
		d.hold(v, NothingSelected, "the spec selects no node any more; nothing is uninstalled until it selects some or is deleted")
	case desired.WhyMismatch:
		d.holdUntil(v, JustDeselected, v.target.Until, "the node's labels do not match any more; the uninstall begins at "+v.target.Until.UTC().Format(time.RFC3339))
	case desired.WhyMassDeselected:
		d.hold(v, MassDeselection, "the node's labels do not match any more, like those of many others at once; nothing is uninstalled")
	case desired.WhyUntouched:
		d.hold(v, NotRolledBack, "the rollout that is taken back did not change the node; it keeps what it has")
	case desired.WhyBad:
		d.hold(v, Halted, "revision "+v.r.BadRevision+" is bad, and there is none to go back to; the node offers the runtime and keeps what it has")
	case desired.WhyStale:
		d.hold(v, StaleSpec, "the spec that was in force is gone, and the one that is left does not count any more; the node stays as it is")
	case desired.WhyNoGoal:
		d.hold(v, NoGoal, "no valid spec of the runtime is known; the node stays as it is")
	default:
	}
}

// move adds a transition. A nil progress takes every key off.
func (d *decider) move(v *visit, kind MoveKind, after *observed.Progress, gate, ready string) {
	if after != nil && after.Tainted != d.tainted(v, after) {
		other := *after
		other.Tainted = !after.Tainted
		after = &other
	}
	m := Move{Kind: kind, Transition: observed.Transition{
		Node: v.node.Name, UID: v.node.UID, Runtime: v.r.Name, After: after, Gate: gate, Ready: ready,
	}}
	if v.state != nil {
		m.Before, m.HadBefore = v.state.Raw, v.state.HasRaw
	}
	switch cordoned := after != nil && after.Cordoned; {
	case cordoned && !v.node.Unschedulable:
		m.Cordon = observed.Cordoning
	case !cordoned && v.cordonedByUs():
		m.Cordon = observed.Uncordoning
	}
	d.out.Moves, d.pairs = append(d.out.Moves, m), append(d.pairs, v.pair)
}

// tainted tells whether a payload that took the place of the spec's is, or may be, on the node.
func (d *decider) tainted(v *visit, p *observed.Progress) bool {
	revisions := []string{p.Revision, p.Previous, p.Attempted}
	if p.Phase == observed.PhaseReady {
		// What was there before has gone.
		revisions = revisions[:1]
	}
	for _, revision := range revisions {
		if content := d.content(v, revision); content != nil {
			if _, overridden := content.Payload(); overridden {
				return true
			}
		}
	}
	return false
}

// moveLabels opens the gate of the step that the progress is at, together with changes to the node's other labels.
func (d *decider) moveLabels(v *visit, kind MoveKind, after *observed.Progress, labels observed.Labels) {
	d.move(v, kind, after, d.gateOf(v, after), d.readyLabel(v.with(after)))
	d.out.Moves[len(d.out.Moves)-1].Labels = labels
}

// repair puts labels right that do not fit the progress, and tells whether it had to.
func (d *decider) repair(v *visit, ready string) bool {
	s := v.state
	gate := d.gateOf(v, s.Progress)
	uncordoned := s.Progress.Cordoned && !v.node.Unschedulable
	if s.Gate == gate && s.Ready == ready && s.Phase == string(s.Progress.Phase) && !uncordoned {
		return false
	}
	next := *s.Progress
	// Whoever uncordoned it meant that, and whoever cordons it next may be somebody else.
	next.Cordoned = next.Cordoned && !uncordoned
	if s.Gate != gate && next.PodUID == "" && (next.Phase == observed.PhaseInstalling || next.Phase == observed.PhaseUninstalling) {
		// Somebody wiped the gate. A command may have begun, and be gone with its pod.
		next.PodUID = unknownPod
	}
	d.move(v, Repair, &next, gate, ready)
	return true
}

// unknownPod stands for a pod of which nobody knows whether it was there.
const unknownPod = "unknown"

// sortHolds sorts them by runtime, then by node, both of which are sorted: each hold is put where its pair is.
func (d *decider) sortHolds() {
	if slices.IsSorted(d.order) {
		return
	}
	next := make([]int, len(d.plan.Runtimes)*len(d.snap.Nodes)+1)
	for _, pair := range d.order {
		next[pair+1]++
	}
	for pair := range next[1:] {
		next[pair+1] += next[pair]
	}
	sorted := make([]Hold, len(d.order))
	for i, pair := range d.order {
		sorted[next[pair]] = d.out.Holds[i]
		next[pair]++
	}
	d.out.Holds = sorted
}
