package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// guarded is a Deployment of one pod on a node, and a PodDisruptionBudget that allows no eviction of it.
const guarded = `apiVersion: apps/v1
kind: Deployment
metadata: {name: guarded, namespace: default}
spec:
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: %s
        command: [/bin/sh, -c, sleep 100000]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guarded, namespace: default}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: guarded}}
`

// TestANodeIsDrainedAsSoonAsItsDisruptionBudgetsAllow has a budget refuse first. The controller itself may run on that node: then it evicts itself, and the
// replica that leads after that goes on.
func TestANodeIsDrainedAsSoonAsItsDisruptionBudgetsAllow(t *testing.T) {
	s := start(t, "drained")
	s.apply(fmt.Sprintf(guarded, nodeA, s.shell()))
	t.Cleanup(func() {
		if _, err := s.c.Kubectl(context.Background(), "delete", "deployment/guarded", "pdb/guarded", "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
	pods := func(ctx context.Context) string {
		out, err := s.c.Kubectl(ctx, "get", "pods", "--selector=app=guarded", "--output=jsonpath={range .items[*]}{.metadata.name} {.status.phase} {end}")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	s.wait(t.Context(), "the guarded pod runs", func(ctx context.Context) (bool, string) {
		got := pods(ctx)
		return strings.HasSuffix(got, "Running"), got
	})
	before := pods(t.Context())

	image := s.payload("drained:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "drained", image, "kubernetes.io/hostname="+nodeA) + "  drain: Drain\n")
	s.wait(t.Context(), "the refusal is told", func(context.Context) (bool, string) {
		out, words, _ := s.longshore(s.c.Kubeconfig(), "status", nodeA)
		return strings.Contains(out, "EvictionRefused") && strings.Contains(out, "The disruption budget guarded needs 1 healthy pods and has 1 currently"), out + words
	})
	node := s.node(t.Context(), nodeA)
	if p := s.progress(t.Context(), nodeA); p.Phase != "Draining" || !node.Spec.Unschedulable {
		t.Errorf("the node is in phase %q and unschedulable: %t, expected Draining and cordoned", p.Phase, node.Spec.Unschedulable)
	}
	if got := pods(t.Context()); got != before {
		t.Errorf("the guarded pod is %q, and was %q", got, before)
	}
	if out, err := s.exec(nodeA, "cat", "/opt/drained"); err == nil {
		t.Errorf("a command ran on a node that is not empty: %s", out)
	}

	if err := s.kube.PolicyV1().PodDisruptionBudgets("default").Delete(t.Context(), "guarded", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.ready("drained", 1)
	if s.node(t.Context(), nodeA).Spec.Unschedulable {
		t.Error("the node is still cordoned")
	}
	s.wait(t.Context(), "another guarded pod runs on the node", func(ctx context.Context) (bool, string) {
		got := pods(ctx)
		return strings.HasSuffix(got, "Running") && got != before, got
	})
}

// TestAnUninstallWaitsForAPodThatUsesTheRuntime has a pod run with the runtime's class while its spec is deleted.
func TestAnUninstallWaitsForAPodThatUsesTheRuntime(t *testing.T) {
	s := start(t, "crun")
	before := s.footprint(nodeB)
	s.apply(s.crun("1.0", "kubernetes.io/hostname="+nodeB))
	s.ready("crun", 1)
	image := s.shell()
	s.pod("in-use", nodeB, "crun", image)
	s.pod("other", nodeB, "", image)
	if _, err := s.c.Kubectl(t.Context(), "--namespace=longshore", "delete", "configmap", "crun"); err != nil {
		t.Fatal(err)
	}
	s.wait(t.Context(), "the node is blocked by the pod that uses the runtime", func(ctx context.Context) (bool, string) {
		p := s.progress(ctx, nodeB)
		return p.Phase == "Blocked" && p.Message == "waiting for pods that use the runtime: default/in-use; their RuntimeClasses are crun", fmt.Sprintf("%+v", p)
	})
	if ready := s.label(t.Context(), nodeB, "ready"); ready != "" {
		t.Errorf("the node is offered to new pods: ready=%q", ready)
	}
	if !s.prove("in-use") {
		t.Error("the pod does not run under crun any more")
	}
	s.deletePod("in-use")
	s.wait(t.Context(), "nothing is left", func(ctx context.Context) (bool, string) {
		left := s.left(ctx)
		return len(left) == 0, strings.Join(left, ", ")
	})
	s.deletePod("other")
	s.same(nodeB, before)
}
