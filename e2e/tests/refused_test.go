package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refusing is somebody's policy that lets nobody change a runtime's keys on one node.
const refusing = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [nodes]}
  matchConditions:
  - {name: one-node, expression: "object.metadata.name == '%[2]s'"}
  variables:
  - {name: before, expression: "has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"}
  - {name: after, expression: "has(object.metadata.labels) ? object.metadata.labels : {}"}
  - {name: said, expression: "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"}
  - {name: says, expression: "has(object.metadata.annotations) ? object.metadata.annotations : {}"}
  validations:
  - expression: >-
      variables.before.map(k, k).filter(k, k.startsWith('%[1]s.longshore.dev/')).all(k, k in variables.after && variables.after[k] == variables.before[k])
      && variables.after.map(k, k).filter(k, k.startsWith('%[1]s.longshore.dev/')).all(k, k in variables.before)
      && variables.said.map(k, k).filter(k, k.startsWith('%[1]s.longshore.dev/')).all(k, k in variables.says && variables.says[k] == variables.said[k])
      && variables.says.map(k, k).filter(k, k.startsWith('%[1]s.longshore.dev/')).all(k, k in variables.said)
    message: %[4]s
    reason: %[3]s
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [Deny]
`

// refuse has a policy refuse all changes of the runtime's keys on a node, with the reason and the words, and returns a function that takes the policy away.
func (s *suite) refuse(node, reason, words string) (end func()) {
	s.t.Helper()
	end = func() {
		s.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.c.Kubectl(ctx, "delete", "validatingadmissionpolicybinding/"+s.runtime, "validatingadmissionpolicy/"+s.runtime, "--ignore-not-found"); err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(end)
	s.apply(fmt.Sprintf(refusing, s.runtime, node, reason, words))
	s.wait(s.t.Context(), "the policy is in force", func(ctx context.Context) (bool, string) {
		out, err := s.c.Kubectl(ctx, "label", "node", node, s.runtime+".longshore.dev/tried=yes", "--dry-run=server")
		return err != nil && strings.Contains(err.Error(), words), fmt.Sprint(out, err)
	})
	return end
}

// TestANodeWhoseWritesAPolicyRefusesHoldsUpNoOther has the first of two nodes refused in an install and in an upgrade, by each of the answers that a policy gives.
func TestANodeWhoseWritesAPolicyRefusesHoldsUpNoOther(t *testing.T) {
	s := start(t, "refused")
	s.forget(nodeA, nodeB)
	script := "#!/bin/sh\nset -eu\necho \"$LONGSHORE_OPERATION $VERSION\" >> /host/opt/$LONGSHORE_RUNTIME.log\n"
	image := s.payload("refused:1", map[string]string{"/install.sh": script, "/uninstall.sh": script})
	var ran []string
	for _, round := range []struct{ version, reason, words string }{
		{"1", "Forbidden", "this node is not to be changed, CHG-4711"},
		{"2", "Invalid", "this node is not to be changed, CHG-4712"},
	} {
		before := slices.Clone(ran)
		ran = append(ran, "install "+round.version)
		stood := s.progress(t.Context(), nodeA)
		end := s.refuse(nodeA, round.reason, round.words)
		s.apply(fmt.Sprintf(specText, "refused", image, "containerd=2") + fmt.Sprintf("  environmentVariables: '[{name: VERSION, value: %q}]'\n", round.version))
		s.wait(t.Context(), "the other node has version "+round.version+", and the first one waits", func(ctx context.Context) (bool, string) {
			st := s.status(ctx, "refused")
			return st.phase == "Progressing" && st.message == "1 of 2 nodes done; WriteRefused 1", fmt.Sprintf("%+v", st)
		})
		if p, log := s.progress(t.Context(), nodeB), s.log(nodeB); p.Phase != "Ready" || log != strings.Join(ran, "\n") {
			t.Errorf("node %s tells %+v and ran %q, expected %q", nodeB, p, log, ran)
		}
		if p := s.progress(t.Context(), nodeA); p != stood {
			t.Errorf("node %s tells %+v, and told %+v before: nobody may change that", nodeA, p, stood)
		}
		if log := s.logged(nodeA); log != strings.Join(before, "\n") {
			t.Errorf("node %s ran %q, expected %q", nodeA, log, before)
		}
		s.refusalIsTold(nodeA, round.words)
		if round.version == "1" {
			// Of a runtime's nodes there is one Event a minute at most.
			s.refusalIsAnEvent(round.words)
		}

		end()
		s.ready("refused", 2)
		s.ran(ran...)
		s.wait(t.Context(), "the spec warns of nothing any more", func(ctx context.Context) (bool, string) {
			warnings := s.warnings(ctx, "refused")
			return warnings == "", warnings
		})
	}
	s.remove()
	s.ran(append(ran, "uninstall 2")...)
}

// logged is what the commands wrote, "" where none ran.
func (s *suite) logged(node string) string {
	s.t.Helper()
	if _, err := s.exec(node, "test", "-e", "/opt/"+s.runtime+".log"); err != nil {
		return ""
	}
	return s.log(node)
}

// warnings is the flat text of all warnings on a spec.
func (s *suite) warnings(ctx context.Context, name string) string {
	s.t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("longshore").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return cm.Annotations["longshore.dev/warnings"]
}

// refusalIsTold looks at every place where people would look for what the API server said.
func (s *suite) refusalIsTold(node, words string) {
	s.t.Helper()
	s.wait(s.t.Context(), "the spec warns of the refusal", func(ctx context.Context) (bool, string) {
		warnings := s.warnings(ctx, s.runtime)
		return slices.ContainsFunc(strings.Split(warnings, "\n"), func(line string) bool {
			return strings.HasPrefix(line, "WriteRefused: ") && strings.Contains(line, node) && strings.Contains(line, words)
		}), warnings
	})
	out, said, code := s.longshore(s.c.Kubeconfig(), "status", s.runtime)
	if code != 0 || !strings.Contains(out, "WriteRefused") || !strings.Contains(out, words) {
		s.t.Errorf("longshore status exited %d: %s%s; expected WriteRefused and %q", code, out, said, words)
	}
	s.wait(s.t.Context(), "the refusals are counted", func(ctx context.Context) (bool, string) {
		metrics := s.metrics(ctx)
		return strings.Contains(metrics, fmt.Sprintf("longshore_writes_refused_total{kind=%q,runtime=%q} ", "Node", s.runtime)), metrics
	})
}

func (s *suite) refusalIsAnEvent(words string) {
	s.t.Helper()
	s.wait(s.t.Context(), "an Event on the spec tells of the refusal", func(ctx context.Context) (bool, string) {
		out, err := s.c.Kubectl(ctx, "--namespace=longshore", "get", "events", "--field-selector=type=Warning,reason=WriteRefused,involvedObject.kind=ConfigMap,involvedObject.name="+s.runtime,
			"--output=jsonpath={.items[*].message}")
		return strings.Contains(out, words), fmt.Sprint(out, err)
	})
}

// metrics are those of all controllers whose names begin with longshore_writes_refused_total.
func (s *suite) metrics(ctx context.Context) string {
	s.t.Helper()
	pods, err := s.kube.CoreV1().Pods("longshore-system").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=longshore"})
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for i := range pods.Items {
		out, err := s.c.Kubectl(ctx, "get", "--raw", "/api/v1/namespaces/longshore-system/pods/"+pods.Items[i].Name+":8080/proxy/metrics")
		if err != nil {
			return err.Error()
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "longshore_writes_refused_total") {
				all.WriteString(line)
			}
		}
	}
	return all.String()
}
