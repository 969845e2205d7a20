package faulttests

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/faults"
)

// TestEveryWriteThatFailsOnceIsTriedAgain has the first try of every single write fail, dry runs included: refused, or done with the answer lost. What
// is written to one object at several moments fails at each of them.
func TestEveryWriteThatFailsOnceIsTriedAgain(t *testing.T) {
	s := start(t)
	image := s.payload("refused:1", "")
	s.run()
	for i, status := range []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError, faults.Lose} {
		y := &story{suite: s, image: image, runtime: fmt.Sprintf("refused-%d", i), nodes: []string{[]string{nodeA, nodeB, nodeC}[i%3]}}
		for n := range operations {
			first := newFirst()
			s.proxy.Answer(func(r *faults.Request) int {
				if r.Method == http.MethodGet || strings.Contains(r.Path, "/events") || !first.time(kind(r)) {
					return faults.Pass
				}
				return status
			})
			y.do(n)
			y.done(n)
			if t.Failed() {
				t.Fatalf("every first write of %q was answered with %d", operations[n], status)
			}
			for _, moment := range moments[n] {
				if !first.saw(moment) {
					t.Errorf("%q was not disturbed at the moment %q", operations[n], moment.Name)
				}
			}
		}
	}
}

// kind is by what writes are told apart: the moment of a rollout or the method, and the object.
func kind(r *faults.Request) string {
	for _, table := range moments {
		for _, moment := range table {
			if moment.Match(r) {
				return at(moment) + r.Path
			}
		}
	}
	return r.Method + " " + r.Path + " " + r.Query.Get("dryRun")
}

func at(moment faults.Moment) string { return moment.Name + " at " }

// first tells what was never seen before.
type first struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newFirst() *first { return &first{seen: map[string]bool{}} }

func (f *first) time(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[what] {
		return false
	}
	f.seen[what] = true
	return true
}

// saw tells whether that moment of any object was seen.
func (f *first) saw(moment faults.Moment) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what := range f.seen {
		if strings.HasPrefix(what, at(moment)) {
			return true
		}
	}
	return false
}

func TestWatchesThatBreakInTheMiddleCostNothingButTime(t *testing.T) {
	s := start(t)
	y := &story{suite: s, image: s.payload("broken-watch:1", ""), runtime: "broken-watch", nodes: []string{nodeA, nodeB}}
	s.run()
	within := s.budget(y.runtime)
	for n := range operations {
		broken := 0
		trap := s.proxy.Trap(faults.Gate, faults.Held, func() { broken = s.proxy.BreakWatches() })
		y.do(n)
		s.await("the gate", trap.Struck())
		if broken < 5 {
			t.Errorf("only %d watches were broken", broken)
		}
		y.done(n)
	}
	within()
}

func TestAControllerWhoseWatchesLagActsOnNothingThatIsOver(t *testing.T) {
	s := start(t)
	y := &story{suite: s, image: s.payload("lag:1", ""), runtime: "lag", nodes: []string{nodeA, nodeB}}
	s.run()
	within := s.budget(y.runtime)
	for n, operation := range operations {
		trap := s.proxy.Trap(faults.Gate, faults.After, s.proxy.HoldWatches)
		y.do(n)
		s.await("the gate", trap.Struck())
		var done string
		s.wait(t.Context(), "a node is done, without the controller seeing it", func(ctx context.Context) (bool, string) {
			done = s.finished(ctx, y.runtime)
			return done != "", ""
		})
		other := map[string]string{nodeA: nodeB, nodeB: nodeA}[done]
		if runs := y.runs(other, y.runtime); strings.HasSuffix(runs, operation) {
			t.Errorf("node %s ran %q while nobody could know that %s was done", other, runs, done)
		}
		s.proxy.ReleaseWatches()
		y.done(n)
	}
	within()
}

// finished is a node whose installer pod has done its work.
func (s *suite) finished(ctx context.Context, runtime string) string {
	s.t.Helper()
	pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + runtime})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return p.Spec.NodeName
		}
	}
	return ""
}

