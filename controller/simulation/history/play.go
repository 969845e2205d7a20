package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/observed"
)

// line is a line of the story, put into words only if somebody wants to read it.
type line struct {
	at     time.Time
	who    string
	format string
	args   []any
}

func (w *World) tell(who, format string, args ...any) {
	w.story = append(w.story, line{w.now, who, format, args})
}

// words puts a line into words.
func (l *line) words() string {
	args := slices.Clone(l.args)
	for i, a := range args {
		if later, ok := a.(func() string); ok {
			args[i] = later()
		}
	}
	return fmt.Sprintf(l.format, args...)
}

// Broken is an invariant that did not hold.
type Broken struct {
	Invariant string
	Message   string
}

// Result is how a history went.
type Result struct {
	Broken        *Broken
	Steps, Passes int
	world         *World
}

// Story is what happened, in words.
func (r *Result) Story() string {
	var b strings.Builder
	for i := range r.world.story {
		l := &r.world.story[i]
		fmt.Fprintf(&b, "%s  %-22s %s\n", l.at.Format("15:04:05.000"), l.who, l.words())
	}
	if r.Broken != nil {
		fmt.Fprintf(&b, "\nBROKEN: %s: %s\n\n%s", r.Broken.Invariant, r.Broken.Message, r.world.String())
	}
	return b.String()
}

// maxLag is how long an event may be on its way to a leader that is not cut off.
const maxLag = 5 * time.Second

// Play plays one history from its seed.
func Play(seed uint64, fixtures Fixtures, coverage *Coverage) *Result {
	dice := rand.New(rand.NewPCG(seed, 0))
	w := NewWorld(NewScene(dice), dice, fixtures, coverage)
	r := &Result{world: w}
	defer func() {
		for _, l := range w.leaders {
			l.end()
		}
	}()
	if scene := &w.scene; scene.Warm {
		w.calm = true
		w.settle(r, 8*time.Hour)
		w.calm = false
		w.tell("disorder", "begins")
		w.stir()
		scene.Steps += r.Steps
	}
	w.disorder(r)
	w.calmDown()
	if w.broken == nil {
		w.settle(r, 8*time.Hour)
		w.check("every run ends done or halted with a reason", w.unexplained)
	}
	if w.broken == nil {
		w.mend()
		w.settle(r, 8*time.Hour)
		w.check("every run ends done or halted with a reason", w.unfinished)
	}
	if w.broken == nil {
		w.check("an untouched cluster causes no writes", func() string { return w.untouched(r) })
	}
	if w.broken == nil {
		w.deleteAll()
		w.settle(r, 8*time.Hour)
		w.check("nothing of ours is left after an uninstall", w.left)
	}
	r.Broken = w.broken
	return r
}

// stir has something to be done where everything is installed: pods that use the runtimes, and a wish of people.
func (w *World) stir() {
	for _, name := range w.nodeNames() {
		w.podArrives(name)
	}
	switch w.below(3) {
	case 0:
		w.deleteSome()
	case 1:
		w.edit()
	}
}

// check has an invariant looked at that holds only at some moments.
func (w *World) check(name string, ask func() string) {
	if w.broken != nil {
		return
	}
	if message := ask(); message != "" && w.broken == nil {
		w.broken = &Broken{Invariant: name, Message: message}
	}
}

// disorder plays steps until the scene's are over, or an invariant is broken.
func (w *World) disorder(r *Result) {
	for r.Steps < w.scene.Steps && w.broken == nil {
		w.step(r)
	}
}

// step is one thing that happens.
func (w *World) step(r *Result) {
	r.Steps++
	w.last = w.last[:0]
	w.act(r)
	w.collect()
	w.inspect()
}

// act chooses one of the things that may happen now.
func (w *World) act(r *Result) {
	if w.calm {
		// Everybody sees everything, and what can be done is done.
		for _, l := range w.leaders {
			l.seeNews()
		}
	}
	var acts []func()
	for _, l := range w.leaders {
		if l.pending != nil {
			acts = append(acts, func() { w.goOn(l) })
		} else if l.wants() {
			acts = append(acts, func() { r.Passes++; l.look() })
		}
		if l.behind() > 0 {
			acts = append(acts, func() { w.deliver(l) })
		}
	}
	if chores := w.chores(); w.calm && len(chores) > 0 && !w.writing() {
		// Nobody looks at every single thing that happens.
		acts = chores
	} else {
		acts = append(acts, chores...)
	}
	if !w.calm && w.oneIn(w.peace()) {
		w.accident()
		return
	}
	if len(acts) == 0 || (!w.calm && w.oneIn(8)) {
		w.pass()
		return
	}
	acts[w.below(len(acts))]()
}

// peace is one of how many steps is an accident.
func (w *World) peace() int {
	switch nodes, seldom := w.rare(); {
	case seldom:
		return 3
	case len(nodes) > 0:
		return 5
	}
	return 9
}

// writing tells whether a pass is under way.
func (w *World) writing() bool {
	return slices.ContainsFunc(w.leaders, func(l *leader) bool { return l.pending != nil })
}

