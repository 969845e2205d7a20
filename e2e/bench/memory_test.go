package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// memoryAim is what the controller should keep of 5,000 nodes.
	memoryAim = 60 << 20
	// memoryLimit is what it may keep: what it keeps today, and room for what differs from run to run.
	memoryLimit = 100 << 20
)

// TestFiveThousandNodes measures what the controller keeps in memory of many nodes as large as those of clouds, and that their
// heartbeats are no work for it.
func TestFiveThousandNodes(t *testing.T) {
	const many = 5000
	w := up(t, 0)
	// Nobody plays these nodes: the parts that would miss their leases rest.
	for _, unit := range []string{"kube-controller-manager", "kube-scheduler", "kwok"} {
		if err := w.c.StopUnit(unit, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	cm := spec()
	set := w.rendered(cm)
	start := time.Now()
	w.forEach(many, func(ctx context.Context, n int) error {
		return w.largeNode(ctx, n, set.Labels["longshore.dev/revision"])
	})
	t.Logf("%d nodes made in %.0f s, each %d KiB as JSON", many, time.Since(start).Seconds(), w.size()>>10)

	w.create(cm)
	begin, err := auditFrom(w.c.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	ctl := w.controller("--leader-elect")
	w.specSays("Ready")
	w.quiet(ctl)
	listed, err := usageOf(ctl.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("load %s: after the first list %.1f MiB resident, %.1f MiB at most, %.1f s of CPU", load(), mib(listed.resident), mib(listed.peak), listed.cpu.Seconds())

	calls, err := begin.calls(byController)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("calls of the start: %s", words(count(calls)))

	before := w.passes(ctl)
	m := w.meter()
	start = time.Now()
	w.forEach(many, w.heartbeat)
	beats := time.Since(start)
	// The controller renews its lease every two seconds; what else it would do, it would have done by then.
	w.quiet(ctl)
	calls, err = m.audit.calls(func(c *call) bool { return c.User.Username == account })
	if err != nil {
		t.Fatal(err)
	}
	counts := count(calls)
	after, err := usageOf(ctl.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d heartbeats in %.0f s: %d passes, calls: %s; %.2f s of CPU; then %.1f MiB resident, %.1f MiB at most",
		many, beats.Seconds(), int(w.passes(ctl)-before), words(counts), (after.cpu - listed.cpu).Seconds(), mib(after.resident), mib(after.peak))
	if passes := w.passes(ctl) - before; passes != 0 {
		t.Errorf("%v passes for heartbeats, expected none", passes)
	}
	for what, n := range counts {
		if what != "update leases" && what != "get leases" && !strings.HasPrefix(what, "watch ") {
			t.Errorf("%d times %s for heartbeats, expected only leases and watches", n, what)
		}
	}
	if after.resident > memoryLimit {
		t.Errorf("%.1f MiB resident, expected %.0f MiB at most", mib(after.resident), mib(memoryLimit))
	}
	if after.resident > memoryAim {
		t.Logf("the aim of %.0f MiB is missed by %.1f MiB", mib(memoryAim), mib(after.resident-memoryAim))
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// passes are the passes so far.
func (w *world) passes(c *controller) float64 {
	w.t.Helper()
	passes, err := c.metric(w.t.Context(), "longshore_passes_total")
	if err != nil {
		w.t.Fatal(err)
	}
	return passes
}

// quiet waits until there was no pass for five seconds.
func (w *world) quiet(c *controller) {
	w.t.Helper()
	last, since := -1.0, time.Now()
	w.eventually("the controller is quiet", func(context.Context) (bool, string) {
		if now := w.passes(c); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 5*time.Second, fmt.Sprintf("%v passes", last)
	})
}

// forEach calls do for every number from 1, several at a time.
func (w *world) forEach(count int, do func(context.Context, int) error) {
	w.t.Helper()
	numbers := make(chan int)
	const workers = 8
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() {
			for n := range numbers {
				errs[i] = errors.Join(errs[i], do(w.t.Context(), n))
			}
		})
	}
	for n := range count {
		numbers <- n + 1
	}
	close(numbers)
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

func largeName(n int) string {
	return fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", n>>8, n&255, n%7)
}

// largeNode makes a node of realistic size, on which the runtime stands already.
func (w *world) largeNode(ctx context.Context, n int, revision string) error {
	now := metav1.Now()
	progress, err := json.Marshal(map[string]any{
		"phase": "Ready", "operation": "install", "revision": revision, "attempt": 1, "since": now, "reason": "HandlersReported",
		"message": "the node reports handler runc", "podUID": "0f3c9d7e-7f0a-4c38-8a1e-6a6d1d7b6c55", "machineID": fmt.Sprintf("machine-%d", n),
		"bootID": fmt.Sprintf("boot-%d", n),
	})
	if err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:        largeName(n),
		Labels:      map[string]string{corev1.LabelOSStable: "linux", corev1.LabelHostname: largeName(n), readyLabel: "true", phaseLabel: "Ready"},
		Annotations: map[string]string{progressKey: string(progress), "csi.volume.kubernetes.io/nodeid": strings.Repeat("x", 300), "node.alpha.kubernetes.io/ttl": "300"},
	}}
	for i := range 60 {
		node.Labels[fmt.Sprintf("feature.node.kubernetes.io/cpu-some-feature.NUMBER%d", i)] = "true"
	}
	made, err := w.kube.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{FieldManager: "kubelet"})
	if err != nil {
		return err
	}
	made.Status = corev1.NodeStatus{
		Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110")},
		NodeInfo: corev1.NodeSystemInfo{BootID: fmt.Sprintf("boot-%d", n), MachineID: fmt.Sprintf("machine-%d", n), OperatingSystem: "linux", KernelVersion: "6.8.0-1015-aws"},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.0.%d.%d", n>>8, n&255)}, {Type: corev1.NodeHostName, Address: largeName(n)},
		},
		RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}},
	}
	made.Status.Allocatable = made.Status.Capacity
	for _, kind := range []corev1.NodeConditionType{"MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", "Ready"} {
		status := corev1.ConditionFalse
		if kind == corev1.NodeReady {
			status = corev1.ConditionTrue
		}
		made.Status.Conditions = append(made.Status.Conditions, corev1.NodeCondition{Type: kind, Status: status, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Kubelet", Message: "kubelet says so"})
	}
	for i := range 50 {
		digest := strings.Repeat(fmt.Sprintf("%02x", i), 32)
		made.Status.Images = append(made.Status.Images, corev1.ContainerImage{
			Names:     []string{"602401143452.dkr.ecr.eu-central-1.amazonaws.com/team/service-" + digest[:4] + "@sha256:" + digest, "602401143452.dkr.ecr.eu-central-1.amazonaws.com/team/service-" + digest[:4] + ":v1.29.0"},
			SizeBytes: int64(i) << 20,
		})
	}
	_, err = w.kube.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{FieldManager: "kubelet"})
	return err
}

// size is that of one node as JSON.
func (w *world) size() int {
	w.t.Helper()
	node, err := w.kube.CoreV1().Nodes().Get(w.t.Context(), largeName(1), metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := json.Marshal(node)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(text)
}

// heartbeat is what a kubelet writes of an unchanged node.
func (w *world) heartbeat(ctx context.Context, n int) error {
	now := time.Now().UTC().Format(time.RFC3339)
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":%q},{"type":"MemoryPressure","lastHeartbeatTime":%q}]}}`, now, now)
	_, err := w.kube.CoreV1().Nodes().Patch(ctx, largeName(n), types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	return err
}
