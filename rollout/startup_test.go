package rollout_test

import "testing"

func TestNodesThatAreNotInServiceYet(t *testing.T) {
	play(t, map[string]scenario{
		"go first and outside of the budget": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  -       -
			        c  kata  -       -    starting
			        d  kata  -       -    starting`,
			spec: "maxFailed: 1",
			want: `book c install new
			       book d install new
			       hold b BudgetUsed "1 of 1 nodes out of service: a"
			       hold c WaitingForTurn "the turn is being booked"
			       hold d WaitingForTurn "the turn is being booked"`,
		},
		"take no place from the others": {
			world: `a  kata  -           -
			        b  kata  Installing  new  since 1m  pod running  starting`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b CommandRunning "step install is running"`,
		},
		"wait for no wave where the last good revision is known": {
			spec: "waves: [{name: canary, nodeSelector: canary}]",
			world: `a  kata  Ready  old  since 1h  label canary=yes
			        b  kata  -      -    starting
			        c  kata  -      -`,
			want: `book a install new
			       book b install old
			       hold a WaitingForTurn "the turn is being booked"
			       hold b WaitingForTurn "the turn is being booked"
			       hold c WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: a"`,
		},
		"wait for the first wave where no revision is known to be good": {
			spec: "waves: [{name: canary, nodeSelector: canary}]",
			world: `a  kata  -  -  label canary=yes
			        b  kata  -  -  starting`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: a"`,
		},
		"get the last good revision while the newest is halted": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  previous old
			        b  kata  -       -    starting
			        c  kata  -       -    booked old/install  starting`,
			want: `book b install old
			       move OpenGate c Installing old gate=old-install
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"and are left alone where that fails as well": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  previous old
			        b  kata  Failed  old  since 1m  failure InstallFailed  starting`,
			want: `hold b Halted "1 nodes failed (maxFailed 0): a; mend the spec, or annotate a node with kata.longshore.dev/retry to try it again"`,
		},
		"finish the last good revision even before its command began": {
			world: `a  kata  Failed      new  since 1h  failure InstallFailed  previous old
			        b  kata  Installing  old  since 1m  unbegun  pod pulling  starting`,
			want: `hold b PodNotStarted "step install has not started: ImagePullBackOff: no such image"`,
		},
		"obey no window, but a hold and a pause": {
			pool: `databases maintenanceWindow: {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}
			       off nodeSelector: off
			       off paused: true`,
			world: `a  kata  -  -  starting
			        b  kata  -  -  starting  hold "disk swap"
			        c  kata  -  -  starting  label off=yes`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b Held "held: \"disk swap\""
			       hold c PoolPaused "pool \"off\" is paused"`,
		},
		"are in service when the runtime is there, and are not watched": {
			world: `a  kata  Ready  new  since 1s  handlers kata  ready  booked new/install  starting`,
			want: `free a
			       move Untaint a Ready new ready`,
		},
		"are in service only when the runtime is there": {
			world: `a  kata  Ready  new  since 1h  handlers runc  ready  starting`,
			want:  `move Repair a Ready new HandlerLost "the node does not report handler kata any more"`,
		},
		"no taint of another runtime matters": {
			world: `a  kata   Ready  new  since 1h
			        a  other  -      -    unlabelled  starting
			        b  kata   -      -
			        b  other  -      -    unlabelled`,
			want: `book b install new
			       hold b WaitingForTurn "the turn is being booked"`,
		},
	})
}
