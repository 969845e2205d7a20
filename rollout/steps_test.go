package rollout_test

import (
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// labelScenarios are about payloads that say by labels that they are done. The done labels are done=pre, done=install and pre-, see scenario.
func labelScenarios() map[string]scenario {
	all := map[string]scenario{
		"the gate of the first step opens": {
			world: `a  kata  -  -  booked new/install`,
			want:  `move OpenGate a Installing new gate=new-pre`,
		},
		"a done label of an earlier run is taken off in the same write": {
			world: `a  kata  -  -  booked new/install  label done=pre`,
			want:  `move OpenGate a Installing new gate=new-pre done-`,
		},
		"a command that runs is waited for until it has set its label": {
			world: `a  kata  Installing  new  step pre  pod running`,
			want:  `hold a WaitingForLabel "step install is running; waiting for label done=pre"`,
		},
		"the label of another step is not the one": {
			world: `a  kata  Installing  new  step install  pod running  label done=pre`,
			want:  `hold a WaitingForLabel "step install is running; waiting for label done=install, which is \"pre\""`,
		},
		"a label without a pod that could have set it does not count": {
			world: `a  kata  Installing  new  step pre  label done=pre`,
			want:  `hold a WaitingForPod "waiting for the DaemonSet controller to make the installer pod; label done=pre is as wanted, but no command has begun"`,
		},
		"a label counts when it has stood for some seconds": {
			world: `a  kata  Installing  new  step pre  pod running  label done=pre`,
			want:  `hold a WaitingForLabel "step install is running; label done=pre is as wanted; it counts when it has stood for 3s"`,
		},
		"a step that is done closes its gate": {
			world: `a  kata  Installing  new  step pre  pod running  label done=pre  labelled 3s`,
			want:  `move CloseGate a Installing new StepDone "step pre is done; step install follows when its pod has left the node"`,
		},
		"the next gate waits for the pod of the last step": {
			world: `a  kata  Installing  new  step install  reason StepDone  ungated  otherpod  pod leaving`,
			want:  `hold a InstallerLeft "; waiting for pod kata-install-new-a to leave the node"`,
		},
		"the next gate opens when no pod is left": {
			world: `a  kata  Installing  new  step install  reason StepDone  ungated  otherpod`,
			want:  `move NextStep a Installing new gate=new-install`,
		},
		"the next gate waits for its installer": {
			missing: "install-new",
			world:   `a  kata  Installing  new  step install  reason StepDone  ungated  otherpod`,
			want:    `hold a PreparingInstaller "waiting for DaemonSet kata-install-new"`,
		},
		"an operation between two steps ends when its time is up": {
			missing: "install-new",
			world:   `a  kata  Installing  new  since 16m  step install  reason StepDone  ungated  otherpod`,
			want:    `move Fail a Failed new TimedOut "not done after 15m0s: waiting for DaemonSet kata-install-new"`,
		},
		"the last step is verified": {
			world: `a  kata  Installing  new  step install  pod running  label done=install  labelled 3s  handlers runc`,
			want:  `hold a WaitingForHandlers "every step exited 0, but the node reports handlers runc; expected also kata"`,
		},
		"the last step makes the node Ready, and the label stays": {
			world: `a  kata  Installing  new  step install  pod running  label done=install  labelled 3s  handlers kata`,
			want:  `move Succeed a Ready new ready`,
		},
		"exits of the command are counted, and the step stays": {
			world: `a  kata  Installing  new  step pre  pod failed:1:7`,
			want:  `move NoteExit a Installing new gate=new-pre attempt=2 CommandFailed "step install exited 7: no space left"`,
		},
		"ends with 0 of a command that is run again are no failed attempts": {
			world: `a  kata  Installing  new  step pre  pod failed:7:1`,
			want:  `move NoteExit a Installing new gate=new-pre attempt=2 CommandFailed "step install exited 1: no space left"`,
		},
		"the second failure counts once as well, however often the command ended with 0 in between": {
			world: `a  kata  Installing  new  step pre  attempt 2  exits 7  pod failed:12:1`,
			want:  `move NoteExit a Installing new gate=new-pre attempt=3 CommandFailed "step install exited 1: no space left"`,
		},
		"a step without a done label counts every failed end": {
			world: `a  kata  Uninstalling  old  step uninstall  pod failed:4:1  unlabelled`,
			want:  `move Fail a Failed old attempt=3 UninstallFailed "attempt 3 of 3: step uninstall exited 1: no space left"`,
		},
		"a command that fails when its label is there has not failed": {
			world: `a  kata  Installing  new  step pre  attempt 3  pod failed:1:1  label done=pre`,
			want:  `hold a CommandFailed "step install exited 1: no space left; the kubelet runs it again; label done=pre is as wanted; it counts when it has stood for 3s"`,
		},
		"a step without a done label is done when it exits 0": {
			world: `a  kata  Uninstalling  old  step uninstall  pod done  unlabelled`,
			want:  `move CloseGate a Uninstalling old StepDone "step uninstall is done; step post follows when its pod has left the node"`,
		},
		"a label whose absence is the sign is set before the gate opens": {
			world: `a  kata  Uninstalling  old  step post  reason StepDone  ungated  otherpod  unlabelled`,
			want:  `move NextStep a Uninstalling old gate=old-post pre=true`,
		},
		"a label that is still there is waited for": {
			world: `a  kata  Uninstalling  old  step post  pod running  label pre=true  unlabelled`,
			want:  `hold a WaitingForLabel "step uninstall is running; waiting for label pre to be removed"`,
		},
		"an uninstall takes the done labels off as well": {
			world: `a  kata  Uninstalling  old  step post  pod running  label done=install  labelled 3s  unlabelled`,
			want:  `move RemoveKeys a done-`,
		},
		"an operation between two steps is finished though the spec changed": {
			world: `a  kata  Installing  old  step install  reason StepDone  ungated  otherpod`,
			want:  `move NextStep a Installing old gate=old-install`,
		},
		"a gate that somebody took off comes back for the same step": {
			world: `a  kata  Installing  new  step install  ungated  pod running`,
			want:  `move Repair a Installing new gate=new-install`,
		},
		"an uninstall takes the done labels of every revision off": {
			doneLabels: map[string]string{"old/install": "former=yes"},
			world:      `a  kata  Uninstalling  new  step post  pod running  label former=yes  labelled 3s  unlabelled`,
			want:       `move RemoveKeys a former-`,
		},
		"an upgrade that has not begun brings the label of the install back": {
			world: `a  kata  Installing  new  since 1m  step pre  previous old  attempted old  ready  handlers kata  pod pulling  unlabelled`,
			want:  `move Redirect a Ready old ready done=install TurnReturned "the install of revision new was not wanted any more before its command began"`,
		},
		"a label that is right already is left": {
			world: `a  kata  Installing  new  since 1m  step pre  previous old  attempted old  ready  handlers kata  pod pulling  label done=install  unlabelled`,
			want:  `move Redirect a Ready old ready TurnReturned "the install of revision new was not wanted any more before its command began"`,
		},
		"an uninstall that has not begun takes the label off that it set": {
			doneLabels: map[string]string{"new/uninstall": "busy-"},
			world:      `a  kata  Uninstalling  new  since 1m  step uninstall  previous new  attempted new  handlers kata  pod pulling  label busy=true`,
			want:       `move Redirect a Ready new ready busy- TurnReturned "the uninstall of revision new was not wanted any more before its command began"`,
		},
		"but no label that the install left": {
			doneLabels: map[string]string{"new/uninstall": "busy-", "new/pre": "busy=true"},
			world:      `a  kata  Uninstalling  new  since 1m  step uninstall  previous new  attempted new  handlers kata  pod pulling  label busy=true`,
			want:       `move Redirect a Ready new ready TurnReturned "the uninstall of revision new was not wanted any more before its command began"`,
		},
		"an install that has not begun takes the label off that was set for it": {
			doneLabels: map[string]string{"new/pre": "busy-"},
			world:      `a  kata  Installing  new  since 1m  step pre  pod pulling  label busy=true  unlabelled`,
			want:       `move Redirect a Pending busy- TurnReturned "the install of revision new was not wanted any more before its command began"`,
		},
		"and so does one that failed before it began, with the keys": {
			doneLabels: map[string]string{"new/pre": "busy-"},
			world:      `a  kata  Failed  new  since 1h  failure TimedOut  unbegun  label busy=true  unlabelled`,
			want: `free a
			       move RemoveKeys a busy-`,
		},
		"where nothing began, a label that somebody else set stays": {
			world: `a  kata  Pending  -  reason TurnReturned  label done=install  unlabelled`,
			want:  `move RemoveKeys a`,
		},
		"no gate opens before the payload may change its label": {
			listed: "other",
			world:  `a  kata  -  -  booked new/install`,
			want:   `hold a PreparingInstaller "label done is being added to ConfigMap longshore-done-labels, which says what payloads may change on their nodes"`,
		},
		"nor does that of the next step": {
			listed: "done",
			world:  `a  kata  Uninstalling  old  step post  reason StepDone  ungated  otherpod  unlabelled`,
			want:   `hold a PreparingInstaller "label pre is being added to ConfigMap longshore-done-labels, which says what payloads may change on their nodes"`,
		},
		"without the list of labels no payload may change any": {
			listed: "-",
			world:  `a  kata  -  -  booked new/install`,
			want:   `hold a PreparingInstaller "ConfigMap longshore-done-labels is not there, which kustomize/default ships: without it no payload may change label done on its node"`,
		},
		"a payload without a token needs no list": {
			listed: "-", tokenless: true,
			world: `a  kata  -  -  booked new/install`,
			want:  `move OpenGate a Installing new gate=new-pre`,
		},
		"a step without a label needs no list": {
			listed: "-",
			world:  `a  kata  Ready  old  since 1h  booked old/uninstall  unlabelled`,
			want:   `move OpenGate a Uninstalling old gate=old-uninstall previous=old`,
		},
		"a step of a revision that cannot be read is not done because its pod runs": {
			lost:  "old",
			world: `a  kata  Installing  old  since 1m  step install  pod resident  handlers kata`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"a hook of a revision that cannot be read is not the install": {
			lost:  "old",
			world: `a  kata  Installing  old  since 1m  step pre  pod done  handlers kata`,
			want:  `hold a NoSnapshot "step pre is done; no snapshot that can be read has the step that follows"`,
		},
		"the next step of a revision that cannot be read is the one that was noted": {
			lost:  "old",
			world: `a  kata  Uninstalling  old  step post  reason StepDone  ungated  otherpod  unlabelled`,
			want:  `move NextStep a Uninstalling old gate=old-post`,
		},
		"a gate of a revision that cannot be read comes back for the step that was noted": {
			lost:  "old",
			world: `a  kata  Uninstalling  old  step post  ungated  unlabelled`,
			want:  `move Repair a Uninstalling old gate=old-post`,
		},
		"a wiped progress goes on at the step of its gate": {
			world: `a  kata  -  new  step install  gated  booked new/install`,
			want:  `move Repair a Installing new gate=new-install`,
		},
	}
	for name, s := range all {
		s.completion = observed.CompletionNodeLabel
		all[name] = s
	}
	return all
}

// readyScenarios are about payloads that stay on the node.
func readyScenarios() map[string]scenario {
	all := map[string]scenario{
		"a pod that is not ready yet is waited for": {
			world: `a  kata  Installing  new  pod running  handlers kata`,
			want:  `hold a WaitingForReady "step install is running; waiting for the pod to become ready"`,
		},
		"a node whose pod is ready is Ready, and the gate stays": {
			world: `a  kata  Installing  new  pod resident  handlers kata`,
			want:  `move Succeed a Ready new ready gate=new-install`,
		},
		"a payload that stays disturbs nobody": {
			world: `a  kata  Ready  new  since 1h  gated  pod resident  handlers kata`,
			want:  ``,
		},
		"a payload that is not ready any more takes the ready label along": {
			world: `a  kata  Ready  new  since 1h  gated  pod running  handlers kata`,
			want:  `move Repair a Ready new gate=new-install`,
		},
		"a node whose payload is not ready says so and is not done": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod failed:2:1  handlers kata`,
			want:  `hold a PayloadNotReady "the payload's pod is not ready: step install exited 1: no space left; the kubelet runs it again"`,
		},
		"a payload that is ready again brings the ready label back": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod resident  handlers kata`,
			want:  `move Repair a Ready new ready gate=new-install`,
		},
		"an upgrade has the old payload leave first": {
			world: `a  kata  Ready  old  since 1h  gated  pod resident  handlers kata  booked new/install`,
			want:  `move CloseGate a Pending ready previous=old PayloadLeaving "the payload of revision old leaves the node before the install begins"`,
		},
		"an uninstall takes the ready label with the payload": {
			world: `a  kata  Ready  old  since 1h  gated  pod resident  handlers kata  booked old/uninstall  unlabelled`,
			want:  `move CloseGate a Pending previous=old PayloadLeaving "the payload of revision old leaves the node before the uninstall begins"`,
		},
		"the gate of another runtime opens beside a payload that stays": {
			world: `a  kata  Ready  new  since 1h  gated  pod resident  handlers kata
			        a  gvisor  -  -  booked new/install`,
			want: `move OpenGate a Installing new gate=new-install`,
		},
		"a gate that somebody took off a node with a payload that stays comes back": {
			world: `a  kata  Ready  new  since 1h  unready  handlers kata`,
			want:  `move Repair a Ready new gate=new-install`,
		},
		"an operation whose payload has left goes on though the spec is paused": {
			spec:  `paused: "true"`,
			world: `a  kata  Pending  -  ready  previous old  attempted old  reason PayloadLeaving  booked new/install`,
			want:  `move OpenGate a Installing new ready gate=new-install previous=old`,
		},
		"an operation whose payload has left goes on though another node failed": {
			world: `a  kata  Pending  -    ready  previous old  attempted old  reason PayloadLeaving  booked new/install
			        b  kata  Failed   new  since 1h  failure InstallFailed
			        c  kata  Ready    old  since 1h  gated  pod resident`,
			want: `move OpenGate a Installing new ready gate=new-install previous=old
			       hold c Halted "1 nodes failed (maxFailed 0): b; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"an operation whose payload has left goes on though people hold the node": {
			world: `a  kata  Pending  -  ready  previous old  attempted old  reason PayloadLeaving  booked new/install  hold "no"`,
			want:  `move OpenGate a Installing new ready gate=new-install previous=old`,
		},
		"an operation whose payload has left goes on though a pool is refused": {
			pools: "databases",
			world: `a  kata  Pending  -  ready  previous old  attempted old  reason PayloadLeaving  booked new/install`,
			want:  `move OpenGate a Installing new ready gate=new-install previous=old`,
		},
		"a node without its payload keeps its place while it is NotReady": {
			world: `a  kata  Pending  -    ready  previous old  attempted old  reason PayloadLeaving  booked new/install  notready 10s
			        b  kata  Ready    old  since 1h  gated  pod resident`,
			want: `hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:50Z"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a node without its payload and without a booking gets one before anybody else does": {
			world: `a  kata  Pending  -    ready  previous old  attempted old  reason PayloadLeaving  notready 10s
			        b  kata  Ready    old  since 1h  gated  pod resident`,
			want: `book a install old
			       hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:50Z"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a payload comes back when nothing may begin any more": {
			gone:  30 * time.Second,
			world: `a  kata  Pending  -  ready  previous old  attempted old  reason PayloadLeaving  booked new/install`,
			want:  `move Repair a Ready old gate=old-install HandlersUnreported "every step exited 0; the node reports no handlers, so that nothing more is known"`,
		},
		"a payload comes back when the old pod has left": {
			nothing: true,
			world:   `a  kata  Pending  old  ready  previous old  attempted old  reason PayloadLeaving  booked new/install  pod leaving  unlabelled`,
			want:    `hold a InstallerLeft "waiting for pod kata-install-old-a to leave the node"`,
		},
		"a node whose payload cannot come back keeps its place": {
			gone: 30 * time.Second,
			world: `a  kata  Pending  -    previous old  attempted new  reason TurnReturned  booked new/install
			        b  kata  Ready    old  since 1h  gated  pod resident`,
			want: `hold a SpecGone "the spec is gone; the uninstall begins unless it comes back"
			       hold b SpecGone "the spec is gone; the uninstall begins unless it comes back"`,
		},
		"an upgrade that has not begun leaves a node whose payload has to come back": {
			world: `a  kata  Installing  new  since 1m  previous old  attempted old  ready  handlers kata  pod pulling  unlabelled`,
			want:  `move Redirect a Pending ready previous=old PayloadLeaving "the install of revision new was not wanted any more before its command began; the payload of revision old has left the node"`,
		},
		"ends with 0 of a payload that should stay are no failed attempts": {
			world: `a  kata  Installing  new  since 1m  pod failed:7:1`,
			want:  `move NoteExit a Installing new gate=new-install attempt=2 CommandFailed "step install exited 1: no space left"`,
		},
		"a payload whose handler is reported again keeps its gate": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod resident  handlers kata  reason HandlerLost`,
			want:  `move Repair a Ready new ready gate=new-install HandlersReported "the node reports handler kata"`,
		},
		"a payload whose handler is lost stays until it is its node's turn": {
			world: `a  kata  Ready  new  since 1h  gated  pod resident  handlers runc
			        b  kata  Ready  new  since 1h  gated  pod resident  handlers runc`,
			want: `move Repair a Ready new gate=new-install HandlerLost "the node does not report handler kata any more"
			       move Repair b Ready new gate=new-install HandlerLost "the node does not report handler kata any more"`,
		},
		"one node after the other has its payload leave for a handler that is lost": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod resident  handlers runc  reason HandlerLost  booked new/install  anew
			        b  kata  Ready  new  since 1h  unready  gated  pod resident  handlers runc  reason HandlerLost`,
			want: `move CloseGate a Pending previous=new PayloadLeaving "the payload of revision new leaves the node before the install begins"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a gate that is not that of the payload is put right when the handler is lost": {
			world: `a  kata  Ready  new  since 1h  unready  handlers runc  reason HandlerLost`,
			want:  `move Repair a Ready new gate=new-install HandlerLost "the node does not report handler kata any more"`,
		},
		"payloads whose progress was removed by hand stay": {
			world: `a  kata  -  new  gated  pod resident  handlers kata
			        b  kata  -  new  gated  pod running   handlers kata
			        c  kata  -  old  gated  pod resident  handlers kata`,
			want: `move Repair a Ready new ready gate=new-install HandlersReported "found with its gate, and without a progress"
			       move Repair b Ready new gate=new-install HandlersReported "found with its gate, and without a progress"
			       move Repair c Ready old ready gate=old-install HandlersReported "found with its gate, and without a progress"`,
		},
		"a payload whose progress was removed by hand is there until the upgrade that was booked": {
			world: `a  kata  -  old  gated  pod resident  handlers kata  booked new/install`,
			want:  `move Repair a Ready old ready gate=old-install HandlersReported "found with its gate, and without a progress"`,
		},
		"an operation whose progress was removed by hand goes on for a payload that stays as well": {
			world: `a  kata  -  new  gated  booked new/install  pod running`,
			want:  `move Repair a Installing new gate=new-install`,
		},
		"a gate of an uninstall without a turn closes": {
			world: `a  kata  -  new  gate new-uninstall`,
			want:  `move Repair a Pending TurnReturned "a gate label stood on the node without a turn"`,
		},
		"a payload that stays of a revision that cannot be read is not taken for ready": {
			lost:  "old",
			world: `a  kata  Installing  old  since 1m  pod resident  handlers kata`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"a payload that stays of a revision that cannot be read stays": {
			lost:  "old",
			world: `a  kata  Ready  old  since 1h  gated  pod resident  handlers kata`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a payload that is not ready is watched like one that is": {
			world: `a  kata  Ready  new  since 20s  unready  gated  pod failed:2:1  handlers kata`,
			want:  `hold a PayloadNotReady "the payload's pod is not ready: step install exited 1: no space left; the kubelet runs it again"`,
		},
		"a payload that is not ready when its soak ends has failed": {
			world: `a  kata  Ready  new  since 61s  unready  gated  pod failed:2:1  handlers kata  booked new/install
			        b  kata  Ready  old  since 1h   gated  pod resident  handlers kata`,
			want: `move Fail a Failed new PayloadNotReady "at the end of its soak the payload's pod is not ready: step install exited 1: no space left; the kubelet runs it again"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a payload that came back and is not ready has failed though nothing may begin": {
			gone:  30 * time.Second,
			world: `a  kata  Ready  old  since 61s  unready  gated  pod failed:2:1  handlers kata  booked old/install`,
			want:  `move Fail a Failed old PayloadNotReady "at the end of its soak the payload's pod is not ready: step install exited 1: no space left; the kubelet runs it again"`,
		},
		"a payload that is not ready gives a turn back that it does not need": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod failed:2:1  handlers kata  booked new/install  anew`,
			want: `move ReturnTurn a Ready new gate=new-install
			       hold a PayloadNotReady "the payload's pod is not ready: step install exited 1: no space left; the kubelet runs it again"`,
		},
		"of a NotReady node nobody knows whether its payload failed": {
			world: `a  kata  Ready  new  since 61s  unready  gated  pod failed:2:1  handlers kata  booked new/install  notready 30s`,
			want:  `free a`,
		},
		"a payload that is not ready is upgraded and has not failed": {
			world: `a  kata  Ready  old  since 1h  unready  gated  pod failed:2:1  handlers kata  booked new/install`,
			want:  `move CloseGate a Pending previous=old PayloadLeaving "the payload of revision old leaves the node before the install begins"`,
		},
		"and so it is when its soak has just ended": {
			world: `a  kata  Ready  old  since 61s  unready  gated  pod failed:2:1  handlers kata  booked old/install`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"and uninstalled": {
			world: `a  kata  Ready  new  since 61s  unready  gated  pod failed:2:1  handlers kata  booked new/install  unlabelled`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"what a failed payload offered is what an uninstall undoes": {
			gone:  2 * time.Minute,
			world: `a  kata  Failed  new  since 1h  failure PayloadNotReady  handlers kata`,
			want: `book a uninstall new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a failed upgrade offers nothing, for the payload before it has left": {
			world: `a  kata  Installing  new  since 16m  previous old  attempted old  ready  pod running  handlers kata`,
			want:  `move Fail a Failed new previous=old TimedOut "not done after 15m0s: step install is running; waiting for the pod to become ready"`,
		},
		"a ready label of a payload that has left goes": {
			world: `a  kata  Failed  new  since 1h  previous old  ready  failure TimedOut  handlers kata`,
			want:  `move Repair a Failed new previous=old`,
		},
		"and so it does when something else began since": {
			world: `a  kata  Pending  -  ready  previous old  attempted new  reason TurnReturned  booked new/install  handlers kata`,
			want:  `move Repair a Pending previous=old`,
		},
		"a payload whose node is NotReady stays on offer": {
			world: `a  kata  Ready  new  since 1h  gated  pod running  handlers kata  notready 10s`,
			want:  ``,
		},
		"a NotReady node brings no ready label back": {
			world: `a  kata  Ready  new  since 1h  unready  gated  pod resident  handlers kata  notready 10s`,
			want:  ``,
		},
		"what is known of a NotReady node says nothing of a Ready one": {
			world: `a  kata  Ready  new  since 1h  gated  handlers kata  notready 10s
			        b  kata  Ready  new  since 1h  gated  handlers kata`,
			want: `move Repair b Ready new gate=new-install`,
		},
		"an uninstall is done by exit codes": {
			world: `a  kata  Uninstalling  old  pod done  unlabelled`,
			want:  `move RemoveKeys a`,
		},
	}
	for name, s := range all {
		s.completion = observed.CompletionReady
		all[name] = s
	}
	return all
}

func TestPayloadsThatSayByLabelsThatTheyAreDone(t *testing.T) { play(t, labelScenarios()) }

func TestPayloadsThatStay(t *testing.T) { play(t, readyScenarios()) }

// A pod that is restarted makes events; the end of the soak makes none.
func TestAPayloadThatIsNotReadyIsLookedAtWhenItsSoakEnds(t *testing.T) {
	w := newWorld(t, scenario{completion: observed.CompletionReady, world: `a  kata  Ready  new  since 20s  unready  gated  pod failed:2:1  handlers kata`})
	decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	if want := now.Add(40 * time.Second); !decision.Again.Equal(want) {
		t.Errorf("the next look is at %s, expected %s", decision.Again, want)
	}
}

// The pod that is in the way may take its whole grace period to leave.
func TestTheInstallerOfABookedNodeStaysWhileAPodIsInItsWay(t *testing.T) {
	w := newWorld(t, scenario{gone: 2 * time.Minute, world: `a  kata  Ready  old  since 1h  booked old/uninstall  pod leaving`})
	decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	want := rollout.Installer{Runtime: "kata", Revision: w.hash["kata/old"], Step: observed.StepUninstall}
	if !slices.Contains(decision.Objects.Installers, want) {
		t.Errorf("installers are %v, expected also %v", decision.Objects.Installers, want)
	}
}

// Nothing but the progress says which installer comes next where the snapshot cannot be read: it must not be swept away before.
func TestTheInstallerOfTheNextStepStaysThoughItsRevisionCannotBeRead(t *testing.T) {
	w := newWorld(t, scenario{completion: observed.CompletionNodeLabel, lost: "old", world: `a  kata  Uninstalling  old  step post  reason StepDone  ungated  otherpod  unlabelled`})
	decision := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	for _, ref := range decision.Objects.Delete {
		if ref.Name == observed.DaemonSetName("kata", observed.StepPost, w.hash["kata/old"]) {
			t.Errorf("%s %s is deleted", ref.Kind, ref.Name)
		}
	}
}

// A booking that was lost with its ConfigMap is needed by a node whose payload has left as well: it is out of service.
func TestANodeWithoutItsPayloadIsBookedWhenTheTurnsAreRebuilt(t *testing.T) {
	w := newWorld(t, scenario{completion: observed.CompletionReady, world: `
		a  kata  Pending  -    previous old  attempted old  reason PayloadLeaving
		b  kata  Pending  -    previous old  attempted old  reason TurnReturned
		c  kata  Ready    old  since 1h`})
	want := []observed.Turn{{Node: "uid-a", Runtime: "kata", Revision: w.hash["kata/old"], Operation: observed.Install, ID: "t1"}}
	if diff := gocmp.Diff(want, rollout.Rebuild(w.snap.Nodes)); diff != "" {
		t.Errorf("turns, want (-) and got (+):\n%s", diff)
	}
}

// allScenarios are those of all files. Each has a name of its own.
func allScenarios(t *testing.T) map[string]scenario {
	t.Helper()
	all := scenarios()
	for _, table := range []map[string]scenario{labelScenarios(), readyScenarios()} {
		for name, s := range table {
			if _, known := all[name]; known {
				t.Errorf("two scenarios %q", name)
			}
			all[name] = s
		}
	}
	return all
}
