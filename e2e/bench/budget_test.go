package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// killEvery is how long a leader lives.
	killEvery = 20 * time.Second
	// leastKills is how many of them have to be killed for the test to show anything.
	leastKills = 3
	// rolloutPatience is how long a rollout whose leaders are killed may take at most.
	rolloutPatience = 20 * time.Minute
)

// slowPods makes the commands of simulated installers take their time.
const slowPods = `- target: {kind: DaemonSet}
  patch: |
    apiVersion: apps/v1
    kind: DaemonSet
    metadata: {name: installer}
    spec: {template: {metadata: {annotations: {sim.test/init-delay: 2s}}}}
`

// killsLeaders rolls out to all nodes, a tenth at a time, by two controllers whose leader is killed again and again.
func (w *world) killsLeaders(count int) {
	nodes := w.follow()
	pods := w.followPods()
	r := w.relay()
	start := time.Now()
	w.create(spec("maxUnavailable", "10%", "patches", slowPods))
	r.killUntil("all nodes are Ready", nodes.changed, func() bool {
		nodes.mu.Lock()
		defer nodes.mu.Unlock()
		return nodes.broken != nil || nodes.in("Ready") == count
	})
	took := time.Since(start)
	if r.kills < leastKills {
		w.t.Errorf("%d leaders were killed, expected %d at least", r.kills, leastKills)
	}
	nodes.mu.Lock()
	most, broken := nodes.most, nodes.broken
	nodes.mu.Unlock()
	if broken != nil {
		w.t.Fatal(broken)
	}
	if most > count/10 {
		w.t.Errorf("%d nodes were out of service at once, the budget is %d", most, count/10)
	}
	if runs := pods.count(); runs != count {
		w.t.Errorf("%d installer pods ran for %d nodes", runs, count)
	}
	w.t.Logf("load %s: %d nodes in %.0f s, %d leaders killed, at most %d nodes out of service at once of %d allowed, %d installer pods",
		load(), count, took.Seconds(), r.kills, most, count/10, pods.count())
	w.remove()
	r.end()
}

// relay is two controllers, of which one leads; in place of each that is killed another begins.
type relay struct {
	w *world
	// controllers are those that run. Every process has a name of its own: the lease still names the last leader for a while after its death.
	controllers map[string]*controller
	kills       int
}

// relay starts the first two controllers.
func (w *world) relay() *relay {
	w.t.Helper()
	r := &relay{w: w, controllers: map[string]*controller{}}
	r.begin(1)
	r.begin(2)
	return r
}

func (r *relay) begin(n int) {
	r.w.t.Helper()
	name := fmt.Sprintf("controller-%d", n)
	r.controllers[name] = r.w.controllerNamed(name, "--vanish-grace=0s", "--leader-elect")
}

// killUntil kills the leader every 20 s until it is done, which it looks for when something changed, and every second.
func (r *relay) killUntil(what string, changed <-chan struct{}, done func() bool) {
	r.w.t.Helper()
	timeout := time.NewTimer(rolloutPatience)
	defer timeout.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for last := time.Now(); !done(); {
		select {
		case <-look.C:
		case <-changed:
		case <-timeout.C:
			r.w.t.Errorf("waiting until %s: not so after %s", what, rolloutPatience)
			return
		}
		if time.Since(last) < killEvery {
			continue
		}
		name := r.w.holder()
		if r.controllers[name] == nil {
			continue
		}
		r.controllers[name].kill()
		delete(r.controllers, name)
		r.kills, last = r.kills+1, time.Now()
		r.begin(r.kills + 2)
	}
}

func (r *relay) end() {
	for _, c := range r.controllers {
		c.kill()
	}
}

// controllerNamed starts a controller that may have to wait for the lease.
func (w *world) controllerNamed(name string, args ...string) *controller {
	w.t.Helper()
	c, err := startController(w.program, w.t.TempDir(), w.access, append(args, "--identity="+name)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("controller %s:\n%s", name, c.words())
		}
		c.kill()
	})
	return c
}

// holder is the name of who holds the lease, or held it last, "" if nobody does.
func (w *world) holder() string {
	w.t.Helper()
	lease, err := w.kube.CoordinationV1().Leases("longshore-system").Get(w.t.Context(), "longshore", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	// What follows the name is the process's own.
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return name
}

// runs are the installer pods whose command was seen, by uid.
type runs struct {
	mu   sync.Mutex
	seen map[types.UID]bool
}

func (r *runs) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// followPods watches all installer pods until the test ends.
func (w *world) followPods() *runs {
	w.t.Helper()
	r := &runs{seen: map[types.UID]bool{}}
	watcher, err := watchPods(w.t.Context(), w.kube)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watcher.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && len(pod.Status.InitContainerStatuses) > 0 {
				r.mu.Lock()
				r.seen[pod.UID] = true
				r.mu.Unlock()
			}
		}
	}()
	w.t.Cleanup(func() {
		watcher.Stop()
		<-done
	})
	return r
}
