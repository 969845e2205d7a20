package rollout_test

import (
	"testing"
	"time"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// inWaves is a wave by selector with a soak of its own, one by count with a budget of its own, and the rest.
const inWaves = `waves: "[{name: canary, nodeSelector: canary, soak: 1h}, {name: early, nodes: 2, maxUnavailable: 2}]"
maxUnavailable: "3"`

func TestWaves(t *testing.T) {
	play(t, map[string]scenario{
		"the first wave goes first, whatever its nodes are called, and with a budget of its own": {
			spec: `waves: "[{name: canary, nodeSelector: canary, maxUnavailable: 1}]"
			       maxUnavailable: "3"`,
			world: `a  kata  -  -
			        b  kata  -  -  label canary=yes
			        c  kata  -  -  label canary=yes`,
			want: `book b install new
			       hold a WaitingForWave "waiting for wave canary: 0 of 2 nodes done; not done: b, c"
			       hold b WaitingForTurn "the turn is being booked"
			       hold c BudgetUsed "1 of 1 nodes out of service: b"`,
		},
		"a wave soaks as long as it wants to": {
			spec: inWaves,
			world: `a  kata  -      -
			        b  kata  Ready  new  since 30m  label canary=yes`,
			want: `book b install new
			       hold a WaitingForWave "waiting for wave canary to soak until 2026-11-20T12:30:00Z"
			       hold b Soaking "installed; watched until 12:30:00 UTC before it counts"`,
		},
		"the next wave begins when the one before is over, with the budget of its own": {
			spec: inWaves,
			world: `a  kata  -      -
			        b  kata  Ready  new  since 2h  label canary=yes
			        c  kata  -      -
			        d  kata  -      -`,
			want: `book a install new
			       book c install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold c WaitingForTurn "the turn is being booked"
			       hold d WaitingForWave "waiting for wave early: 0 of 2 nodes done; not done: a, c"`,
		},
		"a wave by count is over when so many nodes are done, whichever": {
			spec: `waves: "[{name: one, nodes: 1}]"`,
			world: `a  kata  -      -
			        b  kata  -      -
			        c  kata  Ready  new  since 2h`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a wave by count takes nodes that something can be done with": {
			spec: `waves: "[{name: one, nodes: 1}]"`,
			world: `a  kata  -  -  hold "disk"
			        b  kata  -  -  notready 1m
			        c  kata  -  -`,
			want: `book c install new
			       hold a Held "held: \"disk\""
			       hold b NodeNotReady "the node is NotReady since 2026-11-20T11:59:00Z"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"a node that is left alone keeps no wave from going on, if another one has shown that it works": {
			spec: inWaves,
			world: `a  kata  -      -
			        b  kata  Ready  new  since 2h  label canary=yes
			        c  kata  -      -              label canary=yes  hold "disk"`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold c Held "held: \"disk\""`,
		},
		"a wave whose nodes are all left alone has shown nothing": {
			spec: inWaves,
			world: `a  kata  -  -
			        b  kata  -  -  label canary=yes  hold "disk"`,
			want: `hold a WaitingForWave "waiting for wave canary, which has shown nothing yet: of its 1 nodes 0 failed, and 1 are held, NotReady, cordoned, being deleted or under others' maintenance"
			       hold b Held "held: \"disk\""`,
		},
		"a wave with failures that are put up with is over": {
			spec: `waves: "[{name: canary, nodeSelector: canary}]"
			       maxUnavailable: "2"
			       onFailure: Continue`,
			world: `a  kata  -       -
			        b  kata  Ready   new  since 2h  label canary=yes
			        c  kata  Failed  new  since 2h  label canary=yes  unbooked`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a wave without nodes is over": {
			spec:  inWaves,
			world: `a  kata  -  -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"a turn that a later wave has is given back when there is a new revision": {
			spec: inWaves,
			world: `a  kata  Ready  old  since 3h  booked new/install  anew
			        b  kata  Ready  old  since 3h  label canary=yes
			        c  kata  Ready  old  since 3h
			        d  kata  Ready  old  since 3h`,
			want: `book b install new
			       move ReturnTurn a Ready old ready
			       hold a WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: b"
			       hold b WaitingForTurn "the turn is being booked"
			       hold c WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: b"
			       hold d WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: b"`,
		},
		"what has begun in a later wave is finished": {
			spec: inWaves,
			world: `a  kata  Installing  old  since 1m  pod running
			        b  kata  Ready       old  since 3h  label canary=yes`,
			want: `book b install new
			       hold a CommandRunning "step install is running"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a node that failed at what was asked for before waits for no wave: it holds the place that the first wave needs": {
			spec: `waves: "[{name: canary, nodeSelector: canary}]"`,
			world: `a  kata  Failed  old  since 1h  failure InstallFailed
			        b  kata  Ready   old  since 3h  label canary=yes
			        c  kata  Ready   old  since 3h`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"
			       hold c WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: b"`,
		},
		"a node that failed and was passed over waits for its wave": {
			spec: `waves: "[{name: canary, nodeSelector: canary}]"
			       onFailure: Continue`,
			world: `a  kata  Failed  old  since 1h  failure InstallFailed  unbooked
			        b  kata  Ready   old  since 3h  label canary=yes`,
			want: `book b install new
			       hold a WaitingForWave "waiting for wave canary: 0 of 1 nodes done; not done: b"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"an uninstall waits for no wave": {
			spec: inWaves,
			world: `a  kata  Ready  old  since 3h  unlabelled
			        b  kata  -      -    label canary=yes`,
			want: `book a uninstall old
			       book b install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"a wave goes zone by zone": {
			spec: `maxUnavailable: "2"`,
			world: `a  kata  -  -  label topology.kubernetes.io/zone=z2
			        b  kata  -  -  label topology.kubernetes.io/zone=z1
			        c  kata  -  -  label topology.kubernetes.io/zone=z1
			        d  kata  -  -  label topology.kubernetes.io/zone=z1  hold "no"`,
			want: `book b install new
			       book c install new
			       hold a BudgetUsed "2 of 2 nodes out of service: b, c"
			       hold b WaitingForTurn "the turn is being booked"
			       hold c WaitingForTurn "the turn is being booked"
			       hold d Held "held: \"no\""`,
		},
		"the next zone begins only when nothing in the one before can have a turn": {
			spec: `maxUnavailable: "2"`,
			world: `a  kata  -           -    label topology.kubernetes.io/zone=z2
			        b  kata  -           -    label topology.kubernetes.io/zone=z1
			        b  runc  Installing  new  since 1m  pod running`,
			want: `book a install new
			       hold a WaitingForZone "waiting for zone \"z1\", where node b has its turn first"
			       hold b OtherRuntime "runtime \"runc\" is at work on the node"
			       hold a WaitingForTurn "the turn is being booked"
			       hold b CommandRunning "step install is running"`,
		},
	})
}

// A node outside of the wave will be one of those that it has, and make it over, by time alone.
func TestAWaveByCountLooksAgainWhenANodeHasSoakedForIt(t *testing.T) {
	w := newWorld(t, scenario{
		spec: "waves: \"[{name: early, nodes: 1, soak: 1h}]\"\ninstallTimeout: 2h",
		world: `a  kata  Ready       new  since 30m
		        b  kata  Installing  new  since 1m  pod running`,
	})
	d := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	if want := now.Add(30 * time.Minute); !d.Again.Equal(want) {
		t.Errorf("looks again at %s, expected %s", d.Again, want)
	}
}

func TestAWindowThatNoOperationFitsIntoIsAWarning(t *testing.T) {
	w := newWorld(t, scenario{
		spec:  "installTimeout: 2h",
		pool:  "databases maintenanceWindow: {schedule: '@daily', duration: 1h}",
		world: "a  kata  -  -\nb  kata  -  -",
	})
	d := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	if len(d.Objects.Warnings) != 1 || d.Objects.Warnings[0].Reason != "WindowTooShort" {
		t.Errorf("warnings %v", d.Objects.Warnings)
	}
}
