// Package observed answers: what do we see?
//
// It holds plain values: everything a decision looks at, at one moment. A snapshot is serialisable, so a bug report is a
// file and a test is a literal.
package observed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Snapshot is the cluster as far as Longshore is concerned, at one moment. Lists are sorted by name.
type Snapshot struct {
	// Time is the moment the snapshot was taken; decisions know no other clock.
	Time  time.Time `json:"time"`
	Specs []Spec    `json:"specs,omitempty"`
	// Pools are the ConfigMaps with the pool label. One that has both labels is among the Specs as well.
	Pools          []Spec         `json:"pools,omitempty"`
	Nodes          []Node         `json:"nodes,omitempty"`
	Pods           []Pod          `json:"pods,omitempty"`
	Revisions      []Revision     `json:"revisions,omitempty"`
	DaemonSets     []DaemonSet    `json:"daemonSets,omitempty"`
	RuntimeClasses []RuntimeClass `json:"runtimeClasses,omitempty"`
	Turns          Turns          `json:"turns"`
	// PoolMemory is what is remembered of pools, nil where nobody looked, or may.
	PoolMemory *PoolMemory `json:"poolMemory,omitempty"`
	// Unlabelled are ConfigMaps that are neither spec nor pool (any more), and that have our finalizer or a status annotation of ours all the same. Of their
	// data nothing is known.
	Unlabelled []Spec `json:"unlabelled,omitempty"`
	// DoneLabels is what stands in the ConfigMap of that name, nil where it is not there.
	DoneLabels *string `json:"doneLabels,omitempty"`
	// Namespace is where the specs are, for messages.
	Namespace string `json:"namespace,omitempty"`
	// PayloadConfig names other payload images, nil where it is not there.
	PayloadConfig *PayloadConfig `json:"payloadConfig,omitempty"`
	// PayloadSecret is nil where nobody looked: only the controller may.
	PayloadSecret *PayloadSecret `json:"payloadSecret,omitempty"`
	// Mismatch remembers since when a node that carries a runtime is not selected by it any more.
	Mismatch map[NodeRuntime]time.Time `json:"mismatch,omitempty"`
	// Halts remembers of runtimes what was found of lost labels, until it is written down: nothing may be uninstalled because that is refused.
	Halts map[string]Deselection `json:"halts,omitempty"`
	// LabelsUnwatched is true where nobody has watched since when labels do not match: a command looks once, and knows only what the controller wrote down.
	LabelsUnwatched bool `json:"labelsUnwatched,omitempty"`
	// Labelled remembers since when the done label of a step under way has been as the step wants it.
	Labelled map[NodeRuntime]time.Time `json:"labelled,omitempty"`
	// Refused remembers which writes the API server refused, by what they were to: those are not tried again before their time.
	Refused map[ObjectRef]Refusal `json:"refused,omitempty"`
	// MaybeThere are nodes that turns name, that no watch shows, and of which nobody could find out whether they are gone: their turns do not end.
	MaybeThere map[types.UID]bool `json:"maybeThere,omitempty"`
	// Looks are what was seen on the nodes that the decision before wanted to know more of.
	Looks []Look `json:"looks,omitempty"`
	// Evictions remembers when pods were last to be evicted.
	Evictions map[types.UID]Eviction `json:"evictions,omitempty"`
	// Terminating says what of Longshore's own is being deleted, so that nobody will be there to do anything, "" for nothing.
	Terminating string `json:"terminating,omitempty"`
	// Rights is nil where nobody asked for them.
	Rights *Rights `json:"rights,omitempty"`
}

// ObjectRef names what a write is to. Of a node it has the runtime as well: a policy may refuse the keys of one and not those of another.
type ObjectRef struct{ Kind, Name, Runtime string }

// String is the object in words.
func (o ObjectRef) String() string { return o.Kind + " " + o.Name }

// Compare orders objects by kind, name and runtime.
func (o ObjectRef) Compare(other ObjectRef) int {
	return cmp.Or(cmp.Compare(o.Kind, other.Kind), cmp.Compare(o.Name, other.Name), cmp.Compare(o.Runtime, other.Runtime))
}

// MarshalText makes it a key of a JSON object.
func (o ObjectRef) MarshalText() ([]byte, error) {
	return []byte(o.Kind + "/" + o.Name + "/" + o.Runtime), nil
}

// UnmarshalText reads what MarshalText wrote.
func (o *ObjectRef) UnmarshalText(text []byte) error {
	words := strings.SplitN(string(text), "/", 3)
	if len(words) != 3 {
		return fmt.Errorf("%q is not of the form kind/name/runtime", text)
	}
	*o = ObjectRef{words[0], words[1], words[2]}
	return nil
}

