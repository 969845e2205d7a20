package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestVerificationRunsUnderTheRuntime has a command prove that it runs under crun, and then one that fails.
func TestVerificationRunsUnderTheRuntime(t *testing.T) {
	s := start(t, "crun")
	before := s.footprint(nodeB)
	// What is true under crun and not under runc, see payloads.CrunProof.
	verify := func(command string) string {
		return fmt.Sprintf("  verify: |\n    image: %s\n    cmd: [/bin/sh, -c, %q]\n", s.shell(), command)
	}
	spec := s.crun("1.0", "kubernetes.io/hostname="+nodeB) + "  attempts: \"1\"\n"
	s.apply(spec + verify("grep -q '/sys/firmware.*size=0k' /proc/self/mountinfo"))
	s.ready("crun", 1)
	if p := s.progress(t.Context(), nodeB); p.Reason != "Verified" {
		t.Errorf("the node says %+v", p)
	}
	s.wait(t.Context(), "no pod of the verification is left", func(ctx context.Context) (bool, string) {
		pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=crun"})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items) == 0, fmt.Sprint(len(pods.Items))
	})

	s.apply(strings.Replace(s.crun("1.1", "kubernetes.io/hostname="+nodeB), "soak: 1s", "soak: 2s", 1) + "  attempts: \"1\"\n" + verify("echo 'not the kernel that was asked for' >&2; exit 1"))
	s.phase("crun", "Halted")
	p := s.progress(t.Context(), nodeB)
	if p.Reason != "VerifyFailed" || !strings.Contains(p.Message, "not the kernel that was asked for") {
		t.Errorf("the node says %+v", p)
	}
	if ready := s.label(t.Context(), nodeB, "ready"); ready != "" {
		t.Errorf("the node is offered although the runtime was seen not to work: ready=%q", ready)
	}
	s.remove()
	s.same(nodeB, before)
}

// TestASpecThatIsDeletedInTheForegroundStaysUntilItsNodesAreDone holds one of two nodes meanwhile.
func TestASpecThatIsDeletedInTheForegroundStaysUntilItsNodesAreDone(t *testing.T) {
	s := start(t, "foreground")
	image := s.payload("foreground:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "foreground", image, "containerd=2") + "  deletionPolicy: Foreground\n")
	s.ready("foreground", 2)
	annotate := func(value string) {
		t.Helper()
		if _, err := s.c.Kubectl(t.Context(), "annotate", "node", nodeA, "foreground.longshore.dev/hold"+value); err != nil {
			t.Fatal(err)
		}
	}
	annotate("=INC-4711")
	if _, err := s.c.Kubectl(t.Context(), "--namespace=longshore", "delete", "configmap", "foreground", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	s.wait(t.Context(), "the deleted spec waits for the node that is held", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "foreground")
		return st.phase == "Uninstalling" && strings.HasPrefix(st.message, "1 nodes left; Held 1; the ConfigMap goes when no node carries the runtime any more"), fmt.Sprintf("%+v", st)
	})
	annotate("-")
	s.wait(t.Context(), "nothing is left, the spec included", func(ctx context.Context) (bool, string) {
		left := s.left(ctx)
		if _, err := s.kube.CoreV1().ConfigMaps("longshore").Get(ctx, "foreground", metav1.GetOptions{}); err == nil {
			left = append(left, "the spec")
		}
		return len(left) == 0, strings.Join(left, ", ")
	})
}
