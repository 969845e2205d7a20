package observed

import (
	"fmt"
	"strings"
)

// Domain is the domain of every label and annotation of Longshore.
const Domain = "longshore.dev"

// Manager is the field manager of server-side apply and the value of [LabelManagedBy].
const Manager = "longshore"

// Labels of the objects that Longshore makes.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelRuntimeOf = Domain + "/runtime-of"
	// LabelInstaller is what a DaemonSet of ours selects its pods by. Nothing else may carry it: the DaemonSet controller
	// adopts, prunes and garbage-collects every ownerless ControllerRevision that matches a DaemonSet's selector.
	LabelInstaller = Domain + "/installer"
	LabelRevision  = Domain + "/revision"
	LabelStep      = Domain + "/step"
)

// Labels of what people write.
const (
	LabelRuntime = Domain + "/runtime"
	LabelPool    = Domain + "/pool"
)

// Annotations on a runtime's newest ControllerRevision: what has to be known before it is acted on.
const (
	// AnnotationSpec is the data of the last valid spec, as JSON.
	AnnotationSpec = Domain + "/spec"
	// AnnotationSource is the name, the uid and the time of creation of the ConfigMap that [AnnotationSpec] came from.
	AnnotationSource = Domain + "/source"
	// AnnotationNothingSelected stands while a spec edit that left no node selected is in force: nothing is uninstalled then.
	AnnotationNothingSelected = Domain + "/nothing-selected"
	// AnnotationBad stands where the revision is not to be tried again, and says where nodes go back to, as JSON (see [Bad]).
	AnnotationBad = Domain + "/bad"
	// AnnotationProven is when every selected node was done with the revision, or left alone, for the first time, in RFC 3339. A proven revision
	// is never given up by itself.
	AnnotationProven = Domain + "/proven"
	// AnnotationDeselection says what is known of nodes that lost their labels, as JSON (see [Deselection]).
	AnnotationDeselection = Domain + "/deselection"
	// AnnotationVanished is when the last spec of the runtime was gone, in RFC 3339.
	AnnotationVanished = Domain + "/vanished"
	// AnnotationSurvivor is what is known of an older spec that is left when the one in force is gone, as JSON (see [Survivor]).
	AnnotationSurvivor = Domain + "/survivor"
)

// AnnotationSyncWave orders what Argo CD applies and prunes.
const AnnotationSyncWave = "argocd.argoproj.io/sync-wave"

// Annotations that people write on a spec, never data, so that nothing undoes them and immutable ConfigMaps have them as well. What is heard of them stands under the
// same key on the runtime's newest ControllerRevision.
const (
	// AnnotationPause pauses the runtime; its value is the reason. "false" resumes it, also where an earlier ConfigMap of the runtime was paused.
	AnnotationPause = Domain + "/pause"
	// AnnotationRetry with a new value has a bad revision tried again.
	AnnotationRetry = Domain + "/retry"
	// AnnotationRollback is two revisions, with a space between: which one is to be given up, and which one nodes shall go back to.
	AnnotationRollback = Domain + "/rollback"
	// AnnotationUninstallDeselected with a new value has nodes uninstalled that lost their labels, although they are many.
	AnnotationUninstallDeselected = Domain + "/uninstall-deselected"
)

// PeopleAnnotations are the annotations that people write on a spec, sorted.
var PeopleAnnotations = []string{AnnotationPause, AnnotationRetry, AnnotationRollback, AnnotationUninstallDeselected}

// Resumed is the value of [AnnotationPause] that ends a pause.
const Resumed = "false"

// DoneLabelsName is the name of the ConfigMap with the labels that payloads may change on their own nodes, and DoneLabelsKey its only key:
// one label key a line, sorted. An admission policy reads it.
const (
	DoneLabelsName = "longshore-done-labels"
	DoneLabelsKey  = "labels"
)

// Finalizer holds a deleted spec with deletionPolicy Foreground until every node is done.
const Finalizer = Domain + "/uninstall"

// PauseContainer is the name of the container that is left in an installer pod when its commands have ended.
const PauseContainer = "pause"

// AnnotationTemplate on an installer DaemonSet and its pods is a digest of what the pods take from today and not from their
// snapshot: pull policy, pull secrets and the image of the main container. A pod that has another one is outdated.
const AnnotationTemplate = Domain + "/template"

