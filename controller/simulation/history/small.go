package history

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// A small world is one whose every history is played, up to a number of steps: two nodes, two runtimes, one node of a runtime out of service at a time.
//
// A leader looks and has decided a number of writes. Those of turns and nodes are then carried out one by one, in their order, and between any two of them anything else may
// happen; each may be stored, or come to nothing. Another leader may take over, once, while the old one goes on with what it had decided. All other writes are carried out when they
// are decided: which installers and snapshots there are is the matter of the seeds. Time stands still, so that nothing soaks and nobody
// waits for a grace; that the time of an operation is over is one of the things that may happen, once.
//
// States are the same where they differ only in the numbers that objects and versions happen to have.

// Begin is where a search begins.
type Begin string

// Searches begin at nodes with nothing, or at nodes with everything.
const (
	Blank     Begin = "nothing is installed"
	Installed Begin = "everything is installed"
)

// Small is how a search went.
type Small struct {
	// States is how many different states were seen, Depth how many steps away the farthest are of which all are known.
	States, Depth, Steps int
	// Broken is what did not hold, and Path how it came to that.
	Broken *Broken
	Path   []string
	State  string
}

// smallState is a state of the search, and how it was reached.
type smallState struct {
	w    *World
	from *smallState
	how  string
	// people is how often people may still do something, takeovers how often another leader may take over, timeouts how often the time of an operation may be over.
	people, takeovers, timeouts int
}

// smallWorld is a search under way.
type smallWorld struct {
	seen   map[[16]byte]bool
	scribe *leader
	steps  int
}

// SearchSmallWorlds plays every history of so many steps, from nodes with nothing or from nodes with everything installed.
func SearchSmallWorlds(begin Begin, depth int, fixtures Fixtures) *Small {
	scene := Scene{Runtimes: []string{"gvisor", "kata"}, Nodes: 2, Budget: 1, OnFailure: "Halt", Drain: "Cordon", InUse: "Ignore", Policy: "Background", Attempts: 1, Soak: "0s"}
	w := newWorld(scene, nil, fixtures, NewCoverage())
	w.leaders = []*leader{{w: w, name: "leader"}}
	s := &smallWorld{seen: map[[16]byte]bool{}, scribe: newScribe(w)}
	defer s.scribe.end()
	first := &smallState{w: w, people: 2, takeovers: 1, timeouts: 1}
	s.prepare(first)
	if begin == Installed {
		s.install(first)
	}
	out := &Small{}
	frontier := []*smallState{first}
	s.seen[w.digest(first)] = true
	for out.Depth < depth && len(frontier) > 0 && fixtures.Context.Err() == nil {
		var next []*smallState
		for _, state := range frontier {
			for _, successor := range s.successors(state) {
				if b := successor.w.broken; b != nil {
					out.Broken, out.State = b, successor.w.String()
					for at := successor; at != nil; at = at.from {
						out.Path = append(out.Path, at.how)
					}
					slices.Reverse(out.Path)
					return out
				}
				key := successor.w.digest(successor)
				if !s.seen[key] {
					s.seen[key] = true
					next = append(next, successor)
				}
			}
			state.w.letGo()
		}
		frontier = next
		out.Depth++
	}
	out.States, out.Steps = len(s.seen), s.steps
	return out
}

// newScribe is a controller that takes down what it would write, for any leader of any state.
func newScribe(w *World) *leader {
	l := &leader{w: w, name: "scribe", scribe: true}
	l.wind()
	l.loop = controller.New(controller.Ports{
		Reader: l, Sight: l, Evictions: l, Finalizer: l, Rollout: l, Objects: l, Access: l, Pull: l, Revisions: l, Status: l, Memory: l, Events: nodeEvents{},
		Renderer: w.ports.Renderer, Clock: wallClock{clocktesting.NewFakeClock(w.now), l}, Log: zap.NewNop(), Metrics: w.ports.Metrics,
	}, desired.Options{})
	return l
}

