package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	zoneCount   = 3
	zoneLabel   = "topology.kubernetes.io/zone"
	canaryLabel = "bench.test/canary"
	canaries    = 10
	canarySoak  = 10 * time.Second
	// workers is how many writes a controller has under way at once.
	workers = 10
	// canariesOut is how many canaries may be out of service at once.
	canariesOut = 2
	// zonesBudget is the spec's budget in percent.
	zonesBudget = 5
)

// runtimesInZones are rolled out at the same time.
var runtimesInZones = []string{"bench", "second"}

// TestAThousandNodesInZones rolls two runtimes out at once, a canary wave first and zone by zone, five percent at a time, by controllers whose leader is killed every 20 s. One watch
// of all nodes sees every change; NODES=100 has fewer of them.
func TestAThousandNodesInZones(t *testing.T) {
	count := 1000
	if n, err := strconv.Atoi(os.Getenv("NODES")); err == nil {
		count = n
	}
	w := up(t, count)
	w.zones()
	log, err := auditFrom(w.c.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(count)
	w.followEach(l.see, func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fail("%w", err)
	})
	for i, runtime := range runtimesInZones {
		cm := spec("maxUnavailable", fmt.Sprintf("%d%%", zonesBudget), "patches", slowPods, "soak", "1s",
			"waves", fmt.Sprintf("[{name: canary, nodeSelector: %s, maxUnavailable: %d, soak: %s}]", canaryLabel, canariesOut, canarySoak))
		if i > 0 {
			// A handler belongs to one runtime, and simulated nodes report but one.
			delete(cm.Data, "runtimeClasses")
		}
		cm.Name, cm.Labels["longshore.dev/runtime"] = runtime, runtime
		w.create(cm)
	}
	kills := w.killUntil(func() bool { return l.done() })
	if err := l.verdict(); err != nil {
		t.Error(err)
	}
	if kills < leastKills && count >= 1000 {
		t.Errorf("%d leaders were killed, expected %d at least", kills, leastKills)
	}
	writes, err := log.calls(func(c *call) bool {
		return byController(c) && c.what() == "patch nodes" && c.Response.Code == 200
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes, %d leaders killed\n%s", count, kills, l.report())
	// A write that was under way when its leader was killed was stored, and answered to nobody.
	if got := l.transitions(); got < len(writes) || got > len(writes)+kills*workers {
		t.Errorf("the audit log has %d writes on nodes that were answered, and the watch saw %d changes", len(writes), got)
	}
}

// zones labels the nodes: three zones, and canaries in all of them.
func (w *world) zones() {
	w.t.Helper()
	nodes, err := w.kube.CoreV1().Nodes().List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range nodes.Items {
		labels := map[string]string{zoneLabel: fmt.Sprintf("zone-%d", i%zoneCount)}
		if i < canaries {
			labels[canaryLabel] = "yes"
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.kube.CoreV1().Nodes().Patch(w.t.Context(), nodes.Items[i].Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// killUntil has two controllers run, and kills the leader every 20 s until the condition holds.
func (w *world) killUntil(done func() bool) (kills int) {
	w.t.Helper()
	controllers := map[string]*controller{}
	begin := func(n int) {
		name := fmt.Sprintf("controller-%d", n)
		controllers[name] = w.controllerNamed(name, "--vanish-grace=0s", "--leader-elect")
	}
	begin(1)
	begin(2)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for last, end := time.Now(), time.Now().Add(20*time.Minute); !done(); {
		select {
		case <-look.C:
		case <-w.t.Context().Done():
			w.t.Fatal("the test ended first")
		}
		if time.Now().After(end) {
			w.t.Error("the rollout did not come to its end")
			return kills
		}
		name := w.holder()
		if time.Since(last) < killEvery || controllers[name] == nil {
			continue
		}
		controllers[name].kill()
		delete(controllers, name)
		kills, last = kills+1, time.Now()
		begin(kills + 2)
	}
	return kills
}

// stage is where a node is with one runtime.
type stage struct {
	Phase    string    `json:"phase"`
	Reason   string    `json:"reason"`
	Revision string    `json:"revision"`
	Since    time.Time `json:"since"`
	raw      string
	gate     string
}

// out tells whether the node is out of service because of the runtime, as far as progress alone tells.
func (s *stage) out() bool {
	return s.Phase == "Installing" || s.Phase == "Failed" || s.gate != ""
}

// ledger checks every change of every node, and counts them by kind.
type ledger struct {
	mu    sync.Mutex
	count int
	nodes map[string]map[string]*stage
	zone  map[string]string
	// canary are those of the first wave.
	canary map[string]bool
	kinds  map[string]int
	most   map[string]int
	// mostCanaries is the highest number of canaries out of service at once.
	mostCanaries map[string]int
	broken       []error
}

func newLedger(count int) *ledger {
	return &ledger{
		count: count, nodes: map[string]map[string]*stage{}, zone: map[string]string{}, canary: map[string]bool{},
		kinds: map[string]int{}, most: map[string]int{}, mostCanaries: map[string]int{},
	}
}

// see takes a node as it is now.
func (l *ledger) see(node *corev1.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes[node.Name] == nil {
		l.nodes[node.Name] = map[string]*stage{}
		l.zone[node.Name], l.canary[node.Name] = node.Labels[zoneLabel], node.Labels[canaryLabel] != ""
	}
	for _, runtime := range runtimesInZones {
		before := l.nodes[node.Name][runtime]
		if before == nil {
			before = &stage{}
		}
		after := &stage{raw: node.Annotations[runtime+".longshore.dev/progress"], gate: node.Labels[runtime+".longshore.dev/gate"]}
		if after.raw == before.raw && after.gate == before.gate {
			continue
		}
		if err := json.Unmarshal([]byte(after.raw), after); err != nil {
			l.fail("node %s: progress of %s: %v", node.Name, runtime, err)
		}
		l.kinds[kind(before, after)]++
		l.nodes[node.Name][runtime] = after
		if before.gate == "" && after.gate != "" {
			l.opened(node.Name, runtime)
		}
		l.budget(runtime)
	}
}

// kind names a change.
func kind(before, after *stage) string {
	from := before.Phase
	if from == "" {
		from = "nothing"
	}
	text := from + " -> " + after.Phase
	if after.Phase != "Installing" && after.Phase != "Ready" {
		text += " " + after.Reason
	}
	if before.Phase == after.Phase {
		text += " (" + after.Reason + ")"
	}
	return text
}

// plain are the two changes of an install.
var plain = []string{"nothing -> Installing", "Installing -> Ready"}

// explained are changes beyond those that may be, and why.
var explained = map[string]string{
	"nothing -> Pending TurnReturned": "a turn that was booked was given back before its gate opened",
	"Pending -> Installing":           "the turn after one that was given back",
	"Ready -> Ready (TurnReturned)":   "a turn that was booked was given back before its gate opened",
}

// opened checks what has to hold when a gate opens.
func (l *ledger) opened(name, runtime string) {
	for _, other := range runtimesInZones {
		if s := l.nodes[name][other]; other != runtime && s != nil && s.gate != "" {
			l.fail("node %s: the gate of %s opened while that of %s is open", name, runtime, other)
		}
	}
	if l.canary[name] {
		return
	}
	var left []string
	out := 0
	for node, states := range l.nodes {
		s := states[runtime]
		switch {
		case l.canary[node] && (s == nil || s.Phase != "Ready" || time.Since(s.Since) < canarySoak-time.Second):
			l.fail("node %s: the gate of %s opened before canary %s was done and had soaked", name, runtime, node)
		case !l.canary[node] && l.zone[node] < l.zone[name] && (s == nil || s.Phase == ""):
			left = append(left, node)
		case s != nil && s.out():
			out++
		}
	}
	// Turns are booked in order, and gates open all at once: those of an earlier zone whose gates are still to open have their places.
	if len(left)+out > l.allowed() {
		l.fail("node %s in %s: the gate of %s opened while %d nodes of earlier zones wait and %d are out of service, %d may be: %s", name, l.zone[name], runtime, len(left), out, l.allowed(), left[0])
	}
}

func (l *ledger) allowed() int { return max(1, l.count*zonesBudget/100) }

func (l *ledger) budget(runtime string) {
	out, canary := 0, 0
	for node, states := range l.nodes {
		if s := states[runtime]; s != nil && s.out() {
			out++
			if l.canary[node] {
				canary++
			}
		}
	}
	l.most[runtime], l.mostCanaries[runtime] = max(l.most[runtime], out), max(l.mostCanaries[runtime], canary)
}

func (l *ledger) fail(format string, args ...any) {
	const enough = 10
	if len(l.broken) < enough {
		l.broken = append(l.broken, fmt.Errorf(format, args...))
	}
}

// done tells whether every node is Ready with every runtime.
func (l *ledger) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := 0
	for _, states := range l.nodes {
		for _, s := range states {
			if s.Phase == "Ready" {
				ready++
			}
		}
	}
	return ready == l.count*len(runtimesInZones) || len(l.broken) > 0
}

// verdict is what was not as promised.
func (l *ledger) verdict() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := slices.Clone(l.broken)
	for _, runtime := range runtimesInZones {
		if l.most[runtime] > l.allowed() {
			errs = append(errs, fmt.Errorf("%d nodes were out of service at once because of %s, the budget is %d", l.most[runtime], runtime, l.allowed()))
		}
		if l.mostCanaries[runtime] > canariesOut {
			errs = append(errs, fmt.Errorf("%d canaries were out of service at once because of %s, their budget is %d", l.mostCanaries[runtime], runtime, canariesOut))
		}
	}
	for kind, n := range l.kinds {
		if !slices.Contains(plain, kind) && explained[kind] == "" {
			errs = append(errs, fmt.Errorf("%d writes on nodes that nobody explains: %s", n, kind))
		}
	}
	return errors.Join(errs...)
}

// transitions counts the changes that were seen.
func (l *ledger) transitions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := 0
	for _, n := range l.kinds {
		sum += n
	}
	return sum
}

// report is the table of what was written.
func (l *ledger) report() string {
	writes := l.transitions()
	l.mu.Lock()
	defer l.mu.Unlock()
	installs := l.count * len(runtimesInZones)
	var b strings.Builder
	fmt.Fprintf(&b, "%d installs, %d writes on nodes, %d beyond two an install\n", installs, writes, writes-2*installs)
	kinds := make([]string, 0, len(l.kinds))
	for kind := range l.kinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Fprintf(&b, "%6d  %s  %s\n", l.kinds[kind], kind, explained[kind])
	}
	for _, runtime := range runtimesInZones {
		fmt.Fprintf(&b, "%s: at most %d nodes out of service at once of %d allowed, %d canaries of %d\n", runtime, l.most[runtime], l.allowed(), l.mostCanaries[runtime], canariesOut)
	}
	return b.String()
}
