package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

func TestEveryNodeThatIsNotDoneHasAReasonInWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		plan, decision, report := w.look()
		byName := map[string]*status.RuntimeReport{}
		for i := range report.Runtimes {
			byName[report.Runtimes[i].Name] = &report.Runtimes[i]
		}
		for i := range plan.Runtimes {
			r := &plan.Runtimes[i]
			nodes := map[string]status.NodeReport{}
			for _, n := range byName[r.Name].Nodes {
				nodes[n.Node] = n
			}
			for j, target := range r.Targets {
				n, listed := nodes[w.snap.Nodes[j].Name]
				switch {
				case listed == (target.Want == desired.Unconcerned):
					t.Fatalf("runtime %s: node %s with target %+v is listed: %t", r.Name, w.snap.Nodes[j].Name, target, listed)
				case !listed || n.Done:
				case n.Reason == string(status.Unexplained) && n.Phase != string(observed.PhaseFailed):
					t.Fatalf("runtime %s: node %s is %s for an unknown reason\n%s", r.Name, n.Node, n.Phase, w.describe(decision))
				case n.Reason == "" || n.Message == "":
					t.Fatalf("runtime %s: node %s is not done, with reason %q and message %q\n%s", r.Name, n.Node, n.Reason, n.Message, w.describe(decision))
				}
			}
		}
	})
}

func TestTheNodesThatAreDoneAreAsManyAsTheSummarySays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		_, decision, report := w.look()
		for i := range report.Runtimes {
			r, done := &report.Runtimes[i], 0
			for _, n := range r.Nodes {
				if n.Done {
					done++
				}
			}
			if r.Done != done {
				t.Fatalf("runtime %s: %d nodes are done, and the summary says %d\n%s", r.Name, done, r.Done, w.describe(decision))
			}
		}
	})
}

func TestANodeThatIsWrittenOnInThisMomentSaysWhat(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata", "maxUnavailable", "5")
	old, latest := w.revisions["kata"][0], w.revisions["kata"][1]
	under := func(revision string) *observed.Progress {
		return &observed.Progress{Phase: observed.PhaseInstalling, Operation: observed.Install, Step: "install", Revision: revision, Attempt: 1, Since: now.Add(-time.Minute)}
	}
	step := observed.Container{Name: "install", Done: true}
	pod := func(node, revision string, step, main observed.Container) {
		w.snap.Pods = append(w.snap.Pods, observed.Pod{
			Name: "p-" + node, Node: node, Runtime: "kata", DaemonSet: observed.DaemonSetName("kata", "install", revision), Steps: []observed.Container{step}, Main: main,
		})
	}
	turn := func() {
		w.snap.Turns.Booked = append(w.snap.Turns.Booked, observed.Turn{Node: w.snap.Nodes[len(w.snap.Nodes)-1].UID, Runtime: "kata", Revision: latest, Operation: observed.Install})
	}
	w.addNode("begins", nil)
	turn()
	w.addNode("ends", func(n *observed.Node) { write(n, "kata", under(latest)) })
	turn()
	pod("ends", latest, step, observed.Container{Running: true})
	w.addNode("turns", func(n *observed.Node) { write(n, "kata", under(old)) })
	turn()
	pod("turns", old, observed.Container{Name: "install", Waiting: "ErrImagePull"}, observed.Container{})
	w.addNode("unlabelled", func(n *observed.Node) {
		write(n, "kata", under(latest))
		n.Labels = n.Labels.Without(observed.GateKey("kata"))
	})
	turn()
	w.addNode("writes", func(n *observed.Node) { write(n, "kata", under(latest)) })
	turn()
	pod("writes", latest, observed.Container{Name: "install", Exit: &observed.Exit{Code: 3, Message: "no space left"}}, observed.Container{})

	_, _, all := w.look()
	got := map[string]string{}
	for _, n := range report(t, all, "kata").Nodes {
		got[n.Node] = n.Reason + ": " + n.Message
	}
	want := map[string]string{
		"begins":     "OpeningGate: it is the node's turn; the gate for the install of revision " + latest + " is opened",
		"ends":       "WritingResult: every step exited 0; the node reports no handlers, so that nothing more is known; that is written on the node",
		"turns":      "TurnReturned: the install of revision " + old + " was not wanted any more before its command began; the gate closes",
		"unlabelled": "Repairing: labels on the node do not fit its progress; they are put right",
		"writes":     "CommandFailed: step install exited 3: no space left",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons, want (-) and got (+):\n%s", diff)
	}
}

func TestWithoutTurnsTheReportSaysThatTheyAreMadeAnew(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.addNode("a", func(n *observed.Node) {
		write(n, "kata", &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: w.revisions["kata"][1], Since: now.Add(-time.Hour)})
	})
	w.addNode("b", nil)
	w.snap.Turns = observed.Turns{}
	_, _, all := w.look()
	r := report(t, all, "kata")
	if r.Done != 1 || r.Phase != status.Progressing || r.Message != "1 of 2 nodes done; the turns are made anew from the nodes before anything else happens" {
		t.Errorf("the runtime is %s with %d done: %s", r.Phase, r.Done, r.Message)
	}
	if r.Nodes[1].Reason != string(status.RebuildingTurns) {
		t.Errorf("node b waits for %s", r.Nodes[1].Reason)
	}
}

func TestAHoldSaysUntilWhen(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.addNode("a", func(n *observed.Node) {
		write(n, "kata", &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: w.revisions["kata"][1], Previous: w.revisions["kata"][0], Attempt: 2, Since: now.Add(-20 * time.Second)})
	})
	_, _, all := w.look()
	want := status.NodeReport{
		Node: "a", Phase: "Ready", Operation: observed.Install, Revision: w.revisions["kata"][1], Previous: w.revisions["kata"][0], Attempt: 2,
		Since: now.Add(-20 * time.Second), Until: now.Add(40 * time.Second), Reason: string(rollout.Soaking),
	}
	if diff := cmp.Diff(want, report(t, all, "kata").Nodes[0], cmpopts.IgnoreFields(status.NodeReport{}, "Message")); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

func TestAPanicOverOneReportEndsNoOther(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.addRuntime(t, "gvisor")
	// A bug in whatever parses: an error that is none.
	plan := desired.Of(w.snap, func(name string, data map[string]string, binary map[string][]byte) (*spec.Runtime, field.ErrorList) {
		r, errs := spec.Parse(name, data, binary)
		if name == "gvisor" {
			errs = append(errs, nil)
		}
		return r, errs
	}, desired.DefaultOptions())
	report := status.Of(w.snap, plan, rollout.Decide(w.snap, plan))
	for i := range report.Runtimes {
		r := &report.Runtimes[i]
		failed := r.Phase == status.Halted && strings.Contains(r.Message, "internal error") && strings.Contains(r.Panic, "status.go")
		if failed != (r.Name == "gvisor") {
			t.Errorf("runtime %s reads %s: %s", r.Name, r.Phase, r.Message)
		}
	}
}
