package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/footprint"
	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

// suite is one test's hands and eyes.
type suite struct {
	t       *testing.T
	c       *cluster.Cluster
	kube    kubernetes.Interface
	runtime string
}

// start skips where there is no cluster, and takes the runtime away at the end of the test.
func start(t *testing.T, runtime string) *suite {
	t.Helper()
	if shared == nil {
		t.Skip(why)
	}
	kube, err := shared.Client()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, c: shared, kube: kube, runtime: runtime}
	t.Cleanup(func() {
		if t.Failed() {
			s.report()
		}
		s.remove()
	})
	return s
}

// remove deletes the runtime's specs and waits until nothing of it is left.
func (s *suite) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.kube.CoreV1().ConfigMaps("longshore").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "longshore.dev/runtime=" + s.runtime})
	if err != nil {
		s.t.Error(err)
	}
	s.wait(ctx, "nothing of runtime "+s.runtime+" is left", func(ctx context.Context) (bool, string) {
		left := s.left(ctx)
		return len(left) == 0, strings.Join(left, ", ")
	})
}

// left lists what is still there of the runtime.
func (s *suite) left(ctx context.Context) []string {
	var left []string
	ours := metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + s.runtime}
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for i := range nodes.Items {
		for key, value := range nodes.Items[i].Labels {
			if strings.HasPrefix(key, s.runtime+".longshore.dev/") {
				left = append(left, nodes.Items[i].Name+" "+key+"="+value)
			}
		}
		if p, ok := nodes.Items[i].Annotations[s.runtime+".longshore.dev/progress"]; ok {
			left = append(left, nodes.Items[i].Name+" "+p)
		}
	}
	if sets, err := s.kube.AppsV1().DaemonSets("longshore").List(ctx, ours); err != nil || len(sets.Items) > 0 {
		left = append(left, "DaemonSets")
	}
	if revisions, err := s.kube.AppsV1().ControllerRevisions("longshore").List(ctx, ours); err != nil || len(revisions.Items) > 0 {
		left = append(left, "ControllerRevisions")
	}
	if classes, err := s.kube.NodeV1().RuntimeClasses().List(ctx, ours); err != nil || len(classes.Items) > 0 {
		left = append(left, "RuntimeClasses")
	}
	if pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, ours); err != nil || len(pods.Items) > 0 {
		left = append(left, "Pods")
	}
	slices.Sort(left)
	return left
}

// report prints what a person would look at first.
func (s *suite) report() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "nodes", "-L", s.runtime + ".longshore.dev/phase", "-L", s.runtime + ".longshore.dev/gate"},
		{"--namespace=longshore", "get", "configmaps,daemonsets,pods,controllerrevisions", "--output=wide"},
		{"--namespace=longshore", "get", "configmaps", "--selector=longshore.dev/runtime=" + s.runtime, "--output=jsonpath={.items[*].metadata.annotations}"},
		{"--namespace=longshore", "get", "events", "--sort-by=.lastTimestamp"},
		{"--namespace=longshore-system", "logs", "--selector=app.kubernetes.io/name=longshore", "--tail=60", "--prefix"},
	} {
		out, err := s.c.Kubectl(ctx, args...)
		s.t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}

// withoutController takes every controller away and returns a function that brings them back.
func (s *suite) withoutController() (back func()) {
	s.t.Helper()
	scale := func(replicas int) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.c.Kubectl(ctx, "--namespace=longshore-system", "scale", "deployment/longshore", fmt.Sprintf("--replicas=%d", replicas)); err != nil {
			return err
		}
		_, err := s.c.Kubectl(ctx, "--namespace=longshore-system", "wait", "--for=jsonpath={.status.replicas}="+fmt.Sprint(replicas), "deployment/longshore", "--timeout=2m")
		if replicas == 0 {
			_, err = s.c.Kubectl(ctx, "--namespace=longshore-system", "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=longshore", "--timeout=2m")
		}
		return err
	}
	again := sync.OnceFunc(func() {
		if err := scale(2); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(again)
	if err := scale(0); err != nil {
		s.t.Fatal(err)
	}
	return again
}

// patience is how long a rollout may take before the test gives up.
const patience = 4 * time.Minute

// wait waits until the condition holds; the text it returns says how things stand.
func (s *suite) wait(ctx context.Context, what string, condition func(context.Context) (bool, string)) {
	s.t.Helper()
	// What a condition asks for has its own time: a look that is cut short tells nothing.
	over := time.NewTimer(patience)
	defer over.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, stand := condition(ctx)
		if done {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("waiting until %s: %v; it stands: %s", what, ctx.Err(), stand)
		case <-over.C:
			s.t.Fatalf("waiting until %s: not so after %s; it stands: %s", what, patience, stand)
		case <-tick.C:
		}
	}
}

// payload pushes a payload of scripts and returns its reference.
func (s *suite) payload(name string, scripts map[string]string) string {
	s.t.Helper()
	image, err := payloads.Script(s.t.Context(), os.Stdout, scripts)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.push(name, image)
}

func (s *suite) push(name string, image images.Image) string {
	s.t.Helper()
	ref, err := deploy.Payload(s.t.Context(), s.c, name, image)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// apply applies a spec as a user would.
func (s *suite) apply(text string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "spec.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.c.Kubectl(s.t.Context(), "apply", "--server-side", "--filename", file); err != nil {
		s.t.Fatal(err)
	}
}

