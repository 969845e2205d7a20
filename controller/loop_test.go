package controller_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller/simulation"
)

const allReady = "kata Ready one HandlersReported ready"

// installed lets a cluster install its spec kata-1 and settle.
func (c *cluster) installed() {
	c.t.Helper()
	c.within(5*time.Minute, "every node is Ready", c.allAre(allReady))
	c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
	c.pass(3 * time.Second)
}

// change edits the data of the spec kata-1.
func change(c *cluster, change func(map[string]string)) {
	simulation.Change(c.api, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-1"}}, func(cm *corev1.ConfigMap) { change(cm.Data) })
}

func annotate(c *cluster, node, key, value string) {
	simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, func(n *corev1.Node) {
		if n.Annotations == nil {
			n.Annotations = map[string]string{}
		}
		n.Annotations[key] = value
	})
}

func TestAnInstallGoesNodeByNodeAndCostsTwoWritesANode(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time, the budget is 1", got)
		}
		for _, name := range []string{"a", "b", "c"} {
			if got := c.count("patch nodes/" + name); got != 2 {
				t.Errorf("node %s was written %d times, expected twice: gate open, and result", name, got)
			}
		}
		if got := len(c.world.Runs()); got != 3 {
			t.Errorf("the command ran %d times: %v", got, c.world.Runs())
		}
		if got := c.status("kata-1", "progress"); got != "3/3" {
			t.Errorf("the spec says %q", got)
		}
		if left := c.turns(); len(left) != 0 {
			t.Errorf("turns are left: %v", left)
		}
		if warned := c.log.like(" warn "); len(warned) > 0 {
			t.Errorf("warnings:\n%s", strings.Join(warned, "\n"))
		}
		var objects []string
		for _, w := range c.writes(0) {
			if !strings.Contains(w, "nodes/") && !strings.Contains(w, "longshore-turns") && !strings.Contains(w, "configmaps/kata-1") {
				objects = append(objects, strings.ReplaceAll(w, c.status("kata-1", "revision"), "REV"))
			}
		}
		want := []string{"create controllerrevisions/kata-REV", "patch daemonsets/kata-install-REV", "patch runtimeclasses/kata", "patch controllerrevisions/kata-REV"}
		if diff := cmp.Diff(want, objects); diff != "" {
			t.Errorf("writes of objects, want (-) and got (+):\n%s", diff)
		}
		for _, set := range simulation.List(c.api, &appsv1.ControllerRevision{}) {
			if len(set.OwnerReferences) > 0 {
				t.Errorf("ControllerRevision %s has owners", set.Name)
			}
		}
	})
}

func TestALargerBudgetIsUsedAndNotExceeded(t *testing.T) {
	objects := threeNodes(spec("kata-1", "one", "maxUnavailable", "2"))
	for i := range 5 {
		objects = append(objects, simulation.ReadyNode(fmt.Sprintf("more-%d", i), nil))
	}
	run(t, wellBehaved, objects, func(c *cluster) {
		c.installed()
		if got := c.world.Most(); got != 2 {
			t.Errorf("%d nodes had an installer at the same time, the budget is 2", got)
		}
	})
}

func TestASettledClusterIsLeftInPeace(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		c.pass(time.Minute)
		c.api.Kube.ClearActions()
		// Heartbeats, renewed leases and what other people do to nodes are no reason to write, nor is a look that they lead to.
		for i := range 60 {
			c.pass(10 * time.Second)
			simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, func(n *corev1.Node) {
				n.Status.Conditions[0].LastHeartbeatTime = metav1.Now()
				n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{"x"}})
				n.Labels["example.com/rack"] = strconv.Itoa(i)
			})
		}
		for _, call := range c.calls() {
			t.Error(call)
		}
	})
}

