package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// Story is all that is known about one node, over all runtimes.
type Story struct {
	Node          string    `json:"node"`
	UID           string    `json:"uid"`
	Ready         bool      `json:"ready"`
	ReadySince    time.Time `json:"readySince,omitzero"`
	Unschedulable bool      `json:"unschedulable,omitempty"`
	Deleting      bool      `json:"deleting,omitempty"`
	// Handlers are what the kubelet reports; HandlersReported is false where it reports none at all.
	Handlers         []string  `json:"handlers,omitempty"`
	HandlersReported bool      `json:"handlersReported"`
	BootID           string    `json:"bootID,omitempty"`
	MachineID        string    `json:"machineID,omitempty"`
	Runtimes         []Chapter `json:"runtimes"`
}

// Chapter is what a node has to do with one runtime.
type Chapter struct {
	Runtime string `json:"runtime"`
	// Want is what the node should have, and why, in words.
	Want string `json:"want"`
	NodeReport
	// Progress is what stands on the node, nil if nothing does or if Problem says why it cannot be read.
	Progress *observed.Progress `json:"progress,omitempty"`
	Problem  string             `json:"problem,omitempty"`
	// Gate, Ready and PhaseLabel are the labels on the node.
	Gate       string `json:"gateLabel,omitempty"`
	ReadyLabel string `json:"readyLabel,omitempty"`
	PhaseLabel string `json:"phaseLabel,omitempty"`
	// Held is true while people keep Longshore off the node, for the reason Hold.
	Held  bool   `json:"held,omitempty"`
	Hold  string `json:"hold,omitempty"`
	Retry string `json:"retry,omitempty"`
	// Taint is the startup taint of the runtime, as it stands on the node.
	Taint string `json:"taint,omitempty"`
	// Turn is the booking of the node, nil if there is none.
	Turn *observed.Turn `json:"turn,omitempty"`
	// Pod is the installer pod on the node, nil if there is none.
	Pod *observed.Pod `json:"pod,omitempty"`
}

// StoryOf tells the story of the node of that name, nil if there is no such node.
func StoryOf(snap *observed.Snapshot, plan *desired.Plan, decision *rollout.Decision, name string) *Story {
	i := slices.IndexFunc(snap.Nodes, func(n observed.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	node := &snap.Nodes[i]
	story := &Story{
		Node: node.Name, UID: string(node.UID), Ready: node.Ready, ReadySince: node.ReadySince, Unschedulable: node.Unschedulable,
		Deleting: node.Deleting, HandlersReported: node.Handlers != nil, BootID: node.BootID, MachineID: node.MachineID,
	}
	for _, h := range node.Handlers {
		// The default handler has no name.
		if h != "" {
			story.Handlers = append(story.Handlers, h)
		}
	}
	o := newReporter(snap, decision)
	for j := range plan.Runtimes {
		story.Runtimes = append(story.Runtimes, o.chapter(node, &plan.Runtimes[j], plan.Runtimes[j].Targets[i]))
	}
	return story
}

func (o *reporter) chapter(node *observed.Node, r *desired.Runtime, target desired.Target) Chapter {
	c := Chapter{Runtime: r.Name, Want: want(r, target), Pod: o.pods[r.Name][node.Name]}
	if target.Want == desired.Unconcerned {
		c.NodeReport = NodeReport{Node: node.Name, Phase: "-"}
	} else {
		c.NodeReport = o.node(node, r)
	}
	if s := node.State(r.Name); s != nil {
		c.Progress, c.Problem, c.Gate, c.ReadyLabel, c.PhaseLabel = s.Progress, s.Problem, s.Gate, s.Ready, s.Phase
		c.Held, c.Hold, c.Retry = s.Held, s.Hold, s.Retry
	}
	key := observed.NotReadyTaint(r.Name)
	if i := slices.IndexFunc(node.Taints, func(t corev1.Taint) bool { return t.Key == key }); i >= 0 {
		c.Taint = node.Taints[i].ToString()
	}
	if i := slices.IndexFunc(o.snap.Turns.Booked, func(t observed.Turn) bool { return t.Node == node.UID && t.Runtime == r.Name }); i >= 0 {
		c.Turn = &o.snap.Turns.Booked[i]
	}
	return c
}

// want says in words what a node should have.
func want(r *desired.Runtime, target desired.Target) string {
	switch target.Want {
	case desired.Installed:
		if r.Bad != nil {
			return "revision " + r.Goal.Revision + ", because the spec selects the node, and revision " + r.BadRevision + " is bad"
		}
		return "revision " + r.Goal.Revision + ", because the spec selects the node"
	case desired.Removed:
		if target.Why == desired.WhyDeleted {
			return "nothing, because the spec is gone"
		}
		if target.Why == desired.WhyBad {
			return "nothing, because revision " + r.BadRevision + " is bad and there was none before"
		}
		return "nothing, because the spec does not select the node any more"
	case desired.Keep:
		return "what it has: " + keepWords(r, target)
	case desired.Unconcerned:
	}
	switch {
	case r.Source == nil:
		return "nothing, because the spec is gone"
	case r.Spec == nil:
		return "nothing yet, because no valid spec is in force"
	}
	return fmt.Sprintf("nothing, because the selector %q does not match the node", strings.TrimSpace(r.Spec.NodeSelectorText))
}

func keepWords(r *desired.Runtime, target desired.Target) string {
	switch target.Why {
	case desired.WhyVanished:
		return "the spec is gone since " + r.Vanished.UTC().Format(time.RFC3339) + ", and may come back"
	case desired.WhySurvivor:
		return fmt.Sprintf("the spec that was in force is gone, and ConfigMap %q, an older one, is not in force", r.Source.Name)
	case desired.WhyStale:
		return r.Conflict
	case desired.WhyOrphaned:
		return "the spec is gone, and its deletionPolicy was Orphan"
	case desired.WhyNothingSelected:
		return "an edit left no node selected"
	case desired.WhyMismatch:
		return "the spec does not select the node any more, until " + target.Until.UTC().Format(time.RFC3339) + " it may do so again"
	case desired.WhyNoGoal:
		return "no valid spec is in force"
	default:
		return "nothing else is known"
	}
}
