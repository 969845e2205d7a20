package controller_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/observed"
)

// slow are eyes that take their time.
type slow struct {
	controller.Reader
	takes time.Duration
	looks atomic.Int64
}

func (s *slow) Snapshot(now time.Time) *observed.Snapshot {
	time.Sleep(s.takes)
	s.looks.Add(1)
	return s.Reader.Snapshot(now)
}

func TestEventsThatChangeNothingTakeHalfOfACoreAtMost(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		eyes := &slow{takes: 10 * time.Millisecond}
		c.stop()
		c.eyes = func(r controller.Reader) controller.Reader { eyes.Reader = r; return eyes }
		c.start()
		c.pass(time.Minute)
		before := eyes.looks.Load()
		// A node changes every millisecond.
		for i := range 300 {
			annotate(c, "a", "other.longshore.dev/hold", strconv.Itoa(i))
			c.pass(time.Millisecond)
		}
		if got := eyes.looks.Load() - before; got < 12 || got > 18 {
			t.Errorf("%d passes of 10 ms were made in 300 ms, expected about 15", got)
		}
		// What is to be done is done at once.
		change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:two" })
		c.within(2*time.Minute, "every node is at two", c.allAre("kata Ready two HandlersReported ready"))
	})
}
