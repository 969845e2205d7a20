package parts

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// clock tells who waits how long a build has been running, every tick in a line of its own, so that a log shows it as well as a terminal.
type clock struct {
	progress io.Writer
	name     string
	started  time.Time
	done     chan struct{}
	ended    sync.WaitGroup
}

const tick = 15 * time.Second

func startClock(progress io.Writer, name, cold string) *clock {
	c := &clock{progress: progress, name: name, started: time.Now(), done: make(chan struct{})}
	hint := ""
	if cold != "" {
		hint = fmt.Sprintf(" (the first time takes about %s on two cores)", cold)
	}
	fmt.Fprintf(progress, "%s: building%s\n", name, hint)
	c.ended.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-c.done:
				return
			case <-ticker.C:
				fmt.Fprintf(progress, "%s: building, %s\n", name, c.elapsed())
			}
		}
	})
	return c
}

func (c *clock) stop(word string) {
	close(c.done)
	c.ended.Wait()
	fmt.Fprintf(c.progress, "%s: %s after %s\n", c.name, word, c.elapsed())
}

func (c *clock) elapsed() time.Duration { return time.Since(c.started).Round(time.Second) }
