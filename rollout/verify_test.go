package rollout_test

import "testing"

func TestAnInstallIsVerified(t *testing.T) {
	const verify = "verify: {image: registry.example/verify, cmd: [/bin/true]}"
	play(t, map[string]scenario{
		"when its command is done and the node shows the handlers": {
			spec:  verify,
			world: `a  kata  Installing  new  since 1m  pod done  handlers kata`,
			want:  `move CloseGate a Installing new StepDone "step install is done; step verify follows when its pod has left the node"`,
		},
		"not before": {
			spec:  verify,
			world: `a  kata  Installing  new  since 1m  pod done  handlers runc`,
			want:  `hold a WaitingForHandlers "every step exited 0, but the node reports handlers runc; expected also kata"`,
		},
		"when the installer has left": {
			spec:  verify,
			world: `a  kata  Installing  new  since 1m  step verify  reason StepDone  ungated  handlers kata`,
			want:  `move NextStep a Installing new gate=new-verify`,
		},
		"by a pod that exits 0": {
			spec:  verify,
			world: `a  kata  Installing  new  since 1m  step verify  pod done  handlers kata`,
			want:  `move Succeed a Ready new ready Verified`,
		},
		"and has as many attempts as an install": {
			spec:  verify,
			world: `a  kata  Installing  new  since 1m  step verify  pod failed:1:7  handlers kata  previous old  ready`,
			want:  `move NoteExit a Installing new ready gate=new-verify previous=old attempt=2 CommandFailed "step install exited 7: no space left"`,
		},
		"or fails, and what was seen not to work is not on offer any more": {
			spec:  verify + "\nattempts: 1",
			world: `a  kata  Installing  new  since 1m  step verify  pod failed:1:7  handlers kata  previous old  ready`,
			want:  `move Fail a Failed new previous=old VerifyFailed "attempt 1 of 1: step install exited 7: no space left"`,
		},
		"and is not offered anew for that": {
			spec:  verify,
			world: `a  kata  Failed  new  since 1m  step verify  failure VerifyFailed  previous old  handlers kata`,
			want:  ``,
		},
		"also a payload that says by a label that it is done": {
			completion: "NodeLabel",
			spec:       verify,
			world:      `a  kata  Installing  new  since 1m  step install  pod running  label done=install  labelled 5s  handlers kata`,
			want:       `move CloseGate a Installing new StepDone "step install is done; step verify follows when its pod has left the node"`,
		},
		"to the end, where the spec does not ask for that any more": {
			world: `a  kata  Installing  new  since 1m  step verify  pod running  handlers kata`,
			want:  `hold a CommandRunning "step install is running"`,
		},
		"but not a revision that is not the goal": {
			spec:  verify,
			world: `a  kata  Installing  old  since 1m  pod done  handlers kata`,
			want:  `move Succeed a Ready old ready`,
		},
		"and an uninstall is not": {
			spec:  verify,
			world: `a  kata  Uninstalling  old  since 1m  pod done  unlabelled`,
			want:  `move RemoveKeys a`,
		},
	})
}
