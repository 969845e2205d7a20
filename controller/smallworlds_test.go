package controller_test

import (
	"hash/maphash"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Every order in which things can happen to two nodes with two runtimes, from a few beginnings, as deep as the time allows: STATES=100000 looks at so many of each. No promise of rollout/decide.go is
// broken in any of them.
func TestSmallWorldsInEveryOrder(t *testing.T) {
	limit := 150
	if n, err := strconv.Atoi(os.Getenv("STATES")); err == nil {
		limit = n
	}
	beginnings := map[string]*small{
		"a first install of both":            newSmall(),
		"an upgrade of both":                 newSmall().installed("old"),
		"an uninstall of one and an upgrade": newSmall().installed("old").with(func(w *small) { w.wants[0].gone = true }),
		"a change of mind in the middle": newSmall().installed("old").with(func(w *small) {
			w.play(t, "leader 1: looks", "leader 1: books", "leader 1: OpenGate one on a", "leader 2: looks")
			w.wants[0].payload = "old"
		}),
		"an uninstall that is called off": newSmall().installed("new").with(func(w *small) {
			w.wants[0].gone = true
			w.play(t, "leader 1: looks", "leader 1: books", "leader 1: OpenGate one on a", "leader 2: looks")
			w.wants[0].gone = false
		}),
		"a node that failed": newSmall().with(func(w *small) {
			w.play(t, "leader 1: looks", "leader 1: books", "leader 1: OpenGate one on a", "DaemonSet controller: makes the install pod of one on a",
				"kubelet: command begins (install of one on a)", "kubelet: command fails (install of one on a)", "leader 2: looks")
		}),
	}
	for name, begin := range beginnings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			states, depth, whole := explore(t, begin, limit)
			end := "to a depth of"
			if whole {
				end = "all that there are, to a depth of"
			}
			t.Logf("%d states, %s %d steps, in %s", states, end, depth, time.Since(start).Round(time.Millisecond))
		})
	}
}

func (w *small) with(change func(*small)) *small {
	change(w)
	return w
}

// play takes steps by their words.
func (w *small) play(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		steps := w.steps()
		i := slices.IndexFunc(steps, func(s step) bool { return s.String() == word })
		if i < 0 {
			var can []string
			for j := range steps {
				can = append(can, steps[j].String())
			}
			t.Fatalf("%s cannot happen now, but\n%s", word, strings.Join(can, "\n"))
		}
		if broken := steps[i].take(w); broken != "" {
			t.Fatal(broken)
		}
	}
}

// trail is how a world came about.
type trail struct {
	before *trail
	words  string
}

func (s *trail) story() string {
	var words []string
	for at := s; at != nil; at = at.before {
		words = append(words, at.words)
	}
	slices.Reverse(words)
	return strings.Join(words, "\n")
}

// explore goes breadth first, and tells how many worlds there are, how many steps away the last ones, and whether these are all.
func explore(t *testing.T, begin *small, limit int) (states, depth int, whole bool) {
	t.Helper()
	type place struct {
		world *small
		trail *trail
	}
	seed := maphash.MakeSeed()
	seen := map[uint64]bool{maphash.String(seed, begin.key()): true}
	for level := []place{{world: begin}}; len(level) > 0; depth++ {
		var next []place
		for _, at := range level {
			for _, s := range at.world.steps() {
				w := at.world.clone()
				broken := s.take(w)
				key := maphash.String(seed, w.key())
				if seen[key] && broken == "" {
					continue
				}
				seen[key] = true
				story := &trail{before: at.trail, words: s.String()}
				if broken == "" {
					broken = w.broken()
				}
				if broken != "" {
					t.Fatalf("%s\nafter %d steps:\n%s\n\nthe world is\n%s", broken, depth+1, story.story(), w.key())
				}
				if len(seen) >= limit {
					return len(seen), depth, false
				}
				next = append(next, place{world: w, trail: story})
			}
		}
		level = next
	}
	return len(seen), depth, true
}