// prepare has the leader look until its snapshots and installers are there.
func (s *smallWorld) prepare(state *smallState) {
	for range 6 {
		s.look(state.w, state.w.leaders[0])
		state.w.leaders[0].queue = nil
	}
	state.w.leaders[0].looked = -1
}

// install has everything installed, with nothing going wrong.
func (s *smallWorld) install(state *smallState) {
	w, l := state.w, state.w.leaders[0]
	for l.looked != w.version {
		s.look(w, l)
		for len(l.queue) > 0 {
			l.writeNext()
		}
		for chores := w.smallChores(); len(chores) > 0; chores = w.smallChores() {
			chores[0].do()
		}
	}
	l.looked = -1
}

// look has a leader decide from all that is there.
func (s *smallWorld) look(w *World, l *leader) {
	scribe := s.scribe
	scribe.w, scribe.deaf, scribe.written = w, true, nil
	scribe.sightAll()
	scribe.wind()
	if _, err := scribe.loop.Pass(w.ports.Context); err != nil {
		panic(err)
	}
	scribe.flush()
	l.view, l.deaf, l.looked, l.queue = scribe.view, true, w.version, nil
	l.sightAll()
	for _, pending := range scribe.written {
		if pending.small {
			_ = pending.do(l)
			continue
		}
		l.queue = append(l.queue, pending)
	}
}

// sightAll gives a leader sights of a world in which it sees everything.
func (l *leader) sightAll() {
	w := l.w
	l.specs, l.nodes, l.pods = see(l, w.specs), see(l, w.nodes), see(l, w.pods)
	l.sets, l.revisions, l.classes = see(l, w.sets), see(l, w.revisions), see(l, w.classes)
	l.turns, l.workloads, l.memory = see(l, w.turns), see(l, w.workloads), see(l, w.memory)
	l.seeAll()
}

// successors are all states that are one step away.
func (s *smallWorld) successors(from *smallState) []*smallState {
	var out []*smallState
	try := func(how string, do func(next *smallState)) {
		s.steps++
		next := &smallState{w: from.w.clone(), from: from, how: how, people: from.people, takeovers: from.takeovers, timeouts: from.timeouts}
		do(next)
		next.w.collect()
		next.w.inspect()
		out = append(out, next)
	}
	for i, l := range from.w.leaders {
		if len(l.queue) > 0 {
			try(l.name+": "+l.queue[0].what(), func(next *smallState) { next.w.leaders[i].writeNext() })
			try(l.name+" in vain: "+l.queue[0].what(), func(next *smallState) { next.w.leaders[i].queue = l.queue[1:] })
		}
	}
	leads := from.w.leaders[0]
	if len(leads.queue) == 0 && leads.looked != from.w.version {
		try(leads.name+" looks", func(next *smallState) { s.look(next.w, next.w.leaders[0]) })
	}
	if len(leads.queue) > 0 && from.takeovers > 0 {
		try("another leader takes over, the old one goes on", func(next *smallState) {
			next.takeovers--
			old := next.w.leaders[0]
			next.w.leaders = []*leader{{w: next.w, name: "new leader"}, old}
		})
	}
	for i, chore := range from.w.smallChores() {
		try(chore.name, func(next *smallState) { next.w.smallChores()[i].do() })
	}
	if from.people > 0 {
		for i, act := range smallPeople {
			if act.can(from.w) {
				try("people: "+act.name, func(next *smallState) { next.people--; smallPeople[i].do(next.w) })
			}
		}
	}
	if from.timeouts > 0 && len(from.w.processes) > 0 {
		try("time: installTimeout is over", func(next *smallState) { next.timeouts--; next.w.now = next.w.now.Add(installTimeout); next.w.version++ })
	}
	return out
}

// writeNext carries the next of its writes out.
func (l *leader) writeNext() {
	next := l.queue[0]
	l.queue = l.queue[1:]
	_ = next.do(l)
}

// chore is something that the DaemonSet controller or a kubelet may do now.
type chore struct {
	name string
	do   func()
}

