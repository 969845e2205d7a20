package status

import (
	"cmp"
	"fmt"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// NodeReport is how one node stands with one runtime.
type NodeReport struct {
	Node      string             `json:"node"`
	Phase     string             `json:"phase"`
	Operation observed.Operation `json:"operation,omitempty"`
	// Step is the command that the installer pod is at, or the one that failed.
	Step     string `json:"step,omitempty"`
	Revision string `json:"revision,omitempty"`
	Previous string `json:"previous,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	// Since is when the phase began.
	Since time.Time `json:"since,omitzero"`
	// Reason and Message are why the node is not done, or what it has shown when it is.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Until is when time alone changes that; zero if something else has to happen.
	Until time.Time `json:"until,omitzero"`
	Done  bool      `json:"done"`
	// Tainted is true while a payload that took the place of the spec's is, or may be, on the node.
	Tainted bool `json:"tainted,omitempty"`
}

// Reason is why a node is not done, besides those of [rollout.Reason]. Reasons are part of the API.
type Reason string

// The reasons of nodes that are written on in this very moment, and of those that nothing is known about.
const (
	OpeningGate     Reason = "OpeningGate"
	WritingResult   Reason = "WritingResult"
	Repairing       Reason = "Repairing"
	RebuildingTurns Reason = "RebuildingTurns"
	Unexplained     Reason = "Unexplained"
)

// nodes reports on every node that is selected or carries the runtime.
func (o *reporter) nodes(r *desired.Runtime) []NodeReport {
	concerned := 0
	for i := range r.Targets {
		if r.Targets[i].Want != desired.Unconcerned {
			concerned++
		}
	}
	if concerned == 0 {
		return nil
	}
	out := make([]NodeReport, 0, concerned)
	for i := range o.snap.Nodes {
		if r.Targets[i].Want == desired.Unconcerned {
			continue
		}
		out = append(out, o.node(&o.snap.Nodes[i], r))
	}
	return out
}

// node reports on one node. Its reason is the first that there is:
//
//	the node is held                  the hold
//	it is written on in this moment   what is written
//	the turns are lost                RebuildingTurns
//	otherwise                         what the progress says
func (o *reporter) node(node *observed.Node, r *desired.Runtime) NodeReport {
	n := NodeReport{Node: node.Name, Phase: string(observed.PhasePending)}
	p := node.Progress(r.Name)
	if p != nil {
		n.Phase, n.Operation, n.Step, n.Revision, n.Previous = string(p.Phase), p.Operation, o.step(node, r, p), p.Revision, p.Previous
		n.Attempt, n.Since, n.Reason, n.Message, n.Tainted = p.Attempt, p.Since, p.Reason, p.Message, p.Tainted
	}
	hold, held := o.holds[r.Name][node.Name]
	move, moving := o.moves[r.Name][node.Name]
	ready := p != nil && p.Phase == observed.PhaseReady && r.Current(p.Revision)
	// A turn that is given back takes nothing from the node.
	n.Done = ready && !held && (!moving || move.Kind == rollout.ReturnTurn)
	switch {
	case n.Done:
		return n
	case held:
		n.Reason, n.Message, n.Until = string(hold.Reason), hold.Message, hold.Until
	case moving:
		n.Reason, n.Message = moveWords(&move)
	case o.decision.Rebuild:
		n.Reason, n.Message = string(RebuildingTurns), "the ConfigMap of turns is not there; it is made anew from the nodes before anything else happens"
	}
	if n.Reason == "" {
		n.Reason = string(Unexplained)
	}
	if n.Message == "" {
		n.Message = "the progress on the node says " + n.Phase + " and nothing more"
	}
	return n
}

// step is where the work on a node is: the first command of the installer pod that is not done, as far as it is known.
func (o *reporter) step(node *observed.Node, r *desired.Runtime, p *observed.Progress) string {
	if p.Phase != observed.PhaseInstalling && p.Phase != observed.PhaseUninstalling {
		return p.Step
	}
	pod := o.pods[r.Name][node.Name]
	if pod == nil {
		return p.Step
	}
	for i := range pod.Steps {
		if !pod.Steps[i].Done {
			return pod.Steps[i].Name
		}
	}
	return p.Step
}

// moveWords are the reason and the words of a node that is written on in this moment.
func moveWords(m *rollout.Move) (reason, message string) {
	after := m.After
	if after == nil {
		return string(WritingResult), "nothing is left to do on the node; the keys of the runtime are taken off"
	}
	switch m.Kind {
	case rollout.OpenGate:
		return string(OpeningGate), fmt.Sprintf("it is the node's turn; the gate for the %s of revision %s is opened", after.Operation, after.Revision)
	case rollout.Drain:
		return string(rollout.WaitingForPods), fmt.Sprintf("it is the node's turn; new pods are kept away before the %s of revision %s begins", after.Operation, after.Revision)
	case rollout.NextStep:
		return string(OpeningGate), fmt.Sprintf("the gate for step %s of revision %s is opened", after.Step, after.Revision)
	case rollout.Redirect:
		return cmp.Or(after.Reason, string(m.Kind)), after.Message + "; the gate closes"
	case rollout.Succeed:
		return string(WritingResult), cmp.Or(after.Message, "every step exited 0") + "; that is written on the node"
	case rollout.Repair:
		if after.Reason == string(rollout.HandlerLost) {
			return after.Reason, after.Message
		}
		return string(Repairing), "labels on the node do not fit its progress; they are put right"
	default:
		return cmp.Or(after.Reason, string(m.Kind)), cmp.Or(after.Message, fmt.Sprintf("the node is written on: %s", m.Kind))
	}
}
