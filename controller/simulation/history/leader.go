package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// leader is one controller, as it is shipped, with all its ways out into the world. A pass is a coroutine: it stands still before each of its
// writes, until that is its turn, and for ever if the leader dies there.
type leader struct {
	w    *World
	name string
	loop *controller.Controller
	// skew is by how much its clock goes wrong.
	skew time.Duration
	// clock is what it shows, in nanoseconds.
	clock atomic.Int64

	specs     sight[observed.Spec]
	nodes     sight[*node]
	pods      sight[*pod]
	sets      sight[*set]
	revisions sight[observed.Revision]
	classes   sight[observed.RuntimeClass]
	turns     sight[observed.Turns]
	memory    sight[observed.PoolMemory]
	workloads sight[observed.Workload]
	looks     []string

	// view is what the pass under way was decided from.
	view *observed.Snapshot
	next func() (*write, bool)
	stop func()
	// pending is the write that comes next, nil where no pass is under way.
	pending *write
	yield   func(*write) bool
	dead    bool
	// deaf is true while an answer gets lost.
	deaf bool
	// deposed is true of an old leader, which does not begin anything new for long.
	deposed bool
	dirty   bool
	again   time.Time
	// rests is until when it does not look again: after a pass that failed, or was outrun.
	rests  time.Time
	err    error
	outrun error

	mu    sync.Mutex
	moves []*write

	// scribe is true of one that only takes down what it would write; written is that.
	scribe  bool
	written []*write
	// queue are the writes of a leader of a small world that it has decided, looked is the version of the world that it has decided them from.
	queue  []*write
	looked int
}

// write is one write of a pass, on its way.
type write struct {
	what func() string
	// small is true of what is no turn and no node: small worlds do not put it off.
	small bool
	// applies is true of what changes nothing where it was applied before.
	applies bool
	// order sorts writes that several goroutines of a pass make at once.
	order string
	// said is what it writes, for small worlds to tell one from another.
	said string
	do   func(l *leader) error
	err  error
}

func text(words ...string) func() string { return func() string { return strings.Join(words, "") } }

// key tells a write from others.
func (w *write) key() string {
	if w.said == "" {
		w.said = w.what()
	}
	return w.said
}

var errDead = errors.New("the leader is dead")

// watch is what all sights have in common.
type watch interface {
	behind() int
	advance(n int)
	oldest() time.Time
}

func (l *leader) watches() []watch {
	return []watch{&l.specs, &l.nodes, &l.pods, &l.sets, &l.revisions, &l.classes, &l.turns, &l.workloads, &l.memory}
}

// wallClock is the leader's clock. Nothing waits for it here.
type wallClock struct {
	*clocktesting.FakeClock
	leader *leader
}

