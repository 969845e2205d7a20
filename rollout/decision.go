// Package rollout answers: whose turn is it?
//
// From what should be where and what is there, at one time, it decides which nodes are worked on next, and why the others
// wait. It is a pure function; whoever carries a decision out does so by compare-and-swap on what the decision saw.
package rollout

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// Decision is what to do now, why the rest waits, and when to look again.
type Decision struct {
	// Rebuild is true when the ConfigMap of turns is not there: it is made anew from a consistent list of nodes, and nothing
	// else happens before.
	Rebuild bool
	// Turns are the bookings as they should be, nil if they are so already. A gate opens only on a node that is booked in the
	// observed turns, that is in a later pass.
	Turns []observed.Turn
	// Booked and Freed are how Turns differs from what was observed, for logs and metrics.
	Booked, Freed []observed.Turn
	// Moves are transitions of nodes, each one patch.
	Moves []Move
	// Holds are the selected or carrying nodes that are not done and that nothing is done to right now, with the reason.
	Holds []Hold
	// Looks are the nodes whose pods the next decision wants to know.
	Looks []string
	// Evictions are pods to be evicted from nodes that are being emptied.
	Evictions []Eviction
	// Bad are revisions to be given up.
	Bad []Bad
	// Proven are revisions that every selected node is done with, or left alone, for the first time: to be marked.
	Proven []Proven
	// Panics are what the code failed with that looked at single runtimes: nothing is done for those.
	Panics []Panic
	// Objects says which installers, classes and snapshots should be there.
	Objects Objects
	// Runtimes sums up, in the order of the plan.
	Runtimes []Summary
	// Pools are those that are in force, in the order of the plan.
	Pools []PoolSummary
	// Labelled is since when done labels have been as their steps want them, to be handed over in the next snapshot.
	Labelled map[observed.NodeRuntime]time.Time
	// Again is when time alone makes a new decision worth while; zero if it does not.
	Again time.Time
}

// Move is one transition of one node for one runtime: a compare-and-swap on the progress annotation.
type Move struct {
	Kind MoveKind
	observed.Transition
}

// MoveKind names a transition.
type MoveKind string

// The transitions.
const (
	OpenGate   MoveKind = "OpenGate"
	Redirect   MoveKind = "Redirect" // back, before the command began
	Succeed    MoveKind = "Succeed"
	Fail       MoveKind = "Fail"
	NoteExit   MoveKind = "NoteExit"
	RemoveKeys MoveKind = "RemoveKeys"
	Repair     MoveKind = "Repair"
	ReturnTurn MoveKind = "ReturnTurn"
	Restart    MoveKind = "Restart"
	CloseGate  MoveKind = "CloseGate" // between two steps, or before an operation on a payload that stays
	NextStep   MoveKind = "NextStep"
	Untaint    MoveKind = "Untaint"
	Drain      MoveKind = "Drain" // closes the node to new pods, before the gate opens
	Block      MoveKind = "Block" // pods are in the way that only people can do something about
)

// Reason is why a node waits or failed. Reasons are part of the API.
type Reason string

// The reasons of holds: nodes that wait for their turn.
const (
	BudgetUsed         Reason = "BudgetUsed"
	PoolInvalid        Reason = "PoolInvalid"
	PoolPaused         Reason = "PoolPaused"
	PoolBudgetUsed     Reason = "PoolBudgetUsed"
	OutsideWindow      Reason = "OutsideWindow"
	Paused             Reason = "Paused"
	Halted             Reason = "Halted"
	Held               Reason = "Held"
	NodeNotReady       Reason = "NodeNotReady"
	NodeDeleting       Reason = "NodeDeleting"
	NodeCordoned       Reason = "NodeCordoned"
	OthersAtWork       Reason = "OthersAtWork"
	OtherRuntime       Reason = "OtherRuntime"
	WaitingForWave     Reason = "WaitingForWave"
	WaitingForZone     Reason = "WaitingForZone"
	InstallerLeft      Reason = "InstallerLeft"
	WaitingForTurn     Reason = "WaitingForTurn"
	PreparingInstaller Reason = "PreparingInstaller"
	SpecGone           Reason = "SpecGone"
	Orphaned           Reason = "Orphaned"
	StaleSpec          Reason = "StaleSpec"
	NothingSelected    Reason = "NothingSelected"
	JustDeselected     Reason = "JustDeselected"
	NoSnapshot         Reason = "NoSnapshot"
	UnreadableProgress Reason = "UnreadableProgress"
	MassDeselection    Reason = "MassDeselection"
	NotRolledBack      Reason = "NotRolledBack"
	WriteRefused       Reason = "WriteRefused"
	InternalError      Reason = "InternalError"
	NoGoal             Reason = "NoGoal"
)

// The reasons of nodes whose pods are in the way of an operation: of holds, and of what is written on nodes.
const (
	PodsUnseen      Reason = "PodsUnseen"
	WaitingForPods  Reason = "WaitingForPods"
	EvictionRefused Reason = "EvictionRefused"
	PodsInUse       Reason = "PodsInUse"
	BarePods        Reason = "BarePods"
	DrainTimedOut   Reason = "DrainTimedOut"
)

