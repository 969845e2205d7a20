// Package desired answers: what should be where?
//
// From specs, snapshots and nodes it says for every node and runtime which revision the node should carry, and why. What has
// to be remembered in the cluster before anyone may act on it is asked for as a [Prepare].
package desired

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Options are the delays that keep a slip of the hand from becoming an uninstall.
type Options struct {
	// VanishGrace is how long a runtime may be without a spec before its nodes are uninstalled.
	VanishGrace time.Duration
	// MismatchGrace is how long a node's labels must not have matched before the node counts as deselected.
	MismatchGrace time.Duration
}

// DefaultOptions are the delays that the product promises.
func DefaultOptions() Options {
	return Options{VanishGrace: time.Minute, MismatchGrace: time.Minute}
}

// Parser reads a spec. The controller hands over one that remembers what it has read.
type Parser func(name string, data map[string]string, binaryData map[string][]byte) (*spec.Runtime, field.ErrorList)

// Plan is what should be where, a Runtime a name, sorted by name.
type Plan struct {
	Runtimes []Runtime
	// Pools are sorted by the names of their ConfigMaps.
	Pools []Pool
	// Pull says what the credentials of payload-secret are for.
	Pull Pull
	// Unmeant are the names in payload-config that no spec has, sorted.
	Unmeant []string
	// Again is when time alone changes the plan; zero if it does not.
	Again time.Time
}

// Runtime is one runtime: who speaks for it, what is in force, and the target of every node.
type Runtime struct {
	Name string
	// Source is the spec that wins, nil where there is none (any more).
	Source *observed.Spec
	// Superseded are the other specs of the name.
	Superseded []*observed.Spec
	// Ending are specs of the name that are deleted, and that a finalizer of ours holds.
	Ending []*observed.Spec
	// Finalize are the finalizers to be put on specs or taken off.
	Finalize []Finalize
	// Errors are why the winning spec is not in force; the last good one stays so.
	Errors field.ErrorList
	// Conflict says which other runtime has what this one asks for, or what is wrong with the spec that is left where it is Stale: another one was newer for too long.
	Conflict string
	Stale    bool
	// Surviving is true while the spec that is left is older than what is in force: nodes stay as they are. It is Waiting while its grace is not
	// over; InForceAt is when that is, zero where it is not written down yet.
	Surviving, Waiting bool
	InForceAt          time.Time
	// Spec is what is in force, nil where nothing valid was ever there.
	Spec *spec.Runtime
	// Goal is the revision that selected nodes should carry, nil if there is none yet.
	Goal *observed.Revision
	// History are all revisions of the runtime, the newest first.
	History []*observed.Revision
	// Prepare is what has to be written before the newest wish can be acted on, nil if nothing.
	Prepare *Prepare
	// Vanished is when the last spec was gone; zero while there is one.
	Vanished time.Time
	// Bad says that the newest revision is not to be tried again, and that Goal is the one that nodes go back to. BadRevision is its name.
	Bad         *observed.Bad
	BadRevision string
	// Pause is what people said who paused the runtime, nil if nobody did.
	Pause *observed.Pause
	// Unheard says what is wrong with what people asked for, "" if nothing is.
	Unheard string
	// Removing is true when the grace is over and every node is to be uninstalled.
	Removing bool
	// Orphaned is true when the grace is over and every node is to keep what it has: the spec said so before it went.
	Orphaned bool
	// NothingSelected is true while a spec edit that left no node selected keeps everything as it is.
	NothingSelected bool
	// Lost says what is known of nodes that lost their labels, nil for nothing. While it says Halted, they keep what they have.
	Lost *observed.Deselection
	// Panic is what the code failed with that looked at this runtime, "" where it did not fail. Nothing is done for the runtime then.
	Panic string
	// Selected and Carrying count nodes.
	Selected, Carrying int
	// Total is the number of nodes selected or still carrying the runtime: what percentages are of.
	Total int
	// Targets has an entry for every node of the snapshot, in the same order.
	Targets []Target

	renamed []string
	// survivor is what is remembered of the spec if it was an older one that came back.
	survivor *observed.Survivor
	// asked is the spec as it was read, nil where it is refused.
	asked *spec.Runtime
	// lost is what has to be remembered of nodes that lost their labels, as long as no valid spec is about to be in force.
	lost string
}