// smallChores are what may happen by itself, commands with either end.
func (w *World) smallChores() []chore {
	var out []chore
	for _, se := range w.sets.now() {
		for _, ne := range w.nodes.now() {
			s, n := se.value, ne.value
			if matches(s.object, n.object) && !slices.ContainsFunc(w.pods.now(), func(p *entry[*pod]) bool { return p.value.set == s.seen.UID && p.value.seen.Node == n.seen.Name }) {
				out = append(out, chore{"DaemonSet controller makes a pod of " + se.name + " on " + ne.name, func() { w.place(s, n) }})
			}
		}
	}
	for _, pe := range w.pods.now() {
		p, proc := pe.value, w.processes[pe.value.seen.UID]
		n := w.nodes.get(p.seen.Node)
		switch {
		case !p.seen.Deleting && !w.wanted(p, n.value):
			out = append(out, chore{"DaemonSet controller deletes pod " + pe.name, func() { w.deletePod(p) }})
		case p.seen.Deleting:
			out = append(out, chore{"pod " + pe.name + " is gone", func() { w.gone(p, "") }})
		}
		switch {
		case proc.running:
			out = append(out, chore{"the command of " + pe.name + " is done", func() { w.play(w.processes[proc.uid]) }},
				chore{"the command of " + pe.name + " fails", func() { now := w.processes[proc.uid]; now.code = 1; w.play(now) }})
		case proc.at < len(proc.steps) && !p.seen.Deleting && proc.steps[0].Restarts == 0:
			out = append(out, chore{"the command of " + pe.name + " begins", func() { w.play(w.processes[proc.uid]) }})
		case proc.at == len(proc.steps) && !proc.main.Running:
			out = append(out, chore{"the main container of " + pe.name + " starts", func() { w.startMain(w.processes[proc.uid]) }})
		}
	}
	return out
}

// smallPeople is what people may do in small worlds.
var smallPeople = []struct {
	name string
	can  func(w *World) bool
	do   func(w *World)
}{
	{"delete the spec of kata", func(w *World) bool { return w.specOf("kata") != nil }, func(w *World) { w.deleteSpec(*w.specOf("kata")) }},
	{"create the spec of kata", func(w *World) bool { return w.specOf("kata") == nil }, func(w *World) { w.addSpec("kata", "one") }},
	{"ask for another payload of kata", func(w *World) bool {
		s := w.specOf("kata")
		return s != nil && !strings.HasSuffix(s.Data["payloadImage"], ":two")
	}, func(w *World) {
		s := *w.specOf("kata")
		s.Data = w.scene.data("kata", "two")
		w.storeSpec(s)
	}},
	{"pause kata", func(w *World) bool { s := w.specOf("kata"); return s != nil && len(s.People) == 0 }, func(w *World) {
		s := *w.specOf("kata")
		s.People = map[string]string{observed.AnnotationPause: "INC-4711"}
		w.storeSpec(s)
	}},
	{"cordon node-0", func(w *World) bool { return !w.nodes.get("node-0").value.seen.Unschedulable }, func(w *World) { w.cordon("node-0") }},
	{"hold node-0", func(w *World) bool {
		return w.nodes.get("node-0").value.object.Annotations[observed.HoldKey("kata")] == ""
	}, func(w *World) {
		w.annotateNode("node-0", observed.HoldKey("kata"), "INC-4711")
	}},
	{"have node-0 tried again", func(w *World) bool {
		p := w.nodes.get("node-0").value.seen.Progress("kata")
		return p != nil && p.Phase == observed.PhaseFailed
	}, func(w *World) {
		w.annotateNode("node-0", observed.RetryKey("kata"), "again")
	}},
}

