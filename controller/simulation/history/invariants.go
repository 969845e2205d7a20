package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// Invariant is something that always holds, in a sentence.
type Invariant struct {
	Name     string
	Sentence string
	// holds looks at the world after a step, and says what is wrong, "" for nothing. It is nil for those that are looked at only when the disorder is over.
	holds func(w *World) string
}

// Invariants is the table of what always holds.
var Invariants = []Invariant{
	{"budget", "A gate opens, or a node is emptied, only where no more nodes of the runtime are out of service then than maxUnavailable.", (*World).budget},
	{"booked nodes", "No turn is booked beyond the budget of the runtime, of the node's wave and of its pools, but for nodes that are out of service already.", (*World).bookings},
	{"booked first", "A gate opens only on a node that has a turn in the ConfigMap of turns, be it a later one than the leader knows.", (*World).bookedFirst},
	{"one operation a node", "Never are two commands at work on one node.", (*World).oneOperation},
	{"finish", "A leader that sees a command run closes its gate only because the operation failed, or was not done in time while somebody else was at work on the node.", (*World).finish},
	{"truth", "The ready label is put on a node only where the install ended well, and the node is Ready and reports the handler.", (*World).truth},
	{"cordons", "Nobody is uncordoned whom people have cordoned.", (*World).cordons},
	{"hands off", "Nothing begins on a node that is held, cordoned by people, NotReady or outside of its window, nor while the runtime or its pool is paused.", (*World).handsOff},
	{"evictions", "No pod is evicted that nobody would make anew, and none from a node that is not being emptied.", (*World).evictions},
	{"installers stay", "No DaemonSet is deleted that a gate names, and no snapshot that a node's progress names.", (*World).installersStay},
	{"keep", "A node that offers the runtime at a proven revision loses it only because its spec is gone, its selector was edited, or its own labels were changed and not those of all others.", (*World).keep},
	{"proven", "A revision that is proven is given up only by people.", (*World).neverGivenUp},
	{"blame", "No node fails while somebody else is at work on it.", (*World).blame},
	{"undone by what did it", "An uninstall runs the command of the revision that was last begun on the node.", (*World).undone},
	{"every run ends done or halted with a reason", "When the disorder is over every node is done, or the reason why not is known; when people mend it, every node is done.", nil},
	{"an untouched cluster causes no writes", "When everything is done, nothing is written for a day, also by a new leader.", nil},
	{"nothing of ours is left after an uninstall", "When every spec is gone there is no key, turn or object of ours, and no payload on any node.", nil},
}

// inspect looks at all invariants after a step.
func (w *World) inspect() {
	for i := range Invariants {
		inv := &Invariants[i]
		if w.broken != nil || inv.holds == nil {
			continue
		}
		if message := inv.holds(w); message != "" {
			w.broken = &Broken{Invariant: inv.Name, Message: message}
		}
	}
}

// soak is the shortest that any node of a scene is watched.
const soak = 10 * time.Second

// soaks tells whether a Ready node is still watched, by a clock that goes wrong by so much.
func (w *World) soaks(p *observed.Progress, skew time.Duration) bool {
	return w.scene.Soak == "" && !p.Unwatched && w.now.Add(skew).Before(p.Since.Add(soak))
}

// out tells whether a node that shows this is out of service because of Longshore.
func (w *World) out(n *observed.Node, runtime string) bool {
	p := n.Progress(runtime)
	if p == nil || w.wiped[n.Name] {
		// Where people wiped what was known, nobody knows since when a node is watched.
		return false
	}
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseDraining, observed.PhaseBlocked:
		return true
	case observed.PhaseFailed:
		own := p.Operation == observed.Install && n.Labels.Get(observed.ReadyKey(runtime)) == "" && (p.Previous == "" || p.Previous == p.Revision) && w.proven[runtime+" "+p.Revision]
		return !n.Ready || (w.scene.OnFailure != "Continue" && p.Reason != string(rollout.HandlerLost) && !own)
	case observed.PhasePending:
		return p.Reason == string(rollout.PayloadLeaving)
	case observed.PhaseReady:
		// As far as all clocks agree.
		return w.soaks(p, w.fastest)
	}
	return false
}

// overslept tells whether a leader looked before everything was taken off the node that it writes to: it began with nothing then and has nothing now, so that nobody can tell
// the leader that its turn has ended since.
func (w *World) overslept(c *change, rt string) bool {
	return w.machines[c.after.seen.Name].cleared[rt] > c.by.looked
}

