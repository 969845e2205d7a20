package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// rest is how people are told of the nodes that no wave has.
const rest = "the rest"

// course is in which waves one runtime goes through its nodes, nil for a spec without any: then all nodes are one.
type course struct {
	// waves are those of the spec, and the rest as the last one.
	waves []wave
	// of is the wave of every node, noWave for those that are not to be installed.
	of []int
	// done are the nodes that are done, as the visits find them.
	done []bool
	// open is the first wave that is not over, len(waves) when all are.
	open int
	// waiting says in words what the waves behind the open one wait for.
	waiting string
}

const noWave = -1

// wave is a group of nodes that goes before the next one.
type wave struct {
	name string
	// allowed is how many nodes of the runtime may be out of service while the wave has its turn.
	allowed int
	soak    time.Duration
	nodes   int
}

// divide says which node belongs to which wave. A node that several waves could have belongs to the first of them. A wave by count has the nodes that
// come first and that something can be done with, those before all that are done already: it is over when that many are done, whichever.
func (d *decider) divide(index int) *course {
	r := &d.plan.Runtimes[index]
	if r.Spec == nil || len(r.Spec.Waves) == 0 {
		return nil
	}
	c := &course{of: make([]int, len(d.snap.Nodes)), done: make([]bool, len(d.snap.Nodes))}
	var left []int
	for i := range r.Targets {
		c.of[i] = noWave
		if r.Targets[i].Want == desired.Installed {
			left = append(left, i)
		}
	}
	var empty []string
	for n := range r.Spec.Waves {
		w := &r.Spec.Waves[n]
		var members, others []int
		if w.Selector != nil {
			for _, i := range left {
				if w.Selector.Matches(&d.snap.Nodes[i].Labels) {
					members = append(members, i)
				} else {
					others = append(others, i)
				}
			}
		} else {
			members, others = d.some(index, left, w)
		}
		if len(members) == 0 {
			empty = append(empty, w.Name)
		}
		c.add(w.Name, members, allowedIn(w, r, len(members)), soakOf(w, r.Spec))
		left = others
	}
	c.add(rest, left, spec.ScaledMax(r.Spec.MaxUnavailable, r.Total), r.Spec.Soak)
	if len(empty) > 0 && r.Selected > 0 {
		d.warn(r, "EmptyWave", "no node belongs to wave "+strings.Join(empty, ", ")+"; it counts as over")
	}
	return c
}

func (c *course) add(name string, members []int, allowed int, soak time.Duration) {
	for _, i := range members {
		c.of[i] = len(c.waves)
	}
	c.waves = append(c.waves, wave{name: name, allowed: allowed, soak: soak, nodes: len(members)})
}

func allowedIn(w *spec.Wave, r *desired.Runtime, nodes int) int {
	if w.MaxUnavailable != nil {
		return spec.ScaledMax(*w.MaxUnavailable, nodes)
	}
	return spec.ScaledMax(r.Spec.MaxUnavailable, r.Total)
}

func soakOf(w *spec.Wave, s *spec.Runtime) time.Duration {
	if w.Soak != nil {
		return *w.Soak
	}
	return s.Soak
}

