package rollout

import (
	"fmt"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/spec"
)

// closedBy says why nothing starts on any node, "" if it may: a pool of which no version is in force might be there to protect just the node whose
// turn it is.
func closedBy(pools []desired.Pool) string {
	var first *desired.Pool
	more := 0
	for i := range pools {
		switch {
		case pools[i].Pool != nil:
		case first == nil:
			first = &pools[i]
		default:
			more++
		}
	}
	if first == nil {
		return ""
	}
	text := fmt.Sprintf("nothing starts on any node while the pool in ConfigMap %q is refused (%s); %s", first.Source.Name, first.Errors[0], first.Remedy())
	if more > 0 {
		text += fmt.Sprintf("; and %d more pools", more)
	}
	return text
}

// group is a pool that is obeyed, and how its nodes stand.
type group struct {
	pool *spec.Pool
	// source is the name of its ConfigMap.
	source string
	// has tells of each node whether it is in the pool, nodes is how many are.
	has   []bool
	nodes int
	// out is how many of them are out of service because of any runtime, allowed how many may be; 0 is as many as the runtimes like.
	out, allowed int
	// said is the budget in words, as of the number of nodes out of service.
	said full
	// rulings are what the window says of the time, by how long an operation may take.
	rulings map[time.Duration]obstacle
}

// gather finds the nodes of the pools.
func (d *decider) gather() {
	for i := range d.plan.Pools {
		pool := d.plan.Pools[i].Pool
		if pool == nil {
			continue
		}
		g := &group{pool: pool, source: d.plan.Pools[i].Source.Name, has: make([]bool, len(d.snap.Nodes)), rulings: map[time.Duration]obstacle{}}
		for n := range d.snap.Nodes {
			if !pool.NodeSelector.Matches(&d.snap.Nodes[n].Labels) {
				continue
			}
			g.has[n] = true
			g.nodes++
			if d.turnsOn[n] > 0 {
				g.out++
			}
		}
		if pool.MaxUnavailable != nil {
			g.allowed = spec.ScaledMax(*pool.MaxUnavailable, g.nodes)
		}
		d.groups = append(d.groups, g)
	}
}

// count keeps the numbers of turns on a node, and of nodes out of service in its pools.
func (d *decider) count(n int, more int32) {
	before := d.turnsOn[n] > 0
	d.turnsOn[n] += more
	after := d.turnsOn[n] > 0
	for _, g := range d.groups {
		switch {
		case !g.has[n] || before == after:
		case after:
			g.out++
		default:
			g.out--
		}
	}
}

// untimely says what the pools of a node have against an operation that begins now, apart from their budgets.
func (d *decider) untimely(w *wish) obstacle {
	for _, g := range d.groups {
		if !g.has[w.n] {
			continue
		}
		if g.pool.Paused {
			return obstacle{reason: PoolPaused, message: fmt.Sprintf("pool %q is paused", g.pool.Name)}
		}
		if g.pool.MaintenanceWindow == nil || w.starts() {
			continue
		}
		timeout := d.timeout(w.visit)
		ruling, known := g.rulings[timeout]
		if !known {
			ruling = windowed(g.pool, d.snap.Time, timeout)
			g.rulings[timeout] = ruling
		}
		if ruling.never {
			d.tooShort(w.visit, g)
		}
		if ruling.reason != "" {
			return ruling
		}
	}
	return obstacle{}
}

// tooShort warns of a window that no operation of a runtime fits into, once.
func (d *decider) tooShort(v *visit, g *group) {
	message := fmt.Sprintf("the window %s of pool %q never has room for an operation, which may take data[installTimeout] %s: nodes of that pool never begin; make one of them fit", g.pool.MaintenanceWindow, g.pool.Name, d.timeout(v))
	for i := range d.out.Objects.Warnings {
		if w := &d.out.Objects.Warnings[i]; w.Runtime == v.r.Name && w.Message == message {
			return
		}
	}
	d.warn(v.r, "WindowTooShort", message)
}

// windowed says what is against an operation that begins now: it has to fit into what is left of the window.
func windowed(pool *spec.Pool, now time.Time, timeout time.Duration) obstacle {
	w := pool.MaintenanceWindow
	end := now.Add(timeout)
	closes := w.Until(now, end)
	if !closes.Before(end) {
		return obstacle{}
	}
	opens := w.Opens(now)
	message := fmt.Sprintf("outside the window %s of pool %q, opens %s", w, pool.Name, clock(opens))
	if !closes.IsZero() {
		message = fmt.Sprintf("the window %s of pool %q closes %s, before an operation would have had its installTimeout %s; opens again %s", w, pool.Name, clock(closes.In(w.TimeZone)), timeout, clock(opens))
	}
	never := false
	if enough := opens.Add(timeout); w.Until(opens, enough).Before(enough) {
		never = true
		message += fmt.Sprintf(", and is too short then as well: an operation may take installTimeout %s", timeout)
	}
	return obstacle{reason: OutsideWindow, message: message, until: opens, never: never}
}

// clock is a time of a window in words, in the window's own zone.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// crowded says in which pool of a node too many nodes are out of service already, "" if in none. A node that is out of service for another runtime
// counts once.
func (d *decider) crowded(w *wish) string {
	if d.turnsOn[w.n] > 0 {
		return ""
	}
	for _, g := range d.groups {
		if g.has[w.n] && g.allowed > 0 && g.out >= g.allowed {
			return d.crowdedWords(g)
		}
	}
	return ""
}

// crowdedWords says who is out of service. Thousands of nodes may wait for the same reason: it is put into words once.
func (d *decider) crowdedWords(g *group) string {
	if g.said.allowed == g.out && g.said.words != "" {
		return g.said.words
	}
	var names []string
	for n := range d.snap.Nodes {
		if g.has[n] && d.turnsOn[n] > 0 {
			names = append(names, d.snap.Nodes[n].Name)
		}
	}
	g.said = full{g.out, fmt.Sprintf("pool %q: %d of %d nodes out of service: %s", g.pool.Name, g.out, g.allowed, few(names))}
	return g.said.words
}

// poolSums say how the pools stand, for those who ask.
func (d *decider) poolSums() {
	for _, g := range d.groups {
		d.out.Pools = append(d.out.Pools, PoolSummary{ConfigMap: g.source, Nodes: g.nodes, Used: g.out, Allowed: g.allowed})
	}
}

// obstacle is what is in the way of a turn, with the reason and the words for people; until is when time alone takes it away.
type obstacle struct {
	reason  Reason
	message string
	until   time.Time
	// never is true where time alone will not take it away after all: the window that opens then is too short.
	never bool
}
