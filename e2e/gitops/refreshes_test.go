package gitops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// many is how many nodes the rollout has whose refreshes are counted.
const many = 200

// TestRefreshesInALargeRollout counts what a rollout of 200 nodes, 10 % at once, costs Argo CD and Flux: how often each looked at the application,
// and how often Longshore wrote its status. docs/performance.md has the numbers. It is the last test of the package: the nodes stay.
func TestRefreshesInALargeRollout(t *testing.T) {
	w := need(t)
	if err := w.c.Simulate(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	t.Run("Argo CD", func(t *testing.T) {
		a, err := startArgoCD(w.ctx, w.c, filepath.Join(w.dir, "argocd-many"), os.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.stop)
		w.product(t, a)
		w.play(t, a, "rollout of 200 nodes", func(s *scenario) {
			s.large(func() string {
				log := a.processes[len(a.processes)-1]
				return fmt.Sprintf("%d refreshes, %d reconciliations", log.lines("Refreshing app status", s.app.name), log.lines("Reconciliation completed", s.app.name))
			})
		})
	})
	t.Run("Flux", func(t *testing.T) {
		f, err := startFlux(w.ctx, w.c, filepath.Join(w.dir, "flux-many"), os.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.stop)
		w.product(t, f)
		w.play(t, f, "rollout of 200 nodes", func(s *scenario) {
			s.large(func() string {
				log := f.processes[len(f.processes)-1]
				return fmt.Sprintf("%d reconciliations", log.lines("Reconciliation finished", s.app.name)+log.lines("Reconciliation failed", s.app.name))
			})
		})
	})
}

// large installs on every node, 10 % at once, and puts into the row what that cost.
func (s *scenario) large(cost func() string) {
	s.Helper()
	writes, err := s.w.configMaps().Watch(s.Context(), metav1.ListOptions{LabelSelector: domain + "runtime=" + s.runtime})
	if err != nil {
		s.Fatal(err)
	}
	counted := make(chan int)
	go func() {
		count := 0
		for event := range writes.ResultChan() {
			if event.Type == watch.Modified {
				count++
			}
		}
		counted <- count
	}()
	began := time.Now()
	s.push(fixed(s.app.path, spec(s.runtime, "maxUnavailable", "10%", "runtimeClasses", mustJSON([]any{map[string]any{"name": s.runtime, "handler": "runc"}}))))
	s.until(good, 10*time.Minute)
	took := time.Since(began)
	writes.Stop()
	text := fmt.Sprintf("%s and %d status writes in %.0f s", cost(), <-counted, took.Seconds())
	s.said = []string{text}
	s.runs = append(s.runs, fmt.Sprintf("install on %d nodes", many))
	s.Log(text)
}

// lines counts the lines of the process's log that have all of these words.
func (p *process) lines(words ...string) int {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return 0
	}
	count := 0
	for line := range strings.Lines(string(text)) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			count++
		}
	}
	return count
}
