package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/e2e/cluster"
)

// rounds is how often each thing is measured in turn; the best counts, because the machine may be busy with other things.
const rounds = 3

// cost is what one measured rollout took.
type cost struct {
	took time.Duration
	// nodeWrites and calls are those of the one that rolls out, all those of everybody.
	nodeWrites, calls, all int
	what                   map[string]int
	// server is the CPU of the API server; own that of the controller.
	server, own time.Duration
	peak        int64
}

// meter measures one rollout.
type meter struct {
	w     *world
	audit *audit
	start time.Time
	cpu   time.Duration
}

func (w *world) meter() *meter {
	w.t.Helper()
	w.calm()
	log, err := auditFrom(w.c.AuditLog())
	if err != nil {
		w.t.Fatal(err)
	}
	return &meter{w: w, audit: log, start: time.Now(), cpu: w.serverUsage().cpu}
}

// calm waits until what was before is digested: until nothing was written for two seconds.
func (w *world) calm() {
	w.t.Helper()
	const quiet = 2 * time.Second
	since := time.Now()
	log, err := auditFrom(w.c.AuditLog())
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("nothing is written", func(context.Context) (bool, string) {
		calls, err := log.calls(func(c *call) bool {
			return c.Object.Resource == "pods" || c.Object.Resource == "daemonsets" || c.Object.Resource == "events"
		})
		if err != nil {
			return false, err.Error()
		}
		if len(calls) > 0 {
			since = time.Now()
			log, err = auditFrom(w.c.AuditLog())
		}
		return err == nil && time.Since(since) > quiet, fmt.Sprintf("%d calls", len(calls))
	})
}

