package rollout_test

import (
	"fmt"
	"strings"
	"testing"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

func TestNoMoreNodesAreLookedAtThanCanBeWatched(t *testing.T) {
	var lines []string
	for i := range rollout.MostLooks + 5 {
		lines = append(lines, fmt.Sprintf("n%03d  kata  Draining  new  since 1m  previous old  attempted old  handlers kata  ours", i))
	}
	w := newWorld(t, scenario{spec: "drain: Drain", world: strings.Join(lines, "\n")})
	d := rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
	if len(d.Looks) != rollout.MostLooks || len(d.Holds) != len(lines) {
		t.Errorf("%d nodes are looked at, %d of %d wait", len(d.Looks), len(d.Holds), len(lines))
	}
}

func TestNodesAreEmptiedBeforeTheirTurn(t *testing.T) {
	play(t, map[string]scenario{
		"a cordon comes with the gate": {
			spec:  "drain: Cordon",
			world: `a  kata  Ready  old  since 1h  booked new/install  anew  handlers kata`,
			want:  `move OpenGate a Installing new ready gate=new-install cordon previous=old`,
		},
		"and goes with the result": {
			spec:  "drain: Cordon",
			world: `a  kata  Installing  new  since 1m  previous old  ready  pod done  handlers kata  ours`,
			want:  `move Succeed a Ready new ready uncordon previous=old`,
		},
		"and with what is left after an uninstall": {
			spec:  "drain: Cordon",
			world: `a  kata  Uninstalling  old  since 1m  pod done  unlabelled  ours`,
			want:  `move RemoveKeys a uncordon`,
		},
		"a node that somebody else cordoned is not begun with": {
			spec:  "drain: Cordon",
			world: `a  kata  Ready  old  since 1h  booked new/install  anew  cordoned`,
			want: `move ReturnTurn a Ready old ready
			       hold a NodeCordoned "somebody cordoned the node"`,
		},
		"and never uncordoned": {
			spec:  "drain: Cordon",
			world: `a  kata  Installing  new  since 1m  previous old  pod done  handlers kata  cordoned`,
			want:  `move Succeed a Ready new ready previous=old`,
		},
		"whoever uncordons a node meant that, so that a cordon after it is somebody else's": {
			spec:  "drain: Cordon",
			world: `a  kata  Installing  new  since 1m  previous old  pod running  handlers kata  uncordoned`,
			want:  `move Repair a Installing new gate=new-install previous=old`,
		},
		"a node that fails stays cordoned": {
			spec:  "drain: Cordon\nattempts: 1",
			world: `a  kata  Installing  new  since 1m  pod failed:1:7  ours`,
			want:  `move Fail a Failed new InstallFailed "attempt 1 of 1: step install exited 7: no space left"`,
		},
		"unless failures are passed over": {
			spec:  "drain: Cordon\nattempts: 1\nonFailure: Continue",
			world: `a  kata  Installing  new  since 1m  pod failed:1:7  ours`,
			want:  `move Fail a Failed new uncordon InstallFailed "attempt 1 of 1: step install exited 7: no space left"`,
		},
		"a drain closes the node first": {
			spec:  "drain: Drain",
			world: `a  kata  Ready  old  since 1h  booked new/install  anew  handlers kata`,
			want:  `move Drain a Draining new ready cordon previous=old`,
		},
		"then looks at its pods": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 1s  previous old  attempted old  ready  handlers kata  ours`,
			want: `look a
			       hold a PodsUnseen "looking at the pods on the node, and waiting for those to leave that are in the way"`,
		},
		"has those leave that a drain evicts": {
			spec: "drain: Drain",
			world: `a  kata  Draining  new  since 1s  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable, default/old evictable leaving, ` +
				`default/done evictable ended, kube-system/proxy, kube-system/etcd static"`,
			want: `look a
			       evict default/web
			       hold a WaitingForPods "waiting for 2 pods to leave the node: default/old, default/web"`,
		},
		"writes it down when one is refused": {
			spec:    "drain: Drain",
			refused: "web the budget allows none",
			world:   `a  kata  Draining  new  since 1m  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable"`,
			want: `move Drain a Draining new ready previous=old
			       look a`,
		},
		"asks no more than every few seconds, and says why one is refused": {
			spec:    "drain: Drain",
			refused: "web the budget allows none",
			world:   `a  kata  Draining  new  since 1m  reason EvictionRefused  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable"`,
			want: `look a
			       hold a EvictionRefused "waiting for 1 pods to leave the node: default/web; the eviction of default/web is refused: the budget allows none"`,
		},
		"waits a moment for what may be late": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 2s  previous old  attempted old  ready  handlers kata  ours  sees "kube-system/proxy"`,
			want: `look a
			       hold a WaitingForPods "no pod is in the way; the gate opens if that stays so"`,
		},
		"and opens the gate": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 4s  previous old  attempted old  ready  handlers kata  ours  sees "kube-system/proxy"`,
			want: `move OpenGate a Installing new ready gate=new-install previous=old
			       look a`,
		},
		"evicts nothing while pods are there that nobody would make anew": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 1m  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable, default/bare bare"`,
			want: `move Block a Blocked new ready previous=old BarePods "nobody would make these pods anew, so that they are not evicted: default/bare; delete them, if they may be lost"
			       look a`,
		},
		"and goes on when they are gone": {
			spec:  "drain: Drain",
			world: `a  kata  Blocked  new  since 1m  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable"`,
			want: `move Drain a Draining new ready previous=old
			       look a`,
		},
		"what cannot be emptied in time is what it was before": {
			spec:    "drain: Drain",
			refused: "web the budget allows none",
			world:   `a  kata  Draining  new  since 16m  previous old  attempted old  ready  handlers kata  ours  sees "default/web evictable"`,
			want: `move ReturnTurn a Ready old ready uncordon DrainTimedOut "waiting for 1 pods to leave the node: default/web; the eviction of default/web is refused: the budget allows none"
			       look a`,
		},
		"and rests for as long": {
			spec: "drain: Drain",
			world: `a  kata  Ready  old  since 14m  reason DrainTimedOut  booked new/install  turn t2  handlers kata
			        b  kata  Ready  old  since 1h  handlers kata`,
			want: `book b install new
			       free a
			       hold a DrainTimedOut "; tried again from 2026-11-20T12:01:00Z on"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"then it goes last, and of several the one that waits longest": {
			spec: "drain: Drain\nmaxUnavailable: 2",
			world: `a  kata  Ready  old  since 16m  reason DrainTimedOut  handlers kata
			        b  kata  Ready  old  since 17m  reason BarePods  handlers kata
			        c  kata  Ready  old  since 1h  handlers kata`,
			want: `book b install new
			       book c install new
			       hold a BudgetUsed "2 of 2 nodes out of service: b, c"
			       hold b WaitingForTurn "the turn is being booked"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"or at once when people ask for that": {
			spec:  "drain: Drain",
			world: `a  kata  Ready  old  since 1m  reason DrainTimedOut  handlers kata  retry now`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"`,
		},
		"one that never had anything waits with a reason": {
			spec:  "drain: Drain",
			world: `a  kata  Blocked  new  since 16m  ours  sees "default/bare bare"`,
			want: `move ReturnTurn a Pending uncordon BarePods "nobody would make these pods anew, so that they are not evicted: default/bare; delete them, if they may be lost"
			       look a`,
		},
		"a node that had failed keeps its place for as long as it takes": {
			spec:    "drain: Drain",
			refused: "web the budget allows none",
			world: `a  kata  Draining  new  since 16m  reason EvictionRefused  previous old  attempted new  ours  broken  sees "default/web evictable"
			        b  kata  Ready     old  since 1h`,
			want: `look a
			       hold a EvictionRefused "waiting for 1 pods to leave the node: default/web; the eviction of default/web is refused: the budget allows none"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"a retry is emptied anew": {
			spec:  "drain: Drain",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  previous old  booked new/install  anew  ours  retry now`,
			want:  `move Drain a Draining new previous=old`,
		},
		"what was emptied is not held back by a pause": {
			spec:  "drain: Drain\npaused: \"true\"",
			world: `a  kata  Draining  new  since 4s  previous old  attempted old  ready  handlers kata  ours  sees ""`,
			want: `move OpenGate a Installing new ready gate=new-install previous=old
			       look a`,
		},
		"but people's hold is obeyed": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 4s  previous old  attempted old  ready  handlers kata  ours  sees ""  hold "INC-4711"`,
			want: `move ReturnTurn a Ready old ready uncordon TurnReturned "held: \"INC-4711\""
			       hold a Held "held: \"INC-4711\""`,
		},
		"a spec that is back ends the drain": {
			spec:  "drain: Drain",
			world: `a  kata  Draining  new  since 4s  previous new  attempted new  ours  uninstalling  handlers kata  sees ""`,
			want:  `move ReturnTurn a Ready new ready uncordon TurnReturned "what the node has is what it should have"`,
		},
		"a new node is not drained: nobody lives there": {
			spec:  "drain: Drain",
			world: `a  kata  -  -  booked new/install  starting`,
			want:  `move OpenGate a Installing new gate=new-install`,
		},
		"no place is taken while the right to look is missing": {
			spec:   "drain: Drain",
			denied: "pods",
			world:  `a  kata  Ready  old  since 1h`,
			want:   `hold a PodsUnseen "the controller may not see the pods of other namespaces, which comes with kustomize/components/workloads; without it, drain has to be None or Cordon, and inUsePolicy Ignore"`,
		},
		"nor while that to evict is": {
			spec:   "drain: Drain",
			denied: "evictions",
			world:  `a  kata  Ready  old  since 1h`,
			want:   `hold a PodsUnseen "the controller may not evict pods, which comes with kustomize/components/workloads; without it, drain has to be None or Cordon, and inUsePolicy Wait or Ignore"`,
		},
		"a payload that stays goes on until the node is empty": {
			completion: "Ready",
			spec:       "drain: Drain",
			world:      `a  kata  Ready  old  since 1h  gate old-install  booked new/install  anew  handlers kata  pod resident`,
			want:       `move Drain a Draining new ready gate=old-install cordon previous=old`,
		},
		"and leaves then": {
			completion: "Ready",
			spec:       "drain: Drain",
			world:      `a  kata  Draining  new  since 4s  previous old  attempted old  ready  gate old-install  handlers kata  ours  sees ""`,
			want: `move CloseGate a Pending ready previous=old PayloadLeaving "the payload of revision old leaves the node before the install begins"
			       look a`,
		},
	})
}

func TestARuntimeThatIsInUse(t *testing.T) {
	play(t, map[string]scenario{
		"stops being offered before anybody looks": {
			classes: "kata=kata mine=kata other=runsc",
			world:   `a  kata  Ready  new  since 1h  unlabelled  booked new/uninstall  anew  handlers kata`,
			want:    `move Drain a Draining new previous=new`,
		},
		"is waited for, whoever made the class": {
			classes: "kata=kata mine=kata other=runsc",
			world: `a  kata  Draining  new  since 5s  previous new  attempted new  uninstalling  unlabelled  handlers kata  ` +
				`sees "default/db class=mine evictable, default/web class=other evictable, default/job class=kata ended, default/plain evictable"`,
			want: `move Block a Blocked new previous=new PodsInUse "waiting for pods that use the runtime: default/db; their RuntimeClasses are mine"
			       look a`,
		},
		"is uninstalled when nobody uses it any more": {
			classes: "kata=kata",
			world:   `a  kata  Blocked  new  since 5m  previous new  attempted new  uninstalling  unlabelled  handlers kata  sees "default/plain evictable"`,
			want: `move OpenGate a Uninstalling new gate=new-uninstall previous=new
			       look a`,
		},
		"is offered again when that takes too long": {
			classes: "kata=kata",
			world:   `a  kata  Blocked  new  since 16m  previous new  attempted new  uninstalling  unlabelled  handlers kata  sees "default/db class=kata evictable"`,
			want: `move ReturnTurn a Ready new ready PodsInUse "waiting for pods that use the runtime: default/db; their RuntimeClasses are kata"
			       look a`,
		},
		"is taken from its pods with Evict, also from those of a DaemonSet": {
			classes: "kata=kata",
			spec:    "inUsePolicy: Evict",
			world:   `a  kata  Draining  new  since 5s  previous new  attempted new  uninstalling  unlabelled  sees "default/agent class=kata, default/db class=kata evictable, default/plain evictable"`,
			want: `look a
			       evict default/agent
			       evict default/db
			       hold a WaitingForPods "waiting for 2 pods to leave the node: default/agent, default/db"`,
		},
		"but from none that nobody would make anew": {
			classes: "kata=kata",
			spec:    "inUsePolicy: Evict",
			world:   `a  kata  Draining  new  since 5s  previous new  attempted new  uninstalling  unlabelled  sees "default/bare class=kata bare, default/db class=kata evictable"`,
			want: `move Block a Blocked new previous=new BarePods "nobody would make these pods anew, so that they are not evicted: default/bare; delete them, if they may be lost"
			       look a`,
		},
		"nor from the kubelet's own": {
			classes: "kata=kata",
			spec:    "inUsePolicy: Evict",
			world:   `a  kata  Draining  new  since 5s  previous new  attempted new  uninstalling  unlabelled  sees "default/static class=kata static"`,
			want: `move Block a Blocked new previous=new PodsInUse "waiting for pods that use the runtime: default/static; their RuntimeClasses are kata"
			       look a`,
		},
		"is not looked at with Ignore": {
			classes: "kata=kata",
			spec:    "inUsePolicy: Ignore",
			world:   `a  kata  Ready  new  since 1h  unlabelled  booked new/uninstall  anew`,
			want:    `move OpenGate a Uninstalling new gate=new-uninstall previous=new`,
		},
		"nor by an upgrade that keeps its handlers": {
			classes: "kata=kata",
			world:   `a  kata  Ready  old  since 1h  booked new/install  anew  handlers kata`,
			want:    `move OpenGate a Installing new ready gate=new-install previous=old`,
		},
		"holds the turn up where the right to look is missing": {
			classes: "kata=kata",
			denied:  "pods",
			world:   `a  kata  Ready  new  since 1h  unlabelled`,
			want:    `hold a PodsUnseen "the controller may not see the pods of other namespaces, which comes with kustomize/components/workloads; without it, drain has to be None or Cordon, and inUsePolicy Ignore"`,
		},
	})
}
