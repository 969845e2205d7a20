package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestNodesCanBeWrittenWithoutTheListOfDoneLabels deletes the parameter of the policy that says which labels payloads may change. Decision 24: nobody
// else may notice, and payloads stay confined to their own node.
func TestNodesCanBeWrittenWithoutTheListOfDoneLabels(t *testing.T) {
	s := start(t, "parameters")
	const name = "longshore-done-labels"
	payload := s.payloadOn(nodeA)
	patch := func(ctx context.Context, kube kubernetes.Interface, node, key string) error {
		body := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"yes"}}}`, key)
		_, err := kube.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, body, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	const unlisted = "test.example.com/unlisted"
	denied := func(ctx context.Context) (bool, string) {
		err := patch(ctx, payload, nodeA, unlisted)
		return err != nil && strings.Contains(err.Error(), "only labels that are done labels of a spec"), fmt.Sprint(err)
	}
	s.wait(t.Context(), "a payload may not change a label that is no done label", denied)

	t.Cleanup(func() {
		ctx := context.Background()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := s.kube.CoreV1().ConfigMaps("longshore").Create(ctx, cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		s.wait(ctx, "the list counts again", denied)
	})
	if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.wait(t.Context(), "the API server has noticed", func(ctx context.Context) (bool, string) {
		err := patch(ctx, payload, nodeA, unlisted)
		return err == nil, fmt.Sprint(err)
	})
	if err := patch(t.Context(), s.kube, nodeA, unlisted); err != nil {
		t.Errorf("an administrator cannot label a node: %v", err)
	}
	if err := patch(t.Context(), payload, nodeB, unlisted); err == nil || !strings.Contains(err.Error(), "of no other node") {
		t.Errorf("a payload may change another node: %v", err)
	}
	if err := patch(t.Context(), payload, nodeA, "parameters.longshore.dev/ready"); err == nil || !strings.Contains(err.Error(), "never those of longshore.dev") {
		t.Errorf("a payload may change our labels: %v", err)
	}
}

// payloadOn is a client with the rights of a payload with node access whose pod runs on the node.
func (s *suite) payloadOn(node string) kubernetes.Interface {
	s.t.Helper()
	config, err := s.c.RESTConfig()
	if err != nil {
		s.t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:longshore:longshore-node-access",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:longshore", "system:authenticated"},
		Extra:    map[string][]string{"authentication.kubernetes.io/node-name": {node}},
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return kube
}
