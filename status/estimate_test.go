package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"longshore.dev/longshore/status"
)

func TestAnEstimateSaysHowItWasMadeOrWhyThereIsNone(t *testing.T) {
	const done, waits, failed, held = "done", "waits", "failed", "held"
	// A node a word: what it does, and for how many minutes it is Ready.
	cases := map[string]struct {
		phase  status.Phase
		budget int
		nodes  string
		want   string
	}{
		"one by one":                       {status.Progressing, 1, "done:9 done:6 done:3 waits waits", "9m0s: the last 2 took 9m"},
		"two by two":                       {status.Progressing, 2, "done:9 done:9 done:5 done:5 done:1 done:1 waits", "2m15s: the last 4 took 9m"},
		"the longer nothing happens":       {status.Progressing, 1, "done:90 done:87 waits", "1h30m0s: the last 1 took 90m"},
		"those that wait for people":       {status.Progressing, 1, "done:4 done:2 waits held failed", "4m0s: the last 1 took 4m; without Failed 1, Held 1"},
		"only those that wait for people":  {status.Progressing, 1, "done:4 done:2 held failed", "none: 2 nodes wait for somebody: Failed 1, Held 1"},
		"as many as are worked on at once": {status.Progressing, 2, "done:4 done:2 waits", "none: 2 nodes are Ready, and 2 are worked on at once: too early to tell"},
		"nobody was first":                 {status.Progressing, 0, "waits", "none: 0 nodes are Ready, and 1 are worked on at once: too early to tell"},
		"what was long ago is history": {
			status.Progressing, 1, strings.Repeat("done:50000 ", 9) + "done:9 done:8 done:7 done:6 done:5 done:4 done:3 done:2 done:1 waits waits", "2m15s: the last 8 took 9m",
		},
		"a halted rollout":  {status.Halted, 1, "done:4 done:2 waits", "none: the runtime is Halted"},
		"an uninstall":      {status.Uninstalling, 1, "done:4 waits", "none: an uninstalled node leaves no time behind to judge by"},
		"all is done":       {status.Ready, 1, "done:4", "0s: nothing is left to do"},
		"no node was found": {status.Ready, 1, "", "0s: nothing is left to do"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := status.RuntimeReport{Phase: c.phase, Budget: c.budget, Revision: "new"}
			for i, word := range strings.Fields(c.nodes) {
				n := status.NodeReport{Node: fmt.Sprint(i), Phase: "Pending", Reason: "BudgetUsed"}
				var minutes int
				word, text, _ := strings.Cut(word, ":")
				_, _ = fmt.Sscan(text, &minutes)
				switch word {
				case done:
					n = status.NodeReport{Phase: "Ready", Revision: "new", Since: now.Add(-time.Duration(minutes) * time.Minute), Done: true}
				case failed:
					n.Phase, n.Reason = "Failed", "InstallFailed"
				case held:
					n.Reason = "Held"
				case waits:
				}
				r.Nodes = append(r.Nodes, n)
			}
			e := r.Left(now)
			got := "none: " + e.How
			if e.Known {
				got = e.Left.String() + ": " + e.How
			}
			if got != c.want {
				t.Errorf("estimate is %q, want %q", got, c.want)
			}
		})
	}
}
