package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// pollPeriod is how often something that is waited for is looked at.
const pollPeriod = 50 * time.Millisecond

// goal is something to wait for.
type goal struct {
	what string
	// every is the pause between two looks, pollPeriod when zero: longer where a look costs what is waited for time.
	every time.Duration
	// longer is added to the usual patience.
	longer time.Duration
}

// await looks until check says that nothing is missing any more (an empty string) or fails. A part of the control plane that ends in the
// meantime is an error at once, with its last words.
func (c *Cluster) await(ctx context.Context, g goal, check func(context.Context) (missing string, err error)) error {
	limit := patience + g.longer
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	missing := "not looked at yet"
	for {
		latest, err := check(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for %s: %w", g.what, err)
		}
		if err == nil && latest == "" {
			return nil
		}
		if ctx.Err() == nil {
			missing = latest
		}
		if err := c.deadUnits(); err != nil {
			return fmt.Errorf("waiting for %s: %w", g.what, err)
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("waiting for %s: not there after %s: %s", g.what, limit, missing)
			}
			return context.Cause(ctx)
		case <-time.After(max(g.every, pollPeriod)):
		}
	}
}

// deadUnits reports units that ended by themselves.
func (c *Cluster) deadUnits() error {
	units, err := c.keeper.Status()
	if err != nil {
		return fmt.Errorf("asking the keeper: %w", err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if status := units[name]; !status.Running {
			errs = append(errs, fmt.Errorf("%s %s; its last words:\n%s", name, status.Exit, tail(c.layout.log(name), 15)))
		}
	}
	return errors.Join(errs...)
}

// tail is the end of a file, for error messages.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(data), lines)
}

func lastLines(text string, count int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return "    " + strings.Join(all[max(0, len(all)-count):], "\n    ")
}