func TestAnUpgradeGoesNodeByNodeAndKeepsTheReadyLabel(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		before := c.status("kata-1", "revision")
		change(c, func(d map[string]string) { d["payloadImage"] = "registry.example.com/kata:two" })
		c.within(5*time.Minute, "every node is upgraded", func() bool {
			for _, line := range c.nodes() {
				if !strings.HasSuffix(line, " ready") {
					t.Fatalf("the ready label went: %s", line)
				}
			}
			return c.allAre("kata Ready two HandlersReported ready")()
		})
		c.within(time.Minute, "the spec is Ready", func() bool { return c.status("kata-1", "phase") == "Ready" && c.status("kata-1", "progress") == "3/3" })
		c.pass(5 * time.Second)
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
		after := c.status("kata-1", "revision")
		want := []string{"ControllerRevision kata-" + after, "ControllerRevision kata-" + before, "DaemonSet kata-install-" + after, "RuntimeClass kata"}
		got := c.ours()
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("objects, want (-) and got (+):\n%s", diff)
		}
		for _, r := range c.world.Runs() {
			if r.Operation != "install" {
				t.Errorf("an upgrade ran %+v", r)
			}
		}
	})
}

func TestAFailingPayloadHaltsAndSaysWhy(t *testing.T) {
	failing := func(r simulation.Run) simulation.Result {
		if strings.HasSuffix(r.Image, ":two") {
			return simulation.Result{Code: 3, Message: "no space left on /opt/kata", Takes: time.Second}
		}
		return wellBehaved(r)
	}
	run(t, failing, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		change(c, func(d map[string]string) { d["payloadImage"] = "registry.example.com/kata:two" })
		c.within(5*time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		c.pass(10 * time.Minute)
		want := []string{"a kata Failed two InstallFailed ready", "b " + allReady, "c " + allReady}
		if diff := cmp.Diff(want, c.nodes()); diff != "" {
			t.Errorf("nodes, want (-) and got (+):\n%s", diff)
		}
		const words = "attempt 3 of 3: step install exited 3: no space left on /opt/kata"
		if got := c.status("kata-1", "message"); !strings.Contains(got, "1 nodes failed") || !strings.Contains(got, ": a;") {
			t.Errorf("the spec says %q", got)
		}
		if got := c.eventsLike("Warning node/a InstallFailed"); len(got) != 1 || !strings.Contains(got[0], words) {
			t.Errorf("events about the node: %q", got)
		}
		if got := c.eventsLike("Warning spec/kata-1 NodeFailed: node a: " + words); len(got) != 1 {
			t.Errorf("events about the spec: %q", c.eventsLike("spec"))
		}
		if pods := simulation.List(c.api, &corev1.Pod{}); len(pods) > 0 {
			t.Errorf("pods of a failed node are left: %d", len(pods))
		}
		tries := slices.DeleteFunc(c.world.Runs(), func(r simulation.Run) bool { return !strings.HasSuffix(r.Image, ":two") })
		if len(tries) != 3 {
			t.Errorf("the command was tried %d times, expected 3", len(tries))
		}

		// The mended payload goes to the failed node first, which holds a place already.
		change(c, func(d map[string]string) { d["payloadImage"] = "registry.example.com/kata:three" })
		c.within(5*time.Minute, "every node is mended", c.allAre("kata Ready three HandlersReported ready"))
		if runs := c.world.Runs(); runs[len(runs)-3].Node != "a" {
			t.Errorf("the failed node was not the first: %v", runs[len(runs)-3:])
		}
	})
}

func TestAFailedNodeIsTriedAgainWhenPeopleAskForIt(t *testing.T) {
	broken := true
	run(t, func(r simulation.Run) simulation.Result {
		if broken {
			return simulation.Result{Code: 1, Takes: time.Second}
		}
		return wellBehaved(r)
	}, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(5*time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		c.pass(5 * time.Minute)
		broken = false
		annotate(c, "a", "kata.longshore.dev/retry", "1")
		c.installed()
		if n := c.api.Node("a"); n.Annotations["kata.longshore.dev/retry"] != "1" || !strings.Contains(n.Annotations["kata.longshore.dev/progress"], `"retry":"1"`) {
			t.Errorf("annotations are %v", n.Annotations)
		}
	})
}

