package controller_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// late is a read side whose watch of nodes does not show one yet.
type late struct {
	controller.Reader
	hides *atomic.Bool
}

func (l late) Snapshot(now time.Time) *observed.Snapshot {
	s := l.Reader.Snapshot(now)
	if l.hides.Load() {
		s.Nodes = slices.DeleteFunc(s.Nodes, func(n observed.Node) bool { return n.Name == "a" })
	}
	return s
}

func TestATurnDoesNotEndBecauseAWatchIsLate(t *testing.T) {
	slow := func(r simulation.Run) simulation.Result {
		result := wellBehaved(r)
		result.Takes = 30 * time.Second
		return result
	}
	run(t, slow, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "a node is under way", func() bool { return slices.Contains(c.nodes(), "a kata Installing one  gate") })
		before := c.turns()
		var hides atomic.Bool
		hides.Store(true)
		c.stop()
		c.eyes = func(r controller.Reader) controller.Reader { return late{r, &hides} }
		c.start()
		c.pass(10 * time.Second)
		if diff := cmp.Diff(before, c.turns()); diff != "" {
			t.Errorf("turns (-before +after):\n%s", diff)
		}
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
		hides.Store(false)
		c.installed()
	})
}
