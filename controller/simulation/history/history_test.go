package history_test

import (
	"cmp"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"longshore.dev/longshore/controller/simulation/history"
)

// seeds is how many histories `make check` plays; SEEDS=20000 plays more, and SEED=17 that one alone. With enough of them every event meets every phase.
const (
	seeds  = 60
	enough = 1500
)

// players is how many are played at the same time.
const players = 2

// number is a number of the environment, or else the other one.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestWhateverHappensTheInvariantsHold(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	if seed := number("SEED", -1); seed >= 0 {
		if r := history.Play(uint64(seed), history.NewFixtures(t.Context()), history.NewCoverage()); r.Broken != nil {
			t.Fatalf("seed %d\n%s", seed, r.Story())
		}
		return
	}
	// For those who know already what is wrong: see mutants.txt.
	finds := os.Getenv("FINDS")
	last := number("SEEDS", seeds)
	began, coverage := time.Now(), history.NewCoverage()
	var mu sync.Mutex
	var wg sync.WaitGroup
	steps, passes, broken := 0, 0, map[int]*history.Result{}
	for player := range players {
		wg.Go(func() {
			fixtures, covered := history.NewFixtures(t.Context()), history.NewCoverage()
			for seed := player; seed < last; seed += players {
				r := history.Play(uint64(seed), fixtures, covered)
				mu.Lock()
				steps, passes = steps+r.Steps, passes+r.Passes
				if r.Broken != nil && (finds == "" || r.Broken.Invariant == finds) {
					broken[seed] = r
				}
				stop := len(broken) >= 10 || (finds != "" && len(broken) > 0)
				mu.Unlock()
				if stop {
					break
				}
			}
			mu.Lock()
			coverage.Add(covered)
			mu.Unlock()
		})
	}
	wg.Wait()
	report(t, broken)
	t.Logf("%d histories, %d steps, %d passes in %s\n%s", last, steps, passes, time.Since(began).Round(time.Second), coverage.Table(history.Events()))
	if last < enough || len(broken) > 0 {
		return
	}
	for _, pair := range coverage.Missing(history.Events()) {
		t.Errorf("never met: %s", pair)
	}
}

// report tells the shortest of the stories, and how to have the others told.
func report(t *testing.T, broken map[int]*history.Result) {
	t.Helper()
	var shortest *history.Result
	for _, seed := range slices.Sorted(maps.Keys(broken)) {
		r := broken[seed]
		t.Errorf("%s: %s; play it again with: SEED=%d go test -count=1 -run TestWhatever ./controller/simulation/history", r.Broken.Invariant, r.Broken.Message, seed)
		if shortest == nil || cmp.Compare(r.Steps, shortest.Steps) < 0 {
			shortest = r
		}
	}
	if shortest != nil {
		t.Logf("the shortest of these stories:\n%s", shortest.Story())
	}
}

func TestTheSameSeedIsTheSameHistory(t *testing.T) {
	for seed := range uint64(5) {
		stories := make([]string, 0, 2)
		for range 2 {
			stories = append(stories, history.Play(seed, history.NewFixtures(t.Context()), history.NewCoverage()).Story())
		}
		if stories[0] != stories[1] {
			a, b := strings.Split(stories[0], "\n"), strings.Split(stories[1], "\n")
			at := slices.IndexFunc(a, func(line string) bool { return !slices.Contains(b, line) })
			t.Fatalf("seed %d is played in two ways; one of them has the line %q", seed, a[max(at, 0)])
		}
	}
}

// depth is how many steps are played: DEPTH=14 plays more. Where everything is installed, people have to do something first, and there are fewer ways to go on.
func depth(begin history.Begin) int {
	if begin == history.Installed {
		return number("DEPTH", 8) + 4
	}
	return number("DEPTH", 8)
}

func TestInSmallWorldsTheInvariantsHoldWhateverTheOrder(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, begin := range []history.Begin{history.Blank, history.Installed} {
		t.Run(string(begin), func(t *testing.T) {
			began := time.Now()
			s := history.SearchSmallWorlds(begin, depth(begin), history.NewFixtures(t.Context()))
			if s.Broken != nil {
				t.Fatalf("%s: %s\n%s\n\n%s", s.Broken.Invariant, s.Broken.Message, strings.Join(s.Path, "\n"), s.State)
			}
			t.Logf("%d states: all that are %d steps away or less, by %d steps in %s", s.States, s.Depth, s.Steps, time.Since(began).Round(time.Millisecond))
		})
	}
}