// Want is what a node should have.
type Want uint8

// A node has nothing to do with a runtime, should stay as it is, should carry the goal, or should carry nothing.
const (
	Unconcerned Want = iota
	Keep
	Installed
	Removed
)

// Target is what should be on one node for one runtime.
type Target struct {
	Want Want
	Why  Why
	// Until is when a Keep turns into something else by itself; zero if it does not.
	Until time.Time
}

// Why says where a target comes from.
type Why uint8

// The reasons of targets.
const (
	WhyNone Why = iota
	WhySelected
	WhyDeselected
	WhyMismatch
	WhyVanished
	WhyDeleted
	WhyNothingSelected
	WhyNoGoal
	WhyBad
	WhyOrphaned
	WhyStale
	WhyMassDeselected
	WhyUntouched
	WhyPanic
	WhySurvivor
)

// Revision returns the runtime's revision of that name, nil if it is not (or no longer) known.
func (r *Runtime) Revision(revision string) *observed.Revision {
	for _, h := range r.History {
		if h.Revision == revision {
			return h
		}
	}
	return nil
}

// Current tells whether a revision has the same content as the goal, in whatever format its hash was made.
func (r *Runtime) Current(revision string) bool {
	if r.Goal == nil {
		return false
	}
	if revision == r.Goal.Revision {
		return true
	}
	return slices.Contains(r.renamed, revision)
}

// GivenUp reports whether the newest revision is bad and there is none to go back to: nodes that never offered the runtime are uninstalled, the others stay.
func (r *Runtime) GivenUp() bool { return r.Bad != nil && r.Bad.To == "" }

// Frozen tells whether no new turn may be booked for the runtime, and why. Nothing that a spec said holds its own uninstall up.
func (r *Runtime) Frozen() (Why, bool) {
	switch {
	case r.NothingSelected && !r.Removing:
		return WhyNothingSelected, true
	case r.Lost != nil && r.Lost.Halted != "" && !r.Removing:
		return WhyMassDeselected, true
	case !r.Vanished.IsZero() && !r.Removing:
		return WhyVanished, true
	case r.Surviving && !r.Removing:
		return WhySurvivor, true
	}
	return WhyNone, false
}

// Of computes the plan of a snapshot.
func Of(snap *observed.Snapshot, parse Parser, opts Options) *Plan {
	names := map[string]*Runtime{}
	get := func(name string) *Runtime {
		if names[name] == nil {
			names[name] = &Runtime{Name: name}
		}
		return names[name]
	}
	for i := range snap.Specs {
		get(snap.Specs[i].Runtime)
	}
	for i := range snap.Revisions {
		r := get(snap.Revisions[i].Runtime)
		r.History = append(r.History, &snap.Revisions[i])
	}
	standing := carried(snap)
	for s := range standing {
		get(s.runtime)
	}
	for _, t := range snap.Turns.Booked {
		// A turn of a runtime that nothing else knows any more has to be given back all the same.
		get(t.Runtime)
	}
	plan := &Plan{Pools: pools(snap)}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r := names[name]
		slices.SortFunc(r.History, func(a, b *observed.Revision) int {
			return cmp.Or(cmp.Compare(b.Number, a.Number), cmp.Compare(b.Name, a.Name))
		})
		r.choose(snap)
		r.isolated(func() { r.inForce(parse) })
		if r.Vanished.After(snap.Time) {
			// The clock that wrote it was wrong: the grace begins now.
			r.Vanished = time.Time{}
		}
		plan.Runtimes = append(plan.Runtimes, *r)
	}
	claims, payloads := claimed(plan.Runtimes, standing), payloads(snap, plan.Runtimes)
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		r.isolated(func() {
			r.recall(snap)
			r.lose(snap)
			switch {
			case r.Source == nil:
				r.vanish(snap)
			case r.survive(snap, parse, payloads, opts):
			default:
				r.ask(snap, parse, claims, payloads)
			}
			plan.again(r.target(snap, opts))
			r.finalize(snap)
		})
		if r.Panic != "" {
			r.Freeze(snap)
		}
	}
	plan.Pull, plan.Unmeant = pull(snap, plan.Runtimes), unmeant(plan.Runtimes, payloads)
	return plan
}

