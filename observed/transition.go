package observed

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Transition is one change of what stands on a node for one runtime: a compare-and-swap on the progress annotation.
type Transition struct {
	Node    string
	UID     types.UID
	Runtime string
	// Before is the progress annotation as seen, valid where HadBefore.
	Before    string
	HadBefore bool
	// After is the progress to write; nil takes every key of the runtime off the node.
	After *Progress
	// Gate and Ready are the labels as they should be, "" for none.
	Gate  string
	Ready string
	// Labels are changes to other labels of the node: those by which payloads say that they are done.
	Labels Labels
	// Taints is a change of the node's taints, nil where they stay as they are.
	Taints *Taints
	// Cordon is how the node's unschedulable changes.
	Cordon Cordon
}

// Taints is a change of a node's taints: all of them as seen, and as they should be. A list has no keys, so that only the whole of it can be compared and swapped.
type Taints struct{ Before, After []corev1.Taint }

// Cordon is a change of whether new pods are sent to a node.
type Cordon string

// Cordoning closes a node that is open, Uncordoning opens one that is closed: each is compared and swapped. What somebody else has changed meanwhile stays.
const (
	Cordoning   Cordon = "cordon"
	Uncordoning Cordon = "uncordon"
)

// Labels are changes to labels of a node. A value that is set is not empty.
type Labels struct {
	Set    map[string]string
	Remove []string
}
