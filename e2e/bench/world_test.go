package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watches "k8s.io/client-go/tools/watch"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
)

func TestMain(m *testing.M) {
	cluster.Main()
	if job := os.Getenv(floorJob); job != "" {
		if err := runFloor(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// patience is how long anything may take at most.
const patience = 10 * time.Minute

// world is a cluster of simulated nodes with everything of Longshore's in it but its pods.
type world struct {
	t       *testing.T
	c       *cluster.Cluster
	kube    kubernetes.Interface
	program string
	// access is what the controller may do.
	access *rest.Config
}

// up brings a cluster about for one test.
func up(t *testing.T, simulated int) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster takes too long for -short")
	}
	c, err := cluster.Up(t.Context(), cluster.Options{Name: "bench", Loopback: true, Simulated: simulated, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, c: c, program: filepath.Join(t.TempDir(), "longshore")}
	if w.kube, err = c.Client(); err != nil {
		t.Fatal(err)
	}
	w.install()
	return w
}

// install brings the shipped roles and namespaces in, and no pods: the controller is a process of this machine.
func (w *world) install() {
	w.t.Helper()
	program, err := deploy.Program(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	// Others build the same file at other times.
	if err := copyFile(program, w.program); err != nil {
		w.t.Fatal(err)
	}
	if err := deploy.Apply(w.t.Context(), w.c, "bench.test/longshore@sha256:"+strings.Repeat("0", 64)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.c.Kubectl(w.t.Context(), "--namespace=longshore-system", "scale", "deployment/longshore", "--replicas=0"); err != nil {
		w.t.Fatal(err)
	}
	admin, err := w.c.RESTConfig()
	if err != nil {
		w.t.Fatal(err)
	}
	if w.access, err = asController(w.t.Context(), admin); err != nil {
		w.t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// controller starts a controller that ends with the test at the latest.
func (w *world) controller(args ...string) *controller {
	w.t.Helper()
	c, err := startController(w.program, w.t.TempDir(), w.access, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("controller:\n%s", c.words())
		}
		c.kill()
	})
	w.eventually("the controller answers", func(ctx context.Context) (bool, string) {
		passes, err := c.metric(ctx, "longshore_passes_total")
		return err == nil && passes > 0, fmt.Sprint(err)
	})
	return c
}

// eventually waits until the condition holds; the text says how things stand.
func (w *world) eventually(what string, condition func(context.Context) (bool, string)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, stand := condition(ctx)
		if done {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waiting until %s: %v; it stands: %s", what, ctx.Err(), stand)
		case <-tick.C:
		}
	}
}

// spec is a spec of the measured runtime: no soak, a handler that simulated nodes report anyway, and no look at the pods that use it.
func spec(more ...string) *corev1.ConfigMap {
	data := map[string]string{
		"payloadImage": "bench.test/payload:1", "installCmd": "[/install]", "uninstallCmd": "[/uninstall]", "nodeSelector": "*",
		"soak": "0s", "maxUnavailable": "100%", "runtimeClasses": "[{name: bench, handler: runc}]", "inUsePolicy": "Ignore",
	}
	for pair := range slices.Chunk(more, 2) {
		data[pair[0]] = pair[1]
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: runtimeName, Namespace: installers, Labels: map[string]string{"longshore.dev/runtime": runtimeName}}, Data: data,
	}
}

// rendered is the install DaemonSet that a spec becomes.
func (w *world) rendered(cm *corev1.ConfigMap) *appsv1.DaemonSet {
	w.t.Helper()
	text, err := json.Marshal(cm)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), w.program, "render", "--pause-image=bench.test/longshore:1", "-f", "-")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), w.t.Output()
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("render: %v", err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		set := &appsv1.DaemonSet{}
		if err := decoder.Decode(set); errors.Is(err, io.EOF) {
			w.t.Fatalf("no install DaemonSet in\n%s", out)
		} else if err != nil {
			w.t.Fatal(err)
		}
		if set.Kind == "DaemonSet" && set.Labels["longshore.dev/step"] == "install" {
			return set
		}
	}
}