// Refusal is a write that the API server refused, and will most likely refuse again.
type Refusal struct {
	// Words are those of the API server, or of a panic of our own code where Panic is true.
	Words string `json:"words"`
	Panic bool   `json:"panic,omitempty"`
	// Since is when it was first refused in a row, Until when it is tried again. Times is how often it was refused.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Times int       `json:"times"`
}

// NodeRuntime names one runtime on one node.
type NodeRuntime struct {
	Node    types.UID
	Runtime string
}

// MarshalText makes the pair a key of a JSON object.
func (n NodeRuntime) MarshalText() ([]byte, error) {
	return []byte(string(n.Node) + "/" + n.Runtime), nil
}

// UnmarshalText reads what MarshalText wrote.
func (n *NodeRuntime) UnmarshalText(text []byte) error {
	node, runtime, err := cutPair(string(text))
	if err != nil {
		return err
	}
	n.Node, n.Runtime = types.UID(node), runtime
	return nil
}

// Spec is a ConfigMap in which people say what they want: of a runtime or of a pool.
type Spec struct {
	Name            string    `json:"name"`
	UID             types.UID `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
	// Runtime is the value of [LabelRuntime], Pool that of [LabelPool].
	Runtime    string            `json:"runtime,omitempty"`
	Pool       string            `json:"pool,omitempty"`
	Created    time.Time         `json:"created"`
	Deleting   bool              `json:"deleting,omitempty"`
	Finalizers []string          `json:"finalizers,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string][]byte `json:"binaryData,omitempty"`
	// SyncWave is the value of [AnnotationSyncWave], "" without one.
	SyncWave string `json:"syncWave,omitempty"`
	// Annotations are those of Longshore only (see [SpecAnnotations]).
	Annotations map[string]string `json:"annotations,omitempty"`
	// People is what people wrote on it (see [PeopleAnnotations]).
	People map[string]string `json:"people,omitempty"`
}

// Held tells whether the finalizer of Longshore is on the spec.
func (s *Spec) Held() bool { return slices.Contains(s.Finalizers, Finalizer) }

// Node is one node, as far as Longshore looks at it.
type Node struct {
	Name            string    `json:"name"`
	UID             types.UID `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
	Labels          LabelSet  `json:"labels,omitzero"`
	// Annotations are those of Longshore only.
	Annotations map[string]string `json:"annotations,omitempty"`
	// HasAnnotations tells whether the node has any annotation at all, ours or not: a patch cannot add to a map that is not there.
	HasAnnotations bool           `json:"hasAnnotations,omitempty"`
	Taints         []corev1.Taint `json:"taints,omitempty"`
	Unschedulable  bool           `json:"unschedulable,omitempty"`
	// Others says who else is at work on the node (see [Others]).
	Others   string `json:"others,omitempty"`
	Deleting bool   `json:"deleting,omitempty"`
	Ready    bool   `json:"ready"`
	// ReadySince is when the Ready condition last changed.
	ReadySince time.Time `json:"readySince"`
	// Handlers are the runtime handlers that the kubelet reports, sorted; nil where it reports none at all
	// (containerd before 2.0 has no such report, see KEP-3857).
	Handlers  []string `json:"handlers,omitempty"`
	BootID    string   `json:"bootID,omitempty"`
	MachineID string   `json:"machineID,omitempty"`

	states []State
	marks  []Mark
}

// Pod is an installer pod.
type Pod struct {
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	Node      string    `json:"node"`
	Runtime   string    `json:"runtime"`
	DaemonSet string    `json:"daemonSet"`
	Created   time.Time `json:"created"`
	Deleting  bool      `json:"deleting,omitempty"`
	// Template is the pod's [AnnotationTemplate].
	Template string `json:"template,omitempty"`
	// Reason and Message are why the pod as a whole is not going on (unschedulable, evicted).
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Ready is true while the kubelet says that the pod is ready.
	Ready bool `json:"ready,omitempty"`
	// Steps are the containers with commands in order: the init containers, and the main container where that has a command of the payload's.
	Steps []Container `json:"steps,omitempty"`
	// Main is the pause container after them, of which nothing is known in a pod that has none.
	Main Container `json:"main"`
}

// Container is the state of one container of an installer pod.
type Container struct {
	Name     string `json:"name"`
	Image    string `json:"image,omitempty"`
	Restarts int    `json:"restarts,omitempty"`
	// Running is true while the process runs; Started is when the present (or last) one began.
	Running bool      `json:"running,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Done is true when the container ended with exit code 0 and will not run again.
	Done bool `json:"done,omitempty"`
	// Exit is the last end with a code other than 0, nil if there was none.
	Exit *Exit `json:"exit,omitempty"`
	// Waiting and WaitingMessage are why the container does not run.
	Waiting        string `json:"waiting,omitempty"`
	WaitingMessage string `json:"waitingMessage,omitempty"`
}