func (w *world) serverUsage() usage {
	w.t.Helper()
	units, err := w.c.Units()
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := usageOf(units["kube-apiserver"].Process.PID)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// stop reads the meter. The calls of the one that rolls out are those that are kept; the last of its node writes ended the rollout,
// or if it makes none, this moment does.
func (m *meter) stop(mine func(*call) bool) cost {
	m.w.t.Helper()
	c := cost{took: time.Since(m.start), server: m.w.serverUsage().cpu - m.cpu}
	calls, err := m.audit.calls(func(c *call) bool { return c.Verb != "watch" })
	if err != nil {
		m.w.t.Fatal(err)
	}
	c.all, c.what = len(calls), map[string]int{}
	for i := range calls {
		if !mine(&calls[i]) {
			continue
		}
		c.calls++
		c.what[calls[i].what()]++
		if calls[i].what() == "patch nodes" && calls[i].Response.Code < 300 {
			c.nodeWrites++
			c.took = calls[i].Answered.Sub(m.start)
		}
	}
	return c
}

func (c *cost) String() string {
	text := fmt.Sprintf("%.1f s, %d node writes, %d calls (%s), %d calls of everybody, API server %.1f s of CPU", c.took.Seconds(), c.nodeWrites, c.calls, words(c.what), c.all, c.server.Seconds())
	if c.own > 0 {
		text += fmt.Sprintf(", own %.2f s of CPU, %.0f MiB at most", c.own.Seconds(), float64(c.peak)/(1<<20))
	}
	return text
}

func better(best, next *cost) *cost {
	if best == nil || next.took < best.took {
		return next
	}
	return best
}

// TestAThousandNodes measures what a rollout costs, and that it keeps what it promises on the way.
func TestAThousandNodes(t *testing.T) {
	w := up(t, 1000)
	t.Run("an install with an unlimited budget, next to two floors", func(t *testing.T) { w.in(t).installs(1000) })
	t.Run("the budget holds while the leader is killed every 20 s", func(t *testing.T) { w.in(t).killsLeaders(1000) })
	t.Run("one node after the other", func(t *testing.T) { w.in(t).pace(200) })
}

// in is the same world for a part of the test.
func (w *world) in(t *testing.T) *world {
	part := *w
	part.t = t
	return &part
}

func (w *world) installs(count int) {
	set := w.rendered(spec())
	names := make([]string, 0, count)
	for n := range count {
		names = append(names, cluster.SimulatedName(n+1))
	}
	var bare, gate, full *cost
	for round := range rounds {
		next := w.bareFloor(set.DeepCopy(), count)
		w.t.Logf("round %d, load %s, bare DaemonSet: %s", round+1, load(), next)
		bare = better(bare, next)
		next = w.gatedFloor(set.DeepCopy(), names)
		w.t.Logf("round %d, load %s, gated floor: %s", round+1, load(), next)
		gate = better(gate, next)
		next = w.longshore()
		w.t.Logf("round %d, load %s, longshore: %s", round+1, load(), next)
		full = better(full, next)
		if next.nodeWrites > 2*count {
			w.t.Errorf("%d node writes for %d installs, expected two each", next.nodeWrites, count)
		}
	}
	w.t.Logf("best of %d: bare DaemonSet %.1f s, gated floor %.1f s, longshore %.1f s: %.2f of the gated floor",
		rounds, bare.took.Seconds(), gate.took.Seconds(), full.took.Seconds(), full.took.Seconds()/gate.took.Seconds())
}

// load is how busy the machine is, by its own count over the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// bareFloor is a DaemonSet of the same pods for all nodes at once.
func (w *world) bareFloor(set *appsv1.DaemonSet, count int) *cost {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	pods, err := watchPods(ctx, w.kube)
	if err != nil {
		w.t.Fatal(err)
	}
	defer pods.Stop()
	m := w.meter()
	if _, err := w.kube.AppsV1().DaemonSets(installers).Create(ctx, withoutGate(set), metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	done := map[string]bool{}
	for event := range pods.ResultChan() {
		if pod, ok := event.Object.(*corev1.Pod); ok && finished(pod) {
			done[pod.Spec.NodeName] = true
		}
		if len(done) == count {
			break
		}
	}
	if len(done) < count {
		w.t.Fatalf("the watch of pods ended when %d of %d were done", len(done), count)
	}
	c := m.stop(func(*call) bool { return false })
	w.dropSet(set.Name)
	return &c
}

// gatedFloor is the minimal program.
func (w *world) gatedFloor(set *appsv1.DaemonSet, names []string) *cost {
	w.t.Helper()
	m := w.meter()
	used, err := startFloor(w.t.Context(), w.t.TempDir(), w.access, set, names)
	if err != nil {
		w.t.Fatal(err)
	}
	c := m.stop(func(c *call) bool { return c.Agent == floorAgent })
	c.own, c.peak = used.cpu, used.peak
	w.dropSet(set.Name)
	clean := fmt.Appendf(nil, `{"metadata":{"labels":{%q:null},"annotations":{%q:null}}}`, readyLabel, progressKey)
	for _, name := range names {
		if _, err := w.kube.CoreV1().Nodes().Patch(w.t.Context(), name, types.MergePatchType, clean, metav1.PatchOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	return &c
}

func (w *world) dropSet(name string) {
	w.t.Helper()
	if err := w.kube.AppsV1().DaemonSets(installers).Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.noPods()
}

// longshore is the controller itself, from the spec's creation to the last node's result. The uninstall that follows is only logged.
func (w *world) longshore() *cost {
	w.t.Helper()
	ctl := w.controller("--leader-elect=false", "--vanish-grace=0s")
	before, err := usageOf(ctl.cmd.Process.Pid)
	if err != nil {
		w.t.Fatal(err)
	}
	m := w.meter()
	w.create(spec())
	w.specSays("Ready")
	after, err := usageOf(ctl.cmd.Process.Pid)
	if err != nil {
		w.t.Fatal(err)
	}
	c := m.stop(byController)
	c.own, c.peak = after.cpu-before.cpu, after.peak
	gone := w.meter()
	w.remove()
	last, err := usageOf(ctl.cmd.Process.Pid)
	if err != nil {
		w.t.Fatal(err)
	}
	uninstall := gone.stop(byController)
	uninstall.own, uninstall.peak = last.cpu-after.cpu, last.peak
	w.t.Logf("uninstall: %s", &uninstall)
	ctl.stop()
	return &c
}