func TestADeletedSpecIsUninstalledAfterTheGraceAndNothingIsLeft(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		annotate(c, "b", "kata.longshore.dev/retry", "a leftover")
		annotate(c, "c", "somebody.example/else", "stays")
		c.api.Delete(spec("kata-1", "one"))
		c.pass(50 * time.Second)
		if diff := cmp.Diff([]string{"a " + allReady, "b " + allReady, "c " + allReady}, c.nodes()); diff != "" {
			t.Fatalf("within the grace, want (-) and got (+):\n%s", diff)
		}
		c.within(5*time.Minute, "nothing stands on the nodes", c.allAre(""))
		c.within(time.Minute, "nothing of ours is left", func() bool { return len(c.ours()) == 0 })
		for _, n := range simulation.List(c.api, &corev1.Node{}) {
			for key := range n.Labels {
				if strings.Contains(key, "longshore") {
					t.Errorf("node %s has the label %s", n.Name, key)
				}
			}
			for key := range n.Annotations {
				if strings.Contains(key, "longshore") {
					t.Errorf("node %s has the annotation %s", n.Name, key)
				}
			}
			for _, h := range n.Status.RuntimeHandlers {
				if h.Name == "kata" {
					t.Errorf("node %s still offers the handler", n.Name)
				}
			}
		}
		if c.api.Node("c").Annotations["somebody.example/else"] != "stays" {
			t.Error("an annotation of somebody else is gone")
		}
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
		if left := c.turns(); len(left) != 0 {
			t.Errorf("turns are left: %v", left)
		}
		c.pass(time.Minute)
		c.api.Kube.ClearActions()
		c.pass(time.Hour)
		if got := c.calls(); len(got) > 0 {
			t.Errorf("calls to the API server afterwards: %v", got)
		}
	})
}

func TestASpecThatComesBackUnderAnotherNameWithinTheGraceCostsNothingOnNodes(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		before := c.count("patch nodes/")
		c.api.Delete(spec("kata-1", "one"))
		c.pass(40 * time.Second)
		c.api.Create(spec("kata-2", "one"))
		c.within(time.Minute, "the new spec is Ready", c.phaseIs("kata-2", "Ready"))
		c.pass(5 * time.Minute)
		if got := c.count("patch nodes/") - before; got != 0 || len(c.world.Runs()) != 3 {
			t.Errorf("%d writes on nodes, and %d runs in all", got, len(c.world.Runs()))
		}
		for _, set := range simulation.List(c.api, &appsv1.DaemonSet{}) {
			cm, _ := simulation.Get(c.api, spec("kata-2", "one"))
			if !slices.ContainsFunc(set.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == cm.UID && o.Name == "kata-2" }) || len(set.OwnerReferences) != 2 {
				t.Errorf("DaemonSet %s has the owners %v", set.Name, set.OwnerReferences)
			}
		}
		for _, phase := range c.eventsLike("spec/kata-2") {
			if strings.Contains(phase, "Uninstalling") {
				t.Errorf("the new spec was told %q", phase)
			}
		}
	})
}

func TestTheNewestOfTwoSpecsWinsAndTheOtherSaysSo(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		c.api.Create(spec("kata-2", "two"))
		c.within(5*time.Minute, "every node is at the new one", c.allAre("kata Ready two HandlersReported ready"))
		c.within(time.Minute, "the old one is Superseded", c.phaseIs("kata-1", "Superseded"))
		if got := c.status("kata-1", "message"); !strings.Contains(got, `"kata-2"`) || c.status("kata-1", "revision") != "" {
			t.Errorf("message %q, revision %q", got, c.status("kata-1", "revision"))
		}
	})
}

func TestTurnsDeletedByHandAreRebuiltAndTheBudgetHolds(t *testing.T) {
	slow := func(r simulation.Run) simulation.Result {
		result := wellBehaved(r)
		result.Takes = 30 * time.Second
		return result
	}
	run(t, slow, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "a node is under way", func() bool { return slices.Contains(c.nodes(), "a kata Installing one  gate") })
		before := c.turns()
		c.api.Delete(turnsObject())
		c.within(5*time.Second, "the turns are there again", func() bool { return cmp.Equal(before, c.turns()) })
		c.pass(12 * time.Second)
		c.api.Delete(turnsObject())
		c.installed()
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
		c.api.Delete(turnsObject())
		c.pass(5 * time.Second)
		if left := c.turns(); len(left) != 0 {
			t.Errorf("turns are %v", left)
		}
		if got := len(c.log.like("turns were rebuilt")); got != 4 {
			t.Errorf("turns were rebuilt %d times, expected 4", got)
		}
		if got := c.phaseIs("kata-1", "Ready"); !got() {
			t.Errorf("the spec is %s", c.status("kata-1", "phase"))
		}
	})
}