// begun are the operations that the step under way has begun: from a phase in which the node was in service, or before the gate, into one in which it is not.
func (w *World) begun(yield func(c *change, runtime string, before, after *observed.Progress)) {
	for i := range w.last {
		c := &w.last[i]
		if c.after == nil {
			continue
		}
		for _, rt := range w.scene.Runtimes {
			before, after := c.before.seen.Progress(rt), c.after.seen.Progress(rt)
			if after == nil || !begins(after.Phase) || (before != nil && before.Phase == after.Phase && before.Turn == after.Turn) {
				continue
			}
			if before == nil && gateSeen(c.by.view, c.after.seen.Name, rt) {
				// The progress was wiped; the operation goes on.
				continue
			}
			yield(c, rt, before, after)
		}
	}
}

func gateSeen(view *observed.Snapshot, name, rt string) bool {
	n := find2(view, name)
	return n != nil && n.State(rt) != nil && n.State(rt).Gate != ""
}

func underWay(p *observed.Progress) bool {
	return p != nil && (p.Phase == observed.PhaseInstalling || p.Phase == observed.PhaseUninstalling)
}

func begins(p observed.Phase) bool {
	return p == observed.PhaseInstalling || p == observed.PhaseUninstalling || p == observed.PhaseDraining
}

func (w *World) budget() (wrong string) {
	w.begun(func(c *change, rt string, _, after *observed.Progress) {
		if e := w.turns.get(observed.TurnsName); w.overslept(c, rt) || w.out(&c.before.seen, rt) || e == nil || e.value.UID != c.by.view.Turns.UID {
			// Where people have deleted what keeps two leaders apart, nothing does.
			return
		}
		mends := w.mends(c.by.view, &c.before.seen, rt, after.Operation, after.Revision)
		var out []string
		for _, e := range w.nodes.now() {
			if mends && failedAndReady(&e.value.seen, rt) {
				continue
			}
			if p := e.value.seen.Progress(rt); w.out(&e.value.seen, rt) && (w.scene.OnFailure != "Continue" || p.Phase != observed.PhaseFailed) {
				out = append(out, e.name)
			}
		}
		if len(out) > w.scene.Budget {
			wrong = fmt.Sprintf("of runtime %s are out of service %s; maxUnavailable is %d", rt, strings.Join(out, ", "), w.scene.Budget)
		}
	})
	return wrong
}

func (w *World) bookings() string {
	for i := range w.last {
		c := &w.last[i]
		if c.turnsAfter == nil || c.turnsBefore == nil {
			continue
		}
		if wrong := w.overbooked(c); wrong != "" {
			return wrong
		}
	}
	return ""
}

func (w *World) overbooked(c *change) string {
	has := func(turns *observed.Turns, t observed.Turn) bool {
		for _, o := range turns.Booked {
			if o.Compare(t) == 0 {
				return true
			}
		}
		return false
	}
	for _, t := range c.turnsAfter.Booked {
		node := w.byUID(c.by.view, t)
		if has(c.turnsBefore, t) || node == nil || w.out(node, t.Runtime) || (w.wiped[node.Name] && len(w.leaders) > 1) {
			// Two leaders that know different things of a node whose keys were wiped may not agree on whether it has a turn.
			continue
		}
		booked, pool, pooled := 0, 0, map[string]bool{}
		mends := w.mends(c.by.view, node, t.Runtime, t.Operation, t.Revision)
		for _, o := range c.turnsAfter.Booked {
			n := w.byUID(c.by.view, o)
			if beside := mends && n != nil && failedAndReady(n, o.Runtime); o.Runtime == t.Runtime && !beside {
				booked++
			}
			if n != nil && n.Labels.Get(zoneLabel) == "1" && !pooled[n.Name] {
				pooled[n.Name] = true
				pool++
			}
		}
		if allowed := w.allowed(c, t, node); booked > allowed {
			return fmt.Sprintf("%d turns of runtime %s are booked, with that of %s; allowed are %d", booked, t.Runtime, node.Name, allowed)
		}
		if w.scene.Window && node.Labels.Get(zoneLabel) == "1" && pool > 1 && !has(c.turnsBefore, observed.Turn{Node: t.Node, Runtime: other(w.scene.Runtimes, t.Runtime)}) {
			return fmt.Sprintf("%d nodes of the pool are booked, with %s; it allows 1", pool, node.Name)
		}
	}
	return ""
}

func other(runtimes []string, not string) string {
	for _, rt := range runtimes {
		if rt != not {
			return rt
		}
	}
	return ""
}

const zoneLabel = "topology.kubernetes.io/zone"