// carriedRevision is a revision that stands in the progress of some node, as installed or as what was there before; "" is for a node
// that carries something of the runtime, whatever it is.
type carriedRevision struct{ runtime, revision string }

// carried collects what stands on nodes. Thousands of nodes say the same, so what the node before said is not looked up again.
func carried(snap *observed.Snapshot) map[carriedRevision]bool {
	all := map[carriedRevision]bool{}
	var last []*observed.State
	for i := range snap.Nodes {
		states := snap.Nodes[i].States()
		for j := range states {
			s := &states[j]
			if j == len(last) {
				last = append(last, nil)
			}
			if !s.Carries() || saysTheSame(s, last[j]) {
				continue
			}
			last[j] = s
			all[carriedRevision{runtime: s.Runtime}] = true
			if s.Progress != nil {
				all[carriedRevision{s.Runtime, s.Progress.Revision}] = true
				all[carriedRevision{s.Runtime, s.Progress.Attempted}] = true
				if s.Progress.Phase != observed.PhaseReady {
					// What a Ready node had before is history.
					all[carriedRevision{s.Runtime, s.Progress.Previous}] = true
				}
			}
		}
	}
	return all
}

func saysTheSame(a, b *observed.State) bool {
	if b == nil || a.Runtime != b.Runtime || a.Progress == nil || b.Progress == nil {
		return false
	}
	return a.Progress.Phase == b.Progress.Phase && a.Progress.Revision == b.Progress.Revision && a.Progress.Previous == b.Progress.Previous && a.Progress.Attempted == b.Progress.Attempted
}

func (p *Plan) again(t time.Time) {
	if !t.IsZero() && (p.Again.IsZero() || t.Before(p.Again)) {
		p.Again = t
	}
}

// choose finds the spec that speaks for the runtime: the newest by creation, then by name.
func (r *Runtime) choose(snap *observed.Snapshot) {
	for i := range snap.Specs {
		s := &snap.Specs[i]
		if s.Runtime != r.Name {
			continue
		}
		if s.Deleting {
			if s.Held() {
				r.Ending = append(r.Ending, s)
			}
			continue
		}
		switch {
		case r.Source == nil:
			r.Source = s
		case newer(s, r.Source):
			r.Superseded = append(r.Superseded, r.Source)
			r.Source = s
		default:
			r.Superseded = append(r.Superseded, s)
		}
	}
}

func newer(a, b *observed.Spec) bool {
	if !a.Created.Equal(b.Created) {
		return a.Created.After(b.Created)
	}
	return a.Name > b.Name
}

// target fills in what every node should have, and says when time alone changes it.
func (r *Runtime) target(snap *observed.Snapshot, opts Options) time.Time {
	r.Targets = make([]Target, len(snap.Nodes))
	var again time.Time
	later := func(t time.Time) {
		if again.IsZero() || t.Before(again) {
			again = t
		}
	}
	if !r.Vanished.IsZero() {
		due := r.Vanished.Add(r.deletionGrace(opts))
		// A spec that is there again ends the uninstall at once, also where its mark cannot be written.
		over := r.Source == nil && !snap.Time.Before(due)
		r.Orphaned = over && r.Spec != nil && r.Spec.DeletionPolicy == spec.DeletionOrphan
		r.Removing = over && !r.Orphaned
		if r.Source == nil && !over {
			later(due)
		}
	}
	if !r.InForceAt.IsZero() {
		later(r.InForceAt)
	}
	for i := range snap.Nodes {
		node := &snap.Nodes[i]
		carries := node.State(r.Name).Carries()
		selected := r.Spec != nil && !r.Removing && r.Spec.NodeSelector.Matches(&node.Labels)
		if selected {
			r.Selected++
		}
		if carries {
			r.Carrying++
		}
		if selected || carries {
			r.Total++
		}
		t := r.targetOf(node, standing{selected: selected, carries: carries}, snap, opts)
		if !t.Until.IsZero() {
			later(t.Until)
		}
		r.Targets[i] = t
	}
	return again
}

