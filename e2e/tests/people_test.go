package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// poolText is a pool of all nodes.
const poolText = `apiVersion: v1
kind: ConfigMap
metadata:
  name: everything
  namespace: longshore
  labels:
    longshore.dev/pool: everything
data:
  nodeSelector: '*'
`

// TestPeopleStopAndTurnARollout pauses, resumes, rolls back and retries by command, and has a revision that fails rolled back by itself.
func TestPeopleStopAndTurnARollout(t *testing.T) {
	s := start(t, "turned")
	scripts := map[string]string{
		"/install.sh":   "#!/bin/sh\nset -eu\n[ \"$VERSION\" != bad ] || { echo 'bad version' >&2; exit 1; }\necho \"$VERSION\" > /host/opt/turned.log\n",
		"/uninstall.sh": "#!/bin/sh\nset -eu\nrm -f /host/opt/turned.log\n",
	}
	image := s.payload("turned:1", scripts)
	spec := func(version string) string {
		return fmt.Sprintf(specText, "turned", image, "containerd=2") + fmt.Sprintf(`  environmentVariables: '[{name: VERSION, value: %q}]'
  attempts: "1"
  onFailure: Rollback
`, version)
	}
	say := func(args ...string) string {
		t.Helper()
		out, words, code := s.longshore(s.c.Kubeconfig(), args...)
		if code != 0 {
			t.Fatalf("longshore %s exited %d: %s%s", strings.Join(args, " "), code, out, words)
		}
		return out
	}
	both := func(version string) {
		t.Helper()
		s.wait(t.Context(), "both nodes have version "+version, func(context.Context) (bool, string) {
			a, b := strings.TrimSpace(s.log(nodeA)), strings.TrimSpace(s.log(nodeB))
			return a == version && b == version, a + " " + b
		})
	}
	s.apply(spec("1"))
	if out := say("wait", "turned", "--timeout=3m"); !strings.Contains(out, "2 of 2 nodes done") {
		t.Errorf("wait printed %q", out)
	}
	one := s.ready("turned", 2)

	say("pause", "turned", "--reason=INC-4711")
	s.apply(spec("2"))
	if st := s.phase("turned", "Paused"); st.message != `people paused the runtime ("INC-4711") with 0 of 2 nodes done; Paused 2` {
		t.Errorf("the paused spec says %q", st.message)
	}
	say("resume", "turned")
	two := s.ready("turned", 2)
	both("2")

	if out := say("rollback", "turned", "--dry-run"); !strings.Contains(out, "goes back from revision "+two+" to "+one) {
		t.Errorf("the dry run printed %q", out)
	}
	say("rollback", "turned")
	both("1")
	if out := say("history", "turned"); !strings.Contains(out, "given up: people asked for that") || !strings.Contains(out, "what nodes should carry") {
		t.Errorf("the history is\n%s", out)
	}
	say("retry", "turned")
	both("2")
	s.ready("turned", 2)

	s.apply(spec("bad"))
	s.wait(t.Context(), "the bad version is given up, and every node is back", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "turned")
		return st.phase == "Halted" && st.revision == two && strings.Contains(st.message, "is given up, and nodes go back to revision "+two) && st.progress == "2/2", fmt.Sprintf("%+v", st)
	})
	both("2")
	if _, words, code := s.longshore(s.c.Kubeconfig(), "wait", "turned"); code != 1 || !strings.Contains(words, "will not be ready without people: Halted: ") {
		t.Errorf("wait exited %d: %s", code, words)
	}
	s.apply(spec("3"))
	s.ready("turned", 2)
	both("3")
}

// TestAPoolSaysWhenItsNodesMayBeTouched opens and closes a maintenance window, pauses, and is refused.
func TestAPoolSaysWhenItsNodesMayBeTouched(t *testing.T) {
	s := start(t, "pooled")
	s.pools()
	image := s.payload("pooled:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	waiting := func(reason string) {
		t.Helper()
		s.wait(t.Context(), "both nodes wait: "+reason, func(ctx context.Context) (bool, string) {
			st := s.status(ctx, "pooled")
			return strings.HasPrefix(st.message, "0 of 2 nodes done; "+reason+" 2"), fmt.Sprintf("%+v", st)
		})
	}
	s.apply(poolText + "  maintenanceWindow: '{schedule: 0 0 29 2 *, duration: 1h}'\n")
	s.phase("everything", "Ready")
	s.apply(fmt.Sprintf(specText, "pooled", image, "containerd=2"))
	waiting("OutsideWindow")
	// Refused, it stays as it was.
	s.apply(poolText + "  maintenanceWindow: '{schedule: always, duration: 1h}'\n")
	if st := s.phase("everything", "Invalid"); !strings.Contains(st.message, "the last good version stays in force: ") || !strings.Contains(st.message, "window 0 0 29 2 * UTC for 1h0m0s") {
		t.Errorf("the refused pool says %q", st.message)
	}
	waiting("OutsideWindow")
	s.apply(poolText + "  paused: 'true'\n")
	waiting("PoolPaused")
	s.apply(poolText + "  maintenanceWindow: '{schedule: \"* * * * *\", duration: 24h}'\n  maxUnavailable: '1'\n")
	s.ready("pooled", 2)
}

// TestANewNodeIsInServiceWhenTheRuntimeIsThere has a node with the startup taint go although nothing else may begin.
func TestANewNodeIsInServiceWhenTheRuntimeIsThere(t *testing.T) {
	s := start(t, "fresh")
	s.pools()
	const taint = "fresh.longshore.dev/not-ready"
	if _, err := s.c.Kubectl(t.Context(), "taint", "node", nodeB, taint+"=:NoSchedule", "example.com/other=:PreferNoSchedule"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, key := range []string{taint, "example.com/other"} {
			// One of them is gone, if all went well.
			if _, err := s.c.Kubectl(ctx, "taint", "node", nodeB, key+"-"); err != nil {
				t.Log(err)
			}
		}
	})
	image := s.payload("fresh:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(poolText + "  maintenanceWindow: '{schedule: 0 0 29 2 *, duration: 1h}'\n")
	s.phase("everything", "Ready")
	s.apply(fmt.Sprintf(specText, "fresh", image, "containerd=2"))
	s.wait(t.Context(), "the new node is in service, and the other one waits for the window", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "fresh")
		taints := s.node(ctx, nodeB).Spec.Taints
		done := strings.HasPrefix(st.message, "1 of 2 nodes done; OutsideWindow 1") && len(taints) == 1 && taints[0].Key == "example.com/other"
		return done, fmt.Sprintf("%+v %v", st, taints)
	})
	if p := s.progress(t.Context(), nodeA); p.Phase != "" {
		t.Errorf("the other node was touched: %+v", p)
	}
}

// pools takes all pools away at the end of the test, before its runtime goes.
func (s *suite) pools() {
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.kube.CoreV1().ConfigMaps("longshore").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "longshore.dev/pool"}); err != nil {
			s.t.Error(err)
		}
	})
}
