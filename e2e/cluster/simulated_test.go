package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// TestSimulatedNodesDoWhatAnnotationsSay covers each annotation of kwok/pod.yaml and kwok/node.yaml.
func TestSimulatedNodesDoWhatAnnotationsSay(t *testing.T) {
	opts := options(t, "test-sim")
	opts.Loopback, opts.Simulated = true, 2
	client, err := mustUp(t, opts).Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("pods", func(t *testing.T) { simulatedPods(t, client) })
	t.Run("nodes", func(t *testing.T) { simulatedNodes(t, client) })
}

type podCase struct {
	annotations map[string]string
	inits       int
	restart     corev1.RestartPolicy
	// want is the story of the pod: each state that a watcher sees.
	want []string
}

var podCases = map[string]podCase{
	"plain":        {want: []string{"Running ready"}},
	"init-works":   {inits: 2, want: []string{"Running ready | init exit 0 tries 0 | init exit 0 tries 0"}},
	"init-slow":    {inits: 1, annotations: fate("init-delay", "300ms"), want: []string{"Pending | init runs tries 0", "Running ready | init exit 0 tries 0"}},
	"init-hangs":   {inits: 1, annotations: fate("init-hang", "true"), want: []string{"Pending | init runs tries 0"}},
	"hangs-here":   {inits: 1, annotations: fate("init-hang.sim-0001", "true"), want: []string{"Pending | init runs tries 0"}},
	"hangs-not-us": {inits: 1, annotations: fate("init-hang.sim-0002", "true"), want: []string{"Pending | init runs tries 0", "Running ready | init exit 0 tries 0"}},
	"fails-twice": {
		inits: 1, annotations: fate("init-exit-code", "7", "init-failures", "2", "retry-delay", "10ms", "init-message", "no: \"space\""),
		want: []string{
			"Pending | init runs tries 0", `Pending | init exit 7 no: "space" tries 0`,
			"Pending | init runs tries 1 after 7", `Pending | init exit 7 no: "space" tries 1 after 7`,
			"Pending | init runs tries 2 after 7", "Running ready | init exit 0 tries 2 after 7",
		},
	},
	"fails-for-good": {
		inits: 1, annotations: fate("init-exit-code", "1"), restart: corev1.RestartPolicyNever,
		want: []string{"Pending | init runs tries 0", "Failed | init exit 1 tries 0"},
	},
	"ends":      {restart: corev1.RestartPolicyNever, want: []string{"Running ready", "Succeeded exit 0"}},
	"ends-ill":  {restart: corev1.RestartPolicyNever, annotations: fate("exit-code", "3"), want: []string{"Running ready", "Failed exit 3"}},
	"ends-late": {restart: corev1.RestartPolicyNever, annotations: fate("delay", "200ms"), want: []string{"Running ready", "Succeeded exit 0"}},
}

func fate(pairs ...string) map[string]string {
	annotations := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		annotations["sim.test/"+pair[0]] = pair[1]
	}
	return annotations
}

func simulatedPods(t *testing.T, client kubernetes.Interface) {
	pods := client.CoreV1().Pods("default")
	for name, c := range podCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			watcher, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if err != nil {
				t.Fatal(err)
			}
			defer watcher.Stop()
			if _, err := pods.Create(ctx, newPod(name, c), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			var got []string
			for event := range watcher.ResultChan() {
				pod, ok := event.Object.(*corev1.Pod)
				if !ok {
					t.Fatalf("the watch broke: %v", event.Object)
				}
				if line := story(pod); line != "Pending" && (len(got) == 0 || got[len(got)-1] != line) {
					got = append(got, line)
				}
				if len(got) == len(c.want) {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the pod went through\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
			if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			for event := range watcher.ResultChan() {
				if event.Type == "DELETED" {
					return
				}
			}
			t.Error("the deleted pod did not go")
		})
	}
}

func newPod(name string, c podCase) *corev1.Pod {
	container := corev1.Container{Name: "main", Image: "nowhere.test/none:1"}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: c.annotations},
		Spec:       corev1.PodSpec{NodeName: SimulatedName(1), Containers: []corev1.Container{container}, RestartPolicy: c.restart},
	}
	for n := range c.inits {
		container.Name = fmt.Sprintf("init-%d", n)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, container)
	}
	return pod
}

// story is one line about the state of a pod.
func story(pod *corev1.Pod) string {
	line := string(pod.Status.Phase)
	for _, status := range pod.Status.ContainerStatuses {
		if status.Ready {
			line += " ready"
		}
		if ended := status.State.Terminated; ended != nil {
			line += fmt.Sprintf(" exit %d", ended.ExitCode)
		}
	}
	for _, status := range pod.Status.InitContainerStatuses {
		line += " | init"
		if status.State.Running != nil {
			line += " runs"
		}
		if ended := status.State.Terminated; ended != nil {
			line += strings.TrimRight(fmt.Sprintf(" exit %d %s", ended.ExitCode, ended.Message), " ")
		}
		line += fmt.Sprintf(" tries %d", status.RestartCount)
		if last := status.LastTerminationState.Terminated; last != nil {
			line += fmt.Sprintf(" after %d", last.ExitCode)
		}
	}
	return line
}

func simulatedNodes(t *testing.T, client kubernetes.Interface) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes, name := client.CoreV1().Nodes(), SimulatedName(2)
	watcher, err := nodes.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	for _, step := range []struct{ annotation, value, want string }{
		{"sim.test/handlers", `"kata,kata-qemu"`, "True ,runc,kata,kata-qemu"},
		{"sim.test/handlers", `"kata"`, "True ,runc,kata"},
		{"sim.test/not-ready", `"true"`, "False ,runc,kata"},
		{"sim.test/not-ready", `null`, "True ,runc,kata"},
		{"sim.test/handlers", `null`, "True ,runc"},
	} {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, step.annotation, step.value)
		if _, err := nodes.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for event := range watcher.ResultChan() {
			node, ok := event.Object.(*corev1.Node)
			if !ok {
				t.Fatalf("the watch broke: %v", event.Object)
			}
			if got = nodeStory(node); got == step.want {
				break
			}
		}
		if got != step.want {
			t.Fatalf("after %s=%s the node is %q, want %q", step.annotation, step.value, got, step.want)
		}
	}
}

func nodeStory(node *corev1.Node) string {
	var handlers []string
	for _, handler := range node.Status.RuntimeHandlers {
		handlers = append(handlers, handler.Name)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return string(condition.Status) + " " + strings.Join(handlers, ",")
		}
	}
	return ""
}
