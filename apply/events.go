package apply

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"

	"longshore.dev/longshore/observed"
)

// Events writes Kubernetes Events about specs and nodes.
type Events struct {
	recorder  events.EventRecorder
	namespace string
}

// NewEvents returns a writer of events about specs in namespace and about nodes.
func NewEvents(recorder events.EventRecorder, namespace string) *Events {
	return &Events{recorder: recorder, namespace: namespace}
}

// Spec says something about a spec. The kind is corev1.EventTypeNormal or EventTypeWarning; reason is one word.
func (e *Events) Spec(s *observed.Spec, kind, reason, message string) {
	e.recorder.Eventf(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "ConfigMap", Namespace: e.namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
	}, nil, kind, reason, "Rollout", "%s", observed.Shorten(message, observed.MaxMessage))
}

// Node says something about a node.
func (e *Events) Node(node *observed.Node, kind, reason, message string) {
	e.recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID},
		nil, kind, reason, "Rollout", "%s", observed.Shorten(message, observed.MaxMessage))
}