// The reasons of holds: nodes under way or soaking.
const (
	WaitingForPod      Reason = "WaitingForPod"
	PodNotStarted      Reason = "PodNotStarted"
	CommandRunning     Reason = "CommandRunning"
	CommandFailed      Reason = "CommandFailed"
	WaitingForMain     Reason = "WaitingForMain"
	WaitingForHandlers Reason = "WaitingForHandlers"
	WaitingForNode     Reason = "WaitingForNode"
	WaitingForLabel    Reason = "WaitingForLabel"
	WaitingForReady    Reason = "WaitingForReady"
	PayloadNotReady    Reason = "PayloadNotReady"
	Soaking            Reason = "Soaking"
)

// The reasons of failures and of other things that stand in a progress.
const (
	InstallFailed      Reason = "InstallFailed"
	UninstallFailed    Reason = "UninstallFailed"
	VerifyFailed       Reason = "VerifyFailed"
	TimedOut           Reason = "TimedOut"
	HandlersMissing    Reason = "HandlersMissing"
	NotReadyInSoak     Reason = "NotReadyInSoak"
	HandlerLost        Reason = "HandlerLost"
	HandlerLostInSoak  Reason = "HandlerLostInSoak"
	MachineReplaced    Reason = "MachineReplaced"
	TurnReturned       Reason = "TurnReturned"
	HandlersReported   Reason = "HandlersReported"
	HandlersUnreported Reason = "HandlersUnreported"
	NoHandlers         Reason = "NoHandlers"
	Verified           Reason = "Verified"
	StepDone           Reason = "StepDone"
	PayloadLeaving     Reason = "PayloadLeaving"
)

// Hold is a node that waits, with the reason and the words for people.
type Hold struct {
	Node    string `json:"node"`
	Runtime string `json:"runtime"`
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	// Until is when time alone ends the hold; zero if something else has to happen.
	Until time.Time `json:"until,omitzero"`
}

// Summary is how one runtime stands.
type Summary struct {
	Runtime string
	// Total nodes are selected or carry the runtime; Done ones are Ready at the goal and soaked.
	Total, Done int
	// Selected nodes match the selector; Ready ones offer the runtime in whatever revision.
	Selected, Ready                                    int
	Installing, Uninstalling, Soaking, Failed, Pending int
	// Draining nodes are being emptied before an operation.
	Draining int
	// Allowed is the budget in nodes, that of the wave whose turn it is; Used is how many places are taken.
	Allowed, Used int
	// Wave is the wave whose turn it is, "" where there are none and for the rest.
	Wave string
	// Halted says why no new turns are given, "" if they are.
	Halted        Reason
	HaltedMessage string
	// FailedNodes are the nodes that failed at the goal, with what they said.
	FailedNodes []FailedNode
}

// PoolSummary is how one pool stands, over all runtimes.
type PoolSummary struct {
	// ConfigMap is the name of the one that describes the pool.
	ConfigMap string
	// Nodes are in the pool; Used of them are out of service because of Longshore, and Allowed may be, 0 for as many as the runtimes like.
	Nodes, Used, Allowed int
}

// FailedNode is a node that failed, with its last words.
type FailedNode struct {
	Node      string
	Reason    string
	Message   string
	Operation observed.Operation
	// Since is when it failed.
	Since time.Time
}

func (f FailedNode) install() bool { return f.Operation == observed.Install }

// Eviction is a pod to be evicted, for the turn of a node.
type Eviction struct {
	Node, Runtime string
	Pod           observed.Workload
}

// Bad is a revision that is not to be tried again: to be written down before anybody acts on it.
type Bad struct {
	Runtime, Revision string
	// To is the revision that nodes go back to, "" where there is none.
	To string
	// Reason is in words.
	Reason string
}

// Proven is a revision that is to be marked as proven.
type Proven struct{ Runtime, Revision string }

// Panic is what the code failed with that looked at one runtime, with its stack.
type Panic struct{ Runtime, Text string }

// Objects says what should be there besides nodes' keys. What is right already is in it as well.
type Objects struct {
	// Installers should exist, each restored from the ControllerRevision it names.
	Installers []Installer
	// Classes should exist, by runtime.
	Classes []ClassRef
	// DoneLabels are the label keys that payloads say by that they are done, sorted.
	DoneLabels []string
	// Delete lists ours that should go.
	Delete []ObjectRef
	// Warnings are what people should know about objects, by runtime.
	Warnings []Warning
}

// Installer is a DaemonSet that should exist.
type Installer struct {
	Runtime, Revision, Step string
}

// Name is the DaemonSet's name.
func (i Installer) Name() string { return observed.DaemonSetName(i.Runtime, i.Step, i.Revision) }

// ClassRef is a RuntimeClass that should exist.
type ClassRef struct {
	Runtime, Name string
}

// ObjectRef is an object of ours that should go; the uid is a precondition.
type ObjectRef struct {
	Kind, Name string
	UID        types.UID
	Runtime    string
}

// Warning is something about a runtime that people should know.
type Warning struct {
	Runtime, Reason, Message string
	// Refused is the write that it is about, nil for none.
	Refused *RefusedWrite
}

// RefusedWrite is an object that the API server refuses to change.
type RefusedWrite struct {
	Object observed.ObjectRef
	observed.Refusal
}
