package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

const (
	manyNodes    = 5000
	manyRuntimes = 5
)

// many is a cluster of nodes that five runtimes select. Each node's state for each runtime is what progress says of it.
func many(nodes int, progress func(node, runtime int) *observed.Progress) (*observed.Snapshot, *desired.Plan) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	snap := &observed.Snapshot{Time: at, Turns: observed.Turns{Exists: true}}
	plan := &desired.Plan{}
	for r := range manyRuntimes {
		name := fmt.Sprintf("runtime-%d", r)
		goal := &observed.Revision{
			Name: observed.RevisionName(name, "a1"), Runtime: name, Revision: "a1", Number: 1,
			Content: &observed.RevisionContent{Format: 1, Classes: []observed.Class{{Name: name, Handler: name}}},
		}
		plan.Runtimes = append(plan.Runtimes, desired.Runtime{
			Name: name, Source: &observed.Spec{Name: name, Runtime: name}, Goal: goal, History: []*observed.Revision{goal},
			Selected: nodes, Total: nodes, Targets: make([]desired.Target, nodes),
			Spec: &spec.Runtime{
				Name: name, NodeSelector: labels.Everything(), NodeSelectorText: "*", RuntimeClasses: []spec.RuntimeClass{{Name: name, Handler: name}},
				MaxUnavailable: intstr.FromString("1%"), MaxFailed: intstr.FromInt32(0), OnFailure: spec.OnFailureHalt,
				Soak: time.Minute, Attempts: 3, InstallTimeout: 15 * time.Minute,
			},
		})
	}
	for n := range nodes {
		node := observed.Node{
			Name: fmt.Sprintf("node-%04d", n), UID: types.UID(fmt.Sprintf("uid-%04d", n)), Ready: true, MachineID: "m", BootID: "b",
			Labels: observed.LabelsOf(map[string]string{"kubernetes.io/os": "linux"}), Annotations: map[string]string{}, HasAnnotations: true, Handlers: []string{""},
		}
		for r := range manyRuntimes {
			name := plan.Runtimes[r].Name
			plan.Runtimes[r].Targets[n] = desired.Target{Want: desired.Installed, Why: desired.WhySelected}
			p := progress(n, r)
			if p == nil {
				continue
			}
			node.Annotations[observed.ProgressKey(name)] = p.String()
			node.Labels = node.Labels.With(observed.PhaseKey(name), string(p.Phase))
			node.Handlers = append(node.Handlers, name)
			if p.Phase == observed.PhaseReady {
				node.Labels = node.Labels.With(observed.ReadyKey(name), "true")
			}
			plan.Runtimes[r].Carrying++
		}
		node.Index()
		snap.Nodes = append(snap.Nodes, node)
	}
	return snap, plan
}

func readyAt(revision string) *observed.Progress {
	return &observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: revision, Attempt: 1, MachineID: "m", BootID: "b",
		Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Reason: "HandlersReported",
	}
}

// BenchmarkDecide is one decision about 25,000 pairs of node and runtime.
func BenchmarkDecide(b *testing.B) {
	cases := []struct {
		name     string
		progress func(node, runtime int) *observed.Progress
		moves    int
		holds    bool
	}{
		{"settled", func(int, int) *observed.Progress { return readyAt("a1") }, 0, false},
		{"nothing installed yet", func(int, int) *observed.Progress { return nil }, 0, true},
		{"upgrade", func(node, _ int) *observed.Progress {
			if node%2 == 0 {
				return readyAt("a0")
			}
			return readyAt("a1")
		}, 0, true},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			snap, plan := many(manyNodes, c.progress)
			b.ReportAllocs()
			for b.Loop() {
				d := rollout.Decide(snap, plan)
				if len(d.Moves) != c.moves || (len(d.Holds) > 0) != c.holds {
					b.Fatalf("%d moves, %d holds", len(d.Moves), len(d.Holds))
				}
			}
		})
	}
}
