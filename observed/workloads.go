package observed

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Look is what was seen on one node that a decision wanted to know more of: its pods, installers left out.
type Look struct {
	Node string `json:"node"`
	// Problem says why the pods could not be seen, "" if they were.
	Problem string     `json:"problem,omitempty"`
	Pods    []Workload `json:"pods,omitempty"`
}

// Workload is a pod on a node that is none of ours.
type Workload struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Class is the pod's RuntimeClass, "" for none.
	Class    string `json:"class,omitempty"`
	Deleting bool   `json:"deleting,omitempty"`
	// Ended is true of a pod whose containers have all ended for good: it uses nothing any more.
	Ended bool `json:"ended,omitempty"`
	// Evictable is true of a pod that a drain of its node evicts. Bare is one that nobody would make anew: it must not be evicted. Static is one
	// of the kubelet's own, which cannot be. What is none of these is a DaemonSet's, which a drain leaves where it is.
	Evictable bool `json:"evictable,omitempty"`
	Bare      bool `json:"bare,omitempty"`
	Static    bool `json:"static,omitempty"`
}

// String is how people name a pod.
func (w *Workload) String() string { return w.Namespace + "/" + w.Name }

// Eviction is what became of the last time that a pod was to be evicted.
type Eviction struct {
	At time.Time `json:"at"`
	// Refused is why the API server did not do it, "" if it did.
	Refused string `json:"refused,omitempty"`
}

// Rights are those that the controller has only where the installation gives them to it.
type Rights struct {
	// Pods is to see the pods of all namespaces, Evictions to evict them.
	Pods      bool `json:"pods"`
	Evictions bool `json:"evictions"`
}

// Look returns what was seen on a node, nil if nothing was (yet).
func (s *Snapshot) Look(node string) *Look {
	for i := range s.Looks {
		if s.Looks[i].Node == node {
			return &s.Looks[i]
		}
	}
	return nil
}