// Now is read by goroutines of the queue as well, which is not used here.
func (c wallClock) Now() time.Time                  { return time.Unix(0, c.leader.clock.Load()).UTC() }
func (c wallClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// wind sets the leader's clock to what it shows now.
func (l *leader) wind() { l.clock.Store(l.w.now.Add(l.skew).UnixNano()) }

// newLeader starts a controller that sees all that was written until now, as one that starts does.
func (w *World) newLeader() *leader {
	w.born++
	l := &leader{
		w: w, name: fmt.Sprintf("leader-%d", w.born), dirty: true,
	}
	l.sightAll()
	l.wind()
	l.loop = controller.New(controller.Ports{
		Reader: l, Sight: l, Evictions: l, Finalizer: l, Rollout: l, Objects: l, Access: l, Pull: l, Revisions: l, Status: l, Memory: l, Events: nodeEvents{},
		Renderer: w.ports.Renderer, Clock: wallClock{clocktesting.NewFakeClock(w.now), l}, Log: zap.NewNop(), Metrics: w.ports.Metrics,
	}, desired.DefaultOptions())
	return l
}

func see[T any](l *leader, s *shelf[T]) sight[T] { return sight[T]{shelf: s, deaf: &l.deaf} }

// end has a controller's queue end, and with it the last of its goroutines.
func (l *leader) end() {
	l.die()
	ended, end := context.WithCancel(l.w.ports.Context)
	end()
	l.loop.Run(ended)
}

// die stops a pass where it is.
func (l *leader) die() {
	l.dead = true
	if l.pending != nil {
		l.stop()
		l.pending = nil
	}
}

func (l *leader) seeAll() {
	for _, s := range l.watches() {
		s.advance(s.behind())
	}
}

// behind tells how many events its watches have still to deliver.
func (l *leader) behind() int {
	n := 0
	for _, s := range l.watches() {
		n += s.behind()
	}
	return n
}

// wants tells whether something asks for a pass.
func (l *leader) wants() bool {
	if l.pending != nil || l.w.now.Before(l.rests) {
		return false
	}
	return l.dirty || (!l.again.IsZero() && !l.w.now.Add(l.skew).Before(l.again))
}

// look begins a pass: it decides, and stands before its first write.
func (l *leader) look() {
	l.dirty, l.err, l.outrun, l.again = false, nil, nil, time.Time{}
	l.looked = l.nodes.shelf.at(l.nodes.at).version
	l.next, l.stop = iter.Pull(func(yield func(*write) bool) {
		l.yield = yield
		again, err := l.loop.Pass(l.w.ports.Context)
		l.flush()
		l.again, l.err = again, errors.Join(l.err, err)
	})
	l.resume()
}

// resume has a pass go on to its next write, or to its end.
func (l *leader) resume() {
	l.wind()
	next, more := l.next()
	l.pending = next
	if more {
		return
	}
	l.stop()
	l.pending = nil
	if l.err != nil || l.outrun != nil {
		l.dirty, l.rests = true, l.w.now.Add(time.Second)
	}
}

// do has a write wait for its turn. The writes to nodes before it come first.
func (l *leader) do(what func() string, carryOut func(l *leader) error) error {
	if l.dead {
		return errDead
	}
	l.flush()
	return l.wait(&write{what: what, do: carryOut, small: true})
}

// apply is do for server-side apply.
func (l *leader) apply(what func() string, carryOut func(l *leader) error) error {
	if l.dead {
		return errDead
	}
	l.flush()
	return l.wait(&write{what: what, do: carryOut, small: true, applies: true})
}

func (l *leader) wait(w *write) error {
	if l.scribe {
		l.written = append(l.written, w)
		return nil
	}
	if l.dead || !l.yield(w) {
		l.dead = true
		return errDead
	}
	if apply.Outrun(w.err) {
		l.outrun = w.err
	}
	return w.err
}

// flush has the writes to nodes made that the goroutines of a pass have asked for, in an order that is always the same. What became of
// them is told to nobody: a pass does nothing else then but to come again soon.
func (l *leader) flush() {
	l.mu.Lock()
	moves := l.moves
	l.moves = nil
	l.mu.Unlock()
	slices.SortFunc(moves, func(a, b *write) int { return cmp.Compare(a.order, b.order) })
	for _, m := range moves {
		if err := l.wait(m); err != nil && !apply.Outrun(err) && !l.dead {
			l.err = errors.Join(l.err, err)
		}
	}
}

// nodeEvents are for people's eyes only.
type nodeEvents struct{}

func (nodeEvents) Spec(*observed.Spec, string, string, string) {}
func (nodeEvents) Node(*observed.Node, string, string, string) {}

// fate is what becomes of a write.
type fate int

const (
	stored fate = iota
	failed
	conflicted
	lost
)

// write lets a pass go on by one write.
func (l *leader) write(f fate) {
	w, p := l.w, l.pending
	if !p.applies {
		w.sent++
	}
	switch f {
	case failed:
		p.err = apierrors.NewServerTimeout(resource("anything"), "patch", 1)
		w.tell(l.name, "%s: the API server does not answer, and does nothing", p.what)
	case conflicted:
		p.err = apierrors.NewConflict(resource("anything"), "", errors.New("somebody was faster"))
		w.tell(l.name, "%s: a conflict", p.what)
	case stored:
		before := w.version
		p.err = p.do(l)
		if p.err != nil {
			w.tell(l.name, "%s: refused: %v", p.what, p.err)
		} else if w.version != before {
			w.tell(l.name, "%s", p.what)
			l.dirty = true
		}
	case lost:
		// What was written is not known to the leader before its watch tells it.
		l.deaf = true
		p.err = p.do(l)
		l.deaf = false
		w.tell(l.name, "%s: done, but the answer gets lost (%v)", p.what, p.err)
		p.err = errors.New("connection reset by peer")
	}
	l.resume()
}
