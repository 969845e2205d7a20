package rollout_test

import "testing"

func TestARebootAsksForACheck(t *testing.T) {
	play(t, map[string]scenario{
		"which is written down when the node shows what it showed before": {
			world: `a  kata  Ready  new  since 1h  boot a  handlers kata`,
			want:  `move Repair a Ready new ready HandlersReported "the machine was rebooted, and needed nothing: the node reports handler kata"`,
		},
		"once": {
			world: `a  kata  Ready  new  since 1h  boot b  handlers kata`,
		},
		"where handlers are not reported, the node itself is all that is known": {
			world: `a  kata  Ready  new  since 1h  boot a`,
			want:  `move Repair a Ready new ready HandlersUnreported "the machine was rebooted, and needed nothing: every step exited 0; the node reports no handlers, so that nothing more is known"`,
		},
		"and waits for the node": {
			world: `a  kata  Ready  new  since 1h  boot a  handlers kata  notready 1m`,
		},
		"and for the payload that stays": {
			completion: "Ready",
			world:      `a  kata  Ready  new  since 1h  boot a  handlers kata  gate new-install`,
			want:       `move Repair a Ready new gate=new-install`,
		},
		"a handler that is missing is drift": {
			world: `a  kata  Ready  new  since 1h  boot a  handlers runc`,
			want:  `move Repair a Ready new HandlerLost "the node does not report handler kata any more"`,
		},
		"an upgrade that is due goes on": {
			world: `a  kata  Ready  old  since 1h  boot a  handlers kata`,
			want:  `move Repair a Ready old ready HandlersReported "the machine was rebooted, and needed nothing: the node reports handler kata"`,
		},
		"what is under way goes on": {
			world: `a  kata  Installing  new  since 1m  boot a  pod running  handlers kata`,
			want:  `hold a CommandRunning "step install is running"`,
		},
	})
}
