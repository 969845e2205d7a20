// Package spec answers: what did people ask?
//
// It turns the data of a ConfigMap into a [Runtime] or a [Pool]: parsed, defaulted, validated, with every error at once. It knows no
// cluster: the same functions serve the controller and `longshore validate`.
package spec

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// LabelRuntime is the label that makes a ConfigMap a spec; its value is the runtime's name.
const LabelRuntime = "longshore.dev/runtime"

// Runtime is one named installation as its spec describes it, with every default filled in.
type Runtime struct {
	// Name is the runtime's identity: the value of [LabelRuntime].
	Name string

	PayloadImage string
	// Overridden is true where PayloadImage is not the spec's (see [Runtime.WithPayload]).
	Overridden     bool
	InstallerImage string
	InstallCmd     []string
	UninstallCmd   []string
	CleanupCmd     []string
	Volumes        []corev1.Volume
	VolumeMounts   []corev1.VolumeMount
	Env            []corev1.EnvVar
	PreInstall     *Hook
	PostUninstall  *Hook

	ImagePullPolicy  corev1.PullPolicy
	ImagePullSecrets []corev1.LocalObjectReference

	Completion         Completion
	InstallDoneLabel   *DoneLabel
	UninstallDoneLabel *DoneLabel
	CleanupDoneLabel   *DoneLabel
	NodeAccess         NodeAccess
	PodSecurity        PodSecurity
	Patches            []Patch

	// NodeSelector selects nodes; it already includes kubernetes.io/os=linux and leaves out virtual kubelets.
	NodeSelector labels.Selector
	// NodeSelectorText is the selector as the user wrote it, for messages.
	NodeSelectorText string
	RuntimeClasses   []RuntimeClass
	Verify           *Verify

	MaxUnavailable intstr.IntOrString
	Waves          []Wave
	Soak           time.Duration
	OnFailure      OnFailure
	MaxFailed      intstr.IntOrString
	Attempts       int
	InstallTimeout time.Duration
	Drain          Drain
	Paused         bool
	DeletionPolicy DeletionPolicy
	InUsePolicy    InUsePolicy
	// DeletionGrace is how long the runtime may be without a spec before its nodes are uninstalled; nil is the controller's default.
	DeletionGrace *time.Duration
	// DeselectionGrace is how long a node's labels must not match before it counts as deselected; nil is the controller's default.
	DeselectionGrace *time.Duration
}

// Hook is a command with an image of its own that runs before the install or after the uninstall.
type Hook struct {
	Image        string               `json:"image"`
	Cmd          []string             `json:"cmd"`
	Env          []corev1.EnvVar      `json:"environmentVariables,omitempty"`
	Volumes      []corev1.Volume      `json:"volumes,omitempty"`
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
	DoneLabel    *DoneLabel           `json:"doneLabel,omitempty"`
}

// DoneLabel is the node label by which a payload says that a step is done. Value is nil for "the label is gone".
type DoneLabel struct {
	Key   string
	Value *string
}

// Completion is how a step is known to be done.
type Completion string

// The completions.
const (
	CompletionExit      Completion = "Exit"
	CompletionReady     Completion = "Ready"
	CompletionNodeLabel Completion = "NodeLabel"
)

// NodeAccess says which rights on its own Node an installer pod has.
type NodeAccess string

// No token at all, or a token for the metadata of the pod's own node.
const (
	NodeAccessNone NodeAccess = "None"
	NodeAccessOwn  NodeAccess = "Own"
)

// PodSecurity is what an installer pod may do on its node.
type PodSecurity struct {
	Privileged                    bool                 `json:"privileged"`
	HostPID                       bool                 `json:"hostPID"`
	HostNetwork                   bool                 `json:"hostNetwork"`
	Capabilities                  *corev1.Capabilities `json:"capabilities,omitempty"`
	ReadOnlyRootFilesystem        bool                 `json:"readOnlyRootFilesystem"`
	TerminationGracePeriodSeconds *int64               `json:"terminationGracePeriodSeconds,omitempty"`
}

// Patch is one kustomize patch: a body (strategic merge or JSON 6902) and what it applies to.
type Patch struct {
	// Patch is the body as YAML text.
	Patch string `json:"patch"`
	// Target selects objects as in a kustomization's patches[].target; nil where the body names its object.
	Target *PatchTarget `json:"target,omitempty"`
	// Options are kustomize's patch options (allowNameChange, allowKindChange); neither may be true.
	Options map[string]bool `json:"options,omitempty"`
}

