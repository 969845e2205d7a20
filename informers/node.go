package informers

import (
	"maps"
	"reflect"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

// node is what the informer keeps in place of a node of 22 KB: what is observed of it, and the name, uid and version by which a store
// knows any object. Snapshots share what it holds, so that nothing in it is ever changed.
type node struct {
	metav1.ObjectMeta
	observed observed.Node
}

// sameButVersion tells whether nothing that matters has changed: a heartbeat changes nothing. That a node has annotations at
// all matters to the next write only.
func (n *node) sameButVersion(other *node) bool {
	a, b := n.observed, other.observed
	a.ResourceVersion, b.ResourceVersion = "", ""
	a.HasAnnotations, b.HasAnnotations = true, true
	if a.ReadySince.Equal(b.ReadySince) {
		a.ReadySince = b.ReadySince
	}
	return reflect.DeepEqual(&a, &b)
}

// keepNode makes what is kept of a node. It takes over from what is kept of it already: a heartbeat makes nothing new that stays.
func (c *Cluster) keepNode(object any) (any, error) {
	n, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	return c.kept(n), nil
}

func (c *Cluster) kept(n *corev1.Node) *node {
	before := &observed.Node{}
	if stored, there, err := c.nodes.GetStore().GetByKey(n.Name); err == nil && there {
		if stored, ok := stored.(*node); ok {
			before = &stored.observed
		}
	}
	return &node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion},
		observed:   nodeAfter(before, n),
	}
}

// Node makes an observed node of a node as the API server gives it.
func Node(n *corev1.Node) observed.Node { return nodeAfter(&observed.Node{}, n) }

// nodeAfter observes a node anew, and keeps the memory of what was observed before and is the same.
func nodeAfter(before *observed.Node, n *corev1.Node) observed.Node {
	out := observed.Node{
		Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion, Labels: before.Labels,
		Annotations: ours(n.Annotations), HasAnnotations: n.Annotations != nil, Taints: n.Spec.Taints,
		Unschedulable: n.Spec.Unschedulable, Others: unique.Make(observed.Others(n)).Value(), Deleting: n.DeletionTimestamp != nil, Handlers: handlers(n),
		BootID: unique.Make(n.Status.NodeInfo.BootID).Value(), MachineID: unique.Make(n.Status.NodeInfo.MachineID).Value(),
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Ready, out.ReadySince = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	if !before.Labels.Are(n.Labels) {
		out.Labels = observed.LabelsOf(n.Labels)
	}
	if before.Name != "" && maps.Equal(before.Annotations, out.Annotations) {
		out.Annotations = before.Annotations
	}
	if slices.Equal(before.Handlers, out.Handlers) && before.Handlers != nil {
		out.Handlers = before.Handlers
	}
	out.IndexAfter(before)
	return out
}

// handlers are what the kubelet reports, sorted; nil where it reports none at all. The default handler has an empty name; a kubelet that
// reports any reports that one too.
func handlers(n *corev1.Node) []string {
	if len(n.Status.RuntimeHandlers) == 0 {
		return nil
	}
	names := make([]string, 0, len(n.Status.RuntimeHandlers))
	for _, h := range n.Status.RuntimeHandlers {
		names = append(names, unique.Make(h.Name).Value())
	}
	slices.Sort(names)
	return names
}
