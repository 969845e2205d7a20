package rollout_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// A scenario is text. A line of the world is one node with one runtime:
//
//	node  runtime  phase  revision  [option…]
//
// with "-" for a phase or revision that is not there. The revisions are called old and new; the spec asks for new. Options:
//
//	deleting       the node is being deleted          repairs N      how often a lost handler came back
//	since 16m      the phase began so long ago        notready 10s   the node is NotReady, since then
//	unlabelled     the node is not selected           hold "text"    people hold the node
//	booked R/op    a turn is booked                   unbooked       none is, although the phase has one
//	anew           it was booked after what stands on the node was written
//	attempted R    whose command began before           unbegun        no command of the operation did
//	gated          the gate stands there all the same   gate R-step   and so does this one
//	turn T         the booking that was written under: t1 (the default), or t2, which a turn has that is not under way yet
//	pod STATE      an installer pod of the gate       handlers a,b   what the kubelet reports
//	previous R     what was installed before          attempt N      the try under way
//	retry V        the retry annotation               label k=v,k=v  labels more
//	machine M      the machine of the progress        reason R       the reason in the progress
//	boot B         the boot of the progress, which is b where the node is
//	failure R      like reason, for failed installs   uninstalling   the operation is uninstall
//	step S         the step of the gate and its pod   labelled 5s    the done label has been as wanted for so long
//	cordoned       somebody cordoned the node         others "text"  somebody else is at work on it
//	starting       the node has the startup taint       ours           the node is cordoned, and it was Longshore
//	uncordoned     like ours, but people uncordoned the node
//	broken         it had failed before it was emptied  sees "POD, …"  its pods: namespace/name and any of class=C, evictable, bare,
//	                                                                   static, leaving, ended
//
// A line of the decision is a move, a booking, an end of one, or a hold.
type scenario struct {
	// spec is put over the default spec, lines of `key: value`.
	spec string
	// gone is when the spec vanished; negative where it is not there and nobody has written that down yet.
	gone time.Duration
	// forgotten is a runtime of which neither a spec nor a snapshot is there any more.
	forgotten string
	// nothing is true where an edit of the spec left no node selected.
	nothing bool
	// missing are DaemonSets that are not there yet, by step-revision.
	missing string
	// lost are revisions whose snapshots cannot be read, though their installers are there.
	lost string
	// doneLabels are those of completion NodeLabel by revision/step, in place of the usual ones of that revision.
	doneLabels map[string]string
	// listed are the labels that payloads may change, all of them where it is empty; with "-" there is no such list.
	listed string
	// tokenless is true where the payloads have no token that the list would be for.
	tokenless bool
	// bad is what the revision new is marked with: the revision to go back to, "-" for none; it is not marked where it is empty.
	bad string
	// asked is true where people asked for that.
	asked bool
	// proven are revisions that are proven.
	proven string
	// unproven is true where nothing may be proven: elsewhere nobody looks.
	unproven bool
	// unsaid is true where nobody agreed that nodes without the label are uninstalled: by default people edited the selector.
	unsaid bool
	// refusals are writes that the API server refused a minute ago, lines of `kind name`; with `since` before they are tried again.
	refusals, expired string
	// maybeThere is a node that a turn names and nobody sees.
	maybeThere string
	// paused is why people paused the runtime.
	paused string
	// classes are RuntimeClasses that are there, `name=handler`, and denied is the right that the controller does not have: pods or evictions.
	classes, denied string
	// refused is why the pod whose name comes first was not evicted a second ago.
	refused string
	// pools are the names of ConfigMaps with the pool label that are refused.
	pools string
	// pool has pools that are not, lines of `name key: value`; every node is in them if nodeSelector is not said.
	pool string
	// completion is that of both revisions, Exit where it is empty. With NodeLabel there are the steps pre (done=pre), install (done=install),
	// uninstall (without a done label) and post (pre-), the last two of the uninstall.
	completion observed.Completion
	world      string
	want       string
}

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func scenarios() map[string]scenario {
	return map[string]scenario{
		"the first node of a budget of one gets a turn": {
			world: `a  kata  -  -
			        b  kata  -  -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a booked node gets its gate in the next pass, not in the same": {
			world: `a  kata  -  -  booked new/install
			        b  kata  -  -`,
			want: `move OpenGate a Installing new gate=new-install
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"no gate opens before the installer is there": {
			missing: "install-new",
			world:   `a  kata  -  -  booked new/install`,
			want:    `hold a PreparingInstaller "waiting for DaemonSet kata-install-new"`,
		},
		"a percentage is rounded down, but not below one": {
			spec: `maxUnavailable: 50%`,
			world: `a  kata  -  -
			        b  kata  -  -
			        c  kata  -  -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"
			       hold c BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a running command is waited for": {
			world: `a  kata  Installing  new  since 2m  pod running`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"a node that shows the handler after the command is Ready": {
			world: `a  kata  Installing  new  since 2m  pod done  handlers kata`,
			want:  `move Succeed a Ready new ready`,
		},
		"a node that reports no handlers at all is Ready and says so": {
			world: `a  kata  Installing  new  since 2m  pod done`,
			want:  `move Succeed a Ready new ready HandlersUnreported`,
		},
		"a node that denies the handler is not Ready": {
			world: `a  kata  Installing  new  since 2m  pod done  handlers runc`,
			want:  `hold a WaitingForHandlers "every step exited 0, but the node reports handlers runc; expected also kata"`,
		},
		"a node that never shows the handler fails by time": {
			world: `a  kata  Installing  new  since 16m  pod done  handlers runc`,
			want:  `move Fail a Failed new HandlersMissing "not done after 15m0s: every step exited 0, but the node reports handlers runc; expected also kata"`,
		},
		"a NotReady node is not called Ready": {
			world: `a  kata  Installing  new  since 2m  pod done  handlers kata  notready 5s`,
			want:  `hold a WaitingForNode "every step exited 0, but the node is NotReady"`,
		},
		"a main container that does not start proves that the runtime is broken": {
			world: `a  kata  Installing  new  since 2m  pod unstarted  handlers kata`,
			want:  `hold a WaitingForMain "every step exited 0; waiting for the container runtime to start the pod's main container: CreateContainerError: no shim"`,
		},
		"a slow node times out and keeps its place in the budget": {
			world: `a  kata  Ready       old  since 1h
			        b  kata  Installing  new  since 16m  pod running`,
			want: `move Fail b Failed new TimedOut "not done after 15m0s: step install is running"
			       hold a BudgetUsed "1 of 1 nodes out of service: b"`,
		},
		"an image that cannot be pulled fails by time, with the words of the kubelet": {
			world: `a  kata  Installing  new  since 16m  pod pulling`,
			want:  `move Fail a Failed new unbegun TimedOut "not done after 15m0s: step install has not started: ImagePullBackOff: no such image"`,
		},
		"a command that fails is noted and tried again": {
			world: `a  kata  Installing  new  since 1m  pod failed:1:1`,
			want:  `move NoteExit a Installing new gate=new-install attempt=2 CommandFailed "step install exited 1: no space left"`,
		},
		"a failure that was noted is only waited for": {
			world: `a  kata  Installing  new  since 1m  attempt 2  exits 1  pod failed:1:1`,
			want:  `hold a CommandFailed "step install exited 1: no space left; the kubelet runs it again"`,
		},
		"the last attempt fails the node with the command's own words": {
			world: `a  kata  Installing  new  since 1m  attempt 3  exits 2  pod failed:3:1`,
			want:  `move Fail a Failed new attempt=3 InstallFailed "attempt 3 of 3: step install exited 1: no space left"`,
		},
		"a pod that was made anew does not start from zero": {
			world: `a  kata  Installing  new  since 1m  attempt 3  exits 2  otherpod  pod failed:1:1`,
			want:  `move Fail a Failed new attempt=3 InstallFailed "attempt 3 of 3: step install exited 1: no space left"`,
		},
		"the kill by the restart that the command asked for is no attempt": {
			world: `a  kata  Installing  new  since 1m  pod failed:1:137`,
			want:  `move NoteExit a Installing new gate=new-install attempt=1 CommandFailed "step install exited 137: no space left"`,
		},
		"the second kill is an attempt": {
			world: `a  kata  Installing  new  since 1m  exits 1  excused  pod failed:2:143`,
			want:  `move NoteExit a Installing new gate=new-install attempt=2 CommandFailed "step install exited 143: no space left"`,
		},
		"a command that had exited 0 and is run again after a reboot has not failed": {
			world: `a  kata  Installing  new  since 1m  pod again:1`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"an upgrade after which no container starts takes the ready label away": {
			world: `a  kata  Installing  new  since 16m  previous old  ready  pod unstarted  handlers kata`,
			want:  `move Fail a Failed new previous=old TimedOut "not done after 15m0s: every step exited 0; waiting for the container runtime to start the pod's main container: CreateContainerError: no shim"`,
		},
		"a failed uninstall halts the rollout even if the spec is there again": {
			world: `a  kata  Failed  new  since 1h  uninstalling  failure UninstallFailed
			        b  kata  -       -`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"a failed node halts the rollout": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  -       -`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"with Continue a failed node that is Ready gives its place back": {
			spec: `onFailure: Continue`,
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  -       -`,
			want: `book b install new
			       free a
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a retry books a failed node's own place anew, although the rollout is halted": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  retry 1
			        b  kata  -       -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"a retry starts a failed node in its own place, although the rollout is halted": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  retry 1  booked new/install  anew
			        b  kata  -       -`,
			want: `move OpenGate a Installing new gate=new-install attempt=1
			       hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"a new revision is tried on the failed node first": {
			world: `a  kata  -       -
			        b  kata  Failed  old  since 1h  failure InstallFailed`,
			want: `book b install new
			       hold a BudgetUsed "1 of 1 nodes out of service: b"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a soaking node keeps its place": {
			world: `a  kata  Ready  new  since 20s
			        b  kata  -      -`,
			want: `hold a Soaking "installed; watched until 12:00:40 UTC before it counts"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a soaked node gives its place to the next": {
			world: `a  kata  Ready  new  since 61s  booked new/install
			        b  kata  -      -`,
			want: `book b install new
			       free a
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a node that goes NotReady in its soak failed, and loses the ready label": {
			world: `a  kata  Ready  new  since 30s  booked new/install  notready 10s`,
			want:  `move Fail a Failed new NotReadyInSoak "the node went NotReady at 2026-11-20T11:59:50Z, 20s after the install"`,
		},
		"a node that goes NotReady in the second of its install failed as well": {
			world: `a  kata  Ready  new  since 30s  booked new/install  notready 30s`,
			want:  `move Fail a Failed new NotReadyInSoak "the node went NotReady at 2026-11-20T11:59:30Z, 0s after the install"`,
		},
		"a node whose clock is behind failed as well": {
			world: `a  kata  Ready  new  since 30s  booked new/install  notready 5m`,
			want:  `move Fail a Failed new NotReadyInSoak "the node went NotReady at 2026-11-20T11:55:00Z, 0s after the install"`,
		},
		"a node that is NotReady in its soak and lost its handler failed": {
			world: `a  kata  Ready  new  since 30s  booked new/install  notready 10s  handlers runc`,
			want:  `move Fail a Failed new NotReadyInSoak "the node went NotReady at 2026-11-20T11:59:50Z, 20s after the install"`,
		},
		"a longer soak blames no node that went NotReady when nobody watched": {
			world: `a  kata  Ready  new  since 30s  unbooked  notready 10s`,
			want:  ``,
		},
		"a node that was NotReady before is skipped and says so": {
			world: `a  kata  -  -  notready 10m
			        b  kata  -  -`,
			want: `book b install new
			       hold a NodeNotReady "the node is NotReady since 2026-11-20T11:50:00Z"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a held node is left alone": {
			world: `a  kata  -  -  hold "disk swap, INC-4711"`,
			want:  `hold a Held "held: \"disk swap, INC-4711\""`,
		},
		"a booked node that is held gives its turn back by a write of its own": {
			world: `a  kata  -  -  booked new/install  hold "no"`,
			want: `move ReturnTurn a Pending TurnReturned "held: \"no\""
			       hold a Held "held: \"no\""`,
		},
		"a node that gave a turn back has no place any more": {
			world: `a  kata  Ready  old  since 1h  turn t2  booked new/install  hold "no"
			        b  kata  Ready  old  since 1h`,
			want: `book b install new
			       free a
			       hold a Held "held: \"no\""
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a turn that is given back changes nothing that the node has to tell": {
			world: `a  kata  Ready  old  since 1h  reason HandlersReported  booked new/install  hold "no"`,
			want: `move ReturnTurn a Ready old ready HandlersReported
			       hold a Held "held: \"no\""`,
		},
		"a failed node that cannot be tried again keeps its place and its words": {
			world: `a  kata  Failed  old  since 1h  failure InstallFailed  booked new/install  notready 1m
			        b  kata  -       -`,
			want: `book a install old
			       hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:00Z"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a node that is watched keeps its place, whatever it waits for": {
			world: `a  kata  Ready  old  since 10s  booked new/install  hold "no"
			        b  kata  -      -`,
			want: `book a install old
			       hold a Held "held: \"no\""
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a watched node without a booking gets one before anybody else does": {
			world: `a  kata  Ready  old  since 10s  unbooked
			        b  kata  -      -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a paused runtime leaves the node to others": {
			spec:  `paused: "true"`,
			world: `a  kata  -  -  booked new/install`,
			want: `move ReturnTurn a Pending TurnReturned "the spec is paused"
			       hold a Paused "the spec is paused"`,
		},
		"a turn for what is there already is not taken for the one before it": {
			world: `a  kata  Ready  new  since 1h  booked new/install  anew`,
			want:  `move ReturnTurn a Ready new ready`,
		},
		"a node is written once in a pass": {
			world: `a  kata  Pending  -  reason MachineReplaced  booked new/install  unlabelled`,
			want:  `move ReturnTurn a Pending TurnReturned "the turn was not needed any more"`,
		},
		"the place of a returned turn is free when the node says so": {
			world: `a  kata  Pending  -  reason TurnReturned  booked new/install  unlabelled`,
			want: `free a
			       move RemoveKeys a`,
		},
		"a paused spec gives no turns, but lets nodes under way finish": {
			spec: `paused: "true"`,
			world: `a  kata  Installing  new  since 1m  pod done  handlers kata
			        b  kata  -           -`,
			want: `move Succeed a Ready new ready
			       hold b Paused "the spec is paused"`,
		},
		"an upgrade keeps the ready label while the handlers stay": {
			world: `a  kata  Ready  old  since 1h  booked new/install  handlers kata`,
			want:  `move OpenGate a Installing new ready gate=new-install previous=old`,
		},
		"an upgrade waits for the pod of the revision before to leave": {
			world: `a  kata  Ready  old  since 1h  booked new/install  pod done`,
			want:  `hold a InstallerLeft "waiting for pod kata-install-old-a to leave the node"`,
		},
		"a failed upgrade keeps the ready label of what still works": {
			world: `a  kata  Installing  new  since 16m  previous old  ready  pod running  handlers kata`,
			want:  `move Fail a Failed new ready previous=old TimedOut "not done after 15m0s: step install is running"`,
		},
		"a longer soak gives no place beyond the budget to nodes that were done": {
			world: `a  kata  Installing  new  since 1m   pod running
			        b  kata  Ready       old  since 30s  unbooked
			        c  kata  Ready       old  since 20s  unbooked`,
			want: `hold a CommandRunning "step install is running"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"
			       hold c BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a failed upgrade of a node that is NotReady takes the ready label away and says so": {
			world: `a  kata  Installing  new  since 16m  previous old  ready  pod running  handlers kata  notready 30s`,
			want:  `move Fail a Failed new previous=old TimedOut "not done after 15m0s: step install is running; the node is NotReady since 2026-11-20T11:59:30Z"`,
		},
		"an operation whose command has not begun is taken back when the goal is another one": {
			world: `a  kata  Installing  old  since 1m  pod pulling`,
			want:  `move Redirect a Pending TurnReturned "the install of revision old was not wanted any more before its command began"`,
		},
		"one that has no pod yet is taken back as well": {
			world: `a  kata  Installing  old  since 1m  unlabelled`,
			want:  `move Redirect a Pending TurnReturned "the install of revision old was not wanted any more before its command began"`,
		},
		"what a NotReady node has begun nobody knows": {
			world: `a  kata  Installing  old  since 1m  pod pulling  notready 5s`,
			want:  `hold a PodNotStarted "step install has not started: ImagePullBackOff: no such image; the node is NotReady since 2026-11-20T11:59:55Z"`,
		},
		"the next gate opens when the pod of the operation that was taken back has left": {
			world: `a  kata  Pending  old  reason TurnReturned  booked new/install  anew  pod pulling`,
			want:  `hold a InstallerLeft "waiting for pod kata-install-old-a to leave the node"`,
		},
		"an upgrade that has not begun leaves the node as it was": {
			world: `a  kata  Installing  new  since 1m  previous old  attempted old  ready  handlers kata  pod pulling  unlabelled`,
			want:  `move Redirect a Ready old ready TurnReturned "the install of revision new was not wanted any more before its command began"`,
		},
		"a failed node whose upgrade has not begun is not called Ready for that": {
			world: `a  kata  Installing  new  since 1m  previous old  attempted new  ready  handlers kata  pod pulling  unlabelled`,
			want:  `move Redirect a Pending ready previous=old TurnReturned "the install of revision new was not wanted any more before its command began"`,
		},
		"an uninstall that has not begun is taken back when the spec is there again": {
			world: `a  kata  Uninstalling  new  since 1m  previous new  attempted new  handlers kata  pod pulling`,
			want:  `move Redirect a Ready new ready TurnReturned "the uninstall of revision new was not wanted any more before its command began"`,
		},
		"an uninstall that has begun is completed even if the spec is there again": {
			world: `a  kata  Uninstalling  new  since 1m  previous new  attempted new  pod running`,
			want:  `hold a CommandRunning "step uninstall is running"`,
		},
		"a command that begins as its gate is closing will be undone": {
			world: `a  kata  Pending  new  reason TurnReturned  unlabelled  pod running`,
			want:  `move Repair a Pending TurnReturned "the install of revision new began as its gate was closing"`,
		},
		"a node stays as it is until no pod is left whose command might begin": {
			world: `a  kata  Pending  new  reason TurnReturned  unlabelled  pod pulling`,
			want:  `hold a InstallerLeft "waiting for pod kata-install-new-a to leave the node"`,
		},
		"what never began needs no uninstall": {
			gone:  2 * time.Minute,
			world: `a  kata  Failed  new  since 1h  failure TimedOut  unbegun`,
			want: `free a
			       move RemoveKeys a`,
		},
		"an uninstall undoes what began last, not what never did": {
			gone:  2 * time.Minute,
			world: `a  kata  Failed  new  since 1h  failure TimedOut  unbegun  previous old  attempted old`,
			want: `book a uninstall old
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a command that began in a pod that is on its way out is remembered": {
			world: `a  kata  Installing  new  since 1m  pod leaving`,
			want:  `move Repair a Installing new gate=new-install`,
		},
		"an operation whose command has started is finished first": {
			world: `a  kata  Installing  old  since 1m  pod running`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"a deleted spec uninstalls from the snapshot, after the grace": {
			gone: 2 * time.Minute,
			world: `a  kata  Ready  old  since 1h  booked old/uninstall
			        b  kata  Ready  new  since 1h`,
			want: `move OpenGate a Uninstalling old gate=old-uninstall previous=old
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a spec that was paused when it was deleted is uninstalled all the same: nobody could let it go on": {
			spec:  `paused: "true"`,
			gone:  2 * time.Minute,
			world: `a  kata  Ready  new  since 1h`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a spec that selected nothing when it was deleted is uninstalled all the same": {
			nothing: true,
			gone:    2 * time.Minute,
			world:   `a  kata  Ready  new  since 1h`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"within the grace nothing new begins": {
			gone: 30 * time.Second,
			world: `a  kata  Ready  new  since 1h
			        b  kata  -      -`,
			want: `hold a SpecGone "the spec is gone; the uninstall begins unless it comes back"
			       hold b SpecGone "the spec is gone; the uninstall begins unless it comes back"`,
		},
		"nothing begins before it is written down that the spec is gone": {
			gone: -1,
			world: `a  kata  Ready  new  since 1h
			        b  kata  -      -`,
			want: `hold a SpecGone "the spec is gone; the uninstall begins unless it comes back"
			       hold b SpecGone "the spec is gone; the uninstall begins unless it comes back"`,
		},
		"the turn of a runtime that nobody knows any more is given back": {
			forgotten: "ghost",
			world: `a  ghost  -      -    booked new/install
			        a  kata   Ready  new  since 1h`,
			want: `move ReturnTurn a Pending TurnReturned "the node is not concerned any more"`,
		},
		"and leaves nothing on the node": {
			forgotten: "ghost",
			world: `a  ghost  Pending  -    reason TurnReturned  booked new/install
			        a  kata   Ready    new  since 1h`,
			want: `free a
			       move RemoveKeys a`,
		},
		"a finished uninstall takes every key off": {
			gone:  2 * time.Minute,
			world: `a  kata  Uninstalling  new  since 1m  pod done  uninstalling`,
			want:  `move RemoveKeys a`,
		},
		"the place of an uninstalled node is free": {
			gone: 2 * time.Minute,
			world: `a  kata  -      -    booked new/uninstall
			        b  kata  Ready  new  since 1h`,
			want: `book b uninstall new
			       free a
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a turn that is not needed any more goes back by a write on the node": {
			world: `a  kata  -  -  booked new/install  unlabelled`,
			want:  `move ReturnTurn a Pending TurnReturned "the node is not concerned any more"`,
		},
		"a failed uninstall halts and keeps its place": {
			gone: 2 * time.Minute,
			world: `a  kata  Failed  new  since 1m  uninstalling  failure UninstallFailed
			        b  kata  Ready   new  since 1h`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"one operation a node over all runtimes": {
			world: `a  other  Installing  new  since 1m  pod running
			        a  kata   -           -`,
			want: `hold a OtherRuntime "runtime \"other\" is at work on the node"
			       hold a CommandRunning "step install is running"`,
		},
		"a handler that is not reported any more takes the ready label away": {
			world: `a  kata  Ready  new  since 1h  handlers runc`,
			want:  `move Repair a Ready new HandlerLost "the node does not report handler kata any more"`,
		},
		"a handler that is reported again is not said to be lost": {
			world: `a  kata  Ready  new  since 1h  handlers kata  unready  reason HandlerLost`,
			want:  `move Repair a Ready new ready HandlersReported "the node reports handler kata"`,
		},
		"a lost handler is repaired through the budget": {
			world: `a  kata  Ready  new  since 1h  handlers runc  unready`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a gate label that was removed by hand comes back": {
			world: `a  kata  Installing  new  since 1m  ungated  pod running`,
			want:  `move Repair a Installing new gate=new-install`,
		},
		"an operation whose progress was removed by hand goes on": {
			world: `a  kata  -  new  gated  booked new/install  pod running`,
			want:  `move Repair a Installing new gate=new-install`,
		},
		"a container's name is not taken for a step when the revision cannot be read": {
			lost:  "old",
			world: `a  kata  Uninstalling  old  step cleanup  ungated  unlabelled`,
			want:  `move Repair a Uninstalling old gate=old-uninstall`,
		},
		"a gate that somebody set by hand closes, and what it may have led to is remembered": {
			world: `a  kata  -  new  gated
			        b  kata  -  -`,
			want: `book b install new
			       move Repair a Pending TurnReturned "a gate label stood on the node without a turn"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a node with a gate is left alone by other runtimes, even if its progress cannot be read": {
			world: `a  kata   broken  new  gated
			        a  other  -       -`,
			want: `hold a UnreadableProgress "progress is not readable: unexpected end of JSON input; take the annotation off to have the node installed anew"
			       hold a OtherRuntime "runtime \"kata\" is at work on the node"`,
		},
		"a ready label that was removed by hand comes back": {
			world: `a  kata  Ready  new  since 1h  unready  handlers kata`,
			want:  `move Repair a Ready new ready`,
		},
		"a replaced machine starts from nothing": {
			world: `a  kata  Ready  new  since 1h  machine other`,
			want:  `move Restart a Pending MachineReplaced "machine other was replaced by m"`,
		},
		"progress that cannot be read holds its own node only": {
			world: `a  kata  broken  -
			        b  kata  -       -`,
			want: `book b install new
			       hold a UnreadableProgress "progress is not readable: unexpected end of JSON input; take the annotation off to have the node installed anew"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a node under way without a booking gets one, whatever the budget": {
			world: `a  kata  Installing  new  since 1m  unbooked  pod running
			        b  kata  Installing  new  since 1m  pod running`,
			want: `book a install new
			       hold a CommandRunning "step install is running"
			       hold b CommandRunning "step install is running"`,
		},
		"while a pool is refused no turn is booked, and every waiting node says why and what to do": {
			pools: "databases",
			world: `a  kata  -      -
			        b  kata  Ready  old  since 1h
			        c  kata  Ready  new  since 1h`,
			want: `hold a PoolInvalid ` + poolRefused + `
			       hold b PoolInvalid ` + poolRefused,
		},
		"a node that was booked before keeps its turn and gets no gate while a pool is refused": {
			pools: "databases",
			world: `a  kata  -  -  booked new/install`,
			want:  `hold a PoolInvalid ` + poolRefused,
		},
		"nodes under way finish although a pool is refused": {
			pools: "databases",
			world: `a  kata  Installing  new  since 1m  pod done  handlers kata
			        b  kata  Installing  new  since 16m  pod running
			        c  kata  Installing  new  since 1m  ungated  pod running
			        d  kata  Ready       new  since 61s  booked new/install`,
			want: `free d
			       move Succeed a Ready new ready
			       move Fail b Failed new TimedOut "not done after 15m0s: step install is running"
			       move Repair c Installing new gate=new-install`,
		},
		"an operation whose command has not started stays at its goal while a pool is refused": {
			pools: "databases",
			world: `a  kata  Installing  old  since 1m  pod pulling  booked new/install`,
			want:  `hold a PodNotStarted "step install has not started: ImagePullBackOff: no such image"`,
		},
		"no uninstall begins while a pool is refused": {
			pools: "databases",
			gone:  2 * time.Minute,
			world: `a  kata  Ready  new  since 1h`,
			want:  `hold a PoolInvalid ` + poolRefused,
		},
		"a retry does not begin either while a pool is refused": {
			pools: "databases",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  retry 1`,
			want:  `hold a PoolInvalid ` + poolRefused,
		},
		"a refused pool stops every runtime": {
			pools: "databases",
			world: `a  kata   -  -
			        b  other  -  -`,
			want: `hold a PoolInvalid ` + poolRefused + `
			       hold b PoolInvalid ` + poolRefused + `
			       hold a PoolInvalid ` + poolRefused + `
			       hold b PoolInvalid ` + poolRefused,
		},
		"what is wrong with a node itself is said before what is wrong with a pool": {
			pools: "databases",
			world: `a  kata  -  -  hold "disk swap"
			        b  kata  -  -  notready 10m`,
			want: `hold a Held "held: \"disk swap\""
			       hold b NodeNotReady "the node is NotReady since 2026-11-20T11:50:00Z"`,
		},
		"of several refused pools one is named": {
			pools: "blue databases green",
			world: `a  kata  -  -`,
			want:  `hold a PoolInvalid "nothing starts on any node while the pool in ConfigMap \"blue\" is refused (data[paused]: Unsupported value: \"no\": supported values: \"true\", \"false\"); mend it, or delete it: kubectl delete configmap blue; and 2 more pools"`,
		},
		"a spec that is a pool as well stops every node, and nobody is told to delete it": {
			pools: "kata",
			world: `a  kata  -  -`,
			want:  `hold a PoolInvalid "nothing starts on any node while the pool in ConfigMap \"kata\" is refused (metadata.labels[longshore.dev/pool]: Forbidden: the ConfigMap also has the label longshore.dev/runtime: it is the spec of a runtime or a pool, not both); take the pool label off: kubectl label configmap kata longshore.dev/pool-"`,
		},
		"more failed nodes than are put up with: the revision is given up for the one that nodes offered before": {
			spec: `onFailure: Rollback
			       maxFailed: 1`,
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  previous old
			        b  kata  Failed  new  since 1h  failure InstallFailed  previous old
			        c  kata  Ready   old  since 2h
			        d  kata  -       -`,
			want: `bad new to old "2 nodes failed (maxFailed 1): a, b"
			       hold c Halted "2 nodes failed (maxFailed 1): a, b; revision new is given up"
			       hold d Halted "2 nodes failed (maxFailed 1): a, b; revision new is given up"`,
		},
		"where no node offered any revision before, there is none to go back to": {
			spec: "onFailure: Rollback",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   new  since 1h`,
			want: `bad new to  "1 nodes failed (maxFailed 0): a"`,
		},
		"as many failed nodes as are put up with give nothing up": {
			spec: `onFailure: Rollback
			       maxFailed: 1
			       maxUnavailable: 2`,
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  -       -`,
			want: `book b install new
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a failed uninstall gives nothing up": {
			spec: "onFailure: Rollback",
			world: `a  kata  Failed  new  since 1h  failure UninstallFailed  uninstalling
			        b  kata  Ready   old  since 1h`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"nodes go back from a bad revision, those that failed first, in the places that they hold": {
			spec: "onFailure: Rollback",
			bad:  "old",
			world: `a  kata  Ready   new  since 2h
			        b  kata  Failed  new  since 1h  failure InstallFailed  previous old
			        c  kata  Ready   old  since 2h
			        d  kata  Installing  new  since 1m  previous old  attempted old  unbegun  pod pulling`,
			want: `book b install old
			       move Redirect d Ready old ready TurnReturned "the install of revision new was not wanted any more before its command began"
			       hold a BudgetUsed "2 of 1 nodes out of service: b, d"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"an install of a bad revision whose command has started is finished first": {
			bad:   "old",
			world: `a  kata  Installing  new  since 1m  previous old  pod running`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"when nodes are back, nothing is done, and new nodes get what the others have": {
			bad: "old",
			world: `a  kata  Ready  old  since 2h
			        b  kata  -      -`,
			want: `book b install old
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"going back is halted when it fails as well": {
			spec: "onFailure: Rollback",
			bad:  "old",
			world: `a  kata  Failed  old  since 1h  failure InstallFailed  previous new
			        b  kata  Ready   new  since 2h`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"with none to go back to, what never offered the runtime is uninstalled, and nothing else is touched": {
			spec: "onFailure: Rollback",
			bad:  "-",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   new  since 2h
			        c  kata  -       -`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b Halted "revision new is bad, and there is none to go back to; the node offers the runtime and keeps what it has"`,
		},
		"people's pause holds every node that has not begun": {
			paused: "INC-4711",
			world: `a  kata  -           -
			        b  kata  Installing  new  since 1m  pod running`,
			want: `hold a Paused "people paused the runtime: \"INC-4711\""
			       hold b CommandRunning "step install is running"`,
		},
		"a pause of a spec that is gone keeps nothing on nodes": {
			paused: "INC-4711",
			gone:   2 * time.Minute,
			world:  `a  kata  Ready  new  since 1h`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"nothing begins on a node that somebody cordoned or works on, and what is under way there goes on": {
			spec: "maxUnavailable: 4",
			world: `a  kata  -           -    cordoned
			        b  kata  Installing  new  since 1m  pod running  cordoned
			        c  kata  -           -    others "kured reboots the node"
			        d  kata  -           -    booked new/install  cordoned
			        e  kata  Ready       new  since 1h  handlers runc  cordoned`,
			want: `move Repair e Ready new HandlerLost "the node does not report handler kata any more"
			       move ReturnTurn d Pending TurnReturned "somebody cordoned the node"
			       hold a NodeCordoned "somebody cordoned the node"
			       hold b CommandRunning "step install is running"
			       hold c OthersAtWork "kured reboots the node"
			       hold d NodeCordoned "somebody cordoned the node"`,
		},
		"a paused pool holds its nodes, and no others": {
			spec: "maxUnavailable: 3",
			pool: `databases nodeSelector: tier=db
			       databases paused: true`,
			world: `a  kata  -      -    label tier=db
			        b  kata  Ready  old  since 1h  label tier=db
			        c  kata  -      -`,
			want: `book c install new
			       hold a PoolPaused "pool \"databases\" is paused"
			       hold b PoolPaused "pool \"databases\" is paused"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"outside of the window nothing begins, uninstalls neither; what is under way goes on": {
			spec: `maxUnavailable: 5
			       maxFailed: 1`,
			pool: `databases maintenanceWindow: {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}`,
			world: `a  kata  -           -
			        b  kata  Ready       new  since 1h  unlabelled  mismatch 2m
			        c  kata  Installing  new  since 1m  pod running
			        d  kata  -           -    booked new/install
			        e  kata  Failed      new  since 1h  failure InstallFailed  retry 1`,
			want: `move ReturnTurn d Pending TurnReturned ` + outside + `
			       hold a OutsideWindow ` + outside + `
			       hold b OutsideWindow ` + outside + `
			       hold c CommandRunning "step install is running"
			       hold d OutsideWindow ` + outside + `
			       hold e OutsideWindow ` + outside,
		},
		"an operation begins only where all the time it may take fits into the window": {
			pool:  `databases maintenanceWindow: {schedule: "0 8 * * *", duration: 4h10m}`,
			world: `a  kata  -  -`,
			want:  `hold a OutsideWindow "the window 0 8 * * * UTC for 4h10m0s of pool \"databases\" closes 2026-11-20 12:10 UTC, before an operation would have had its installTimeout 15m0s; opens again 2026-11-21 08:00 UTC"`,
		},
		"an operation that fits into the window begins": {
			spec:  "installTimeout: 10m",
			pool:  `databases maintenanceWindow: {schedule: "0 8 * * *", duration: 4h10m}`,
			world: `a  kata  -  -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a window that no operation fits into says so": {
			spec:  "installTimeout: 2h",
			pool:  `databases maintenanceWindow: {schedule: "@daily", duration: 1h}`,
			world: `a  kata  -  -`,
			want:  `hold a OutsideWindow "outside the window @daily UTC for 1h0m0s of pool \"databases\", opens 2026-11-21 00:00 UTC, and is too short then as well: an operation may take installTimeout 2h0m0s"`,
		},
		"a pool's budget is over all runtimes, and a node that is out of service for one may be so for the other": {
			spec: "maxUnavailable: 4",
			pool: `databases nodeSelector: tier=db
			       databases maxUnavailable: 1`,
			world: `a  kata   Ready       new  since 1h  label tier=db
			        a  other  Failed      new  since 1h  failure InstallFailed
			        b  kata   -           -    label tier=db
			        b  other  Ready       new  since 1h
			        c  kata   -           -
			        c  other  Ready       new  since 1h`,
			want: `book c install new
			       hold b PoolBudgetUsed "pool \"databases\": 1 of 1 nodes out of service: a"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"a node in several pools obeys all": {
			spec: "maxUnavailable: 4",
			pool: `blue maxUnavailable: 2
			       green nodeSelector: tier=db
			       green maxUnavailable: 1`,
			world: `a  kata  -  -  label tier=db
			        b  kata  -  -  label tier=db
			        c  kata  -  -
			        d  kata  -  -`,
			want: `book a install new
			       book c install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b PoolBudgetUsed "pool \"green\": 1 of 1 nodes out of service: a"
			       hold c WaitingForTurn "the turn is being booked"
			       hold d PoolBudgetUsed "pool \"blue\": 2 of 2 nodes out of service: a, c"`,
		},
		"a zone whose nodes are outside of their window holds no other zone up": {
			pool: `databases nodeSelector: tier=db
			       databases maintenanceWindow: {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}`,
			world: `a  kata  -  -  label tier=db,topology.kubernetes.io/zone=1
			        b  kata  -  -  label topology.kubernetes.io/zone=2`,
			want: `book b install new
			       hold a OutsideWindow ` + outside + `
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"when all is done nothing is said and nothing is done": {
			world: `a  kata  Ready  new  since 1h  handlers kata
			        b  kata  Ready  new  since 2h`,
			want: ``,
		},
	}
}

// poolRefused is why nodes wait while there is the pool "databases".
const poolRefused = `"nothing starts on any node while the pool in ConfigMap \"databases\" is refused (data[paused]: Unsupported value: \"no\": supported values: \"true\", \"false\"); mend it, or delete it: kubectl delete configmap databases"`

// outside is why nodes wait for the window on Saturdays.
const outside = `"outside the window 0 2 * * 6 Europe/Berlin for 4h0m0s of pool \"databases\", opens 2026-11-21 02:00 CET"`

func TestScenarios(t *testing.T) { play(t, scenarios()) }

// play compares what each scenario is decided to be with what it wants.
func play(t *testing.T, table map[string]scenario) {
	t.Helper()
	for name, s := range table {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, s)
			plan := desired.Of(w.snap, spec.Parse, desired.DefaultOptions())
			decision := rollout.Decide(w.snap, plan)
			got, want := w.lines(decision), unindent(s.want)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAPodThatHasNotStartedIsMadeAnewWhenItsTemplateIsOutdated holds how a pull secret that is mended reaches the pod that waits for it.
func TestAPodThatHasNotStartedIsMadeAnewWhenItsTemplateIsOutdated(t *testing.T) {
	for state, want := range map[string]int{"pulling": 1, "running": 0, "done": 0, "failed:1:1": 0} {
		w := newWorld(t, scenario{world: "a  kata  Installing  new  since 1m  pod " + state})
		for i := range w.snap.DaemonSets {
			w.snap.DaemonSets[i].Annotations = map[string]string{observed.AnnotationTemplate: "today"}
		}
		for template, want := range map[string]int{"yesterday": want, "today": 0} {
			w.snap.Pods[0].Template = template
			decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
			pods := slices.DeleteFunc(decision.Objects.Delete, func(o rollout.ObjectRef) bool { return o.Kind != "Pod" })
			if len(pods) != want {
				t.Errorf("a pod of %s that is %s: %d pods are deleted, expected %d", template, state, len(pods), want)
			}
		}
	}
}

// The revision is a hash of handlers and not of the names of classes: a class that gets another name makes no revision.
func TestAClassThatTheSpecDoesNotHaveAnyMoreGoes(t *testing.T) {
	cases := map[string]struct {
		world string
		want  []string
	}{
		"at once where only its name changed":             {`a  kata  Ready  new  since 1h  handlers kata`, []string{"kata"}},
		"when no ready node is at a revision that has it": {`a  kata  Ready  old  since 1h  handlers kata`, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, scenario{spec: `runtimeClasses: [{name: renamed, handler: kata}]`, world: c.world})
			ours := map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}
			w.snap.RuntimeClasses = []observed.RuntimeClass{{Name: "kata", Handler: "kata", Labels: ours}}
			decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
			var got []string
			for _, ref := range decision.Objects.Delete {
				if ref.Kind == "RuntimeClass" {
					got = append(got, ref.Name)
				}
			}
			if diff := gocmp.Diff(c.want, got); diff != "" {
				t.Errorf("classes that go, want (-) and got (+):\n%s", diff)
			}
			if want := []rollout.ClassRef{{Runtime: "kata", Name: "renamed"}}; !slices.Equal(decision.Objects.Classes, want) {
				t.Errorf("classes are %v, expected %v", decision.Objects.Classes, want)
			}
		})
	}
}

func TestNoMoreTurnsAreBookedThanTheConfigMapHolds(t *testing.T) {
	const long = "a-runtime-whose-name-is-as-long-as-it-ge"
	w := newWorld(t, scenario{spec: `maxUnavailable: 100%`, world: "a  " + long + "  -  -\na  kata  Ready  new  since 1h"})
	like := w.snap.Nodes[0]
	for i := range observed.MaxTurns {
		n := like
		n.Name, n.UID = fmt.Sprintf("b-%d", i), types.UID(fmt.Sprintf("%036d", i))
		n.Index()
		w.snap.Nodes = append(w.snap.Nodes, n)
	}
	w.snap.Turns.ResourceVersion = "999999999999"
	slices.SortFunc(w.snap.Nodes, func(a, b observed.Node) int { return cmp.Compare(a.Name, b.Name) })
	decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	size := 0
	for key, value := range observed.FormatTurns(decision.Turns) {
		size += len(key) + len(value)
	}
	if len(decision.Turns) != observed.MaxTurns || size > 1<<20 {
		t.Errorf("%d turns are booked in %d bytes", len(decision.Turns), size)
	}
	if h := decision.Holds[len(decision.Holds)-1]; h.Reason != rollout.BudgetUsed {
		t.Errorf("the last node waits for %+v", h)
	}
}

// TestTheNewestSnapshotGoesLast holds what a kill between two deletions must not break: an older snapshot does not know that the spec is gone.
func TestTheNewestSnapshotGoesLast(t *testing.T) {
	w := newWorld(t, scenario{gone: 2 * time.Minute, missing: "install-old install-new uninstall-old uninstall-new", world: `a  kata  -  -`})
	for _, want := range []string{"old", "new"} {
		decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
		if len(decision.Objects.Delete) != 1 || decision.Objects.Delete[0].Name != observed.RevisionName("kata", w.hash["kata/"+want]) {
			t.Fatalf("decision deletes %+v, expected only the snapshot of revision %q", decision.Objects.Delete, want)
		}
		w.snap.Revisions = slices.DeleteFunc(w.snap.Revisions, func(r observed.Revision) bool { return r.Name == decision.Objects.Delete[0].Name })
	}
}

// unindent is the lines of a text without the white space around them.
func unindent(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// world is the snapshot of a scenario with its names for revisions.
type world struct {
	t     *testing.T
	snap  *observed.Snapshot
	names map[string]string // hash to name
	hash  map[string]string // runtime/name to hash
	nodes map[string]*observed.Node
	// tellsProven is true where the scenario wants to hear of it: nearly every one that ends well proves something.
	tellsProven bool
}

func newWorld(t *testing.T, s scenario) *world {
	t.Helper()
	w := &world{
		t: t, snap: &observed.Snapshot{Time: now, Turns: observed.Turns{Exists: true, ResourceVersion: "t3"}, Mismatch: map[observed.NodeRuntime]time.Time{}},
		names: map[string]string{}, hash: map[string]string{}, nodes: map[string]*observed.Node{},
		tellsProven: s.unproven || strings.Contains(s.want, "proven "),
	}
	if s.listed != "-" {
		w.snap.DoneLabels = new(strings.ReplaceAll(cmp.Or(s.listed, "done pre"), " ", "\n"))
	}
	runtimes := map[string]bool{}
	for _, line := range unindent(s.world) {
		runtimes[strings.Fields(line)[1]] = true
	}
	runtimes["kata"] = true
	for pool := range strings.FieldsSeq(s.pools) {
		w.snap.Pools = append(w.snap.Pools, observed.Spec{Name: pool, UID: types.UID("pool-" + pool), Pool: pool, Data: map[string]string{"nodeSelector": "*", "paused": "no"}})
	}
	for _, line := range unindent(s.pool) {
		name, rest, _ := strings.Cut(line, " ")
		key, value, _ := strings.Cut(rest, ": ")
		at := slices.IndexFunc(w.snap.Pools, func(p observed.Spec) bool { return p.Name == name })
		if at < 0 {
			at = len(w.snap.Pools)
			w.snap.Pools = append(w.snap.Pools, observed.Spec{Name: name, UID: types.UID("pool-" + name), Pool: name, Data: map[string]string{"nodeSelector": "*"}})
		}
		w.snap.Pools[at].Data[key] = value
	}
	for _, r := range slices.Sorted(maps.Keys(runtimes)) {
		w.addRuntime(r, s)
	}
	for class := range strings.FieldsSeq(s.classes) {
		name, handler, _ := strings.Cut(class, "=")
		w.snap.RuntimeClasses = append(w.snap.RuntimeClasses, observed.RuntimeClass{Name: name, UID: types.UID("class-" + name), Handler: handler})
	}
	if s.denied != "" {
		w.snap.Rights = &observed.Rights{Pods: s.denied != "pods", Evictions: s.denied != "evictions"}
	}
	if pod, why, ok := strings.Cut(s.refused, " "); ok {
		w.snap.Evictions = map[types.UID]observed.Eviction{types.UID("uid-" + pod): {At: now.Add(-time.Second), Refused: why}}
	}
	for _, line := range unindent(s.world) {
		w.addNode(line)
	}
	w.refuse(s.refusals, now.Add(time.Minute))
	w.refuse(s.expired, now)
	if s.maybeThere != "" {
		uid := types.UID("uid-" + s.maybeThere)
		w.snap.MaybeThere = map[types.UID]bool{uid: true}
		w.snap.Turns.Booked = append(w.snap.Turns.Booked, observed.Turn{Node: uid, Runtime: "kata", Revision: w.hash["kata/new"], Operation: observed.Install, ID: "t1"})
	}
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		n := w.nodes[name]
		n.Index()
		w.snap.Nodes = append(w.snap.Nodes, *n)
	}
	slices.SortFunc(w.snap.DaemonSets, func(a, b observed.DaemonSet) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(w.snap.Turns.Booked, observed.Turn.Compare)
	return w
}

// refuse adds refused writes: `Node a`, or `DaemonSet install-new`.
func (w *world) refuse(text string, until time.Time) {
	for _, line := range unindent(text) {
		kind, name, _ := strings.Cut(line, " ")
		if step, revision, ok := strings.Cut(name, "-"); ok && kind == "DaemonSet" {
			name = observed.DaemonSetName("kata", step, w.hash["kata/"+revision])
		}
		if w.snap.Refused == nil {
			w.snap.Refused = map[observed.ObjectRef]observed.Refusal{}
		}
		w.snap.Refused[observed.ObjectRef{Kind: kind, Name: name, Runtime: "kata"}] = observed.Refusal{Words: "policy says no", Since: now.Add(-time.Minute), Until: until, Times: 3}
	}
}

// addRuntime makes the spec, the two snapshots and the installers of a runtime.
func (w *world) addRuntime(name string, s scenario) {
	data := func(image string) map[string]string {
		d := map[string]string{
			"payloadImage": "registry.example/" + image + ":1", "installCmd": `["/install"]`, "uninstallCmd": `["/uninstall"]`,
			"nodeSelector": "!skip-" + name, "runtimeClasses": `[{name: ` + name + `, handler: ` + name + `}]`,
		}
		for _, line := range unindent(s.spec) {
			key, value, _ := strings.Cut(line, ": ")
			d[key] = strings.Trim(value, `"`)
		}
		return d
	}
	for number, revision := range []string{"old", "new"} {
		d := data(name + "-" + revision)
		parsed, errs := spec.Parse(name, d, nil)
		if len(errs) > 0 {
			w.t.Fatal(errs.ToAggregate())
		}
		hash := parsed.Revision()
		w.names[hash], w.hash[name+"/"+revision] = revision, hash
		text, err := json.Marshal(d)
		if err != nil {
			w.t.Fatal(err)
		}
		source, err := json.Marshal(desired.Source{Name: name, UID: "spec-" + name})
		if err != nil {
			w.t.Fatal(err)
		}
		rev := observed.Revision{
			Name: observed.RevisionName(name, hash), UID: types.UID("rev-" + hash), Runtime: name, Revision: hash, Number: int64(number + 1),
			Annotations: map[string]string{observed.AnnotationSpec: string(text), observed.AnnotationSource: string(source)},
			Content: &observed.RevisionContent{
				Format: 1, Classes: []observed.Class{{Name: name, Handler: name}},
				DaemonSets: map[string]*appsv1.DaemonSet{"install": {}, "uninstall": {}},
			},
		}
		steps := []string{"install", "uninstall"}
		if parsed.Verify != nil {
			steps = append(steps, "verify")
		}
		if s.completion != "" {
			rev.Content.Format, rev.Content.Completion = observed.ContentFormat, s.completion
		}
		if s.completion == observed.CompletionNodeLabel {
			rev.Content.DaemonSets["pre"], rev.Content.DaemonSets["post"] = &appsv1.DaemonSet{}, &appsv1.DaemonSet{}
			rev.Content.DoneLabels = map[string]string{"pre": "done=pre", "install": "done=install", "post": "pre-"}
			if own := doneLabelsOf(s, revision); own != nil {
				rev.Content.DoneLabels = own
			}
			for _, set := range rev.Content.DaemonSets {
				set.Spec.Template.Spec.AutomountServiceAccountToken = new(!s.tokenless)
			}
			steps = append(steps, "pre", "post")
		}
		if strings.Contains(s.lost, revision) {
			rev.Content = nil
		}
		if revision == "new" && s.bad != "" {
			mark := observed.Bad{Reason: "2 nodes failed", Time: now, Asked: s.asked}
			if s.bad != "-" {
				mark.To = w.hash[name+"/"+s.bad]
			}
			rev.Annotations[observed.AnnotationBad] = mark.Text()
		}
		if s.paused != "" {
			rev.Annotations[observed.AnnotationPause] = observed.Pause{Reason: s.paused, On: "elsewhere"}.Text()
		}
		if strings.Contains(s.proven, revision) {
			rev.Annotations[observed.AnnotationProven] = now.Add(-time.Hour).Format(time.RFC3339)
		}
		if !s.unsaid && strings.Contains(s.world, "unlabelled") {
			rev.Annotations[observed.AnnotationDeselection] = observed.Deselection{Nodes: 99, Time: now.Add(-time.Hour)}.Text()
		}
		if s.nothing {
			rev.Annotations[observed.AnnotationNothingSelected] = "true"
		}
		if revision == "new" {
			switch {
			case s.gone > 0:
				rev.Annotations[observed.AnnotationVanished] = now.Add(-s.gone).Format(time.RFC3339)
			case s.gone == 0 && s.forgotten != name:
				w.snap.Specs = append(w.snap.Specs, observed.Spec{Name: name, UID: types.UID("spec-" + name), Runtime: name, Data: d})
			}
		}
		if s.forgotten == name {
			continue
		}
		w.snap.Revisions = append(w.snap.Revisions, rev)
		for _, step := range steps {
			if strings.Contains(s.missing, step+"-"+revision) {
				continue
			}
			w.snap.DaemonSets = append(w.snap.DaemonSets, observed.DaemonSet{
				Name: observed.DaemonSetName(name, step, hash), Runtime: name, Revision: hash, Step: step,
			})
		}
	}
}

// doneLabelsOf are the done labels that a scenario gives to one revision, nil if it gives none.
func doneLabelsOf(s scenario, revision string) map[string]string {
	var labels map[string]string
	for key, label := range s.doneLabels {
		if step, ok := strings.CutPrefix(key, revision+"/"); ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[step] = label
		}
	}
	return labels
}

// options are the words behind the first four of a node's line, by name.
func options(words []string) map[string]string {
	plain := map[string]bool{
		"deleting": true, "ours": true, "uncordoned": true, "broken": true, "unlabelled": true, "unbooked": true, "cordoned": true, "starting": true, "uninstalling": true, "unready": true, "ungated": true, "ready": true, "otherpod": true, "excused": true, "anew": true, "unbegun": true, "gated": true,
	}
	out := map[string]string{}
	for i := 0; i < len(words); i++ {
		key := words[i]
		if plain[key] {
			out[key] = "yes"
			continue
		}
		i++
		value := words[i]
		for strings.HasPrefix(value, `"`) && !strings.HasSuffix(value, `"`) {
			i++
			value += " " + words[i]
		}
		out[key] = strings.Trim(value, `"`)
	}
	return out
}

// revision is the hash of a revision; one that is not there any more has only its name.
func (w *world) revision(runtime, name string) string {
	if hash, known := w.hash[runtime+"/"+name]; known || name == "-" {
		return hash
	}
	return name
}

func (w *world) addNode(line string) {
	words := strings.Fields(line)
	name, runtime, phase, revision := words[0], words[1], words[2], words[3]
	o := options(words[4:])
	n := w.nodes[name]
	if n == nil {
		n = &observed.Node{
			Name: name, UID: types.UID("uid-" + name), Ready: true, MachineID: "m", BootID: "b", HasAnnotations: true,
			Labels: observed.LabelsOf(map[string]string{"kubernetes.io/os": "linux"}), Annotations: map[string]string{},
		}
		w.nodes[name] = n
	}
	w.nodeOptions(n, runtime, o)
	hash := w.revision(runtime, revision)
	p := &observed.Progress{
		Phase: observed.Phase(phase), Operation: observed.Install, Revision: hash, Previous: w.revision(runtime, o["previous"]),
		Since: now.Add(-w.duration(o["since"])), Attempt: max(1, w.number(o["attempt"])), Repairs: w.number(o["repairs"]), Exits: w.number(o["exits"]), Excused: o["excused"] != "",
		Reason: cmp.Or(o["reason"], o["failure"]), MachineID: cmp.Or(o["machine"], "m"), BootID: o["boot"], PodUID: "pod-" + name, Turn: cmp.Or(o["turn"], "t1"),
	}
	switch underWay := p.Phase == observed.PhaseInstalling || p.Phase == observed.PhaseUninstalling; {
	case o["otherpod"] != "":
		p.PodUID = "pod-before"
	case o["unbegun"] != "", underWay && p.Exits == 0 && o["excused"] == "", p.Phase == observed.PhasePending:
		p.PodUID = ""
	}
	p.Attempted = w.hash[runtime+"/"+o["attempted"]]
	p.Cordoned, p.Broken = o["ours"] != "" || o["uncordoned"] != "", o["broken"] != ""
	if p.Phase == observed.PhaseDraining || p.Phase == observed.PhaseBlocked {
		p.PodUID = ""
	}
	p.Step = o["step"]
	if o["uninstalling"] != "" || p.Phase == observed.PhaseUninstalling {
		p.Operation = observed.Uninstall
	}
	if o["gated"] != "" {
		n.Labels = n.Labels.With(observed.GateKey(runtime), observed.GateValue(hash, string(observed.Install)))
	}
	switch phase {
	case "-":
		if o["ready"] != "" {
			n.Labels = n.Labels.With(observed.ReadyKey(runtime), "true")
		}
	case "broken":
		n.Annotations[observed.ProgressKey(runtime)] = "{"
		n.Labels = n.Labels.With(observed.PhaseKey(runtime), "Installing")
	default:
		w.write(n, runtime, p, o)
	}
	if state := o["pod"]; state != "" {
		w.addPod(n, runtime, p, state)
	}
	w.book(n, runtime, p, o)
}

func (w *world) nodeOptions(n *observed.Node, runtime string, o map[string]string) {
	if o["starting"] != "" {
		n.Taints = append(n.Taints, corev1.Taint{Key: observed.NotReadyTaint(runtime), Effect: corev1.TaintEffectNoExecute})
	}
	n.Unschedulable = n.Unschedulable || o["cordoned"] != "" || o["ours"] != ""
	if text, ok := o["sees"]; ok {
		w.see(n.Name, text)
	}
	n.Others = cmp.Or(n.Others, o["others"])
	n.Deleting = n.Deleting || o["deleting"] != ""
	if o["unlabelled"] != "" {
		n.Labels = n.Labels.With("skip-"+runtime, "yes")
		// Long enough to count.
		w.snap.Mismatch[observed.NodeRuntime{Node: n.UID, Runtime: runtime}] = now.Add(-time.Hour)
	}
	if o["notready"] != "" {
		n.Ready, n.ReadySince = false, now.Add(-w.duration(o["notready"]))
	}
	if text, ok := o["hold"]; ok {
		n.Annotations[observed.HoldKey(runtime)] = text
	}
	if text, ok := o["retry"]; ok {
		n.Annotations[observed.RetryKey(runtime)] = text
	}
	if revision, step, ok := strings.Cut(o["gate"], "-"); ok {
		n.Labels = n.Labels.With(observed.GateKey(runtime), observed.GateValue(w.hash[runtime+"/"+revision], step))
	}
	for label := range strings.SplitSeq(o["label"], ",") {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			continue
		}
		n.Labels = n.Labels.With(key, value)
	}
	if text := o["labelled"]; text != "" {
		if w.snap.Labelled == nil {
			w.snap.Labelled = map[observed.NodeRuntime]time.Time{}
		}
		w.snap.Labelled[observed.NodeRuntime{Node: n.UID, Runtime: runtime}] = now.Add(-w.duration(text))
	}
	if o["handlers"] != "" {
		n.Handlers = append([]string{""}, strings.Split(o["handlers"], ",")...)
	}
}

// see adds the pods of a node to what was looked at.
func (w *world) see(node, text string) {
	look := observed.Look{Node: node}
	for line := range strings.SplitSeq(text, ",") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var pod observed.Workload
		pod.Namespace, pod.Name, _ = strings.Cut(words[0], "/")
		pod.UID = types.UID("uid-" + pod.Name)
		for _, word := range words[1:] {
			switch class, is := strings.CutPrefix(word, "class="); {
			case is:
				pod.Class = class
			case word == "evictable":
				pod.Evictable = true
			case word == "bare":
				pod.Bare = true
			case word == "static":
				pod.Static = true
			case word == "leaving":
				pod.Deleting = true
			case word == "ended":
				pod.Ended = true
			default:
				w.t.Fatalf("unknown word %q about a pod", word)
			}
		}
		look.Pods = append(look.Pods, pod)
	}
	w.snap.Looks = append(w.snap.Looks, look)
}

// write puts the keys on a node that belong to its progress, but for those that an option says somebody took off.
func (w *world) write(n *observed.Node, runtime string, p *observed.Progress, o map[string]string) {
	n.Annotations[observed.ProgressKey(runtime)] = p.String()
	n.Labels = n.Labels.With(observed.PhaseKey(runtime), string(p.Phase))
	if (p.Phase == observed.PhaseInstalling || p.Phase == observed.PhaseUninstalling) && o["ungated"] == "" {
		n.Labels = n.Labels.With(observed.GateKey(runtime), observed.GateValue(p.Revision, cmp.Or(p.Step, string(p.Operation))))
	}
	if (p.Phase == observed.PhaseReady && o["unready"] == "") || o["ready"] != "" {
		n.Labels = n.Labels.With(observed.ReadyKey(runtime), "true")
	}
}

// book adds the turn that an option names, or the one that the phase always has.
func (w *world) book(n *observed.Node, runtime string, p *observed.Progress, o map[string]string) {
	if text := o["booked"]; text != "" {
		revision, operation, _ := strings.Cut(text, "/")
		t := observed.Turn{Node: n.UID, Runtime: runtime, Revision: w.hash[runtime+"/"+revision], Operation: observed.Operation(operation), ID: p.Turn}
		if o["anew"] != "" || (p.Reason != string(rollout.TurnReturned) && (t.Revision != p.Revision || t.Operation != p.Operation)) {
			t.ID = "t2"
		}
		w.snap.Turns.Booked = append(w.snap.Turns.Booked, t)
		return
	}
	soaking := p.Phase == observed.PhaseReady && now.Sub(p.Since) < time.Minute
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseFailed, observed.PhaseDraining, observed.PhaseBlocked:
	default:
		if !soaking {
			return
		}
	}
	if o["unbooked"] == "" {
		w.snap.Turns.Booked = append(w.snap.Turns.Booked, observed.Turn{Node: n.UID, Runtime: runtime, Revision: p.Revision, Operation: p.Operation, ID: p.Turn})
	}
}

func (w *world) addPod(n *observed.Node, runtime string, p *observed.Progress, state string) {
	set := observed.DaemonSetName(runtime, cmp.Or(p.Step, string(p.Operation)), p.Revision)
	pod := observed.Pod{
		Name: observed.DaemonSetName(runtime, cmp.Or(p.Step, string(p.Operation)), w.names[p.Revision]) + "-" + n.Name, UID: types.UID("pod-" + n.Name), Node: n.Name,
		Runtime: runtime, DaemonSet: set, Steps: []observed.Container{{Name: string(p.Operation)}},
	}
	step := &pod.Steps[0]
	word, rest, _ := strings.Cut(state, ":")
	switch word {
	case "running":
		step.Running = true
	case "again":
		step.Running, step.Restarts = true, w.number(rest)
	case "leaving":
		step.Running, pod.Deleting = true, true
	case "done":
		step.Done, pod.Main.Running = true, true
	case "resident":
		step.Running, pod.Ready = true, true
	case "unstarted":
		step.Done = true
		pod.Main.Waiting, pod.Main.WaitingMessage = "CreateContainerError", "no shim"
	case "pulling":
		step.Waiting, step.WaitingMessage = "ImagePullBackOff", "no such image"
	case "failed":
		ends, code, _ := strings.Cut(rest, ":")
		step.Restarts = w.number(ends) - 1
		step.Exit = &observed.Exit{Code: w.number(code), Message: "no space left"}
	default:
		w.t.Fatalf("unknown pod state %q", state)
	}
	w.snap.Pods = append(w.snap.Pods, pod)
}

func (w *world) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) number(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// lines writes a decision as a scenario does.
func (w *world) lines(d *rollout.Decision) []string {
	var lines []string
	node := func(uid types.UID) string { return strings.TrimPrefix(string(uid), "uid-") }
	for _, b := range d.Bad {
		lines = append(lines, fmt.Sprintf("bad %s to %s %q", w.names[b.Revision], w.names[b.To], b.Reason))
	}
	for _, p := range d.Proven {
		if w.tellsProven {
			lines = append(lines, "proven "+w.names[p.Revision])
		}
	}
	for _, t := range d.Booked {
		lines = append(lines, fmt.Sprintf("book %s %s %s", node(t.Node), t.Operation, w.names[t.Revision]))
	}
	for _, t := range d.Freed {
		lines = append(lines, "free "+node(t.Node))
	}
	for _, m := range d.Moves {
		lines = append(lines, w.moveLine(m))
	}
	for _, name := range d.Looks {
		lines = append(lines, "look "+name)
	}
	for _, e := range d.Evictions {
		lines = append(lines, "evict "+e.Pod.String())
	}
	for _, h := range d.Holds {
		lines = append(lines, fmt.Sprintf("hold %s %s %q", h.Node, h.Reason, h.Message))
	}
	for i := range lines {
		for hash, name := range w.names {
			lines[i] = strings.ReplaceAll(lines[i], hash, name)
		}
	}
	return lines
}

func (w *world) moveLine(m rollout.Move) string {
	words := []string{"move", string(m.Kind), m.Node}
	if m.After != nil {
		words = append(words, string(m.After.Phase))
		if m.After.Revision != "" {
			words = append(words, m.After.Revision)
		}
	}
	if m.Ready != "" {
		words = append(words, "ready")
	}
	if m.Gate != "" {
		words = append(words, "gate="+m.Gate)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels.Set)) {
		words = append(words, key+"="+m.Labels.Set[key])
	}
	for _, key := range m.Labels.Remove {
		words = append(words, key+"-")
	}
	if m.Cordon != "" {
		words = append(words, string(m.Cordon))
	}
	if m.After == nil {
		return strings.Join(words, " ")
	}
	if m.After.Previous != "" {
		words = append(words, "previous="+m.After.Previous)
	}
	switch m.Kind {
	case rollout.NoteExit:
		words = append(words, fmt.Sprintf("attempt=%d", m.After.Attempt))
	case rollout.Fail:
		if m.After.Attempt > 1 {
			words = append(words, fmt.Sprintf("attempt=%d", m.After.Attempt))
		}
		if m.After.PodUID == "" {
			words = append(words, "unbegun")
		}
	case rollout.OpenGate:
		if m.After.Repairs > 0 {
			words = append(words, fmt.Sprintf("repairs=%d", m.After.Repairs))
		}
		if m.HadBefore && m.After.Retry != "" {
			words = append(words, fmt.Sprintf("attempt=%d", m.After.Attempt))
		}
	default:
	}
	switch m.Kind {
	case rollout.Succeed:
		if m.After.Reason != string(rollout.HandlersReported) {
			words = append(words, m.After.Reason)
		}
	case rollout.NoteExit, rollout.Fail, rollout.ReturnTurn, rollout.Restart, rollout.Redirect, rollout.CloseGate, rollout.Block:
		if m.After.Reason != "" {
			words = append(words, m.After.Reason)
		}
		if m.After.Message != "" {
			words = append(words, strconv.Quote(m.After.Message))
		}
	case rollout.Repair:
		if m.After.Message != "" {
			words = append(words, m.After.Reason, strconv.Quote(m.After.Message))
		}
	default:
	}
	return strings.Join(words, " ")
}