// standing is how a node stands to a runtime.
type standing struct{ selected, carries bool }

// targetOf is the table of targets, the first line that fits:
//
//	nothing valid was ever there          Keep what is there
//	the spec is gone, grace over          Removed if it carries anything
//	the same, and its policy was Orphan   Keep if it carries anything
//	the spec that is left is stale        Keep if it carries anything
//	it is not in force yet                Keep if it carries anything or was selected
//	the spec is gone, within the grace    Keep if it carries anything or was selected
//	the spec is gone, not yet remembered  the same
//	the newest revision is bad, the first Removed if it never offered the runtime, else Keep
//	it is bad, and did not touch the node Keep, unless people asked to go back
//	selected, a goal exists               Installed
//	an edit selected nothing at all       Keep if it carries anything
//	many nodes lost their labels at once  Keep if it carries anything
//	not selected for long enough          Removed if it carries anything
//	not selected                          Keep if it carries anything
func (r *Runtime) targetOf(node *observed.Node, is standing, snap *observed.Snapshot, opts Options) Target {
	keep := func(why Why) Target {
		if is.carries {
			return Target{Want: Keep, Why: why}
		}
		return Target{}
	}
	switch {
	case r.Removing && is.carries:
		return Target{Want: Removed, Why: WhyDeleted}
	case r.Removing:
		return Target{}
	case r.Orphaned:
		return keep(WhyOrphaned)
	case r.Stale:
		return keep(WhyStale)
	case r.Surviving:
		return r.waits(is, WhySurvivor)
	case !r.Vanished.IsZero(), r.Source == nil && len(r.History) > 0:
		return r.waits(is, WhyVanished)
	case r.Spec == nil || r.Goal == nil:
		return keep(WhyNoGoal)
	case r.GivenUp() && is.carries && !offered(node.Progress(r.Name)):
		return Target{Want: Removed, Why: WhyBad}
	case r.GivenUp():
		return keep(WhyBad)
	case is.selected && r.untouched(node):
		return Target{Want: Keep, Why: WhyUntouched}
	case is.selected:
		return Target{Want: Installed, Why: WhySelected}
	case !is.carries:
		return Target{}
	case r.NothingSelected:
		return keep(WhyNothingSelected)
	case r.Lost != nil && r.Lost.Halted == HaltedNothingSelected:
		return keep(WhyNothingSelected)
	case r.Lost != nil && r.Lost.Halted != "":
		return keep(WhyMassDeselected)
	}
	since, known := snap.Mismatch[observed.NodeRuntime{Node: node.UID, Runtime: r.Name}]
	if !known {
		since = snap.Time
	}
	due := since.Add(r.deselectionGrace(opts))
	if snap.Time.Before(due) {
		return Target{Want: Keep, Why: WhyMismatch, Until: due}
	}
	return Target{Want: Removed, Why: WhyDeselected}
}

// waits is the target of a node while nobody knows what the runtime's next spec is.
func (r *Runtime) waits(is standing, why Why) Target {
	if is.selected || is.carries {
		return Target{Want: Keep, Why: why}
	}
	return Target{}
}

// Mismatches returns the pairs of node and runtime whose labels do not match at present, to be remembered with the time they
// were first seen so. Those of nodes that were uninstalled since stay for as long as a mass loss of labels would count them.
func (p *Plan) Mismatches(snap *observed.Snapshot) map[observed.NodeRuntime]time.Time {
	out := map[observed.NodeRuntime]time.Time{}
	for i := range p.Runtimes {
		r := &p.Runtimes[i]
		for j := range r.Targets {
			key := observed.NodeRuntime{Node: snap.Nodes[j].UID, Runtime: r.Name}
			since, known := snap.Mismatch[key]
			switch why := r.Targets[j].Why; {
			case why == WhyMismatch, why == WhyDeselected, why == WhyMassDeselected, why == WhyNothingSelected:
				if !known {
					since = snap.Time
				}
			case known && r.Targets[j].Want == Unconcerned && snap.Time.Before(since.Add(massWindow)):
			default:
				continue
			}
			out[key] = since
		}
	}
	return out
}
