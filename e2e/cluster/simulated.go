package cluster

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster/keeper"
)

// stages tell kwok what simulated nodes and their pods do, and by which annotations a test chooses otherwise.
//
//go:embed kwok/*.yaml
var stages embed.FS

const (
	// SimulatedLabel marks simulated nodes, as a label, as an annotation, and as a taint beside real nodes.
	SimulatedLabel = "kwok.x-k8s.io/node"
	// SimulatedValue is the value of SimulatedLabel.
	SimulatedValue = "fake"
	// nodeWorkers create simulated nodes at the same time: one by one the round trips would take longer than the work.
	nodeWorkers = 16
)

// SimulatedName is the name of the nth simulated node, from 1.
func SimulatedName(n int) string { return fmt.Sprintf("sim-%04d", n) }

// startKwok does nothing when it runs.
func (c *Cluster) startKwok(path string) error {
	units, err := c.keeper.Status()
	if err != nil || units["kwok"].Running {
		return err
	}
	dir := c.layout.file("kwok")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(stages, "kwok")
	if err != nil {
		return err
	}
	args := []string{
		"--kubeconfig=" + c.layout.kubeconfig("kwok"), "--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector=" + SimulatedLabel + "=" + SimulatedValue,
		"--server-address=" + c.plan.Kwok.String(), "--node-ip=" + c.plan.gateway().String(),
		fmt.Sprintf("--node-lease-duration-seconds=%d", c.leaseSeconds()),
	}
	for _, entry := range entries {
		data, err := stages.ReadFile("kwok/" + entry.Name())
		if err != nil {
			return err
		}
		file := filepath.Join(dir, entry.Name())
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
		args = append(args, "--config="+file)
	}
	return c.startUnit(keeper.Unit{Name: "kwok", Args: args}, path)
}

func (c *Cluster) leaseSeconds() int {
	if c.plan.SlowHeartbeats {
		return 1200
	}
	return 40
}

// Simulate makes simulated nodes until there are count, and waits until all are Ready. It never takes any away.
func (c *Cluster) Simulate(ctx context.Context, count int) error {
	if count == 0 {
		return nil
	}
	started := time.Now()
	client, err := c.Client()
	if err != nil {
		return err
	}
	if err := c.createSimulated(ctx, client, count); err != nil {
		return err
	}
	many := goal{
		what: fmt.Sprintf("%d simulated nodes", count), every: time.Duration(count) * 200 * time.Microsecond,
		longer: time.Duration(count) * 50 * time.Millisecond,
	}
	err = c.await(ctx, many, func(ctx context.Context) (string, error) {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: SimulatedLabel + "=" + SimulatedValue})
		if err != nil {
			return "", err
		}
		ready := slices.DeleteFunc(nodes.Items, func(n corev1.Node) bool { return notReady(&n) != "" })
		if len(ready) < count {
			return fmt.Sprintf("%d are Ready", len(ready)), nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.progress, "%d simulated nodes Ready after %s\n", count, since(started))
	return nil
}

func (c *Cluster) createSimulated(ctx context.Context, client kubernetes.Interface, count int) error {
	numbers := make(chan int)
	var (
		wait  sync.WaitGroup
		mutex sync.Mutex
		errs  []error
	)
	for range min(nodeWorkers, count) {
		wait.Go(func() {
			for n := range numbers {
				_, err := client.CoreV1().Nodes().Create(ctx, c.simulatedNode(n), metav1.CreateOptions{})
				if err != nil && !apierrors.IsAlreadyExists(err) {
					mutex.Lock()
					errs = append(errs, fmt.Errorf("simulated node %q: %w", SimulatedName(n), err))
					mutex.Unlock()
				}
			}
		})
	}
	for n := range count {
		numbers <- n + 1
	}
	close(numbers)
	wait.Wait()
	return errors.Join(errs...)
}

// simulatedNode keeps real pods away where there are real nodes to run them: a simulated node would only pretend.
func (c *Cluster) simulatedNode(n int) *corev1.Node {
	name, mark := SimulatedName(n), map[string]string{SimulatedLabel: SimulatedValue}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: mark, Labels: map[string]string{
			SimulatedLabel: SimulatedValue, corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
			corev1.LabelTopologyZone: fmt.Sprintf("zone-%c", 'a'+n%3),
		}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			NodeInfo: corev1.NodeSystemInfo{BootID: fmt.Sprintf("boot-%s-1", name), OperatingSystem: "linux", Architecture: "amd64"},
		},
	}
	if !c.plan.Loopback {
		object.Spec.Taints = []corev1.Taint{{Key: SimulatedLabel, Value: SimulatedValue, Effect: corev1.TaintEffectNoSchedule}}
	}
	return object
}