func TestTurnsThatCannotBeReadAreToldOnceAndDisturbNobody(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "a node is under way", func() bool { return len(c.turns()) == 1 })
		simulation.Change(c.api, turnsObject(), func(cm *corev1.ConfigMap) { cm.Data["notes"] = "do not touch" })
		c.installed()
		if got := c.log.like("somebody else wrote into the ConfigMap of turns", `notes: "do not touch"`); len(got) != 1 {
			t.Errorf("told %d times: %q", len(got), got)
		}
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
	})
}

func TestANodeWithUnreadableProgressIsLeftAloneAndTheOthersGoOn(t *testing.T) {
	broken := simulation.ReadyNode("b", nil)
	broken.Annotations = map[string]string{"kata.longshore.dev/progress": "{"}
	objects := threeNodes(spec("kata-1", "one"))
	objects[1] = broken
	run(t, wellBehaved, objects, func(c *cluster) {
		c.within(5*time.Minute, "the others are Ready", func() bool {
			return cmp.Equal(c.nodes(), []string{"a " + allReady, "b kata unreadable", "c " + allReady})
		})
		c.pass(time.Minute)
		if got := c.count("patch nodes/b"); got != 0 {
			t.Errorf("the node was written %d times", got)
		}
		if got := c.status("kata-1", "message"); !strings.Contains(got, "UnreadableProgress 1") || c.status("kata-1", "phase") != "Progressing" {
			t.Errorf("the spec is %s: %q", c.status("kata-1", "phase"), got)
		}
		simulation.Change(c.api, broken, func(n *corev1.Node) { delete(n.Annotations, "kata.longshore.dev/progress") })
		c.installed()
	})
}

func TestAHeldNodeIsLeftAloneUntilPeopleLetGo(t *testing.T) {
	held := simulation.ReadyNode("a", nil)
	held.Annotations = map[string]string{"kata.longshore.dev/hold": "its disk is being swapped"}
	objects := threeNodes(spec("kata-1", "one"))
	objects[0] = held
	run(t, wellBehaved, objects, func(c *cluster) {
		c.within(5*time.Minute, "the others are Ready", func() bool { return cmp.Equal(c.nodes(), []string{"a", "b " + allReady, "c " + allReady}) })
		c.pass(time.Minute)
		if got := c.status("kata-1", "message"); !strings.Contains(got, "Held 1") {
			t.Errorf("the spec says %q", got)
		}
		simulation.Change(c.api, held, func(n *corev1.Node) { delete(n.Annotations, "kata.longshore.dev/hold") })
		c.installed()
	})
}

func TestAControllerThatIsStartedAnewGoesOnWhereTheLastOneStopped(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		for range 40 {
			c.pass(1700 * time.Millisecond)
			c.stop()
			c.pass(300 * time.Millisecond)
			c.start()
		}
		c.installed()
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time", got)
		}
		if got := len(c.world.Runs()); got != 3 {
			t.Errorf("the command ran %d times: %v", got, c.world.Runs())
		}
		for _, name := range []string{"a", "b", "c"} {
			if got := c.count("patch nodes/" + name); got != 2 {
				t.Errorf("node %s was written %d times", name, got)
			}
		}
	})
}

func TestAnInvalidChangeKeepsTheLastGoodRevision(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		nodes, revision := c.count("patch nodes/"), c.status("kata-1", "revision")
		change(c, func(d map[string]string) { d["installCmd"], d["unknown"] = "install", "x" })
		c.within(5*time.Second, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		message := c.status("kata-1", "message")
		for _, part := range []string{"data[installCmd]", "data[unknown]", "revision " + revision + " stays in force"} {
			if !strings.Contains(message, part) {
				t.Errorf("the message does not say %q: %s", part, message)
			}
		}
		if got := c.status("kata-1", "observed-data"); !strings.Contains(got, "unknown=x\n--unknown\n") {
			t.Errorf("the status speaks of %q", got)
		}
		c.api.Create(simulation.ReadyNode("d", nil))
		c.within(time.Minute, "a new node gets the last good revision", c.allAre(allReady))
		if got := c.count("patch nodes/") - nodes; got != 2 {
			t.Errorf("%d writes on nodes", got)
		}
	})
}

