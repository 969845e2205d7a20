package status_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

func TestAStoryTellsWhatANodeHasToDoWithEveryRuntime(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "crun")
	w.addRuntime(t, "kata")
	w.addRuntime(t, "wasm")
	latest := w.revisions["kata"][1]
	w.addNode("a", func(n *observed.Node) {
		n.Handlers = []string{"", "kata", "runc"}
		n.Labels = n.Labels.With("skip-crun", "yes")
		n.Annotations[observed.HoldKey("wasm")] = "disk swap"
		n.Annotations[observed.ProgressKey("wasm")] = "{"
		n.Taints = []corev1.Taint{{Key: observed.NotReadyTaint("kata"), Effect: corev1.TaintEffectNoSchedule}}
		write(n, "kata", &observed.Progress{Phase: observed.PhaseInstalling, Operation: observed.Install, Step: "install", Revision: latest, Attempt: 1, Since: now.Add(-time.Minute)})
	})
	w.snap.Turns.Booked = []observed.Turn{{Node: "uid-a", Runtime: "kata", Revision: latest, Operation: observed.Install}}
	w.snap.Pods = []observed.Pod{
		{Name: "old", Node: "a", Runtime: "kata", Created: now.Add(-time.Hour), Deleting: true},
		{Name: "new", Node: "a", Runtime: "kata", DaemonSet: observed.DaemonSetName("kata", "install", latest), Created: now, Steps: []observed.Container{{Name: "fetch", Done: true}, {Name: "install", Running: true}}},
	}
	plan, decision, all := w.look()
	story := status.StoryOf(w.snap, plan, decision, "a")
	if diff := cmp.Diff([]string{"kata", "runc"}, story.Handlers); diff != "" || !story.HandlersReported {
		t.Errorf("handlers, want (-) and got (+):\n%s", diff)
	}
	crun, kata, wasm := story.Runtimes[0], story.Runtimes[1], story.Runtimes[2]
	if want := `nothing, because the selector "!skip-crun" does not match the node`; crun.Want != want || crun.Phase != "-" || crun.Progress != nil {
		t.Errorf("crun: %q, phase %s", crun.Want, crun.Phase)
	}
	if kata.Want != "revision "+latest+", because the spec selects the node" || kata.Reason != "CommandRunning" || kata.Step != "install" ||
		kata.Pod.Name != "new" || kata.Turn == nil || kata.Gate == "" || kata.Taint != "kata.longshore.dev/not-ready:NoSchedule" || kata.Until != now.Add(14*time.Minute) {
		t.Errorf("kata: %+v", kata)
	}
	if !wasm.Held || wasm.Hold != "disk swap" || wasm.Problem == "" || wasm.Reason != "UnreadableProgress" {
		t.Errorf("wasm: %+v", wasm)
	}
	if n := report(t, all, "wasm").Nodes[0]; n != wasm.NodeReport {
		t.Errorf("the report says %+v, and the story %+v", n, wasm.NodeReport)
	}
	if status.StoryOf(w.snap, plan, decision, "b") != nil {
		t.Error("a node that is not there has a story")
	}
}

func TestAStoryOfAnyNodeCanBeTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		plan, decision, report := w.look()
		for i := range w.snap.Nodes {
			story := status.StoryOf(w.snap, plan, decision, w.snap.Nodes[i].Name)
			if _, err := json.Marshal(story); err != nil {
				t.Fatal(err)
			}
			for _, c := range story.Runtimes {
				for j := range report.Runtimes {
					for _, n := range report.Runtimes[j].Nodes {
						if report.Runtimes[j].Name == c.Runtime && n.Node == story.Node && n != c.NodeReport {
							t.Fatalf("the story says %+v, and the report %+v", c.NodeReport, n)
						}
					}
				}
				if c.Want == "" {
					t.Fatalf("the story of %s with %s says nothing about what it should have", story.Node, c.Runtime)
				}
			}
		}
	})
}
