package controller_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// dice are random numbers that several goroutines may draw.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// seeds is how many disorderly histories are played; SEEDS=200 plays more, and SEED=17 that one alone.
func seeds() int {
	if n, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		return n
	}
	if testing.Short() {
		return 1
	}
	// Thousands are played in plain memory, in controller/simulation/history; here it is about informers and writes.
	return 2
}

// Writes fail, answers get lost, commands fail, controllers die, and an old leader goes on beside the new one; people change the
// spec all the while. At no moment are more nodes out of service than the budget allows, and when the disorder is over everything
// becomes what the spec says.
func TestWhateverHappensTheBudgetHolds(t *testing.T) {
	first, last := 0, seeds()
	if seed, err := strconv.Atoi(os.Getenv("SEED")); err == nil {
		first, last = seed, seed+1
	}
	for seed := first; seed < last; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("play it again with: SEED=%d go test -count=1 -run %s ./controller", seed, strings.Split(t.Name(), "/")[0])
				}
			})
			d := &dice{r: rand.New(rand.NewPCG(uint64(seed), 0))}
			calm := false
			payload := func(r simulation.Run) simulation.Result {
				result := wellBehaved(r)
				result.Takes = time.Duration(1+d.below(20)) * time.Second
				if !calm && d.below(8) == 0 {
					result = simulation.Result{Takes: time.Second, Code: 1 + d.below(200), Message: "bad luck"}
				}
				return result
			}
			keys := []string{"maxUnavailable", "2", "onFailure", []string{"Halt", "Rollback"}[seed/2%2], "maxFailed", "1"}
			if seed%2 == 1 {
				keys = append(keys, "waves", "[{name: one, nodes: 1, soak: 20s}, {name: few, nodeSelector: 'kubernetes.io/hostname in (node-3,node-4)', maxUnavailable: 1}]")
			}
			var objects []runtime.Object
			if seed%3 == 2 {
				keys = append(keys, "installTimeout", "2m")
				objects = append(objects, pool("nodeSelector", poolZone, "maxUnavailable", "1", "maintenanceWindow", "{schedule: '*/10 * * * *', duration: 6m}"))
			}
			objects = append(objects, spec("kata-1", "one", keys...))
			for i := range 7 {
				zone := map[string]string{"topology.kubernetes.io/zone": strconv.Itoa(i % 2)}
				objects = append(objects, simulation.ReadyNode(fmt.Sprintf("node-%d", i), zone))
			}
			run(t, payload, objects, func(c *cluster) {
				disorder(c, d)
				c.api.Fault(nil)
				c.api.Lose(nil)
				calm = true
				say(c, "kata-1", observed.AnnotationPause, observed.Resumed)
				for _, n := range simulation.List(c.api, &corev1.Node{}) {
					annotate(c, n.Name, "kata.longshore.dev/retry", "now")
					cordon(c, n.Name, false)
				}
				change(c, func(data map[string]string) {
					data["payloadImage"], data["nodeSelector"] = "registry.example.com/kata:last", "*"
				})
				c.within(time.Hour, "every node is at the last payload", func() bool {
					c.outOfService(2)
					return c.allAre("kata Ready last HandlersReported ready")()
				})
				c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
				c.api.Delete(spec("kata-1", ""))
				c.within(time.Hour, "nothing is left", func() bool {
					c.outOfService(2)
					return c.allAre("")() && len(c.ours()) == 0 && len(c.turns()) == 0
				})
			})
		})
	}
}

// disorder plays twenty minutes of trouble.
func disorder(c *cluster, d *dice) {
	c.api.Fault(func(w simulation.Write) error {
		group := schema.GroupResource{Resource: w.Resource}
		switch d.below(30) {
		case 0:
			return apierrors.NewConflict(group, w.Name, fmt.Errorf("somebody was faster"))
		case 1:
			return apierrors.NewServerTimeout(group, w.Verb, 1)
		case 2:
			return apierrors.NewTooManyRequests("the API server is busy", 1)
		}
		return nil
	})
	c.api.Lose(func(simulation.Write) error {
		if d.below(15) == 0 {
			return fmt.Errorf("connection reset by peer")
		}
		return nil
	})
	order := &orderly{c: c, seen: map[string]seenNode{}}
	second := func() {}
	defer func() { second() }() //nolint:gocritic // the one that is there at the end, not the first
	for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); {
		c.pass(simulation.Tick)
		c.outOfService(2)
		order.look()
		switch d.below(200) {
		case 0:
			c.stop()
			c.start()
		case 1:
			second()
			second = c.launch()
		case 2:
			second()
			second = func() {}
		case 3:
			tag := []string{"one", "two", "three"}[d.below(3)]
			change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:" + tag })
		case 4:
			annotate(c, fmt.Sprintf("node-%d", d.below(7)), "kata.longshore.dev/retry", strconv.Itoa(d.below(1000)))
		case 5:
			change(c, func(data map[string]string) {
				data["nodeSelector"] = []string{"*", "kubernetes.io/hostname!=node-1"}[d.below(2)]
			})
		case 6:
			cordon(c, fmt.Sprintf("node-%d", d.below(7)), d.below(2) == 0)
		case 7:
			say(c, "kata-1", observed.AnnotationPause, []string{"INC-4711", observed.Resumed, observed.Resumed}[d.below(3)])
		case 8:
			say(c, "kata-1", observed.AnnotationRetry, strconv.Itoa(d.below(1000)))
		}
	}
	synctest.Wait()
}