// create makes the spec.
func (w *world) create(cm *corev1.ConfigMap) {
	w.t.Helper()
	if _, err := w.kube.CoreV1().ConfigMaps(installers).Create(w.t.Context(), cm, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// remove deletes the spec and waits until nothing of the runtime is on any node.
func (w *world) remove() {
	w.t.Helper()
	if err := w.kube.CoreV1().ConfigMaps(installers).Delete(w.t.Context(), runtimeName, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the last snapshot goes", func(ctx context.Context) (bool, string) {
		revisions, err := w.kube.AppsV1().ControllerRevisions(installers).List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + runtimeName + ",!longshore.dev/installer"})
		if err != nil {
			return false, err.Error()
		}
		return len(revisions.Items) == 0, fmt.Sprintf("%d snapshots", len(revisions.Items))
	})
	w.noPods()
}

// specSays waits until the status of the spec is of this phase.
func (w *world) specSays(phase string) {
	w.t.Helper()
	w.eventually("the spec is "+phase, func(ctx context.Context) (bool, string) {
		cm, err := w.kube.CoreV1().ConfigMaps(installers).Get(ctx, runtimeName, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return cm.Annotations["longshore.dev/phase"] == phase, cm.Annotations["longshore.dev/message"]
	})
}

// noPods waits until no installer is left.
func (w *world) noPods() {
	w.t.Helper()
	w.eventually("no pod is left", func(ctx context.Context) (bool, string) {
		pods, err := w.kube.CoreV1().Pods(installers).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return false, err.Error()
		}
		sets, err := w.kube.AppsV1().DaemonSets(installers).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items)+len(sets.Items) == 0, fmt.Sprintf("%d pods and more, %d DaemonSets", len(pods.Items), len(sets.Items))
	})
}

// standings follows every change of every node; nothing is sampled.
type standings struct {
	w *world

	mu sync.Mutex
	// phases and gates are what stands on the nodes, by name.
	phases, gates map[string]string
	// most is the highest number of nodes out of service at once: those with a gate, and those that failed.
	most    int
	changed chan struct{}
	broken  error
}

// follow lists all nodes and watches them until the test ends.
func (w *world) follow() *standings {
	w.t.Helper()
	s := &standings{w: w, phases: map[string]string{}, gates: map[string]string{}, changed: make(chan struct{}, 1)}
	w.followEach(s.see, func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = err
	})
	return s
}

// followEach calls a function with every node as it is, and with every change until the test ends; broken is told if that is not all of them.
func (w *world) followEach(see func(*corev1.Node), broken func(error)) {
	w.t.Helper()
	list, err := w.kube.CoreV1().Nodes().List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range list.Items {
		see(&list.Items[i])
	}
	watcher, err := watches.NewRetryWatcherWithContext(w.t.Context(), list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.kube.CoreV1().Nodes().Watch(ctx, o)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watcher.ResultChan() {
			node, ok := event.Object.(*corev1.Node)
			if !ok || event.Type == watch.Deleted {
				broken(fmt.Errorf("the watch of all nodes broke: %s %v", event.Type, event.Object))
				return
			}
			see(node)
		}
	}()
	w.t.Cleanup(func() {
		watcher.Stop()
		<-done
	})
}

func (s *standings) see(node *corev1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := func(m map[string]string, value string) {
		if value == "" {
			delete(m, node.Name)
			return
		}
		m[node.Name] = value
	}
	set(s.phases, node.Labels[phaseLabel])
	set(s.gates, node.Labels[gateLabel])
	failed := 0
	for _, phase := range s.phases {
		if phase == "Failed" {
			failed++
		}
	}
	s.most = max(s.most, len(s.gates)+failed)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// in counts the nodes in a phase.
func (s *standings) in(phase string) int {
	count := 0
	for _, p := range s.phases {
		if p == phase {
			count++
		}
	}
	return count
}

// until waits until the nodes stand so, and returns when that was.
func (s *standings) until(what string, holds func(*standings) bool) time.Time {
	s.w.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		done, broken, stand := holds(s), s.broken, fmt.Sprintf("%d nodes have a phase, %d of them Ready, %d a gate", len(s.phases), s.in("Ready"), len(s.gates))
		s.mu.Unlock()
		if done {
			return time.Now()
		}
		if broken != nil {
			s.w.t.Fatal(broken)
		}
		select {
		case <-s.changed:
		case <-timeout.C:
			s.w.t.Fatalf("waiting until %s: not so after %s; %s", what, patience, stand)
		}
	}
}
