package bench

import (
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/e2e/cluster"
)

// pace rolls out node by node, and reads from the audit log how long the controller takes between what happens on a node and its own
// writes. What the API server takes for those writes is in the log as well.
func (w *world) pace(count int) {
	nodes := w.follow()
	ctl := w.controller("--leader-elect=false", "--vanish-grace=0s")
	w.mark(count)
	m := w.meter()
	w.create(spec("maxUnavailable", "1", "nodeSelector", "bench=few"))
	nodes.until(strconv.Itoa(count)+" nodes are Ready", func(s *standings) bool { return s.in("Ready") == count })
	calls, err := m.audit.calls(func(c *call) bool {
		return c.what() == "patch pods/status" || (byController(c) && (c.what() == "patch nodes" || c.what() == "update configmaps"))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	// By turns: a gate, the pod's end, the result; between a result and the next gate the booking.
	var result, gate, ownResult, ownGate []time.Duration
	var ended, last *call
	var server time.Duration
	isGate := true
	for i := range calls {
		c := &calls[i]
		switch c.what() {
		case "patch pods/status":
			ended = c
		case "update configmaps":
			server += c.Answered.Sub(c.Received)
		case "patch nodes":
			server += c.Answered.Sub(c.Received)
			if isGate && last != nil {
				gate, ownGate = append(gate, c.Answered.Sub(last.Answered)), append(ownGate, c.Answered.Sub(last.Answered)-server)
			}
			if !isGate && ended != nil {
				result, ownResult = append(result, c.Answered.Sub(ended.Answered)), append(ownResult, c.Answered.Sub(ended.Answered)-server)
			}
			last, isGate, server = c, !isGate, 0
		}
	}
	if len(result) != count || len(gate) != count-1 {
		w.t.Fatalf("%d results and %d gates behind another for %d nodes", len(result), len(gate), count)
	}
	ms := func(d []time.Duration, q float64) float64 {
		slices.Sort(d)
		return float64(quantile(d, q).Microseconds()) / 1000
	}
	w.t.Logf("load %s: end of the command to Ready p50 %.1f ms, p99 %.1f ms, of which not the API server's p50 %.1f ms, p99 %.1f ms",
		load(), ms(result, 0.5), ms(result, 0.99), ms(ownResult, 0.5), ms(ownResult, 0.99))
	w.t.Logf("Ready to the next gate p50 %.1f ms, p99 %.1f ms, of which not the API server's p50 %.1f ms, p99 %.1f ms",
		ms(gate, 0.5), ms(gate, 0.99), ms(ownGate, 0.5), ms(ownGate, 0.99))
	w.remove()
	ctl.stop()
}

// mark puts the label of the few on the first nodes.
func (w *world) mark(count int) {
	w.t.Helper()
	for n := range count {
		patch := []byte(`{"metadata":{"labels":{"bench":"few"}}}`)
		if _, err := w.kube.CoreV1().Nodes().Patch(w.t.Context(), cluster.SimulatedName(n+1), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
}