func TestARevisionThatTheAPIServerRefusesIsInvalidAndAskedAboutOnceAMinute(t *testing.T) {
	run(t, wellBehaved, threeNodes(), func(c *cluster) {
		asked := 0
		c.api.Fault(func(w simulation.Write) error {
			if w.DryRun && w.Resource == "daemonsets" && strings.Contains(w.Name, "-install-") {
				asked++
				return apierrors.NewForbidden(schema.GroupResource{Resource: w.Resource}, w.Name, fmt.Errorf("policy says no to hostPID"))
			}
			return nil
		})
		c.api.Create(spec("kata-1", "one"))
		c.within(5*time.Second, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		if got := c.status("kata-1", "message"); !strings.Contains(got, "policy says no to hostPID") {
			t.Errorf("the message is %q", got)
		}
		c.pass(10 * time.Minute)
		if asked < 10 || asked > 12 {
			t.Errorf("the API server was asked %d times in ten minutes", asked)
		}
		if got := c.ours(); len(got) > 0 {
			t.Errorf("made %v", got)
		}
		c.api.Fault(nil)
		c.within(2*time.Minute, "it is asked again", c.phaseIs("kata-1", "Progressing"))
		c.installed()
	})
}

// Classes are no part of a revision: a change of them alone makes none.
func TestClassesThatTheAPIServerRefusesAreInvalid(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		asked := 0
		c.api.Fault(func(w simulation.Write) error {
			if w.Resource == "runtimeclasses" && strings.Contains(w.Body, "3Gi") {
				asked++
				return apierrors.NewInvalid(schema.GroupKind{Kind: "RuntimeClass"}, w.Name, nil)
			}
			return nil
		})
		change(c, func(d map[string]string) {
			d["runtimeClasses"] = "[{name: kata, handler: kata, overhead: {memory: 3Gi}}]"
		})
		c.within(5*time.Second, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		c.pass(10 * time.Second)
		if asked != 1 {
			t.Errorf("the API server was asked %d times", asked)
		}
		if got := c.status("kata-1", "message"); !strings.Contains(got, "RuntimeClass[kata]") || !strings.Contains(got, "stays in force") {
			t.Errorf("the message is %q", got)
		}
		// Another one is asked about at once.
		change(c, func(d map[string]string) {
			d["runtimeClasses"] = "[{name: kata, handler: kata, overhead: {memory: 2Gi}}]"
		})
		c.within(5*time.Second, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		class, _ := simulation.Get(c.api, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}})
		if got := class.Overhead.PodFixed["memory"]; got.String() != "2Gi" {
			t.Errorf("the class has an overhead of %s", got.String())
		}
	})
}

// A spec that is refused is there all the same: when it goes, the grace begins anew.
func TestARefusedSpecThatVanishesHasAGraceOfItsOwn(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		c.api.Fault(func(w simulation.Write) error {
			if w.DryRun && w.Resource == "daemonsets" {
				return apierrors.NewForbidden(schema.GroupResource{Resource: w.Resource}, w.Name, fmt.Errorf("policy"))
			}
			return nil
		})
		c.api.Delete(spec("kata-1", "one"))
		c.pass(30 * time.Second)
		c.api.Create(spec("kata-2", "two"))
		c.within(5*time.Second, "the new spec is Invalid", c.phaseIs("kata-2", "Invalid"))
		c.pass(10 * time.Minute)
		c.api.Delete(spec("kata-2", "two"))
		c.pass(50 * time.Second)
		if !c.allAre(allReady)() {
			t.Errorf("within the grace nodes are\n%s", strings.Join(c.nodes(), "\n"))
		}
	})
}