// goOn has a leader's write meet its fate.
func (w *World) goOn(l *leader) {
	f := stored
	if !w.calm {
		switch w.below(40) {
		case 0:
			f = failed
		case 1:
			f = conflicted
		case 2:
			f = lost
		case 3:
			w.crash(l, "before its write: "+l.pending.what())
			return
		case 4:
			w.meetAll("crash during a write")
			what := l.pending.what()
			_ = l.pending.do(l)
			w.crash(l, "after its write, before the answer: "+what)
			return
		}
	}
	switch f {
	case failed:
		w.meetAll("write fails")
	case conflicted:
		w.meetAll("conflict")
	case lost:
		w.meetAll("answer lost")
	case stored:
	}
	l.write(f)
}

// crash has a leader die, and another one take its place.
func (w *World) crash(l *leader, when string) {
	w.tell(l.name, "dies %s", when)
	w.meetAll("leader dies")
	l.end()
	w.leaders = slices.DeleteFunc(w.leaders, func(o *leader) bool { return o == l })
	if !slices.ContainsFunc(w.leaders, func(o *leader) bool { return !o.deposed }) {
		w.leaders = append(w.leaders, w.newLeader())
	}
}

// deliver has one of a leader's watches deliver some events.
func (w *World) deliver(l *leader) {
	watches := slices.DeleteFunc(l.watches(), func(s watch) bool { return s.behind() == 0 })
	s := watches[w.below(len(watches))]
	s.advance(1 + w.below(s.behind()))
	l.dirty = true
}

// seeNews has everything delivered that there is.
func (l *leader) seeNews() {
	if l.behind() > 0 {
		l.seeAll()
		l.dirty = true
	}
}

// pass lets time pass until something is due; in disorder not always as far as that.
func (w *World) pass() {
	next := w.due()
	earlier := func(t time.Time) {
		if !t.IsZero() && t.After(w.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, l := range w.leaders {
		earlier(l.rests)
		if !l.again.IsZero() {
			earlier(l.again.Add(-l.skew))
		}
	}
	earlier(w.nextChange)
	switch {
	case next.IsZero() && w.calm:
		w.idle = true
		return
	case next.IsZero():
		next = w.now.Add(time.Duration(1+w.below(30)) * time.Second)
	case !w.calm && w.oneIn(3):
		next = w.now.Add(time.Duration(1 + w.dice.Int64N(int64(min(next.Sub(w.now), 5*time.Minute)))))
	}
	w.now = next
	for _, l := range w.leaders {
		if l.deposed {
			continue
		}
		for _, s := range l.watches() {
			for since := s.oldest(); !since.IsZero() && w.now.Sub(since) > maxLag; since = s.oldest() {
				s.advance(1)
				l.dirty = true
			}
		}
	}
}

// calmDown ends the disorder: old leaders die, clocks are right, and nothing fails any more.
func (w *World) calmDown() {
	w.calm, w.budgeted = true, false
	w.tell("calm", "nothing goes wrong any more")
	for _, l := range slices.Clone(w.leaders) {
		if l.deposed {
			w.crash(l, "at last")
		}
	}
	for _, l := range w.leaders {
		l.skew, l.dirty = 0, true
	}
	for _, name := range w.nodeNames() {
		w.up(name)
	}
}

// mostSteps is how many steps it takes at most until nothing happens any more.
const mostSteps = 20000

// settle plays until nothing happens any more.
func (w *World) settle(r *Result, within time.Duration) {
	end, most := w.now.Add(within), r.Steps+mostSteps
	w.idle = false
	for w.broken == nil && !w.idle {
		w.step(r)
		if w.now.After(end) || r.Steps > most {
			w.broken = &Broken{Invariant: "every run ends done or halted with a reason", Message: fmt.Sprintf("after %s things still happen", within)}
		}
	}
}

func (w *World) nodeNames() []string {
	names := make([]string, 0, len(w.nodes.now()))
	for _, e := range w.nodes.now() {
		names = append(names, e.name)
	}
	return names
}

// mend is what people do at last: they take back what keeps nodes from being worked on, and ask for another payload.
func (w *World) mend() {
	w.tell("people", "mend everything, and ask for payload last")
	for _, name := range w.nodeNames() {
		w.mendNode(name)
	}
	for _, e := range w.specs.now() {
		s := e.value
		if s.Pool == "" && !s.Deleting {
			continue
		}
		if s.Pool != "" {
			s.Data = map[string]string{}
			for key, value := range e.value.Data {
				if key != "paused" {
					s.Data[key] = value
				}
			}
			w.storeSpec(s)
		}
	}
	for _, rt := range w.scene.Runtimes {
		s := w.specOf(rt)
		if s == nil {
			w.addSpec(rt, "last")
			s = w.specOf(rt)
		}
		next := *s
		next.Data = w.scene.data(rt, "last")
		w.born++
		next.People = map[string]string{observed.AnnotationPause: observed.Resumed, observed.AnnotationRetry: fmt.Sprint(w.born)}
		w.storeSpec(next)
	}
}

// deleteAll deletes every spec.
func (w *World) deleteAll() {
	for _, e := range w.specs.now() {
		if e.value.Pool == "" {
			w.tell("people", "delete spec %s", e.name)
			w.deleteSpec(e.value)
		}
	}
}

func (w *World) deleteSpec(s observed.Spec) {
	if len(s.Finalizers) > 0 {
		s.Deleting = true
		w.storeSpec(s)
		return
	}
	w.specs.remove(w, s.Name)
}
