package bench

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// story tells a ledger what happens to its nodes, second by second.
type story struct {
	t     *testing.T
	l     *ledger
	nodes map[string]*corev1.Node
	start time.Time
	// log is what an audit log has of it.
	log written
}

// storyNodes are three canaries and the rest of two zones, of which the budget allows three nodes at once.
const (
	storyNodes    = 60
	storyCanaries = 3
)

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{t: t, l: newLedger(storyNodes), nodes: map[string]*corev1.Node{}, start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), log: newWritten()}
	for i := range storyNodes {
		node := &corev1.Node{}
		node.Name = fmt.Sprintf("n%02d", i)
		node.Labels, node.Annotations = map[string]string{zoneLabel: fmt.Sprintf("zone-%d", i*2/storyNodes)}, map[string]string{}
		if i < storyCanaries {
			node.Labels[canaryLabel] = "yes"
		}
		s.nodes[node.Name] = node
		s.l.see(node)
	}
	return s
}

// write is one write on a node: "NODE RUNTIME PHASE SECOND", with "gate" behind it while a gate is open, and "reason=" and "turn=" where they matter.
func (s *story) write(line string) {
	s.t.Helper()
	words := strings.Fields(line)
	second, err := time.ParseDuration(words[3] + "s")
	if err != nil {
		s.t.Fatal(err)
	}
	node, runtime := s.nodes[words[0]], words[1]
	progress := map[string]any{"phase": words[2], "since": s.start.Add(second)}
	delete(node.Labels, runtime+".longshore.dev/gate")
	for _, word := range words[4:] {
		if key, value, ok := strings.Cut(word, "="); ok {
			progress[key] = value
		} else {
			node.Labels[runtime+".longshore.dev/gate"] = "abc-install"
		}
	}
	text, err := json.Marshal(progress)
	if err != nil {
		s.t.Fatal(err)
	}
	node.Labels[runtime+".longshore.dev/phase"], node.Annotations[runtime+".longshore.dev/progress"] = words[2], string(text)
	s.log.done[node.Name]++
	s.l.see(node)
}

// canaryDone is how both runtimes get onto the canaries, which takes them 18 seconds and ten more of soak.
var canaryDone = zoneDone(0, storyCanaries, 0)

// zoneDone is how both runtimes get onto the nodes from one number to before another, each when the soak of the last is over.
func zoneDone(from, to, second int) []string {
	var lines []string
	for i := from; i < to; i++ {
		for _, runtime := range runtimesInZones {
			lines = append(lines, fmt.Sprintf("n%02d %s Installing %d gate", i, runtime, second), fmt.Sprintf("n%02d %s Ready %d", i, runtime, second+1))
			second += 3
		}
	}
	return lines
}

// threeOut are as many nodes as may be out of service.
var threeOut = []string{"n03 bench Installing 40 gate", "n04 bench Installing 40 gate", "n05 bench Installing 40 gate"}