// TestAnAPIServerThatIsGoneForAMinuteChangesNothingOnTheNodes kills the API server when the command runs, which ends without it. The controller, which
// has lost its lease, ends and is started again, as the kubelet does it with the controller's pod.
func TestAnAPIServerThatIsGoneForAMinuteChangesNothingOnTheNodes(t *testing.T) {
	s := start(t, "--leader-elect")
	y := &story{suite: s, image: s.payload("gone:1", ""), runtime: "gone", nodes: []string{nodeB, nodeC}}
	s.supervise()
	within := s.budget(y.runtime)
	for _, alone := range y.each() {
		alone.hang()
	}
	y.do(0)
	var first string
	s.wait(t.Context(), "a command runs", func(context.Context) (bool, string) {
		for _, node := range y.nodes {
			if s.runs(node, y.runtime) != "" {
				first = node
			}
		}
		return first != "", ""
	})
	// The watch of the test's own would end with the API server: it is asserted up to here, and by the runs afterwards.
	within()
	if err := s.c.StopUnit("kube-apiserver", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	minute := time.NewTimer(time.Minute)
	up := sync.OnceValue(func() error { return s.c.StartUnit(context.WithoutCancel(t.Context()), "kube-apiserver") })
	defer func() { _ = up() }()
	for _, alone := range y.each() {
		alone.release()
	}
	<-minute.C
	if runs := s.runs(map[string]string{nodeB: nodeC, nodeC: nodeB}[first], y.runtime); runs != "" {
		t.Errorf("the other node ran %q while nobody could give it its turn", runs)
	}
	if err := up(); err != nil {
		t.Fatal(err)
	}
	within = s.budget(y.runtime)
	y.done(0)
	within()
	y.do(2)
	s.gone(t.Context())
	y.ran("install 1", "uninstall 1")
}

// supervise runs the controller and starts it again, a second after it ended, until the test ends.
func (s *suite) supervise() {
	s.t.Helper()
	s.run()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-s.ctl.Ended():
			}
			pause := time.NewTimer(time.Second)
			select {
			case <-stop:
				return
			case <-pause.C:
			}
			if err := s.ctl.Start(); err != nil {
				s.t.Error(err)
				return
			}
		}
	})
	// Before the controller is closed, and so that cleaning up finds it running.
	s.t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
}

// TestALeaderThatWasPausedBeyondItsLeaseChangesNothingAnyMore stops the leader in the middle of a write, has another controller take over and finish, and
// then lets the write and the old leader go on. The one that took over is the next to be paused.
func TestALeaderThatWasPausedBeyondItsLeaseChangesNothingAnyMore(t *testing.T) {
	s := start(t, "--leader-elect")
	y := &story{suite: s, image: s.payload("paused:1", ""), runtime: "paused", nodes: []string{nodeB, nodeC}}
	s.run()
	within := s.budget(y.runtime)
	for _, round := range []struct {
		moment  faults.Moment
		do      func(*story)
		version string
	}{
		{faults.Booking, apply("1"), "1"}, {faults.Gate, apply("2"), "2"}, {faults.Result, apply("3"), "3"}, {faults.Keys, remove, ""},
	} {
		old, paused, goOn := s.ctl, make(chan struct{}), make(chan struct{})
		trap := s.proxy.Trap(round.moment, faults.Held, func() {
			old.Pause()
			close(paused)
			<-goOn
		})
		round.do(y)
		s.await("the pause at "+round.moment.Name, paused)
		s.proxy, s.ctl = s.controller(t.Context(), "--leader-elect")
		s.run()
		y.settled(round.version)
		close(goOn)
		s.await("the late write", trap.Struck())
		old.Resume()
		s.await("the end of the old leader", old.Ended())
		y.settled(round.version)
	}
	within()
	y.ran("install 1", "install 2", "install 3", "uninstall 3")
}
