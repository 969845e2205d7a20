package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/footprint"
)

// countScript writes down every run of a command, and nothing takes that away: what was uninstalled is to be seen as well.
const countScript = "#!/bin/sh\nset -eu\necho \"$LONGSHORE_OPERATION\" >> /host/opt/$LONGSHORE_RUNTIME.log\n"

// TestLabelsThatAllNodesLoseUninstallNothing takes the selector's label off all nodes, as a program that labels nodes may do when it is restarted, puts it back, and
// takes it off for good.
func TestLabelsThatAllNodesLoseUninstallNothing(t *testing.T) {
	s := start(t, "unlabelled")
	nodes := []string{nodeA, nodeB}
	before := map[string]footprint.Footprint{}
	for _, n := range nodes {
		before[n] = s.footprint(n)
	}
	s.forget(nodes...)
	s.labelNodes("unlabelled=yes", nodes...)
	image := s.payload("unlabelled:1", map[string]string{"/install.sh": countScript, "/uninstall.sh": countScript})
	s.apply(fmt.Sprintf(specText, "unlabelled", image, "unlabelled=yes") + "  deselectionGrace: 2s\n")
	revision := s.ready("unlabelled", 2)

	s.labelNodes("unlabelled-", nodes...)
	s.unselected(2)
	s.graceIsOver()
	// An edit that asks for nothing on any node is seen, and changes nothing of it.
	s.set("unlabelled", "maxUnavailable", "2")
	s.unselected(2)
	for _, n := range nodes {
		p, ready, phase := s.progress(t.Context(), n), s.label(t.Context(), n, "ready"), s.label(t.Context(), n, "phase")
		if p.Phase != "Ready" || p.Revision != revision || ready != "true" || phase != "Ready" {
			t.Errorf("node %s tells %+v, ready=%q, phase=%q; expected it to stay Ready at %s", n, p, ready, phase, revision)
		}
	}
	s.ran("install")

	s.labelNodes("unlabelled=yes", nodes...)
	if again := s.ready("unlabelled", 2); again != revision {
		t.Errorf("revision %s after the labels were put back, expected %s", again, revision)
	}
	s.ran("install")

	s.labelNodes("unlabelled-", nodes...)
	s.unselected(2)
	for _, flags := range [][]string{{"--dry-run"}, nil} {
		out, words, code := s.longshore(s.c.Kubeconfig(), append([]string{"resume", "--deselected", "unlabelled"}, flags...)...)
		if code != 0 || !strings.Contains(out, "is uninstalled from 2 of 2 nodes that carry it") {
			t.Fatalf("longshore resume --deselected %q exited %d: %s%s", flags, code, out, words)
		}
	}
	for _, n := range nodes {
		s.wait(t.Context(), "nothing is left on node "+n, func(ctx context.Context) (bool, string) {
			left := s.keys(ctx, n)
			return len(left) == 0, strings.Join(left, ", ")
		})
	}
	s.ran("install", "uninstall")
	s.wait(t.Context(), "the spec has no node left", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "unlabelled")
		return st.phase == "Ready" && st.message == `the selector "unlabelled=yes" matches no node`, fmt.Sprintf("%+v", st)
	})
	s.remove()
	s.ran("install", "uninstall")
	for _, n := range nodes {
		if out, err := s.exec(n, "rm", "/opt/unlabelled.log"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		s.same(n, before[n])
	}
}

// labelNodes puts a label on nodes or takes it off them all, for the time of the test.
func (s *suite) labelNodes(change string, nodes ...string) {
	s.t.Helper()
	label := func(ctx context.Context, change string) error {
		_, err := s.c.Kubectl(ctx, slices.Concat([]string{"label", "node"}, nodes, []string{change, "--overwrite"})...)
		return err
	}
	if err := label(s.t.Context(), change); err != nil {
		s.t.Fatal(err)
	}
	key, _, put := strings.Cut(change, "=")
	if !put {
		return
	}
	s.t.Cleanup(func() {
		if err := label(context.Background(), key+"-"); err != nil {
			s.t.Error(err)
		}
	})
}

// forget takes the log of the runtime's commands away at the end of the test, when no command writes into it any more.
func (s *suite) forget(nodes ...string) {
	s.t.Cleanup(func() {
		s.remove()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, name := range nodes {
			n, err := s.c.Node(name)
			if err == nil {
				err = n.Exec(ctx, []string{"rm", "-f", "/opt/" + s.runtime + ".log"}, nil, nil, nil)
			}
			if err != nil {
				s.t.Error(err)
			}
		}
	})
}

// unselected waits until the spec of the runtime's name is halted because that many nodes, which are all that carry the runtime, lost their labels.
func (s *suite) unselected(nodes int) {
	s.t.Helper()
	words := fmt.Sprintf("%[1]d of %[1]d nodes that carry the runtime lost the labels of the selector %[2]q, so that no node has them any more", nodes, s.runtime+"=yes")
	s.wait(s.t.Context(), "the spec is halted because no node has its labels any more", func(ctx context.Context) (bool, string) {
		st, c := s.status(ctx, s.runtime), s.condition(ctx, s.runtime, "Halted")
		done := st.phase == "Halted" && c.Status == "True" && c.Reason == "NothingSelected" && strings.HasPrefix(st.message, words) &&
			strings.Contains(st.message, "longshore resume --deselected "+s.runtime)
		return done, fmt.Sprintf("%+v %+v", st, c)
	})
}

// graceIsOver has one of two nodes lose the label of another runtime, with the same grace. When that node is uninstalled, the grace is over of all labels that were lost
// before.
func (s *suite) graceIsOver() {
	s.t.Helper()
	witness := start(s.t, "witness")
	witness.labelNodes("witness=yes", nodeA, nodeB)
	image := s.payload("witness:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	witness.apply(fmt.Sprintf(specText, "witness", image, "witness=yes") + "  deselectionGrace: 2s\n")
	witness.ready("witness", 2)
	witness.labelNodes("witness-", nodeA)
	witness.ready("witness", 1)
	witness.remove()
	// Nodes are compared with how they were while this test is still running.
	witness.labelNodes("witness-", nodeB)
}

// keys are the keys of the runtime that a node has.
func (s *suite) keys(ctx context.Context, name string) []string {
	s.t.Helper()
	var keys []string
	node := s.node(ctx, name)
	for _, m := range []map[string]string{node.Labels, node.Annotations} {
		for key, value := range m {
			if strings.HasPrefix(key, s.runtime+".longshore.dev/") {
				keys = append(keys, key+"="+value)
			}
		}
	}
	return keys
}

// condition is one fact that stands on a spec.
type condition struct{ Type, Status, Reason, Message string }

func (s *suite) condition(ctx context.Context, name, kind string) condition {
	s.t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("longshore").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []condition
	// Before the first status there is nothing.
	if text := cm.Annotations["longshore.dev/conditions"]; text != "" {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			s.t.Fatalf("conditions of spec %s: %v in %q", name, err, text)
		}
	}
	for _, c := range all {
		if c.Type == kind {
			return c
		}
	}
	return condition{}
}