// set changes one key of a spec, as `kubectl patch` does.
func (s *suite) set(name, key, value string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"data": map[string]string{key: value}})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.c.Kubectl(s.t.Context(), "--namespace=longshore", "patch", "configmap", name, "--type=merge", "--patch", string(body)); err != nil {
		s.t.Fatal(err)
	}
}

// status is what stands on a spec.
type status struct {
	phase, message, progress, revision string
}

func (s *suite) status(ctx context.Context, name string) status {
	s.t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("longshore").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	a := cm.Annotations
	st := status{a["longshore.dev/phase"], a["longshore.dev/message"], a["longshore.dev/progress"], a["longshore.dev/revision"]}
	if !current(cm) {
		st.phase = "outdated"
	}
	return st
}

// current tells whether the status speaks of the data that is there, as a GitOps tool's health check does.
func current(cm *corev1.ConfigMap) bool {
	seen := "\n" + cm.Annotations["longshore.dev/observed-data"]
	if !strings.HasPrefix(seen, fmt.Sprintf("\nkeys=%d\n", len(cm.Data))) {
		return false
	}
	for key, value := range cm.Data {
		if !strings.Contains(seen, "\n"+key+"="+value+"\n--"+key+"\n") {
			return false
		}
	}
	return true
}

// ready waits until the spec is Ready with that many nodes, and returns its revision.
func (s *suite) ready(name string, nodes int) string {
	s.t.Helper()
	var last status
	s.wait(s.t.Context(), fmt.Sprintf("spec %s is Ready on %d nodes", name, nodes), func(ctx context.Context) (bool, string) {
		last = s.status(ctx, name)
		return last.phase == "Ready" && last.progress == fmt.Sprintf("%d/%d", nodes, nodes), fmt.Sprintf("%+v", last)
	})
	return last.revision
}

// phase waits until the spec is in the phase and returns the status.
func (s *suite) phase(name, phase string) status {
	s.t.Helper()
	var last status
	s.wait(s.t.Context(), "spec "+name+" is "+phase, func(ctx context.Context) (bool, string) {
		last = s.status(ctx, name)
		return last.phase == phase, fmt.Sprintf("%+v", last)
	})
	return last
}

// progress is the story on a node.
type progress struct {
	Phase, Operation, Revision, Previous, Reason, Message, PodUID, MachineID, BootID string
	Attempt                                                                          int
	Tainted                                                                          bool
}

func (s *suite) node(ctx context.Context, name string) *corev1.Node {
	s.t.Helper()
	node, err := s.kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return node
}

func (s *suite) progress(ctx context.Context, name string) progress {
	s.t.Helper()
	var p progress
	text := s.node(ctx, name).Annotations[s.runtime+".longshore.dev/progress"]
	if text == "" {
		return p
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		s.t.Fatalf("progress of node %s: %v in %q", name, err, text)
	}
	return p
}

// label is a node label of the runtime.
func (s *suite) label(ctx context.Context, name, key string) string {
	s.t.Helper()
	return s.node(ctx, name).Labels[s.runtime+".longshore.dev/"+key]
}

func (s *suite) footprint(name string) footprint.Footprint {
	s.t.Helper()
	n, err := s.c.Node(name)
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := footprint.Of(s.t.Context(), s.kube, n, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// same waits until the node is as it was: the kubelet reports handlers some seconds after a restart.
func (s *suite) same(name string, before footprint.Footprint) {
	s.t.Helper()
	s.wait(s.t.Context(), "node "+name+" is as it was", func(context.Context) (bool, string) {
		diff := footprint.Diff(before, s.footprint(name))
		return len(diff) == 0, "\n" + strings.Join(diff, "\n")
	})
}

// exec runs a command on a node and returns what it printed.
func (s *suite) exec(name string, cmd ...string) (string, error) {
	s.t.Helper()
	n, err := s.c.Node(name)
	if err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	err = n.Exec(s.t.Context(), cmd, nil, &out, &out)
	return strings.TrimSpace(out.String()), err
}

// pod runs a pod on a node and waits until it runs; class is "" for the default runtime.
func (s *suite) pod(name, node, class, image string) *corev1.Pod {
	s.t.Helper()
	zero := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"kubernetes.io/hostname": node}, TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{Name: "main", Image: image, Command: []string{"/bin/sh", "-c", "sleep 100000"}}},
		},
	}
	if class != "" {
		pod.Spec.RuntimeClassName = &class
	}
	pods := s.kube.CoreV1().Pods("default")
	s.wait(s.t.Context(), "pod "+name+" is accepted", func(ctx context.Context) (bool, string) {
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err), fmt.Sprint(err)
	})
	s.t.Cleanup(func() { s.deletePod(name) })
	var running *corev1.Pod
	s.wait(s.t.Context(), "pod "+name+" runs", func(ctx context.Context) (bool, string) {
		p, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		running = p
		return p.Status.Phase == corev1.PodRunning, fmt.Sprintf("%s %+v", p.Status.Phase, p.Status.ContainerStatuses)
	})
	return running
}

func (s *suite) deletePod(name string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	zero := int64(0)
	pods := s.kube.CoreV1().Pods("default")
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil && !apierrors.IsNotFound(err) {
		s.t.Error(err)
	}
	s.wait(ctx, "pod "+name+" is gone", func(ctx context.Context) (bool, string) {
		_, err := pods.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}
