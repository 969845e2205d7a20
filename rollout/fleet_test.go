package rollout_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// The fleet comes first. Each name begins with the number of the finding that it holds.

const retryHint = `mend the spec, or annotate a node with kata.longshore.dev/retry to try it again`

func TestWhatWorksIsNotTakenAway(t *testing.T) {
	play(t, map[string]scenario{
		"A1: one new node that fails gives no proven revision up": {
			spec: "onFailure: Rollback", proven: "new",
			world: `a  kata  Ready   new  since 168h
			        b  kata  Ready   new  since 168h
			        d  kata  Failed  new  since 1h  failure InstallFailed`,
			want: `free d`,
		},
		"A1: nor does a drift repair that fails": {
			spec: "onFailure: Rollback", proven: "old new",
			world: `a  kata  Ready   new  since 168h
			        b  kata  Failed  new  since 1h  failure InstallFailed  previous new`,
			want: `free b`,
		},
		"A1: a held node at the revision before does not take the fleet back": {
			spec: "onFailure: Rollback", proven: "old new",
			world: `a  kata  Ready   new  since 168h
			        b  kata  Ready   old  since 168h  hold "legacy"
			        d  kata  Failed  new  since 1h    failure InstallFailed`,
			want: `free d
			       hold b Held "held: \"legacy\""`,
		},
		"A1: a rollout that is not proven goes back to the proven revision, whatever nodes remember": {
			spec: "onFailure: Rollback", proven: "old",
			world: `a  kata  Ready   new  since 2h
			        d  kata  Failed  new  since 1h  failure InstallFailed`,
			want: `bad new to old "1 nodes failed (maxFailed 0): d"`,
		},
		"A1: or to the one that nodes had before": {
			spec: "onFailure: Rollback",
			world: `a  kata  Ready   new  since 2h  previous old
			        d  kata  Failed  new  since 1h  failure InstallFailed`,
			want: `bad new to old "1 nodes failed (maxFailed 0): d"`,
		},
		"A1: nodes that the rollout did not change stay as they are": {
			spec: "onFailure: Rollback", bad: "old", proven: "old",
			world: `a  kata  Ready  new  since 2h
			        b  kata  Ready  a9   since 168h
			        c  kata  -      -`,
			want: `book a install old
			       hold a WaitingForTurn "the turn is being booked"
			       hold b NotRolledBack "the rollout that is taken back did not change the node; it keeps what it has"
			       hold c BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"A1: but for people who ask for a revision everywhere": {
			spec: "onFailure: Rollback", bad: "old", asked: true,
			world: `b  kata  Ready  a9  since 168h`,
			want: `book b install old
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"A1: without a revision to go back to, a node that offered another one keeps it": {
			spec: "onFailure: Rollback", bad: "-",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  previous a9
			        b  kata  Failed  new  since 1h  failure InstallFailed`,
			want: `book b uninstall new
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"A1: a revision is proven when every node is done, or left alone": {
			world: `a  kata  Ready  new  since 2h
			        b  kata  Ready  old  since 2h  hold "legacy"
			        c  kata  -      -    notready 1h
			        d  kata  -      -    cordoned`,
			want: `proven new
			       hold b Held "held: \"legacy\""
			       hold c NodeNotReady "the node is NotReady since 2026-11-20T11:00:00Z"
			       hold d NodeCordoned "somebody cordoned the node"`,
		},
		"A1: failures that are put up with, and nodes that are not in service yet, do not keep it from that": {
			spec: "maxFailed: 1\nonFailure: Rollback",
			world: `a  kata  Ready   new  since 2h
			        b  kata  Failed  new  since 2h  failure InstallFailed
			        c  kata  -       -    starting  hold "no"`,
			want: `proven new
			       hold c Held "held: \"no\""`,
		},
		"A1: not while one has failed at it": {
			unproven: true,
			world: `a  kata  Ready   new  since 2h
			        b  kata  Failed  new  since 2h  failure InstallFailed  cordoned`,
			want: ``,
		},
		"A1: nor while one soaks, or is begun": {
			unproven: true,
			spec:     "maxUnavailable: 2",
			world: `a  kata  Ready       new  since 2h
			        b  kata  Ready       new  since 20s  hold "no"
			        c  kata  Installing  new  since 20s  pod running  cordoned`,
			want: `hold b Soaking "installed; watched until 12:00:40 UTC before it counts"
			       hold c CommandRunning "step install is running"`,
		},
		"A1: nor where no node has it": {
			unproven: true,
			world:    `a  kata  -  -  hold "no"`,
			want:     `hold a Held "held: \"no\""`,
		},
		"A2: NotReady in the soak is not our failure where Karpenter takes the node": {
			spec:  "onFailure: Rollback",
			world: `a  kata  Ready  new  since 30s  notready 10s  others "Karpenter removes the node"`,
			want:  `hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:50Z, which is not counted as a failure: Karpenter removes the node"`,
		},
		"A2: nor where the node is being deleted": {
			world: `a  kata  Ready  new  since 30s  notready 10s  deleting`,
			want:  `hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:50Z, which is not counted as a failure: the node is being deleted"`,
		},
		"A2: nor where somebody cordoned it first, as who reboots machines does": {
			world: `a  kata  Ready  new  since 30s  notready 10s  cordoned`,
			want:  `hold a NodeNotReady "the node is NotReady since 2026-11-20T11:59:50Z, which is not counted as a failure: somebody cordoned the node"`,
		},
		"A2: a node that is being deleted takes its failure with it": {
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  deleting
			        b  kata  -       -`,
			want: `hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"A2: a machine that is taken away without a word has five minutes to vanish before the revision is given up": {
			spec: "onFailure: Rollback", proven: "old",
			world: `a  kata  Failed  new  since 4m  failure NotReadyInSoak  notready 4m
			        b  kata  -       -`,
			want: `hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"A2: after that it is": {
			spec: "onFailure: Rollback", proven: "old",
			world: `a  kata  Failed  new  since 5m  failure NotReadyInSoak  notready 5m`,
			want:  `bad new to old "1 nodes failed (maxFailed 0): a"`,
		},
		"A2: an operation whose time is up has not failed where somebody else is at work": {
			world: `a  kata  Installing  new  since 16m  pod running  others "kured reboots the node"  notready 2m`,
			want:  `move Redirect a Pending TurnReturned "the install of revision new was interrupted and is not counted as failed: kured reboots the node"`,
		},
		"A2: nor have attempts that are used up": {
			world: `a  kata  Installing  new  since 1m  attempt 3  exits 2  pod failed:3:1  deleting`,
			want:  `move Redirect a Pending TurnReturned "the install of revision new was interrupted and is not counted as failed: the node is being deleted"`,
		},
		"A2: nor does a payload that stays go on where somebody else is at work": {
			completion: observed.CompletionReady,
			world:      `a  kata  Installing  new  since 16m  previous old  attempted old  pod running  others "the GPU operator"`,
			want:       `move Redirect a Pending previous=old PayloadLeaving "the install of revision new was interrupted and is not counted as failed: the GPU operator"`,
		},
		"A2: it waits for them, in the place that it has": {
			completion: observed.CompletionReady,
			world: `a  kata  Pending  -    since 1m  previous old  attempted new  reason PayloadLeaving  booked new/install  others "the GPU operator"
			        b  kata  -        -`,
			want: `hold a OthersAtWork "the GPU operator"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"A1: more failures than are put up with prove nothing, also where they are passed over": {
			unproven: true,
			spec:     "onFailure: Continue",
			world: `a  kata  Ready   new  since 2h
			        b  kata  Failed  new  since 2h  failure InstallFailed`,
			want: `free b`,
		},
		"A3: labels that all nodes lose uninstall nothing": {
			unsaid: true,
			world: `a  kata  Ready  new  since 168h  unlabelled
			        b  kata  Ready  new  since 168h  unlabelled`,
			want: `hold a NothingSelected "the spec selects no node any more; nothing is uninstalled until it selects some or is deleted"
			       hold b NothingSelected "the spec selects no node any more; nothing is uninstalled until it selects some or is deleted"`,
		},
		"A3: an uninstall whose command has not begun is taken back": {
			unsaid: true,
			world: `a  kata  Uninstalling  new  since 10s   unlabelled  previous new  attempted new
			        b  kata  Ready         new  since 168h  unlabelled`,
			want: `move Redirect a Ready new ready TurnReturned "the uninstall of revision new was not wanted any more before its command began"
			       hold b NothingSelected "the spec selects no node any more; nothing is uninstalled until it selects some or is deleted"`,
		},
	})
}

func TestOneBadObjectHoldsUpNobodyElse(t *testing.T) {
	const refused = `the API server refuses to change the node, since 2026-11-20T11:59:00Z: policy says no`
	play(t, map[string]scenario{
		"B3: a node that cannot be written leaves its turn to others": {
			refusals: "Node a",
			world: `a  kata  -  -  booked new/install
			        b  kata  -  -`,
			want: `book b install new
			       hold a WriteRefused "` + refused + `"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"B3: it is not asked for again before its time": {
			refusals: "Node a",
			world:    `a  kata  -  -`,
			want:     `hold a WriteRefused "` + refused + `"`,
		},
		"B3: then its turn goes back first, where somebody else has it": {
			expired: "Node a",
			world: `a  kata  -           -    booked new/install
			        b  kata  Installing  new  since 1m  pod running`,
			want: `move ReturnTurn a Pending TurnReturned "2 of 1 nodes out of service: a, b"
			       hold a BudgetUsed "2 of 1 nodes out of service: a, b"
			       hold b CommandRunning "step install is running"`,
		},
		"B3: or its gate opens": {
			expired: "Node a",
			world:   `a  kata  -  -  booked new/install`,
			want:    `move OpenGate a Installing new gate=new-install`,
		},
		"B3: a node under way keeps its place, and waits": {
			refusals: "Node a",
			world: `a  kata  Installing  new  since 1m  pod done
			        b  kata  -           -`,
			want: `hold a WriteRefused "` + refused + `"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"B3: an installer that cannot be written holds nobody's turn": {
			refusals: "DaemonSet install-new", missing: "install-new",
			world: `a  kata  -      -    booked new/install
			        b  kata  Ready  old  since 1h  unlabelled`,
			want: `move ReturnTurn a Pending TurnReturned "the API server refuses to change DaemonSet kata-install-new, since 2026-11-20T11:59:00Z: policy says no"
			       hold a WriteRefused "the API server refuses to change DaemonSet kata-install-new, since 2026-11-20T11:59:00Z: policy says no"
			       hold b BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"B3: a budget that people made smaller takes turns back whose gates are not open": {
			world: `a  kata  -  -  booked new/install
			        b  kata  -  -  booked new/install`,
			want: `move ReturnTurn a Pending TurnReturned "2 of 1 nodes out of service: a, b"
			       hold a BudgetUsed "2 of 1 nodes out of service: a, b"
			       hold b BudgetUsed "2 of 1 nodes out of service: a, b"`,
		},
		"B6: the turn of a node that may still be there stays, and others go on": {
			spec:       "maxUnavailable: 2",
			maybeThere: "gone",
			world: `a  kata  -  -
			        b  kata  -  -`,
			want: `book a install new
			       hold a WaitingForTurn "the turn is being booked"
			       hold b BudgetUsed "2 of 2 nodes out of service: a"`,
		},
	})
}

func TestWhatCannotPassByItselfHoldsUpNobodyElse(t *testing.T) {
	const waves = `waves: [{name: canary, nodeSelector: canary}]`
	play(t, map[string]scenario{
		"C1: a canary that failed at the revision before and is held does not keep its wave open": {
			spec: waves,
			world: `a  kata  Ready   new  since 1h  label canary=1
			        b  kata  Failed  old  since 1h  failure InstallFailed  label canary=1  hold "dead disk"
			        c  kata  Ready   old  since 1h`,
			want: `hold b Held "held: \"dead disk\""
			       hold c BudgetUsed "1 of 1 nodes out of service: b"`,
		},
		"C1: nor does one that is NotReady": {
			spec: waves + "\nmaxUnavailable: 2",
			world: `a  kata  Ready   new  since 1h  label canary=1
			        b  kata  Failed  old  since 1h  failure InstallFailed  label canary=1  notready 1h
			        c  kata  Ready   old  since 1h`,
			want: `book c install new
			       hold b NodeNotReady "the node is NotReady since 2026-11-20T11:00:00Z"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C1: nor one whose progress cannot be read": {
			spec: waves,
			world: `a  kata  Ready   new  since 1h  label canary=1
			        b  kata  broken  -    label canary=1
			        c  kata  Ready   old  since 1h`,
			want: `book c install new
			       hold b UnreadableProgress "progress is not readable: unexpected end of JSON input; take the annotation off to have the node installed anew"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C1: a wave by count leaves out a node whose uninstall failed": {
			spec: "waves: [{name: one, nodes: 1}]\nonFailure: Continue",
			world: `a  kata  Failed  new  since 1h  uninstalling  failure UninstallFailed
			        b  kata  Ready   old  since 1h
			        c  kata  Ready   old  since 1h`,
			want: `book b install new
			       free a
			       hold b WaitingForTurn "the turn is being booked"
			       hold c WaitingForWave "waiting for wave one: 0 of 1 nodes done; not done: b"`,
		},
		"C2: with one failed node, a new node with the startup taint gets what others offer": {
			spec: "maxUnavailable: 2",
			world: `a  kata  Ready   new  since 1h
			        b  kata  Failed  new  since 1h  failure InstallFailed
			        c  kata  -       -    starting`,
			want: `book c install new
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C2: the proven revision is chosen before one that a few nodes offer": {
			spec: "maxUnavailable: 2", proven: "old",
			world: `a  kata  Ready   new  since 1h
			        b  kata  Failed  new  since 1h  failure InstallFailed
			        c  kata  -       -    starting`,
			want: `book c install old
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C3: a handler that is lost in the soak is a failure": {
			world: `a  kata  Ready  new  since 30s  handlers runc`,
			want:  `move Fail a Failed new HandlerLostInSoak "the node does not report handler kata any more, 30s after the install"`,
		},
		"C3: but not where somebody else is at work on the node": {
			world: `a  kata  Ready  new  since 30s  handlers runc  others "the NVIDIA GPU Operator upgrades its driver"`,
			want:  `move Repair a Ready new HandlerLost "the node does not report handler kata any more"`,
		},
		"C3: lost once, it is repaired at once": {
			world: `a  kata  Ready  new  since 5m  reason HandlerLost  unready  handlers runc  booked new/install  anew`,
			want:  `move OpenGate a Installing new gate=new-install previous=new repairs=1`,
		},
		"C3: lost soon after, it is repaired later": {
			world: `a  kata  Ready  new  since 10m  reason HandlerLost  unready  handlers runc  repairs 2`,
			want:  `hold a HandlerLost "the node does not report handler kata any more, soon after its install; it is repaired from 2026-11-20T12:05:00Z on"`,
		},
		"C3: lost again and again, the node fails, and that says nothing about the revision": {
			world: `a  kata  Ready  new  since 10m  reason HandlerLost  unready  handlers runc  repairs 3
			        b  kata  Ready  old  since 1h`,
			want: `book b install new
			       move Fail a Failed new HandlerLost "handler kata was lost 4 times, each time within 1h0m0s of its install: something else rewrites the configuration of the container runtime"
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"C3: such a node gives its place back and halts nothing": {
			world: `a  kata  Failed  new  since 10m  failure HandlerLost  handlers runc
			        b  kata  Ready   old  since 1h`,
			want: `book b install new
			       free a
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"C3: a handler that was there for long begins from zero": {
			world: `a  kata  Ready  new  since 2h  reason HandlerLost  unready  handlers runc  repairs 3  booked new/install  anew`,
			want:  `move OpenGate a Installing new gate=new-install previous=new repairs=1`,
		},
		"C5: while a rollout is halted, a new node gets the proven revision": {
			proven: "old",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   old  since 1h
			        c  kata  -       -`,
			want: `book c install old
			       hold b Halted "1 nodes failed (maxFailed 0): a; ` + retryHint + `"
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C5: its operation is not taken back for that": {
			proven: "old",
			world: `a  kata  Failed      new  since 1h  failure InstallFailed
			        c  kata  Installing  old  since 1m`,
			want: `hold c WaitingForPod "waiting for the DaemonSet controller to make the installer pod"`,
		},
		"C5: and a node that lost its handler has it repaired at the revision that it has": {
			proven: "old",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   old  since 2h  reason HandlerLost  unready  handlers runc`,
			want: `book b install old
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"C5: at a proven revision one failed node stops neither new nor drifted nodes": {
			proven: "new",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   new  since 2h  reason HandlerLost  unready  handlers runc
			        c  kata  -       -`,
			want: `book b install new
			       free a
			       hold b WaitingForTurn "the turn is being booked"
			       hold c BudgetUsed "1 of 1 nodes out of service: b"`,
		},
		"C5: a failed node that is NotReady stays in the way": {
			proven: "new",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed  notready 1h
			        c  kata  -       -`,
			want: `hold c BudgetUsed "1 of 1 nodes out of service: a"`,
		},
		"C5: a repair that was given back once is still one": {
			proven: "old",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   old  since 2h  reason TurnReturned  unready  handlers runc`,
			want: `book b install old
			       hold b WaitingForTurn "the turn is being booked"`,
		},
		"C5: while it is emptied, it stays that of its own revision": {
			spec: "drain: Cordon", proven: "old",
			world: `a  kata  Failed    new  since 1h  failure InstallFailed
			        b  kata  Draining  old  since 5s  previous old  attempted old  handlers runc  ours  unready`,
			want: `move OpenGate b Installing old gate=old-install previous=old`,
		},
		"C5: a proven goal waits for no wave": {
			spec: "waves: [{name: canary, nodeSelector: canary}]", proven: "new",
			world: `a  kata  -      -    label canary=1  hold "no"
			        b  kata  Ready  new  since 1h
			        c  kata  -      -    starting`,
			want: `book c install new
			       hold a Held "held: \"no\""
			       hold c WaitingForTurn "the turn is being booked"`,
		},
		"C5: a node that works at another revision waits": {
			proven: "old new",
			world: `a  kata  Failed  new  since 1h  failure InstallFailed
			        b  kata  Ready   old  since 2h`,
			want: `free a
			       hold b Halted "1 nodes failed (maxFailed 0): a; revision new is proven and stays in force: mend the nodes, and annotate them with kata.longshore.dev/retry to try them again"`,
		},
	})
}

func TestTheReadyLabelOfANodeThatWasBornWithIt(t *testing.T) {
	play(t, map[string]scenario{
		"D1: goes at once where the kubelet denies the runtime, also while people paused it": {
			paused: "INC-4711",
			world:  `a  kata  -  -  ready  handlers runc`,
			want:   `move RemoveKeys a`,
		},
		"D1: also from a node that is held": {
			world: `a  kata  -  -  ready  handlers runc  hold "no"`,
			want:  `move RemoveKeys a`,
		},
		"D1: stays where the kubelet reports the runtime": {
			paused: "INC-4711",
			world:  `a  kata  -  -  ready  handlers kata`,
			want:   `hold a Paused "people paused the runtime: \"INC-4711\""`,
		},
		"D1: stays where nobody says which handlers there are": {
			paused: "INC-4711",
			world:  `a  kata  -  -  ready`,
			want:   `hold a Paused "people paused the runtime: \"INC-4711\""`,
		},
		"D1: is no reason for an uninstall": {
			world: `a  kata  -  -  ready  handlers kata  unlabelled`,
			want:  `move RemoveKeys a`,
		},
	})
}

// panics is a selector that fails as code does that has a bug.
type panics struct{ labels.Selector }

func (panics) Matches(labels.Labels) bool { panic("a bug") }

func TestAPanicOverOneRuntimeLeavesOnlyThatOneAlone(t *testing.T) {
	const nodes = `a  gvisor  Ready  old  since 1h  label skip-kata=yes
	               b  kata    Ready  old  since 1h`
	for _, stage := range []string{"desired", "rollout"} {
		t.Run(stage, func(t *testing.T) {
			w := newWorld(t, scenario{spec: "waves: [{name: canary, nodeSelector: canary}]", world: nodes})
			plan := desired.Of(w.snap, bugIn(stage), desired.DefaultOptions())
			decision := rollout.Decide(w.snap, plan)
			if len(decision.Panics) != 1 || decision.Panics[0].Runtime != "gvisor" || !strings.HasPrefix(decision.Panics[0].Text, "a bug\n") || !strings.Contains(decision.Panics[0].Text, ".go:") {
				t.Fatalf("panics are %+v, expected one of gvisor, with its stack", decision.Panics)
			}
			got := strings.Join(w.lines(decision), "\n")
			for _, want := range []string{"book b install new", `hold a InternalError "Longshore failed with an internal error and leaves the runtime alone: a bug"`} {
				if !strings.Contains(got, want) {
					t.Errorf("the decision has no line %q:\n%s", want, got)
				}
			}
			for _, ref := range decision.Objects.Delete {
				if ref.Runtime == "gvisor" {
					t.Errorf("%s %s is deleted", ref.Kind, ref.Name)
				}
			}
		})
	}
}

// bugIn is a parser whose specs of gvisor make one stage fail.
func bugIn(stage string) desired.Parser {
	return func(name string, data map[string]string, binary map[string][]byte) (*spec.Runtime, field.ErrorList) {
		r, errs := spec.Parse(name, data, binary)
		if name != "gvisor" || r == nil {
			return r, errs
		}
		broken := *r
		switch stage {
		case "desired":
			broken.NodeSelector = panics{r.NodeSelector}
		case "rollout":
			waves := append([]spec.Wave(nil), r.Waves...)
			waves[0].Selector = panics{waves[0].Selector}
			broken.Waves = waves
		}
		return &broken, errs
	}
}

func TestATurnOfARuntimeThatIsLeftAloneStaysBooked(t *testing.T) {
	w := newWorld(t, scenario{spec: "waves: [{name: canary, nodeSelector: canary}]", world: `a  gvisor  Installing  old  since 1h  pod running
	                                                                                       a  kata    Ready       old  since 1h`})
	decision := rollout.Decide(w.snap, desired.Of(w.snap, bugIn("rollout"), desired.DefaultOptions()))
	if len(decision.Freed) > 0 || decision.Turns != nil || len(decision.Moves) > 0 {
		t.Errorf("turns %+v, freed %+v, moves %+v: expected that nothing is done on the node", decision.Turns, decision.Freed, decision.Moves)
	}
	if h := decision.Holds[len(decision.Holds)-1]; h.Reason != rollout.OtherRuntime {
		t.Errorf("kata waits for %+v, expected the other runtime", h)
	}
}

func TestFailuresAfterAnInstallHaveTheReasonsThatTheProgressKnows(t *testing.T) {
	for reason, want := range map[rollout.Reason]bool{
		rollout.NotReadyInSoak: true, rollout.PayloadNotReady: true, rollout.HandlerLost: true, rollout.HandlerLostInSoak: true, rollout.InstallFailed: false, rollout.TimedOut: false,
	} {
		p := observed.Progress{Phase: observed.PhaseFailed, Operation: observed.Install, Reason: string(reason)}
		if p.FailedAfter() != want {
			t.Errorf("a failure %s comes after the install: %v, expected %v", reason, !want, want)
		}
	}
}