// poolZone selects the nodes of the pool, where there is one.
const poolZone = "topology.kubernetes.io/zone=1"

// orderly sees to it that nothing begins on a node that has been cordoned for some time, while people have paused the runtime for some time, or when the window of the node's pool
// has no room. Whoever decides sees everything a moment later than it happens, and what people say has to be written down first.
type orderly struct {
	c      *cluster
	seen   map[string]seenNode
	paused time.Time
}

// seenNode is what a node showed when it was looked at last.
type seenNode struct {
	gate     string
	cordoned time.Time
}

func (o *orderly) look() {
	o.c.t.Helper()
	cm, _ := simulation.Get(o.c.api, spec("kata-1", ""))
	o.paused = since(o.paused, cm.Annotations[observed.AnnotationPause] == "INC-4711")
	_, pooled := simulation.Get(o.c.api, pool())
	for _, n := range simulation.List(o.c.api, &corev1.Node{}) {
		before, now := o.seen[n.Name], n.Labels[observed.GateKey("kata")]
		after := seenNode{gate: now, cordoned: since(before.cordoned, n.Spec.Unschedulable)}
		o.seen[n.Name] = after
		if before.gate != "" || now == "" {
			continue
		}
		switch {
		case longSince(after.cordoned, 5*time.Second):
			o.c.t.Fatalf("%s: the gate of node %s opened, which is cordoned since %s", time.Now().Format(time.TimeOnly), n.Name, after.cordoned.Format(time.TimeOnly))
		case longSince(o.paused, 2*time.Minute):
			o.c.t.Fatalf("%s: the gate of node %s opened, and the runtime is paused since %s", time.Now().Format(time.TimeOnly), n.Name, o.paused.Format(time.TimeOnly))
		case pooled && n.Labels["topology.kubernetes.io/zone"] == "1" && time.Since(time.Now().Truncate(10*time.Minute)) > 4*time.Minute+5*time.Second:
			// It opens every ten minutes for six, and an operation may take two.
			o.c.t.Fatalf("%s: the gate of node %s opened outside of its window", time.Now().Format(time.TimeOnly), n.Name)
		}
	}
}

// since is when something began to be so, the zero time while it is not.
func since(before time.Time, is bool) time.Time {
	switch {
	case !is:
		return time.Time{}
	case before.IsZero():
		return time.Now()
	}
	return before
}

func longSince(t time.Time, d time.Duration) bool { return !t.IsZero() && time.Since(t) > d }

func cordon(c *cluster, node string, cordoned bool) {
	simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, func(n *corev1.Node) { n.Spec.Unschedulable = cordoned })
}

// outOfService fails the test when more nodes than the budget are under way, soaking or failed, or than the pool allows where there is one.
func (c *cluster) outOfService(budget int) {
	c.t.Helper()
	limit := budget
	if _, there := simulation.Get(c.api, pool()); there {
		limit = 1
	}
	var out, pooled []string
	for _, object := range simulation.List(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{}}) {
		n := informers.Node(object)
		if !isOut(n.Progress("kata")) {
			continue
		}
		out = append(out, n.Name)
		if n.Labels.Get("topology.kubernetes.io/zone") == "1" {
			pooled = append(pooled, n.Name)
		}
	}
	if len(out) > budget || len(pooled) > limit {
		c.t.Fatalf("out of service are %s, the budget is %d; of the pool %s, it allows %d\n%s\nturns: %v",
			strings.Join(out, ", "), budget, strings.Join(pooled, ", "), limit, strings.Join(c.nodes(), "\n"), c.turns())
	}
}

// isOut tells whether a node that shows this is out of service. It soaks for ten seconds, as far as everybody's clocks agree.
func isOut(p *observed.Progress) bool {
	if p == nil {
		return false
	}
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseFailed, observed.PhaseDraining, observed.PhaseBlocked:
		return true
	case observed.PhaseReady:
		return !p.Unwatched && time.Since(p.Since) < 9*time.Second
	case observed.PhasePending:
	}
	return false
}