// AnnotationAdopt on a RuntimeClass that Longshore did not make hands it over to the runtime named.
const AnnotationAdopt = Domain + "/adopt"

// Annotations of status on a spec.
const (
	SpecPhase      = Domain + "/phase"
	SpecMessage    = Domain + "/message"
	SpecProgress   = Domain + "/progress"
	SpecRevision   = Domain + "/revision"
	SpecConditions = Domain + "/conditions"
	// SpecWarnings is flat text, a line a warning, for tools that cannot parse JSON. It is not there where there is none.
	SpecWarnings     = Domain + "/warnings"
	SpecObservedData = Domain + "/observed-data"
	// PoolLastGood is the data of a pool's last valid version, as JSON, where [PoolsName] was not seen to hold it yet. Earlier versions had it nowhere else.
	PoolLastGood = Domain + "/last-good"
)

// SpecAnnotations are the status annotations on a spec, PoolAnnotations those on a pool, sorted.
var (
	SpecAnnotations = []string{SpecConditions, SpecMessage, SpecObservedData, SpecPhase, SpecProgress, SpecRevision, SpecWarnings}
	PoolAnnotations = []string{PoolLastGood, SpecMessage, SpecObservedData, SpecPhase}
)

// The suffixes of the keys on a node, each behind `<runtime>.longshore.dev/`.
const (
	suffixGate     = "gate"
	suffixReady    = "ready"
	suffixPhase    = "phase"
	suffixProgress = "progress"
	suffixHold     = "hold"
	suffixRetry    = "retry"
	suffixNotReady = "not-ready"
)

// GateKey is the node label that lets the installer it names onto the node.
func GateKey(runtime string) string { return nodeKey(runtime, suffixGate) }

// ReadyKey is the node label that says that the node offers the runtime.
func ReadyKey(runtime string) string { return nodeKey(runtime, suffixReady) }

// PhaseKey is the node label with the phase.
func PhaseKey(runtime string) string { return nodeKey(runtime, suffixPhase) }

// ProgressKey is the node annotation with the whole progress as JSON.
func ProgressKey(runtime string) string { return nodeKey(runtime, suffixProgress) }

// HoldKey is the node annotation by which people keep Longshore's hands off a node.
func HoldKey(runtime string) string { return nodeKey(runtime, suffixHold) }

// RetryKey is the node annotation by which people ask for another try.
func RetryKey(runtime string) string { return nodeKey(runtime, suffixRetry) }

// NotReadyTaint is the key of the startup taint of a node that is not in service yet.
func NotReadyTaint(runtime string) string { return nodeKey(runtime, suffixNotReady) }

// Starting tells whether the node has the startup taint of a runtime: it is not in service yet.
func (n *Node) Starting(runtime string) bool {
	for i := range n.Taints {
		if name, ours := strings.CutSuffix(n.Taints[i].Key, "."+Domain+"/"+suffixNotReady); ours && name == runtime {
			return true
		}
	}
	return false
}

// RuntimeOfKey returns the runtime that a node label or annotation belongs to, or "" if it is none of ours.
func RuntimeOfKey(key string) string {
	domain, _, ok := strings.Cut(key, "/")
	if !ok {
		return ""
	}
	runtime, ok := strings.CutSuffix(domain, "."+Domain)
	if !ok || strings.Contains(runtime, ".") {
		// A runtime's name is a DNS label.
		return ""
	}
	return runtime
}

// GateValue is the value of the gate label for one installer.
func GateValue(revision, step string) string { return revision + "-" + step }

// ParseGate splits a gate label's value into revision and step.
func ParseGate(value string) (revision, step string, ok bool) {
	return strings.Cut(value, "-")
}

// DaemonSetName is the name of the installer of one step of one revision.
func DaemonSetName(runtime, step, revision string) string {
	return runtime + "-" + step + "-" + revision
}

// RevisionName is the name of the ControllerRevision of one revision.
func RevisionName(runtime, revision string) string { return runtime + "-" + revision }

func nodeKey(runtime, suffix string) string { return runtime + "." + Domain + "/" + suffix }

func cutPair(text string) (left, right string, err error) {
	left, right, ok := strings.Cut(text, "/")
	if !ok {
		return "", "", fmt.Errorf("%q is not of the form left/right", text)
	}
	return left, right, nil
}
