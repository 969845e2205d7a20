package rollout

import (
	"slices"
	"time"
	"unique"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// stand is what stands on one node for one runtime: the state, read only where the mark does not tell enough. Both are nil for nothing.
type stand struct {
	mark  *observed.Mark
	state *observed.State
}

// sortStates sorts what stands on the nodes to the runtimes; both are sorted by name.
func (d *decider) sortStates() {
	all := make([]stand, len(d.plan.Runtimes)*len(d.snap.Nodes))
	for range d.plan.Runtimes {
		d.stands = append(d.stands, all[:len(d.snap.Nodes):len(d.snap.Nodes)])
		all = all[len(d.snap.Nodes):]
	}
	d.kinds = make([][]*observed.State, len(d.plan.Runtimes))
	known := map[unique.Handle[observed.Says]]int{}
	last := make([]*observed.Mark, len(d.plan.Runtimes))
	for n := range d.snap.Nodes {
		states, marks, r := d.snap.Nodes[n].States(), d.snap.Nodes[n].Marks(), 0
		for i := range marks {
			mark := &marks[i]
			if r < len(last) && last[r] != nil && last[r].Says == mark.Says {
				d.stands[r][n] = stand{mark, &states[i]}
				r++
				continue
			}
			at, there := known[mark.Says]
			if !there {
				at = slices.IndexFunc(d.plan.Runtimes, func(p desired.Runtime) bool { return p.Name == states[i].Runtime })
				known[mark.Says] = at
				if at >= 0 {
					d.kinds[at] = append(d.kinds[at], &states[i])
				}
			}
			if at >= 0 {
				d.stands[at][n] = stand{mark, &states[i]}
				last[at], r = mark, at+1
			}
		}
	}
}

// sortOffers numbers the lists of handlers that the nodes report: mostly there are one or two.
func (d *decider) sortOffers() {
	d.offers = make([]int, len(d.snap.Nodes))
	var lists [][]string
	for n := range d.snap.Nodes {
		handlers := d.snap.Nodes[n].Handlers
		same := func(list []string) bool { return (list == nil) == (handlers == nil) && slices.Equal(list, handlers) }
		if n > 0 && same(lists[d.offers[n-1]]) {
			d.offers[n] = d.offers[n-1]
			continue
		}
		at := slices.IndexFunc(lists, same)
		if at < 0 {
			at = len(lists)
			lists = append(lists, handlers)
		}
		d.offers[n] = at
	}
}

// walk looks at every node for one runtime: what is under way goes on, what wants a turn is queued.
func (d *decider) walk(index int) {
	if d.leftAlone(index) {
		return
	}
	r := &d.plan.Runtimes[index]
	d.sums = append(d.sums, newSummary(r))
	sum := &d.sums[len(d.sums)-1]
	d.countFailed(index, sum)
	d.halt(index, sum)
	c := d.divide(index)
	d.courses = append(d.courses, c)
	seen := d.nothingSeen(r, c)
	var visits []visit
	for i := range d.snap.Nodes {
		s := d.stands[index][i]
		plain := d.plain(seen, s, i)
		before, known := outcome{}, false
		if plain {
			if before, known = seen.before(d.alike(s, i)); known && !before.wishes {
				sum.Ready++
				sum.Done++
				if c != nil {
					c.done[i] = true
				}
				continue
			}
		}
		if len(visits) == cap(visits) {
			visits = make([]visit, 0, visitsAtOnce)
		}
		visits = append(visits, visit{r: r, node: &d.snap.Nodes[i], state: s.state, target: r.Targets[i], sum: sum, course: c, n: i, pair: index*len(d.snap.Nodes) + i})
		v := &visits[len(visits)-1]
		switch {
		case known:
			sum.Ready++
			d.queueUp(wish{visit: v, revision: before.revision, operation: before.operation})
		case plain:
			d.learn(seen, v, d.alike(s, i))
		default:
			if d.bookedNodes[i] {
				_, v.holds = d.booked[v.key()]
			}
			d.visit(v)
		}
	}
}

// visitsAtOnce is how many visits are made in one piece of memory.
const visitsAtOnce = 256

// seen remembers what visits of one runtime came to, for the many nodes that are like one visited before.
//
// What a visit of a plain node that is Ready comes to hangs on what stands on the node and on the handlers it reports, and on nothing else. So
// a plain node that says and reports the same as one that was done is done as well; and where that one wanted a turn and nothing else was to
// be done about it, this one wants the same turn.
type seen struct {
	// outcomes are few, for nodes say few things: they are found faster by looking at each than in a map.
	outcomes []outcome
	// soaked is since when a node must have been Ready to have been watched for long enough.
	soaked  time.Time
	targets []desired.Target
	runtime string
}

// alike is the same for plain nodes whose visits come to the same.
type alike struct {
	says   unique.Handle[observed.Says]
	offers int
}

// fewOutcomes is how many are remembered.
const fewOutcomes = 16

// outcome is what a visit came to: a node that is done, or one that wishes for a turn.
type outcome struct {
	alike
	wishes    bool
	revision  string
	operation observed.Operation
}

func (d *decider) nothingSeen(r *desired.Runtime, c *course) *seen {
	s := &seen{soaked: d.snap.Time, targets: r.Targets, runtime: r.Name}
	if r.Spec == nil {
		return s
	}
	longest := r.Spec.Soak
	if c != nil {
		for i := range c.waves {
			longest = max(longest, c.waves[i].soak)
		}
	}
	s.soaked = d.snap.Time.Add(-longest)
	return s
}

func (s *seen) before(like alike) (outcome, bool) {
	for i := range s.outcomes {
		if s.outcomes[i].alike == like {
			return s.outcomes[i], true
		}
	}
	return outcome{}, false
}

func (d *decider) alike(s stand, n int) alike { return alike{says: s.mark.Says, offers: d.offers[n]} }

// plain tells whether a node that should carry the goal has nothing of its own that could matter: no booking, no pod, no other machine
// than the one that was worked on, no time left to be watched, and a kubelet that is heard of.
func (d *decider) plain(seen *seen, s stand, n int) bool {
	return s.mark != nil && seen.targets[n].Want == desired.Installed && !d.bookedNodes[n] && len(d.pods[n]) == 0 && d.snap.Nodes[n].Ready &&
		!s.mark.Since.After(seen.soaked) && s.mark.Machine == d.snap.Nodes[n].MachineID && !otherBoot(s.mark.Boot, &d.snap.Nodes[n]) && !d.snap.Nodes[n].Starting(seen.runtime)
}

// learn visits a plain node, and remembers what that comes to if it is no more than an outcome tells.
func (d *decider) learn(seen *seen, v *visit, like alike) {
	done, moves, holds, wishes := v.sum.Done, len(d.out.Moves), len(d.out.Holds), len(d.queue[v.r.Name])
	d.visit(v)
	ready := v.state.Progress != nil && v.state.Progress.Phase == observed.PhaseReady
	if !ready || v.holds || len(seen.outcomes) == fewOutcomes || len(d.out.Moves) > moves || len(d.out.Holds) > holds {
		return
	}
	switch queue := d.queue[v.r.Name]; {
	case v.sum.Done > done:
		seen.outcomes = append(seen.outcomes, outcome{alike: like})
	case len(queue) > wishes:
		w := &queue[len(queue)-1]
		seen.outcomes = append(seen.outcomes, outcome{alike: like, wishes: true, revision: w.revision, operation: w.operation})
	}
}
