package status

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// Estimate is how long a rollout will still take, and how that is known.
type Estimate struct {
	// Left is the time left; it means nothing where Known is false.
	Left  time.Duration
	Known bool
	// How says what the estimate is made from, or why there is none.
	How string
}

// Left estimates how long the nodes that are left will take, from the times at which nodes became Ready: these stand on the nodes, so
// that nobody has to have watched. The first line that fits:
//
//	nothing is left                            nothing
//	the phase gives no turns                   none: that phase
//	the runtime is taken off                   none: an uninstalled node leaves no time behind
//	all that are left wait for somebody        none: for what
//	no more became Ready than start at once    none: too early
//	otherwise                                  the nodes left, times the time a node has taken
//
// Nodes that start together become Ready together. So the budget's worth of nodes that were Ready first only begin the time that is
// divided among the others, and it lasts until now: the longer nothing happens, the longer it will take.
func (r *RuntimeReport) Left(now time.Time) Estimate {
	left, waiting := r.left()
	switch {
	case left == 0 && len(waiting) == 0:
		return Estimate{Known: true, How: "nothing is left to do"}
	case r.Phase == Uninstalling:
		return Estimate{How: "an uninstalled node leaves no time behind to judge by"}
	case r.Phase != Progressing:
		return Estimate{How: "the runtime is " + string(r.Phase)}
	case left == 0:
		return Estimate{How: fmt.Sprintf("%d nodes wait for somebody: %s", sumOf(waiting), countWords(waiting))}
	}
	together := max(r.Budget, 1)
	times := r.readyTimes()
	// Long ago, things may have been different.
	times = times[max(len(times)-3*together-6, 0):]
	if len(times) <= together {
		return Estimate{How: fmt.Sprintf("%d nodes are Ready, and %d are worked on at once: too early to tell", len(times), together)}
	}
	took := now.Sub(times[0])
	counted := len(times) - together
	e := Estimate{
		Known: true, Left: took / time.Duration(counted) * time.Duration(left),
		How: fmt.Sprintf("the last %d took %s", counted, duration.HumanDuration(took)),
	}
	if len(waiting) > 0 {
		e.How += "; without " + countWords(waiting)
	}
	return e
}

// left counts the nodes that are not done: those that time will bring, and those that wait for somebody, by reason.
func (r *RuntimeReport) left() (left int, waiting map[string]int) {
	waiting = map[string]int{}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		switch {
		case n.Done:
		case n.Phase == string(observed.PhaseFailed), n.Reason == string(rollout.UnreadableProgress):
			waiting["Failed"]++
		case n.Reason == string(rollout.Held), n.Reason == string(rollout.NodeNotReady), n.Reason == string(rollout.NodeDeleting), n.Reason == string(rollout.NoSnapshot):
			waiting[n.Reason]++
		default:
			left++
		}
	}
	return left, waiting
}

// readyTimes are the times at which the nodes at the goal became Ready, in order.
func (r *RuntimeReport) readyTimes() []time.Time {
	var times []time.Time
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if n.Phase == string(observed.PhaseReady) && n.Revision == r.Revision {
			times = append(times, n.Since)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

func sumOf(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}