// PatchTarget is kustomize's selector of patched objects.
type PatchTarget struct {
	Group              string `json:"group,omitempty"`
	Version            string `json:"version,omitempty"`
	Kind               string `json:"kind,omitempty"`
	Name               string `json:"name,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
	LabelSelector      string `json:"labelSelector,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
}

// RuntimeClass is one class that the runtime offers.
type RuntimeClass struct {
	Name        string              `json:"name"`
	Handler     string              `json:"handler"`
	Overhead    corev1.ResourceList `json:"overhead,omitempty"`
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	Scheduling  ClassScheduling     `json:"scheduling,omitempty"`
}

// ClassScheduling says whether pods of a class are kept to nodes with the ready label.
type ClassScheduling string

// Pods only where the runtime is ready (the default), or anywhere.
const (
	SchedulingReady ClassScheduling = "Ready"
	SchedulingNone  ClassScheduling = "None"
)

// Verify is a pod of the first RuntimeClass that must exit 0 on a node before the node counts as Ready.
type Verify struct {
	Image string   `json:"image"`
	Cmd   []string `json:"cmd"`
}

// Wave is a named group of nodes that goes before the others.
type Wave struct {
	Name string
	// Selector chooses the wave's nodes; nil where Count is used.
	Selector     labels.Selector
	SelectorText string
	// Count is the number of nodes of a wave by count, 0 where Selector is used.
	Count          int
	MaxUnavailable *intstr.IntOrString
	Soak           *time.Duration
}

// OnFailure says what happens when more than maxFailed nodes failed.
type OnFailure string

// The reactions to failed nodes.
const (
	OnFailureHalt     OnFailure = "Halt"
	OnFailureContinue OnFailure = "Continue"
	OnFailureRollback OnFailure = "Rollback"
)

// Drain says what happens to a node's other pods before an operation.
type Drain string

// The drain modes.
const (
	DrainNone   Drain = "None"
	DrainCordon Drain = "Cordon"
	DrainDrain  Drain = "Drain"
)

// DeletionPolicy says what a deleted spec means for the nodes.
type DeletionPolicy string

// The deletion policies.
const (
	DeletionBackground DeletionPolicy = "Background"
	DeletionForeground DeletionPolicy = "Foreground"
	DeletionOrphan     DeletionPolicy = "Orphan"
)

// InUsePolicy says what an uninstall does while pods use the runtime on a node.
type InUsePolicy string

// The in-use policies.
const (
	InUseWait   InUsePolicy = "Wait"
	InUseEvict  InUsePolicy = "Evict"
	InUseIgnore InUsePolicy = "Ignore"
)

// WithRolloutOf returns the runtime, rolled out as another version of its spec says: where, how carefully and with which pull secrets. Nothing of that is part of the revision.
func (r *Runtime) WithRolloutOf(other *Runtime) *Runtime {
	out := *other
	out.PayloadImage, out.Overridden, out.InstallerImage = r.PayloadImage, r.Overridden, r.InstallerImage
	out.InstallCmd, out.UninstallCmd, out.CleanupCmd = r.InstallCmd, r.UninstallCmd, r.CleanupCmd
	out.Volumes, out.VolumeMounts, out.Env = r.Volumes, r.VolumeMounts, r.Env
	out.PreInstall, out.PostUninstall = r.PreInstall, r.PostUninstall
	out.Completion, out.NodeAccess, out.PodSecurity, out.Patches = r.Completion, r.NodeAccess, r.PodSecurity, r.Patches
	out.InstallDoneLabel, out.UninstallDoneLabel, out.CleanupDoneLabel = r.InstallDoneLabel, r.UninstallDoneLabel, r.CleanupDoneLabel
	out.RuntimeClasses, out.Verify = r.RuntimeClasses, r.Verify
	return &out
}

// VerifyClass is the name of the RuntimeClass that verification runs with. It is made for that, with the first class's handler, which is part of the name because that of
// a class cannot change.
func (r *Runtime) VerifyClass() string { return r.Name + "-verify-" + r.RuntimeClasses[0].Handler }

// Handlers returns the distinct handlers of the runtime's classes, in the order of the spec.
func (r *Runtime) Handlers() []string {
	var handlers []string
	seen := map[string]bool{}
	for _, c := range r.RuntimeClasses {
		if !seen[c.Handler] {
			seen[c.Handler] = true
			handlers = append(handlers, c.Handler)
		}
	}
	return handlers
}