// allowed is the budget for a node that gets its turn now.
func (w *World) allowed(_ *change, t observed.Turn, n *observed.Node) int {
	if w.scene.Waves && t.Operation == observed.Install && n.Labels.Get(zoneLabel) != "1" {
		return w.scene.Budget
	}
	return w.scene.Budget
}

func (w *World) byUID(view *observed.Snapshot, t observed.Turn) *observed.Node {
	for i := range view.Nodes {
		if view.Nodes[i].UID == t.Node {
			return &view.Nodes[i]
		}
	}
	return nil
}

func (w *World) bookedFirst() (wrong string) {
	e := w.turns.get(observed.TurnsName)
	if e == nil {
		return ""
	}
	w.begun(func(c *change, rt string, _, after *observed.Progress) {
		for _, t := range e.value.Booked {
			if t.Node == c.after.seen.UID && t.Runtime == rt {
				return
			}
		}
		if c.by.view.Turns.UID == e.value.UID && !w.overslept(c, rt) {
			wrong = fmt.Sprintf("%s of runtime %s begins on %s by turn %q, which is not booked", after.Phase, rt, c.after.seen.Name, after.Turn)
		}
	})
	return wrong
}

func (w *World) oneOperation() string {
	busy := map[string]*process{}
	for _, p := range w.processes {
		if !p.busy() || (p.daemon && w.phaseOn(p) != observed.PhaseInstalling) {
			continue
		}
		if o := busy[p.node]; o != nil {
			return fmt.Sprintf("on %s the commands of pods %s and %s are at work", p.node, min(o.pod, p.pod), max(o.pod, p.pod))
		}
		busy[p.node] = p
	}
	return ""
}

func (w *World) phaseOn(p *process) observed.Phase {
	if e := w.nodes.get(p.node); e != nil {
		if progress := e.value.seen.Progress(p.runtime); progress != nil {
			return progress.Phase
		}
	}
	return ""
}

func (w *World) finish() string {
	for i := range w.last {
		c := &w.last[i]
		if c.after == nil {
			continue
		}
		for _, rt := range w.scene.Runtimes {
			before, after := c.before.object.Labels[observed.GateKey(rt)], c.after.object.Labels[observed.GateKey(rt)]
			progress, was := c.after.seen.Progress(rt), c.before.seen.Progress(rt)
			if before == "" || before == after || !underWay(was) || (progress != nil && progress.Phase == observed.PhaseFailed) || !c.before.seen.Ready {
				continue
			}
			if progress != nil && progress.Reason == string(rollout.MachineReplaced) {
				continue
			}
			if view := find2(c.by.view, c.after.seen.Name); view != nil && (view.Others != "" || (view.Unschedulable && !view.Ready)) && c.by.view.Time.Sub(was.Since) >= installTimeout {
				continue
			}
			revision, step, _ := observed.ParseGate(before)
			name := observed.DaemonSetName(rt, step, revision)
			for j := range c.by.view.Pods {
				p := &c.by.view.Pods[j]
				if p.Node != c.after.seen.Name || p.DaemonSet != name || p.Deleting || p.Ready {
					continue
				}
				for k := range p.Steps {
					if p.Steps[k].Running {
						return fmt.Sprintf("the gate %s of runtime %s on %s closes while step %s runs", before, rt, p.Node, p.Steps[k].Name)
					}
				}
			}
		}
	}
	return ""
}

func (w *World) truth() string {
	for i := range w.last {
		c := &w.last[i]
		if c.after == nil {
			continue
		}
		for _, rt := range w.scene.Runtimes {
			if c.after.object.Labels[observed.ReadyKey(rt)] == "" || c.before.object.Labels[observed.ReadyKey(rt)] != "" {
				continue
			}
			m := w.machines[c.after.seen.Name]
			view := find2(c.by.view, c.after.seen.Name)
			if view == nil || view.MachineID != c.after.seen.MachineID {
				// Nobody can know yet that the machine is another one.
				continue
			}
			switch {
			case w.uninstalling(c.after.seen.Name, rt):
				// The command began a moment ago, and nobody can know it yet.
			case m.begun[rt] == "":
				return fmt.Sprintf("%s gets the ready label of %s, and no install was begun there since the last uninstall", c.after.seen.Name, rt)
			case !view.Ready && underWay(c.before.seen.Progress(rt)):
				return fmt.Sprintf("%s gets the ready label of %s, and is NotReady", c.after.seen.Name, rt)
			case !slices.Contains(view.Handlers, rt):
				return fmt.Sprintf("%s gets the ready label of %s, and does not report the handler", c.after.seen.Name, rt)
			case m.installed[rt] == "" && m.handlers[rt]:
				return fmt.Sprintf("%s gets the ready label of %s, and no install ended well there", c.after.seen.Name, rt)
			}
		}
	}
	return ""
}