func TestTheLedgerFindsWhatIsNotAsPromised(t *testing.T) {
	tests := map[string]struct {
		writes []string
		// want is found, and nothing else, in the ledger's words; "" for nothing.
		want string
	}{
		"as many nodes as may be out of service": {
			slices.Concat(canaryDone, threeOut), "",
		},
		"one node too many": {
			slices.Concat(canaryDone, threeOut, []string{"n06 bench Installing 41 gate"}),
			"4 nodes are out of service because of bench, the budget is 3",
		},
		"one node too many while another soaks": {
			slices.Concat(canaryDone, threeOut, []string{"n03 bench Ready 42", "n06 bench Installing 42.9 gate"}),
			"4 nodes are out of service because of bench, the budget is 3",
		},
		"a place that is given back after the soak": {
			slices.Concat(canaryDone, threeOut, []string{"n03 bench Ready 42", "n06 bench Installing 43 gate"}), "",
		},
		"one node too many because another failed": {
			slices.Concat(canaryDone, threeOut, []string{"n03 bench Failed 42", "n06 bench Installing 60 gate"}),
			"4 nodes are out of service because of bench, the budget is 3",
		},
		"one canary too many": {
			[]string{"n00 bench Installing 0 gate", "n01 bench Installing 0 gate", "n02 bench Installing 1 gate"},
			"3 nodes are out of service because of bench while the canaries have their turn, their budget is 2",
		},
		"one canary too many while another soaks": {
			[]string{"n00 bench Installing 0 gate", "n01 bench Installing 0 gate", "n00 bench Ready 2", "n02 bench Installing 11.9 gate"},
			"3 nodes are out of service because of bench while the canaries have their turn, their budget is 2",
		},
		"two operations on a node": {
			slices.Concat(canaryDone, []string{"n03 bench Installing 40 gate", "n03 second Installing 41 gate"}),
			"node n03: the gate of second opened while bench is at work there",
		},
		"a node before the last canary's soak is over": {
			slices.Concat(canaryDone, []string{"n03 second Installing 25.9 gate"}),
			"node n03: the gate of second opened before canary n02 was done and had soaked",
		},
		"a zone while many of the one before wait": {
			slices.Concat(canaryDone, []string{"n30 bench Installing 40 gate"}),
			"node n30 in zone-1: the gate of bench opened while 27 nodes of earlier zones wait, n03 among them, and 1 are out of service",
		},
		"a zone while no more wait than can have turns": {
			slices.Concat(canaryDone, zoneDone(storyCanaries, 28, 40), []string{"n30 bench Installing 300 gate"}), "",
		},
		"a zone while one more waits than can have turns": {
			slices.Concat(canaryDone, zoneDone(storyCanaries, 27, 40), []string{"n30 bench Installing 300 gate"}),
			"node n30 in zone-1: the gate of bench opened while 3 nodes of earlier zones wait, n27 among them, and 1 are out of service",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			for _, line := range test.writes {
				s.write(line)
			}
			checkFound(t, s.l.broken, test.want)
		})
	}
}

func checkFound(t *testing.T, broken []error, want string) {
	t.Helper()
	for _, err := range broken {
		if want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("found %q, expected %q", err, want)
		}
	}
	if want != "" && len(broken) == 0 {
		t.Errorf("found nothing, expected %q", want)
	}
}

func TestEveryWriteBeyondTwoAnInstallIsExplained(t *testing.T) {
	all := slices.Concat(canaryDone, zoneDone(storyCanaries, storyNodes, 40))
	tests := map[string]struct {
		more []string
		// log changes what the audit log has.
		log  func(written)
		want string
	}{
		"two an install":                {},
		"a turn that was given back":    {more: []string{"n03 bench Ready 41 turn=b7"}},
		"a result that is written anew": {more: []string{"n03 bench Ready 900"}, want: "1 writes on nodes that nothing explains: Ready -> Ready"},
		"an install that is done again": {
			more: []string{"n03 bench Installing 900 gate", "n03 bench Ready 902"}, want: "1 writes on nodes that nothing explains: Ready -> Installing",
		},
		"a write that the watch missed": {
			log: func(w written) { w.done["n03"]++ }, want: "node n03: the watch saw 4 changes, and the audit log has 5 writes, besides 0 without an answer",
		},
		"a change that nobody wrote": {
			log: func(w written) { w.done["n03"]-- }, want: "node n03: the watch saw 4 changes, and the audit log has 3 writes, besides 0 without an answer",
		},
		"a write whose answer was lost":     {log: func(w written) { w.done["n03"]--; w.unanswered["n03"]++ }},
		"a write that was lost with answer": {log: func(w written) { w.unanswered["n03"]++ }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			for _, line := range append(slices.Clone(all), test.more...) {
				s.write(line)
			}
			if test.log != nil {
				test.log(s.log)
			}
			err := s.l.verdict(s.log)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("found %v, expected %q", err, test.want)
			}
		})
	}
}

func TestATurnGivenBackIsOneWriteBeyondTwo(t *testing.T) {
	s := newStory(t)
	lines := slices.Concat(canaryDone, []string{"n03 bench Pending 39 reason=TurnReturned turn=b6"}, zoneDone(storyCanaries, storyNodes, 40))
	for _, line := range lines {
		s.write(line)
	}
	if err := s.l.verdict(s.log); err != nil {
		t.Error(err)
	}
	if table := s.l.table(s.log); !strings.Contains(table, "     1  writes beyond two an install\n     1      a turn was given back: ") {
		t.Errorf("the table does not tell of the turn that was given back:\n%s", table)
	}
}
