package bench

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// stage is where a node is with one runtime: its progress, and the labels that a write changes along with it.
type stage struct {
	Phase  string    `json:"phase"`
	Reason string    `json:"reason"`
	Turn   string    `json:"turn"`
	Since  time.Time `json:"since"`

	raw, gate, ready, phase string
}

func stageOf(node *corev1.Node, runtime string) (*stage, error) {
	s := &stage{
		raw: node.Annotations[runtime+".longshore.dev/progress"], gate: node.Labels[runtime+".longshore.dev/gate"],
		ready: node.Labels[runtime+".longshore.dev/ready"], phase: node.Labels[runtime+".longshore.dev/phase"],
	}
	if s.raw == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(s.raw), s); err != nil {
		return s, fmt.Errorf("progress of %s: %w", runtime, err)
	}
	return s, nil
}

// out tells whether the node is out of service because of the runtime: under way, failed, or watched for a soak.
func (s *stage) out(now time.Time, soak time.Duration) bool {
	return s.gate != "" || s.Phase == "Installing" || s.Phase == "Failed" || (s.Phase == "Ready" && now.Before(s.Since.Add(soak)))
}

// The two writes of an install.
const (
	gateOpened = "the gate opens"
	result     = "the result"
)

// beyond are the writes that an install may cost besides, and why.
var beyond = map[string]string{
	"a turn was given back": "a node that was booked became unfit before its gate opened, and says so for any leader that still believes in the booking",
}

// kind names a change: one of the two of an install, one beyond, or the change itself, which nothing explains.
func kind(before, after *stage) string {
	returned := after.gate == before.gate && after.Turn != before.Turn
	switch {
	case (before.Phase == "" || before.Phase == "Pending") && after.Phase == "Installing" && after.gate != "":
		return gateOpened
	case before.Phase == "Installing" && after.Phase == "Ready" && after.gate == "":
		return result
	case returned && before.Phase == "" && after.Phase == "Pending" && after.Reason == "TurnReturned", returned && before.Phase == after.Phase && before.Phase != "Installing":
		return "a turn was given back"
	}
	return fmt.Sprintf("%s -> %s", before, after)
}

func (s *stage) String() string {
	text := s.Phase
	if text == "" {
		text = "nothing"
	}
	for _, part := range []string{s.Reason, s.gate} {
		if part != "" {
			text += " " + part
		}
	}
	if s.phase != s.Phase {
		text += ", labelled " + s.phase
	}
	return text
}

// ledger checks every change of every node, and counts them by kind. Its time is that of the latest progress: no watch that is late makes it milder.
type ledger struct {
	mu    sync.Mutex
	count int
	now   time.Time
	nodes map[string]map[string]*stage
	zone  map[string]string
	// canary are those of the first wave.
	canary map[string]bool
	// kinds and changes count the changes, by kind and by node.
	kinds, changes map[string]int
	// most is the highest number of nodes out of service at once by runtime, mostCanaries that while canaries had still to be done.
	most, mostCanaries map[string]int
	broken             []error
}

func newLedger(count int) *ledger {
	return &ledger{
		count: count, nodes: map[string]map[string]*stage{}, zone: map[string]string{}, canary: map[string]bool{},
		kinds: map[string]int{}, changes: map[string]int{}, most: map[string]int{}, mostCanaries: map[string]int{},
	}
}

// see takes a node as it is now.
func (l *ledger) see(node *corev1.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes[node.Name] == nil {
		l.nodes[node.Name] = map[string]*stage{}
		for _, runtime := range runtimesInZones {
			l.nodes[node.Name][runtime] = &stage{}
		}
		l.zone[node.Name], l.canary[node.Name] = node.Labels[zoneLabel], node.Labels[canaryLabel] != ""
	}
	for _, runtime := range runtimesInZones {
		before := l.nodes[node.Name][runtime]
		after, err := stageOf(node, runtime)
		if err != nil {
			l.fail("node %s: %w", node.Name, err)
		}
		if *after == *before {
			continue
		}
		l.kinds[kind(before, after)]++
		l.changes[node.Name]++
		l.nodes[node.Name][runtime] = after
		if after.Since.After(l.now) {
			l.now = after.Since
		}
		if before.gate == "" && after.gate != "" {
			l.opened(node.Name, runtime)
		}
		l.budget(runtime)
	}
}

// opened checks what has to hold when a gate opens.
func (l *ledger) opened(name, runtime string) {
	for other, s := range l.nodes[name] {
		if other != runtime && (s.gate != "" || s.Phase == "Installing") {
			l.fail("node %s: the gate of %s opened while %s is at work there", name, runtime, other)
		}
	}
	if l.canary[name] {
		return
	}
	var waiting []string
	for node, states := range l.nodes {
		s := states[runtime]
		switch {
		case l.canary[node] && (s.Phase != "Ready" || s.out(l.now, canarySoak)):
			l.fail("node %s: the gate of %s opened before canary %s was done and had soaked", name, runtime, node)
		case !l.canary[node] && l.zone[node] < l.zone[name] && (s.Phase == "" || s.Phase == "Pending"):
			waiting = append(waiting, node)
		}
	}
	// Turns are booked in order, and gates open as they can: nodes of an earlier zone whose gates are still to open have their places already.
	if out := l.outOf(runtime); len(waiting) > 0 && len(waiting)+out > l.allowed() {
		l.fail("node %s in %s: the gate of %s opened while %d nodes of earlier zones wait, %s among them, and %d are out of service: more than the %d that can have their turns",
			name, l.zone[name], runtime, len(waiting), slices.Min(waiting), out, l.allowed())
	}
}

func (l *ledger) allowed() int { return max(1, l.count*zonesBudget/100) }

func (l *ledger) soak(node string) time.Duration {
	if l.canary[node] {
		return canarySoak
	}
	return zonesSoak
}

// outOf counts the nodes out of service because of a runtime.
func (l *ledger) outOf(runtime string) int {
	out := 0
	for node, states := range l.nodes {
		if states[runtime].out(l.now, l.soak(node)) {
			out++
		}
	}
	return out
}

// budget checks how many nodes are out of service.
func (l *ledger) budget(runtime string) {
	out, wave := l.outOf(runtime), false
	for node := range l.canary {
		if s := l.nodes[node][runtime]; l.canary[node] && (s.Phase != "Ready" || s.out(l.now, canarySoak)) {
			wave = true
		}
	}
	if out > l.allowed() {
		l.fail("%d nodes are out of service because of %s, the budget is %d", out, runtime, l.allowed())
	}
	l.most[runtime] = max(l.most[runtime], out)
	if !wave {
		return
	}
	if out > canariesOut {
		l.fail("%d nodes are out of service because of %s while the canaries have their turn, their budget is %d", out, runtime, canariesOut)
	}
	l.mostCanaries[runtime] = max(l.mostCanaries[runtime], out)
}

func (l *ledger) fail(format string, args ...any) {
	const enough = 10
	if len(l.broken) < enough {
		l.broken = append(l.broken, fmt.Errorf(format, args...))
	}
}

// breaks notes that not every change was seen.
func (l *ledger) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail("%w", err)
}

// done tells whether every node is Ready with every runtime, or something is wrong already.
func (l *ledger) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := 0
	for _, states := range l.nodes {
		for _, s := range states {
			if s.Phase == "Ready" && s.gate == "" {
				ready++
			}
		}
	}
	return ready == l.installs() || len(l.broken) > 0
}

func (l *ledger) installs() int { return l.count * len(runtimesInZones) }