// some chooses the nodes of a wave by count.
func (d *decider) some(index int, left []int, w *spec.Wave) (members, others []int) {
	soak := soakOf(w, d.plan.Runtimes[index].Spec)
	ranks := make(map[int]int, len(left))
	for _, i := range left {
		ranks[i] = d.rankOf(index, i, soak)
	}
	order := slices.SortedStableFunc(slices.Values(left), func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
	members, others = order[:min(w.Count, len(order))], order[min(w.Count, len(order)):]
	slices.Sort(members)
	slices.Sort(others)
	return members, others
}

// rankOf is how much speaks for a node in a wave by count: that it is done, has its turn, can be worked on, or none of these.
func (d *decider) rankOf(index, i int, soak time.Duration) int {
	r, node, s := &d.plan.Runtimes[index], &d.snap.Nodes[i], d.stands[index][i].state
	if stuck(s) {
		return 3
	}
	current := s != nil && s.Progress != nil && r.Current(s.Progress.Revision)
	soaked := current && s.Progress.Phase == observed.PhaseReady && s.Ready != ""
	if soaked && d.snap.Time.Before(s.Progress.Since.Add(soak)) {
		// Time alone makes it one of those that the wave has.
		d.again(s.Progress.Since.Add(soak))
		soaked = false
	}
	switch {
	case soaked:
		return 0
	case d.idle(node, s) || (current && s.Progress.Phase == observed.PhaseFailed):
		return 3
	case d.bookedNodes[i] && d.hasTurn(r.Name, node):
		return 1
	}
	return 2
}

func (d *decider) hasTurn(runtime string, node *observed.Node) bool {
	_, booked := d.booked[observed.NodeRuntime{Node: node.UID, Runtime: runtime}]
	return booked
}

// idle tells whether nothing is done with a node until somebody, or the node itself, has it otherwise.
func (d *decider) idle(node *observed.Node, s *observed.State) bool {
	cordoned := node.Unschedulable && cordoner(node) == ""
	return node.Deleting || !node.Ready || cordoned || node.Others != "" || (s != nil && s.Held)
}

// openWave finds the wave that has its turn, once every node was visited. A wave is over when each of its nodes is done, has failed as often as is
// put up with, or is left alone; one whose nodes are all left alone has shown nothing, and is not over.
func (d *decider) openWave(index int) {
	c := d.courses[index]
	if c == nil {
		return
	}
	r := &d.plan.Runtimes[index]
	stands := make([]waveStands, len(c.waves))
	for i, n := range c.of {
		if n == noWave {
			continue
		}
		s := d.stands[index][i].state
		at, node := &stands[n], &d.snap.Nodes[i]
		switch {
		case c.done[i]:
			at.done++
		case stuck(s):
			at.failed++
		case s != nil && s.Progress != nil && s.Progress.Phase == observed.PhaseFailed && r.Current(s.Progress.Revision) && (s.Retry == "" || s.Retry == s.Progress.Retry):
			at.failed++
		case s != nil && s.Progress != nil && s.Progress.Phase == observed.PhaseReady && r.Current(s.Progress.Revision) && d.hasTurn(r.Name, node):
			at.soaking++
			at.until = later(at.until, s.Progress.Since.Add(c.waves[n].soak))
		case d.idle(node, s) && (!d.hasTurn(r.Name, node) || (s != nil && s.Progress != nil && s.Progress.Phase == observed.PhaseFailed)):
			// One that failed keeps its place, and is left alone all the same.
			at.idle++
		default:
			at.open = append(at.open, node.Name)
		}
	}
	for c.open < len(c.waves) && stands[c.open].over(c.waves[c.open].nodes) {
		c.open++
	}
	sum := &d.sums[index]
	if c.open == len(c.waves) {
		return
	}
	w := &c.waves[c.open]
	sum.Allowed = w.allowed
	if c.open < len(r.Spec.Waves) {
		sum.Wave = w.name
	}
	c.waiting = stands[c.open].words(w)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// waveStands is how the nodes of a wave stand.
type waveStands struct {
	done, failed, soaking, idle int
	// open are those that the wave waits for, by name.
	open []string
	// until is when the last of those that soak now has done so.
	until time.Time
}

func (s *waveStands) over(nodes int) bool {
	return s.done+s.failed+s.idle == nodes && (nodes == 0 || s.done > 0)
}

func (s *waveStands) words(w *wave) string {
	switch {
	case s.soaking > 0 && s.done+s.failed+s.idle+s.soaking == w.nodes:
		return fmt.Sprintf("waiting for wave %s to soak until %s", w.name, s.until.UTC().Format("2006-01-02T15:04:05Z"))
	case s.done == 0 && s.failed+s.idle == w.nodes:
		return fmt.Sprintf("waiting for wave %s, which has shown nothing yet: of its %d nodes %d failed, and %d are held, NotReady, cordoned, being deleted or under others' maintenance", w.name, w.nodes, s.failed, s.idle)
	}
	words := fmt.Sprintf("waiting for wave %s: %d of %d nodes done", w.name, s.done, w.nodes)
	if len(s.open) > 0 {
		words += "; not done: " + few(s.open)
	}
	return words
}

// stuck reports whether a node waits for people, whatever the spec asks for: its uninstall failed, or its progress cannot be read.
func stuck(s *observed.State) bool {
	if s == nil {
		return false
	}
	p := s.Progress
	return s.Problem != "" || (p != nil && p.Phase == observed.PhaseFailed && p.Operation == observed.Uninstall && (s.Retry == "" || s.Retry == p.Retry))
}

// wave is the one that a node belongs to, nil where there are none or the node is not to be installed.
func (v *visit) wave() *wave {
	if v.course == nil || v.course.of[v.n] == noWave {
		return nil
	}
	return &v.course.waves[v.course.of[v.n]]
}

// early tells whether a node's wave has not begun, and what it waits for. A node that failed holds a place that the waves before its own may need, and is
// out of service already: it waits for none.
func (d *decider) early(v *visit) (string, bool) {
	if v.course == nil || v.course.of[v.n] <= v.course.open || ((v.failed() || v.broken()) && d.holdsPlace(v)) {
		return "", false
	}
	return v.course.waiting, true
}

func (v *visit) failed() bool {
	return v.state != nil && v.state.Progress != nil && v.state.Progress.Phase == observed.PhaseFailed
}

// allowed is how many nodes of the runtime may be out of service for one more to be taken, of this node's wave.
func (v *visit) allowed() int {
	if w := v.wave(); w != nil {
		return w.allowed
	}
	if v.r.Spec == nil {
		return 1
	}
	return spec.ScaledMax(v.r.Spec.MaxUnavailable, v.r.Total)
}

// place is where a node comes in the order of turns besides its rank: wave by wave, and zone by zone in each of them.
type place struct{ wave, zone int32 }

// zoneLabel is the well-known label of the zone that a node is in.
const zoneLabel = "topology.kubernetes.io/zone"

func (d *decider) placeOf(v *visit) place {
	p := place{wave: noWave, zone: d.zone(v.n)}
	if v.course != nil {
		p.wave = int32(v.course.of[v.n])
	}
	return p
}

// zone numbers the zone of a node, in the order of their names.
func (d *decider) zone(n int) int32 {
	if d.zoneOf != nil {
		return d.zoneOf[n]
	}
	d.zoneOf = make([]int32, len(d.snap.Nodes))
	numbers := map[string]int32{}
	for i := range d.snap.Nodes {
		numbers[d.snap.Nodes[i].Labels.Get(zoneLabel)] = 0
	}
	for number, name := range slices.Sorted(maps.Keys(numbers)) {
		numbers[name] = int32(number)
	}
	if len(numbers) > 1 {
		for i := range d.snap.Nodes {
			d.zoneOf[i] = numbers[d.snap.Nodes[i].Labels.Get(zoneLabel)]
		}
	}
	return d.zoneOf[n]
}

// zones keep turns in a wave to one zone for as long as some node there waits that a turn can be given to.
type zones map[int32]*zone

// zone is one with a node that waits, and what nodes of other zones are told.
type zone struct {
	number  int32
	message string
}

// waits notes that a node waits for something that will pass.
func (z zones) waits(w *wish) {
	if z[w.place.wave] == nil && w.rank == rankRest {
		name := w.node.Labels.Get(zoneLabel)
		z[w.place.wave] = &zone{w.place.zone, fmt.Sprintf("waiting for zone %q, where node %s has its turn first", name, w.node.Name)}
	}
}

// before says which zone comes before that of a node, "" if none does.
func (z zones) before(w *wish) string {
	if first := z[w.place.wave]; first != nil && w.rank == rankRest && first.number != w.place.zone {
		return first.message
	}
	return ""
}
