package informers

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"longshore.dev/longshore/observed"
)

// largeNode is a node as large as those of clouds, on which a runtime stands.
func largeNode(n int) *corev1.Node {
	node := fullNode()
	node.Name = fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", n>>8, n&255, n%7)
	node.UID, node.ResourceVersion = types.UID(fmt.Sprintf("0f3c9d7e-7f0a-4c38-8a1e-%012d", n)), fmt.Sprint(100000+n)
	node.Labels = map[string]string{corev1.LabelHostname: strings.Clone(node.Name), observed.ReadyKey("kata"): "true", observed.PhaseKey("kata"): "Ready"}
	for i := range 60 {
		node.Labels[fmt.Sprintf("feature.node.kubernetes.io/cpu-some-feature.NUMBER%d", i)] = strings.Clone("true")
	}
	p := observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: "aqbvtwwgyd", Attempt: 1, Since: at(1).Time, Reason: "HandlersReported",
		Message: "the node reports handler kata", PodUID: node.Name, MachineID: fmt.Sprintf("machine-%d", n), BootID: fmt.Sprintf("boot-%d", n),
	}
	node.Annotations = map[string]string{observed.ProgressKey("kata"): p.String(), "csi.volume.kubernetes.io/nodeid": strings.Repeat("x", 300)}
	node.Status.NodeInfo = corev1.NodeSystemInfo{BootID: p.BootID, MachineID: p.MachineID}
	node.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: metav1.NewFieldsV1(strings.Repeat(" ", 4<<10))}}
	for i := range 50 {
		node.Status.Images = append(node.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("registry.example.com/team/service-%d@sha256:%064d", i, i)}})
	}
	return node
}

// BenchmarkMemoryOfNodes is what stays in memory of a node, store and snapshot included.
func BenchmarkMemoryOfNodes(b *testing.B) {
	const many = 5000
	for b.Loop() {
		c, err := New(fake.NewClientset(), "longshore", "longshore-system", func() {})
		if err != nil {
			b.Fatal(err)
		}
		before := live()
		for n := range many {
			kept, err := c.keepNode(largeNode(n))
			if err != nil {
				b.Fatal(err)
			}
			if err := c.nodes.GetStore().Add(kept); err != nil {
				b.Fatal(err)
			}
		}
		snap := c.Snapshot(at(9).Time)
		b.ReportMetric(float64(live()-before)/many, "B/node")
		runtime.KeepAlive(snap)
		runtime.KeepAlive(c)
	}
}

// live is how much is in use.
func live() uint64 {
	var stats runtime.MemStats
	// What a first collection finalises, a second one frees.
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