// Exit is how a container ended.
type Exit struct {
	Code    int       `json:"code"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// DaemonSet is an installer DaemonSet of ours.
type DaemonSet struct {
	Name            string            `json:"name"`
	UID             types.UID         `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Generation      int64             `json:"generation"`
	Runtime         string            `json:"runtime"`
	Revision        string            `json:"revision"`
	Step            string            `json:"step"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	Owners          []types.UID       `json:"owners,omitempty"`
	Deleting        bool              `json:"deleting,omitempty"`
}

// RuntimeClass is any RuntimeClass of the cluster, ours or not.
type RuntimeClass struct {
	Name            string            `json:"name"`
	UID             types.UID         `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Handler         string            `json:"handler"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	Deleting        bool              `json:"deleting,omitempty"`
}

// Owner is the runtime that a RuntimeClass of ours belongs to, or "".
func (c *RuntimeClass) Owner() string {
	if c.Labels[LabelManagedBy] != Manager {
		return ""
	}
	return c.Labels[LabelRuntimeOf]
}

// Revision is a ControllerRevision of ours.
type Revision struct {
	// Name is `<runtime>-<revision>`.
	Name            string            `json:"name"`
	UID             types.UID         `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Runtime         string            `json:"runtime"`
	Revision        string            `json:"revision"`
	Number          int64             `json:"number"`
	Created         time.Time         `json:"created"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	// Content is nil where the data cannot be read; Problem says why.
	Content *RevisionContent `json:"content,omitempty"`
	Problem string           `json:"problem,omitempty"`
}

// RevisionContent is the data of a ControllerRevision: all that is needed to install, and to uninstall after the spec is gone.
type RevisionContent struct {
	Format int `json:"format"`
	// Hashed are the fields of the spec that the revision is the hash of.
	Hashed map[string]any `json:"hashed"`
	// Completion is how an install is known to be done, as in the spec; "" is Exit.
	Completion Completion `json:"completion,omitempty"`
	// DoneLabels are the labels by which steps say that they are done, `key=value` or `key-` for one that is gone, by step.
	DoneLabels map[string]string `json:"doneLabels,omitempty"`
	// Classes are the RuntimeClasses of the revision with their handlers.
	Classes []Class `json:"classes,omitempty"`
	// DaemonSets are the rendered installers by step, without owners and pull secrets.
	DaemonSets map[string]*appsv1.DaemonSet `json:"daemonSets"`
	// RuntimeClasses are the rendered classes at the time the revision was made.
	RuntimeClasses []*nodev1.RuntimeClass `json:"runtimeClasses,omitempty"`
}

// Completion is how an install is known to be done.
type Completion string

// The completions besides Exit, which is "".
const (
	CompletionReady     Completion = "Ready"
	CompletionNodeLabel Completion = "NodeLabel"
)

// Payload is the payload image of the revision, and whether it took the place of the spec's.
func (c *RevisionContent) Payload() (image string, overridden bool) {
	image, _ = c.Hashed["payloadImage"].(string)
	overridden, _ = c.Hashed["overridden"].(bool)
	return image, overridden
}

// PullsPayload tells whether the kubelet pulls the payload image, as it is the installer's.
func (c *RevisionContent) PullsPayload() bool { return c.Hashed["installerImage"] == nil }

// Steps are the steps of an operation that have an installer, in order.
func (c *RevisionContent) Steps(operation Operation) []string {
	var steps []string
	for _, step := range operation.Steps() {
		if c.DaemonSets[step] != nil {
			steps = append(steps, step)
		}
	}
	return steps
}

// Class is a RuntimeClass and its handler.
type Class struct {
	Name    string `json:"name"`
	Handler string `json:"handler"`
}

// Handlers returns the distinct handlers of the revision in the order of the spec.
func (c *RevisionContent) Handlers() []string {
	var handlers []string
	for _, class := range c.Classes {
		known := false
		for _, h := range handlers {
			known = known || h == class.Handler
		}
		if !known {
			handlers = append(handlers, class.Handler)
		}
	}
	return handlers
}