func (w *World) uninstalling(name, runtime string) bool {
	for _, p := range w.processes {
		if p.node == name && p.runtime == runtime && observed.OperationOf(p.step) == observed.Uninstall {
			return true
		}
	}
	return false
}

func find2(view *observed.Snapshot, name string) *observed.Node {
	for i := range view.Nodes {
		if view.Nodes[i].Name == name {
			return &view.Nodes[i]
		}
	}
	return nil
}

// cordoned notes who closed a node.
func (w *World) cordoned(l *leader, t *observed.Transition) {
	m := w.machines[t.Node]
	switch t.Cordon {
	case observed.Cordoning:
		m.cordoner = t.Runtime
	case observed.Uncordoning:
		if m.cordoner != t.Runtime {
			w.uncordoned = fmt.Sprintf("%s uncordons %s for runtime %s, which was cordoned by %q", l.name, t.Node, t.Runtime, m.cordoner)
		}
		m.cordoner = ""
	}
}

func (w *World) cordons() string { return w.uncordoned }

func (w *World) handsOff() (wrong string) {
	w.begun(func(c *change, rt string, before, after *observed.Progress) {
		n := find2(c.by.view, c.after.seen.Name)
		dismissed := before != nil && before.Phase == observed.PhasePending && before.Previous != "" && (w.scene.Resident || before.Reason == string(rollout.PayloadLeaving))
		if n == nil || dismissed {
			// What has begun with the leave of a payload is finished.
			return
		}
		emptied := before != nil && (before.Phase == observed.PhaseDraining || before.Phase == observed.PhaseBlocked)
		name := after.Operation
		switch s := n.State(rt); {
		case s != nil && s.Held:
			wrong = fmt.Sprintf("the %s of %s begins on %s, which is held", name, rt, n.Name)
		case !n.Ready:
			wrong = fmt.Sprintf("the %s of %s begins on %s, which is NotReady", name, rt, n.Name)
		case n.Unschedulable && (s == nil || s.Progress == nil || !s.Progress.Cordoned):
			wrong = fmt.Sprintf("the %s of %s begins on %s, which is cordoned", name, rt, n.Name)
		case !emptied && w.pausedIn(c.by.view, rt):
			wrong = fmt.Sprintf("the %s of %s begins on %s, and people have paused the runtime", name, rt, n.Name)
		case w.scene.Window && n.Labels.Get(zoneLabel) == "1":
			if at := c.by.view.Time; at.Sub(at.Truncate(10*time.Minute)) > 4*time.Minute {
				wrong = fmt.Sprintf("the %s of %s begins on %s outside of the window of its pool, at %s", name, rt, n.Name, at.Format(time.TimeOnly))
			}
			for i := range c.by.view.Pools {
				if c.by.view.Pools[i].Data["paused"] == "true" {
					wrong = fmt.Sprintf("the %s of %s begins on %s, whose pool is paused", name, rt, n.Name)
				}
			}
		}
	})
	return wrong
}

// pausedIn tells whether a leader saw that the runtime is paused, which holds up no uninstall of a spec that is gone.
func (w *World) pausedIn(view *observed.Snapshot, rt string) bool {
	var newest *observed.Revision
	for i := range view.Revisions {
		if r := &view.Revisions[i]; r.Runtime == rt && (newest == nil || r.Number > newest.Number) {
			newest = r
		}
	}
	return newest != nil && newest.Pause() != nil && newest.Annotations[observed.AnnotationVanished] == ""
}

func (w *World) evictions() string {
	for i := range w.last {
		c := &w.last[i]
		if c.evicted == "" {
			continue
		}
		node, _, _ := strings.Cut(c.evicted, ".")
		n := find2(c.by.view, node)
		emptied := false
		for _, rt := range w.scene.Runtimes {
			if n != nil {
				p := n.Progress(rt)
				emptied = emptied || (p != nil && (p.Phase == observed.PhaseDraining || p.Phase == observed.PhaseBlocked))
			}
		}
		if !emptied {
			return fmt.Sprintf("pod %s is evicted, and its node is not being emptied", c.evicted)
		}
		if e := w.workloads.get(c.evicted); e != nil && e.value.Bare {
			return fmt.Sprintf("pod %s is evicted, which nobody would make anew", c.evicted)
		}
	}
	return ""
}
