package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// specText is a spec for a payload of scripts without a RuntimeClass.
const specText = `apiVersion: v1
kind: ConfigMap
metadata:
  name: %[1]s
  namespace: longshore
  labels: {longshore.dev/runtime: %[1]s}
data:
  payloadImage: %[2]s
  installCmd: "[/install.sh]"
  uninstallCmd: "[/uninstall.sh]"
  installerVolumes: "[{name: opt, hostPath: {path: /opt}}]"
  installerVolumeMounts: "[{name: opt, mountPath: /host/opt}]"
  nodeSelector: %[3]s
  soak: 0s
`

const touchScript = "#!/bin/sh\nset -eu\necho \"$NODE_NAME $LONGSHORE_OPERATION\" >> /host/opt/$LONGSHORE_RUNTIME\n"

const removeScript = "#!/bin/sh\nset -eu\nrm -f /host/opt/$LONGSHORE_RUNTIME\n"

func TestAFailingPayloadTellsItsWordsOnTheNodeAndHaltsTheRollout(t *testing.T) {
	s := start(t, "failing")
	bad := s.payload("failing:bad", map[string]string{
		"/install.sh":   "#!/bin/sh\necho preparing\necho 'no space left on /opt: 3 MiB needed' >&2\nexit 1\n",
		"/uninstall.sh": removeScript,
	})
	s.apply(fmt.Sprintf(specText, "failing", bad, "containerd=2") + "  attempts: \"2\"\n")
	st := s.phase("failing", "Halted")
	if !strings.Contains(st.message, "1 nodes failed") {
		t.Errorf("the spec says %q, expected that a node failed", st.message)
	}
	failed, other := nodeA, nodeB
	if s.progress(t.Context(), nodeA).Phase != "Failed" {
		failed, other = nodeB, nodeA
	}
	p := s.progress(t.Context(), failed)
	if p.Phase != "Failed" || p.Reason != "InstallFailed" || p.Attempt != 2 || !strings.Contains(p.Message, "exited 1") || !strings.Contains(p.Message, "no space left on /opt: 3 MiB needed") {
		t.Errorf("node %s tells %+v, expected Failed after 2 attempts with the command's own words", failed, p)
	}
	if gate := s.label(t.Context(), failed, "gate"); gate != "" {
		t.Errorf("node %s still has the gate %q", failed, gate)
	}
	if p := s.progress(t.Context(), other); p.Phase != "" {
		t.Errorf("node %s was touched although the rollout is halted: %+v", other, p)
	}
	s.wait(t.Context(), "an Event on the node tells the failure", func(ctx context.Context) (bool, string) {
		events, err := s.kube.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for i := range events.Items {
			e := &events.Items[i]
			if e.Regarding.Kind == "Node" && e.Regarding.Name == failed && e.Reason == "InstallFailed" && strings.Contains(e.Note, "no space left") {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d events", len(events.Items))
	})

	good := s.payload("failing:good", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.set("failing", "payloadImage", good)
	s.ready("failing", 2)
	for _, n := range []string{nodeA, nodeB} {
		if out, err := s.exec(n, "cat", "/opt/failing"); err != nil || out != n+" install" {
			t.Errorf("node %s ran %q (%v), expected one install", n, out, err)
		}
	}
}

func TestABrokenSpecLeavesTheLastGoodOneInForce(t *testing.T) {
	s := start(t, "broken")
	image := s.payload("broken:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "broken", image, "containerd=2"))
	revision := s.ready("broken", 2)

	s.set("broken", "maxUnavailable", "0")
	st := s.phase("broken", "Invalid")
	if !strings.Contains(st.message, "maxUnavailable") || !strings.Contains(st.message, "revision "+revision+" stays in force") {
		t.Errorf("the spec says %q, expected the key and that the last good revision stays", st.message)
	}
	// What the API server refuses is as wrong as what the parser does.
	s.set("broken", "maxUnavailable", "1")
	s.ready("broken", 2)
	s.set("broken", "patches", `[{target: {kind: DaemonSet}, patch: "[{op: add, path: /spec/template/spec/initContainers/0/resources/limits, value: {memory: 1Mi}}]"}]`)
	st = s.phase("broken", "Invalid")
	if !strings.Contains(st.message, "the API server refuses") || !strings.Contains(st.message, "less than or equal to memory limit") {
		t.Errorf("the spec says %q, expected what the API server has against it", st.message)
	}
	for _, n := range []string{nodeA, nodeB} {
		if p := s.progress(t.Context(), n); p.Phase != "Ready" || p.Revision != revision {
			t.Errorf("node %s tells %+v, expected to stay Ready at %s", n, p, revision)
		}
	}
	s.set("broken", "patches", "[]")
	if again := s.ready("broken", 2); again != revision {
		t.Errorf("revision %s after the spec was mended, expected %s again", again, revision)
	}
	for _, n := range []string{nodeA, nodeB} {
		if out, err := s.exec(n, "cat", "/opt/broken"); err != nil || out != n+" install" {
			t.Errorf("node %s ran %q (%v), expected one install: nothing that counts ever changed", n, out, err)
		}
	}
}
