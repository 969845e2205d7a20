package observed

import "k8s.io/apimachinery/pkg/types"

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
}

// Labels are changes to labels of a node. A value that is set is not empty.
type Labels struct {
	Set    map[string]string
	Remove []string
}