func TestWhatOthersBreakIsPutRight(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		before := c.ours()
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}}
		c.api.Delete(class)
		c.within(5*time.Second, "the class is there again", func() bool { return cmp.Equal(before, c.ours()) })
		simulation.Change(c.api, class, func(o *nodev1.RuntimeClass) { o.Scheduling.NodeSelector = map[string]string{"x": "y"} })
		c.within(5*time.Second, "the class is right again", func() bool {
			o, _ := simulation.Get(c.api, class)
			return o.Scheduling.NodeSelector["kata.longshore.dev/ready"] == "true"
		})
		set := simulation.List(c.api, &appsv1.DaemonSet{})[0]
		c.api.Delete(set)
		c.within(5*time.Second, "the installer is there again", func() bool { return cmp.Equal(before, c.ours()) })
		simulation.Change(c.api, set, func(o *appsv1.DaemonSet) { o.Spec.Template.Spec.InitContainers[0].Image = "evil" })
		c.within(5*time.Second, "the installer is right again", func() bool {
			o, _ := simulation.Get(c.api, set)
			return o.Spec.Template.Spec.InitContainers[0].Image == "registry.example.com/kata:one"
		})
		simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, func(n *corev1.Node) {
			delete(n.Labels, "kata.longshore.dev/ready")
			n.Labels["kata.longshore.dev/gate"] = "a000000000-install"
		})
		c.within(5*time.Second, "the labels are right again", c.allAre(allReady))
		if got := len(c.world.Runs()); got != 3 {
			t.Errorf("commands ran: %v", c.world.Runs()[3:])
		}
	})
}

func TestALostHandlerAndAReplacedMachineAreInstalledAnew(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, func(n *corev1.Node) { n.Status.RuntimeHandlers = n.Status.RuntimeHandlers[:2] })
		c.within(5*time.Second, "the ready label goes", func() bool { return !strings.HasSuffix(c.nodes()[1], " ready") })
		c.installed()
		c.api.Delete(c.api.Node("c"))
		c.api.Create(simulation.ReadyNode("c", nil))
		c.installed()
		// The same Node object on another machine.
		simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, func(n *corev1.Node) {
			n.Status.NodeInfo.MachineID, n.Status.RuntimeHandlers = "machine-new", n.Status.RuntimeHandlers[:2]
		})
		c.within(5*time.Second, "the node starts from nothing", func() bool { return !strings.HasSuffix(c.nodes()[0], " ready") })
		c.installed()
		var nodes []string
		for _, r := range c.world.Runs()[3:] {
			nodes = append(nodes, r.Node)
		}
		if diff := cmp.Diff([]string{"b", "c", "a"}, nodes); diff != "" {
			t.Errorf("nodes installed anew, want (-) and got (+):\n%s", diff)
		}
	})
}

func TestANodeThatVanishesBlocksNothing(t *testing.T) {
	stuck := func(r simulation.Run) simulation.Result {
		result := wellBehaved(r)
		if r.Node == "a" {
			result.Takes = time.Hour
		}
		return result
	}
	run(t, stuck, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "the first node is under way", func() bool { return strings.HasSuffix(c.nodes()[0], " gate") })
		c.pass(30 * time.Second)
		c.api.Delete(c.api.Node("a"))
		c.installed()
	})
}

func TestASelectorThatSelectsNothingAnyMoreKeepsEverything(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		change(c, func(d map[string]string) { d["nodeSelector"] = "no=such" })
		c.within(10*time.Second, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		c.pass(time.Hour)
		if !c.allAre(allReady)() {
			t.Errorf("nodes are\n%s", strings.Join(c.nodes(), "\n"))
		}
		change(c, func(d map[string]string) { d["nodeSelector"] = "kubernetes.io/hostname!=b" })
		c.within(5*time.Minute, "the node that is left out is uninstalled", func() bool { return cmp.Equal(c.nodes(), []string{"a " + allReady, "b", "c " + allReady}) })
	})
}

func TestAPausedSpecFinishesWhatIsUnderWayAndStartsNothing(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "the first node is under way", func() bool { return strings.HasSuffix(c.nodes()[0], " gate") })
		change(c, func(d map[string]string) { d["paused"] = "true" })
		c.within(time.Minute, "the spec is Paused", func() bool { return c.status("kata-1", "phase") == "Paused" && c.status("kata-1", "progress") == "1/3" })
		c.pass(time.Hour)
		if diff := cmp.Diff([]string{"a " + allReady, "b", "c"}, c.nodes()); diff != "" {
			t.Errorf("nodes, want (-) and got (+):\n%s", diff)
		}
		change(c, func(d map[string]string) { delete(d, "paused") })
		c.installed()
	})
}

