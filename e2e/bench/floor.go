package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watches "k8s.io/client-go/tools/watch"
)

// The node labels of the runtime that is measured.
const (
	runtimeName = "bench"
	gateLabel   = runtimeName + ".longshore.dev/gate"
	readyLabel  = runtimeName + ".longshore.dev/ready"
	phaseLabel  = runtimeName + ".longshore.dev/phase"
	progressKey = runtimeName + ".longshore.dev/progress"
)

// installers is the namespace of specs and installers.
const installers = "longshore"

// floorAgent is the name of the floor in the audit log.
const floorAgent = "floor/gated"

// floorWorkers are as many as the controller has.
const floorWorkers = 10

// withoutGate is the same DaemonSet for every node.
func withoutGate(set *appsv1.DaemonSet) *appsv1.DaemonSet {
	bare := set.DeepCopy()
	delete(bare.Spec.Template.Spec.NodeSelector, gateLabel)
	return bare
}

// gated is the least that a gated rollout can be: open every gate, wait for each pod's commands, write each result. It has no budget, no
// memory, no second thoughts; it is what a controller is measured against.
type gated struct {
	kube  kubernetes.Interface
	set   *appsv1.DaemonSet
	nodes []string
}

func newGated(config *rest.Config, set *appsv1.DaemonSet, nodes []string) (*gated, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = floorAgent
	kube, err := kubernetes.NewForConfig(config)
	return &gated{kube: kube, set: set, nodes: nodes}, err
}

// run returns when the result stands on every node.
func (g *gated) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gate := g.set.Spec.Template.Spec.NodeSelector[gateLabel]
	open := fmt.Appendf(nil, `[{"op":"add","path":"/metadata/labels/%s","value":%q}]`, pointer(gateLabel), gate)
	result := fmt.Appendf(nil, `[{"op":"test","path":"/metadata/labels/%s","value":%q},{"op":"remove","path":"/metadata/labels/%s"},`+
		`{"op":"add","path":"/metadata/labels/%s","value":"true"},{"op":"add","path":"/metadata/annotations/%s","value":"Ready"}]`,
		pointer(gateLabel), gate, pointer(gateLabel), pointer(readyLabel), pointer(progressKey))

	todo := make(chan patch, 2*len(g.nodes))
	for _, name := range g.nodes {
		todo <- patch{name, open}
	}
	pods, err := watchPods(ctx, g.kube)
	if err != nil {
		return err
	}
	defer pods.Stop()
	if _, err := g.kube.AppsV1().DaemonSets(installers).Create(ctx, g.set, metav1.CreateOptions{}); err != nil {
		return err
	}
	var wait sync.WaitGroup
	errs := make([]error, floorWorkers)
	written := make(chan struct{}, 2*len(g.nodes))
	for w := range floorWorkers {
		wait.Go(func() {
			if errs[w] = g.write(ctx, todo, written); errs[w] != nil {
				cancel()
			}
		})
	}
	go func() {
		done := map[string]bool{}
		for event := range pods.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && finished(pod) && !done[pod.Spec.NodeName] {
				done[pod.Spec.NodeName] = true
				todo <- patch{pod.Spec.NodeName, result}
			}
		}
	}()
	for range 2 * len(g.nodes) {
		select {
		case <-written:
		case <-ctx.Done():
			wait.Wait()
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	close(todo)
	wait.Wait()
	return errors.Join(errs...)
}

// floorJob is the environment variable with the file that tells a process of this program to be the floor, so that what it uses can be measured.
const floorJob = "LONGSHORE_BENCH_FLOOR"

// job is what such a file has.
type job struct {
	Kubeconfig string
	Set        *appsv1.DaemonSet
	Nodes      []string
}

// runFloor is the floor as a process.
func runFloor(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", j.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	g, err := newGated(config, j.Set, j.Nodes)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), floorPatience)
	defer cancel()
	return g.run(ctx)
}

// floorPatience is how long the floor may take at most.
const floorPatience = 10 * time.Minute

// startFloor runs the floor as a process and returns what it used.
func startFloor(ctx context.Context, dir string, config *rest.Config, set *appsv1.DaemonSet, nodes []string) (usage, error) {
	j := job{Kubeconfig: filepath.Join(dir, "floor.kubeconfig"), Set: set, Nodes: nodes}
	if err := writeKubeconfig(config, j.Kubeconfig); err != nil {
		return usage{}, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return usage{}, err
	}
	file := filepath.Join(dir, "floor.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return usage{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = []string{"HOME=/nonexistent", floorJob + "=" + file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The process dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return usage{}, fmt.Errorf("gated floor: %w: %s", err, out)
	}
	u := usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		// Linux counts in KiB, see getrusage(2).
		u.peak = r.Maxrss << 10
	}
	return u, nil
}

// write carries patches out until there are no more.
func (g *gated) write(ctx context.Context, todo <-chan patch, written chan<- struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p, more := <-todo:
			if !more {
				return nil
			}
			if _, err := g.kube.CoreV1().Nodes().Patch(ctx, p.node, types.JSONPatchType, p.body, metav1.PatchOptions{}); err != nil {
				return err
			}
			written <- struct{}{}
		}
	}
}

// patch is one write on one node.
type patch struct {
	node string
	body []byte
}

// finished tells whether a pod's commands have ended well and its main container runs.
func finished(pod *corev1.Pod) bool {
	for i := range pod.Status.InitContainerStatuses {
		if t := pod.Status.InitContainerStatuses[i].State.Terminated; t == nil || t.ExitCode != 0 {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil
}

// pointer makes a key a part of a JSON Pointer.
func pointer(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// watchPods watches the installers past broken connections: no event is lost, or the watch ends.
func watchPods(ctx context.Context, kube kubernetes.Interface) (watch.Interface, error) {
	list, err := kube.CoreV1().Pods(installers).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return watches.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return kube.CoreV1().Pods(installers).Watch(ctx, o)
		},
	})
}
