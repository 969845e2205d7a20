package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/images"
)

// TestRealNodes brings up one node of each flavor and does on them what the controller and its installers need: images from both registries, the
// API server at its Service address, logs and exec through the API server, a node that goes.
func TestRealNodes(t *testing.T) {
	if err := CanRunNodes(); err != nil {
		t.Skip("real nodes cannot run here:", err)
	}
	before := readAll(t, kubeletSysctls)
	opts := options(t, "test-real")
	opts.Nodes = []NodeOptions{{Name: "new", Labels: map[string]string{"test/role": "new"}}, {Name: "old", Flavor: node.Containerd16}}
	c := mustUp(t, opts)
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	image := reachImage(t)
	for _, name := range []string{"new", "old"} {
		t.Run("an image of the open registry on "+name, func(t *testing.T) { openRegistry(t, c, client, name, image) })
		t.Run("an image of the private registry on "+name, func(t *testing.T) { privateRegistry(t, c, client, name, image) })
	}
	t.Run("a registry of the test's own", func(t *testing.T) { ownRegistry(t, c, client, image) })
	t.Run("pods of two nodes in one network", func(t *testing.T) { podNetwork(t, c, client) })
	t.Run("a node goes", func(t *testing.T) {
		if err := c.RemoveNode(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Nodes().Get(t.Context(), "old", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("its object: %v, want not found", err)
		}
		if _, err := c.AddNode(t.Context(), NodeOptions{Name: "newer"}); err != nil {
			t.Errorf("adding another: %v", err)
		}
	})
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, opts.Name)
	if after := readAll(t, kubeletSysctls); after != before {
		t.Errorf("sysctls before:\n%s\nafter:\n%s", before, after)
	}
}

func readAll(t *testing.T, keys []string) string {
	t.Helper()
	var lines []string
	for _, key := range keys {
		value, _ := os.ReadFile(sysctlPath(key))
		lines = append(lines, key+" = "+string(value))
	}
	return strings.Join(lines, "")
}

// reachImage has a program that asks the API server who it is, and a shell.
func reachImage(t *testing.T) images.Image {
	t.Helper()
	program := t.TempDir() + "/reach"
	if err := (images.Compile{Dir: ".", Package: "./testdata/reach"}).To(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	shell, err := images.Shell(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return images.Image{Layers: [][]images.File{shell, {images.Program("/reach", program)}}, Entrypoint: []string{"/reach"}, User: "65532"}
}

func push(t *testing.T, target images.Target, image images.Image) string {
	t.Helper()
	built, err := images.Build(image)
	if err != nil {
		t.Fatal(err)
	}
	target.PlainHTTP = true
	ref, err := images.Push(t.Context(), target, built)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func openRegistry(t *testing.T, c *Cluster, client kubernetes.Interface, on string, image images.Image) {
	ref := push(t, images.Target{Ref: c.Registry() + "/open:1"}, image)
	pod := runPod(t, client, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "open-" + on}, Spec: podSpec(on, ref)})
	if pod.Status.Phase != corev1.PodRunning {
		t.Fatalf("the pod is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	}
	words := ""
	eventually(t, func() bool {
		output, err := c.Kubectl(t.Context(), "logs", pod.Name)
		words = fmt.Sprint(output, err)
		return err == nil && output != ""
	})
	if !strings.Contains(words, "from "+c.plan.firstService().String()+":443") || !strings.Contains(words, "system:serviceaccount:default:default") {
		t.Errorf("the pod's program said %q, want an answer of the API server at its Service address", words)
	}
	if output, err := c.Kubectl(t.Context(), "exec", pod.Name, "--", "id", "-u"); err != nil || output != "65532\n" {
		t.Errorf("exec: %q, %v; want 65532", output, err)
	}
}

func privateRegistry(t *testing.T, c *Cluster, client kubernetes.Interface, on string, image images.Image) {
	address, user := c.PrivateRegistry()
	// Another content for each node: an image that a node has already is not asked for again.
	image.Labels = map[string]string{"node": on}
	ref := push(t, images.Target{Ref: address + "/private-" + on + ":1", Username: user.Username, Password: user.Password}, image)
	refused := runPod(t, client, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "refused-" + on}, Spec: podSpec(on, ref)})
	if waiting := refused.Status.ContainerStatuses[0].State.Waiting; waiting == nil || !strings.Contains(waiting.Message, "401") && !strings.Contains(waiting.Message, "authorization failed") {
		t.Errorf("without a secret the pod is %+v, want it refused by the registry", refused.Status.ContainerStatuses[0].State)
	}
	_, err := c.Kubectl(t.Context(), "create", "secret", "docker-registry", "pull-"+on, "--docker-server="+address,
		"--docker-username="+user.Username, "--docker-password="+user.Password)
	if err != nil {
		t.Fatal(err)
	}
	spec := podSpec(on, ref)
	spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull-" + on}}
	if pod := runPod(t, client, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "allowed-" + on}, Spec: spec}); pod.Status.Phase != corev1.PodRunning {
		t.Errorf("with the secret the pod is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	}
}

func ownRegistry(t *testing.T, c *Cluster, client kubernetes.Interface, image images.Image) {
	listener, err := c.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	serve(t, listener)
	image.Labels = map[string]string{"registry": "own"}
	ref := push(t, images.Target{Ref: address + "/own:1"}, image)
	if pod := runPod(t, client, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: podSpec("new", ref)}); pod.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	}
}

// podNetwork reaches a pod of one node from the other, and from the machine.
func podNetwork(t *testing.T, c *Cluster, client kubernetes.Interface) {
	for _, name := range []string{"open-new", "open-old"} {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		other := map[string]string{"open-new": "open-old", "open-old": "open-new"}[name]
		url, want := "http://"+pod.Status.PodIP+":8080/", "this is "+name
		if output, err := c.Kubectl(t.Context(), "exec", other, "--", "/reach", url); err != nil || output != want {
			t.Errorf("from %s to %s: %q, %v; want %q", other, url, output, err, want)
		}
		if output, err := fetch(t.Context(), url); err != nil || output != want {
			t.Errorf("from the machine to %s: %q, %v; want %q", url, output, err, want)
		}
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func podSpec(on, image string) corev1.PodSpec {
	grace := int64(0)
	return corev1.PodSpec{
		NodeName: on, Containers: []corev1.Container{{Name: "main", Image: image}}, RestartPolicy: corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: &grace,
	}
}

// runPod returns the pod when it runs, has ended, or its image cannot be pulled.
func runPod(t *testing.T, client kubernetes.Interface, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pods := client.CoreV1().Pods("default")
	watcher, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range watcher.ResultChan() {
		latest, ok := event.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("the watch broke: %v", event.Object)
		}
		pod = latest
		if pod.Status.Phase != corev1.PodPending {
			return pod
		}
		for _, status := range pod.Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil && waiting.Reason == "ErrImagePull" {
				return pod
			}
		}
	}
	t.Fatalf("pod %q is still %s: %+v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
	return nil
}