func TestAStatusIsWrittenAtMostEveryTwoSeconds(t *testing.T) {
	objects := threeNodes(spec("kata-1", "one", "maxUnavailable", "100%", "soak", "0s"))
	for i := range 20 {
		objects = append(objects, simulation.ReadyNode(fmt.Sprintf("more-%02d", i), nil))
	}
	uneven := func(r simulation.Run) simulation.Result {
		result := wellBehaved(r)
		result.Takes = time.Duration(len(r.Node)+int(r.Node[len(r.Node)-1])%17) * 700 * time.Millisecond
		return result
	}
	run(t, uneven, objects, func(c *cluster) {
		c.installed()
		var last time.Time
		for _, w := range c.api.Writes() {
			if w.String() != "patch configmaps/kata-1" {
				continue
			}
			if gap := w.At.Sub(last); gap < 2*time.Second {
				t.Errorf("a status was written %s after the one before", gap)
			}
			last = w.At
		}
	})
}

// A write that is refused for ever must not make the loop spin: the API server is asked again ever more seldom.
func TestAWriteThatIsAlwaysRefusedIsNotRepeatedInATightLoop(t *testing.T) {
	invalid := func(w simulation.Write) error {
		return apierrors.NewInvalid(schema.GroupKind{Kind: w.Resource}, w.Name, nil)
	}
	cases := map[string]func(simulation.Write) error{
		"a node":    func(w simulation.Write) error { return invalid(w) },
		"DaemonSet": func(w simulation.Write) error { return invalid(w) },
		"turns":     func(w simulation.Write) error { return invalid(w) },
		"class":     func(w simulation.Write) error { return invalid(w) },
		"status":    func(w simulation.Write) error { return invalid(w) },
		"snapshot":  func(w simulation.Write) error { return invalid(w) },
		"forbidden node": func(w simulation.Write) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: w.Resource}, w.Name, fmt.Errorf("no"))
		},
	}
	hits := map[string]func(simulation.Write) bool{
		"a node":         func(w simulation.Write) bool { return w.Resource == "nodes" },
		"DaemonSet":      func(w simulation.Write) bool { return w.Resource == "daemonsets" && !w.DryRun },
		"turns":          func(w simulation.Write) bool { return w.Resource == "configmaps" && w.Name == "longshore-turns" },
		"class":          func(w simulation.Write) bool { return w.Resource == "runtimeclasses" && !w.DryRun },
		"status":         func(w simulation.Write) bool { return w.Resource == "configmaps" && w.Name == "kata-1" },
		"snapshot":       func(w simulation.Write) bool { return w.Resource == "controllerrevisions" },
		"forbidden node": func(w simulation.Write) bool { return w.Resource == "nodes" },
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(), func(c *cluster) {
				refused := 0
				c.api.Fault(func(w simulation.Write) error {
					if !hits[name](w) {
						return nil
					}
					// A loop that spins would never let the bubble's time pass.
					refused++
					if refused > 1000 {
						panic("the same write was refused more than 1000 times")
					}
					return fault(w)
				})
				c.api.Create(spec("kata-1", "one"))
				c.pass(time.Minute)
				if refused == 0 || refused > 100 {
					t.Errorf("a minute of refusals made %d attempts", refused)
				}
				c.api.Fault(nil)
				c.within(5*time.Minute, "every node is Ready once writes go through", c.allAre(allReady))
				synctest.Wait()
			})
		})
	}
}

func TestNothingIsDoneBeforeWhatWasWrittenUntilNowIsRead(t *testing.T) {
	run(t, wellBehaved, threeNodes(), func(c *cluster) {
		c.pass(time.Second)
		c.stop()
		deaf := true
		c.api.Kube.PrependReactor("list", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
			// What is asked past the caches, and not the list before a watch.
			if list, ok := a.(clienttesting.ListActionImpl); ok && list.ListOptions.ResourceVersion == "" && deaf {
				return true, nil, fmt.Errorf("the store does not answer")
			}
			return false, nil, nil
		})
		c.api.Create(spec("kata-1", "one"))
		before := len(c.writes(0))
		c.start()
		c.pass(time.Minute)
		if got := c.writes(before); len(got) > 0 {
			t.Errorf("written: %v", got)
		}
		if got := len(c.log.like("nothing is done before that")); got < 3 || got > 20 {
			t.Errorf("said so %d times in a minute", got)
		}
		deaf = false
		c.installed()
	})
}