// clone is a world that goes on by itself. What never changes is shared.
func (w *World) clone() *World {
	c := *w
	c.specs, c.nodes, c.pods, c.sets = w.specs.clone(), w.nodes.clone(), w.pods.clone(), w.sets.clone()
	c.revisions, c.classes, c.turns, c.workloads = w.revisions.clone(), w.classes.clone(), w.turns.clone(), w.workloads.clone()
	c.memory = w.memory.clone()
	c.proven, c.said = maps.Clone(w.proven), maps.Clone(w.said)
	c.machines, c.processes = make(map[string]*machine, len(w.machines)), make(map[types.UID]*process, len(w.processes))
	for name, m := range w.machines {
		other := *m
		other.installed, other.begun, other.handlers = maps.Clone(m.installed), maps.Clone(m.begun), maps.Clone(m.handlers)
		other.maybe, other.late, other.cleared = maps.Clone(m.maybe), maps.Clone(m.late), maps.Clone(m.cleared)
		c.machines[name] = &other
	}
	for uid, p := range w.processes {
		other := *p
		other.steps = slices.Clone(p.steps)
		c.processes[uid] = &other
	}
	c.leaders = make([]*leader, 0, len(w.leaders))
	for _, l := range w.leaders {
		c.leaders = append(c.leaders, &leader{w: &c, name: l.name, view: l.view, queue: l.queue, looked: l.looked, deaf: true})
		c.leaders[len(c.leaders)-1].sightAll()
	}
	c.last, c.story = nil, nil
	return &c
}

// letGo lets go of what is not needed any more of a state whose successors are known.
func (w *World) letGo() { *w = World{} }

func (s *shelf[T]) clone() *shelf[T] { return &shelf[T]{frames: []frame[T]{s.frames[len(s.frames)-1]}} }

// digest is the same for states that differ only in numbers.
func (w *World) digest(s *smallState) [16]byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %d %d\n", s.people, s.takeovers, s.timeouts, w.now.Sub(start)/time.Second)
	for _, e := range w.specs.now() {
		fmt.Fprintf(&b, "%s %s %s %v %t\n", e.name, e.value.UID, e.value.Data["payloadImage"], e.value.People, e.value.Deleting)
	}
	for _, e := range w.nodes.now() {
		m := w.machines[e.name]
		fmt.Fprintf(&b, "%s %v %v %t %v %v %v %v\n", e.name, e.value.object.Labels, e.value.object.Annotations, e.value.seen.Unschedulable, e.value.seen.Handlers, m.installed, m.begun, m.cordoner)
	}
	for _, e := range w.pods.now() {
		p := w.processes[e.value.seen.UID]
		fmt.Fprintf(&b, "%s %s %t %d %t %t %t\n", e.name, e.value.seen.UID, e.value.seen.Deleting, p.at, p.running, p.main.Running, p.steps[0].Exit != nil)
	}
	for _, e := range w.sets.now() {
		fmt.Fprintf(&b, "%s %s %v\n", e.name, e.value.seen.UID, e.value.seen.Owners)
	}
	for _, e := range w.revisions.now() {
		fmt.Fprintf(&b, "%s %d %v\n", e.name, e.value.Number, e.value.Annotations)
	}
	for _, e := range w.classes.now() {
		fmt.Fprintf(&b, "%s\n", e.name)
	}
	for _, e := range w.turns.now() {
		fmt.Fprintf(&b, "%s %v\n", e.value.ResourceVersion, e.value.Booked)
	}
	for _, l := range w.leaders {
		fmt.Fprintf(&b, "%s %t\n", l.name, len(l.queue) > 0 || l.looked == w.version)
		for _, e := range w.nodes.now() {
			for _, rt := range w.scene.Runtimes {
				if w.machines[e.name].cleared[rt] > l.looked {
					b.WriteString("overslept " + e.name + " " + rt + "\n")
				}
			}
		}
		for _, q := range l.queue {
			b.WriteString(q.key() + "\n")
		}
	}
	sum := sha256.Sum256([]byte(renumbered(b.String())))
	return [16]byte(sum[:16])
}

// renumbered writes the marked numbers of a text anew, in their order.
func renumbered(text string) string {
	parts := strings.Split(text, "!")
	var numbers []int
	for i := 1; i < len(parts); i += 2 {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			panic(fmt.Sprintf("%q is no number, in %q", parts[i], text))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	for i := 1; i < len(parts); i += 2 {
		n, _ := strconv.Atoi(parts[i])
		at, _ := slices.BinarySearch(numbers, n)
		parts[i] = strconv.Itoa(at)
	}
	return strings.Join(parts, "!")
}
