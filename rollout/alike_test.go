package rollout_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// aspects are what may be different about one node of many that are Ready, each a reason for another decision.
var aspects = map[string]func(*observed.Snapshot, *desired.Plan, *observed.Node, *observed.Progress){
	"nothing":             func(*observed.Snapshot, *desired.Plan, *observed.Node, *observed.Progress) {},
	"an older revision":   func(_ *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) { p.Revision = "a0" },
	"an unknown revision": func(_ *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) { p.Revision = "a9" },
	"time left to soak": func(s *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) {
		p.Since = s.Time.Add(-time.Second)
	},
	"soaked just now": func(s *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) {
		p.Since = s.Time.Add(-time.Minute)
	},
	"another machine": func(_ *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) {
		p.MachineID = "other"
	},
	"a lost handler": func(_ *observed.Snapshot, _ *desired.Plan, n *observed.Node, _ *observed.Progress) {
		n.Handlers = []string{""}
	},
	"no report of handlers": func(_ *observed.Snapshot, _ *desired.Plan, n *observed.Node, _ *observed.Progress) { n.Handlers = nil },
	"NotReady":              func(_ *observed.Snapshot, _ *desired.Plan, n *observed.Node, _ *observed.Progress) { n.Ready = false },
	"a failure": func(_ *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) {
		p.Phase = observed.PhaseFailed
	},
	"found again": func(_ *observed.Snapshot, _ *desired.Plan, _ *observed.Node, p *observed.Progress) {
		p.Reason = string(rollout.HandlerLost)
	},
	"a gate": func(_ *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		n.Labels = n.Labels.With(observed.GateKey(plan.Runtimes[0].Name), "a1-install")
	},
	"no ready label": func(_ *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		n.Labels = n.Labels.Without(observed.ReadyKey(plan.Runtimes[0].Name))
	},
	"a hold": func(_ *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		n.Annotations[observed.HoldKey(plan.Runtimes[0].Name)] = "x"
	},
	"a pod": func(s *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		s.Pods = append(s.Pods, observed.Pod{
			Name: "pod-" + n.Name, UID: "p", Node: n.Name, Runtime: plan.Runtimes[0].Name, DaemonSet: plan.Runtimes[0].Name + "-install-a2",
			Steps: []observed.Container{{Name: "install", Running: true}},
		})
	},
	"a booking": func(s *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		s.Turns.Booked = append(s.Turns.Booked, observed.Turn{Node: n.UID, Runtime: plan.Runtimes[0].Name, Revision: "a1", Operation: observed.Install, ID: "t"})
	},
	"another target": func(s *observed.Snapshot, plan *desired.Plan, n *observed.Node, _ *observed.Progress) {
		i := slices.IndexFunc(s.Nodes, func(other observed.Node) bool { return other.Name == n.Name })
		plan.Runtimes[0].Targets[i] = desired.Target{Want: desired.Removed, Why: desired.WhyDeselected}
	},
}

// TestNodesThatSayTheSameAreDecidedAsIfEachSaidItAlone compares the decision about nodes that are alike with that about the same nodes, each of
// which has a retry annotation of its own: these have to be looked at one by one.
func TestNodesThatSayTheSameAreDecidedAsIfEachSaidItAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const nodes = 30
		snap, plan := many(nodes, func(int, int) *observed.Progress { return readyAt("a1") })
		runtime := &plan.Runtimes[0]
		older := &observed.Revision{Name: observed.RevisionName(runtime.Name, "a0"), Runtime: runtime.Name, Revision: "a0", Content: runtime.Goal.Content}
		runtime.History = append(runtime.History, older)
		for i := range snap.Nodes {
			n, p := &snap.Nodes[i], readyAt("a1")
			aspects[rapid.SampledFrom(slices.Sorted(maps.Keys(aspects))).Draw(t, n.Name)](snap, plan, n, p)
			n.Annotations[observed.ProgressKey(runtime.Name)] = p.String()
			if p.Phase != observed.PhaseReady {
				n.Labels = n.Labels.With(observed.PhaseKey(runtime.Name), string(p.Phase))
			}
			n.Index()
		}
		alike := rollout.Decide(snap, plan)
		for i := range snap.Nodes {
			n, own := &snap.Nodes[i], fmt.Sprint(i)
			for r := range plan.Runtimes {
				n.Annotations[observed.RetryKey(plan.Runtimes[r].Name)] = own
			}
			if p := n.Progress(runtime.Name); p.Phase == observed.PhaseFailed {
				// There it would ask for another try.
				delete(n.Annotations, observed.RetryKey(runtime.Name))
			}
			n.Index()
		}
		if diff := gocmp.Diff(rollout.Decide(snap, plan), alike, gocmp.AllowUnexported(observed.Progress{})); diff != "" {
			t.Fatalf("each alone (-) and all alike (+):\n%s", diff)
		}
	})
}
