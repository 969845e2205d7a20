package rollout

import (
	"fmt"
	"slices"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// The API server may refuse a write for as long as somebody's policy wants it. A write that was refused is tried again later and later, and holds up nobody else:
//
//	to a node, before its gate opened   its turn counts in no budget, and is given back as soon as the node can be written
//	to a node that is under way         it keeps its place, for it is out of service; the write is tried again
//	to an installer                     no node that would need it begins

// refusal is what is known of a write that was refused, nil where none was. It stays known until a write succeeds.
func (d *decider) refusal(kind, name, runtime string) *observed.Refusal {
	if len(d.snap.Refused) == 0 {
		return nil
	}
	if r, known := d.snap.Refused[observed.ObjectRef{Kind: kind, Name: name, Runtime: runtime}]; known {
		return &r
	}
	return nil
}

// waits reports whether a refused write is not tried again yet.
func (d *decider) waits(r *observed.Refusal) bool { return r != nil && d.snap.Time.Before(r.Until) }

func refusedWords(what string, r *observed.Refusal) string {
	if r.Panic {
		return fmt.Sprintf("Longshore fails with an internal error when it changes %s, since %s; the controller's log has the stack, please report it: %s", what, r.Since.UTC().Format("2006-01-02T15:04:05Z"), r.Words)
	}
	return fmt.Sprintf("the API server refuses to change %s, since %s: %s", what, r.Since.UTC().Format("2006-01-02T15:04:05Z"), r.Words)
}

// mostUncounted is how many nodes of a runtime may leave their turns to others: where more cannot be written, no other node most likely can either.
const mostUncounted = 100

// exceptRefused takes the bookings of nodes out of what counts whose gates could not be opened: their turn goes elsewhere.
func (d *decider) exceptRefused() {
	if len(d.snap.Refused) == 0 {
		return
	}
	d.uncounted = map[observed.NodeRuntime]bool{}
	uncounted := map[string]int{}
	for i := range d.snap.Nodes {
		node := &d.snap.Nodes[i]
		for j := range d.plan.Runtimes {
			name := d.plan.Runtimes[j].Name
			key := observed.NodeRuntime{Node: node.UID, Runtime: name}
			t, booked := d.booked[key]
			if !booked || uncounted[name] == mostUncounted || node.Starting(name) || !d.waits(d.refusal("Node", node.Name, name)) {
				continue
			}
			if p := node.Progress(name); p != nil && (p.Turn == t.ID || placed(p)) {
				continue
			}
			uncounted[name]++
			d.uncounted[key] = true
			d.places[name]--
			d.turnsOn[i]--
		}
	}
}

// refusedNode says that a node cannot be written.
func (d *decider) refusedNode(w *wish) obstacle {
	if r := d.refusal("Node", w.node.Name, w.r.Name); d.waits(r) {
		return obstacle{reason: WriteRefused, message: refusedWords("the node", r), until: r.Until}
	}
	return obstacle{}
}

// refusedInstaller says that the installer of an operation's first step cannot be written. It goes on being asked for.
func (d *decider) refusedInstaller(w *wish) obstacle {
	if len(d.snap.Refused) == 0 {
		return obstacle{}
	}
	for _, step := range d.stepsOf(w.visit, w.revision, w.operation) {
		name := observed.DaemonSetName(w.r.Name, step, w.revision)
		if r := d.refusal("DaemonSet", name, w.r.Name); r != nil && !d.installerThere(w.r.Name, w.revision, step) {
			d.need(w.visit, w.revision, w.operation)
			o := obstacle{reason: WriteRefused, message: refusedWords("DaemonSet "+name, r)}
			if d.waits(r) {
				o.until = r.Until
			}
			return o
		}
	}
	return obstacle{}
}

// withhold takes out the moves of nodes that are not written again yet, and says so.
func (d *decider) withhold() {
	if len(d.snap.Refused) == 0 {
		return
	}
	moves := d.out.Moves
	d.out.Moves = nil
	for i := range moves {
		m := &moves[i]
		r := d.refusal("Node", m.Node, m.Runtime)
		if !d.waits(r) {
			d.out.Moves = append(d.out.Moves, *m)
			continue
		}
		d.again(r.Until)
		if !slices.Contains(d.order, d.pairs[i]) {
			d.order = append(d.order, d.pairs[i])
			d.out.Holds = append(d.out.Holds, Hold{Node: m.Node, Runtime: m.Runtime, Reason: WriteRefused, Message: refusedWords("the node", r), Until: r.Until})
		}
	}
}

// mostRefused is how many refused writes of a runtime are told one by one.
const mostRefused = 10

// warnRefused tells people of a runtime's writes that are refused.
func (d *decider) warnRefused(r *desired.Runtime) {
	var refs []observed.ObjectRef
	for ref := range d.snap.Refused {
		if ref.Runtime == r.Name {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, observed.ObjectRef.Compare)
	for i, ref := range refs {
		refusal := d.snap.Refused[ref]
		if d.waits(&refusal) {
			d.again(refusal.Until)
		}
		if i < mostRefused {
			d.warn(r, "WriteRefused", refusedWords(ref.String(), &refusal))
			d.out.Objects.Warnings[len(d.out.Objects.Warnings)-1].Refused = &RefusedWrite{Object: ref, Refusal: refusal}
		}
	}
	if more := len(refs) - mostRefused; more > 0 {
		d.warn(r, "WriteRefused", fmt.Sprintf("%d more objects cannot be changed either", more))
	}
}
