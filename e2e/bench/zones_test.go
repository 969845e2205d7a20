package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
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
	// canariesOut is how many nodes may be out of service at once while the canaries have their turn.
	canariesOut = 2
	// zonesBudget is the budget of the specs in percent, zonesSoak the soak of all nodes but the canaries.
	zonesBudget = 5
	zonesSoak   = time.Second
)

// runtimesInZones are rolled out at the same time.
var runtimesInZones = []string{runtimeName, "second"}

// TestAThousandNodesInZones rolls two runtimes out at once, a canary wave first and zone by zone, five percent at a time, by controllers whose leader is
// killed every 20 s. One watch of all nodes sees every change; NODES=100 has fewer of them.
func TestAThousandNodesInZones(t *testing.T) {
	count := nodesWanted(t)
	w := up(t, count)
	w.zones()
	log, err := auditFrom(w.c.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(count)
	w.followEach(l.see, l.breaks)
	for _, cm := range specsInZones() {
		w.create(cm)
	}
	r := w.relay()
	r.killUntil("all nodes are Ready with both runtimes", nil, l.done)
	if r.kills < leastKills {
		t.Errorf("%d leaders were killed, expected %d at least", r.kills, leastKills)
	}
	// What they do when all is done counts as well.
	w.calm()
	r.end()
	written, err := writesOnNodes(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verdict(written); err != nil {
		t.Error(err)
	}
	t.Logf("%d nodes in %d zones, %d leaders killed\n%s", count, zoneCount, r.kills, l.table(written))
}

// nodesWanted is how many nodes the test has.
func nodesWanted(t *testing.T) int {
	t.Helper()
	text := os.Getenv("NODES")
	if text == "" {
		return 1000
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 2*canaries {
		t.Fatalf("NODES=%s, expected a number of %d at least", text, 2*canaries)
	}
	return count
}

// specsInZones are the specs of the two runtimes.
func specsInZones() []*corev1.ConfigMap {
	var specs []*corev1.ConfigMap
	for i, runtime := range runtimesInZones {
		cm := spec("maxUnavailable", fmt.Sprintf("%d%%", zonesBudget), "patches", slowPods, "soak", zonesSoak.String(),
			"waves", fmt.Sprintf("[{name: canary, nodeSelector: %s, maxUnavailable: %d, soak: %s}]", canaryLabel, canariesOut, canarySoak))
		if i > 0 {
			// A handler belongs to one runtime, and simulated nodes report but one.
			delete(cm.Data, "runtimeClasses")
		}
		cm.Name, cm.Labels["longshore.dev/runtime"] = runtime, runtime
		specs = append(specs, cm)
	}
	return specs
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
