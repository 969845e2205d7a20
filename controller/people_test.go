package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// failing is a payload whose installs fail with these tags, and that is well-behaved otherwise.
func failing(tags ...string) func(simulation.Run) simulation.Result {
	return func(r simulation.Run) simulation.Result {
		_, tag, _ := strings.Cut(r.Image, ":")
		if r.Operation == "install" && slices.Contains(tags, tag) {
			return simulation.Result{Takes: time.Second, Code: 1, Message: "no space left"}
		}
		return wellBehaved(r)
	}
}

// say writes an annotation of people on the spec kata-1.
func say(c *cluster, name, key, value string) {
	simulation.Change(c.api, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: name}}, func(cm *corev1.ConfigMap) {
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		cm.Annotations[key] = value
	})
}

func TestARevisionThatFailsIsRolledBackAndNotTriedAgain(t *testing.T) {
	run(t, failing("two"), threeNodes(spec("kata-1", "one", "onFailure", "Rollback", "attempts", "1", "maxUnavailable", "2")), func(c *cluster) {
		c.installed()
		change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:two" })
		c.within(5*time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		c.within(5*time.Minute, "every node is back at one", func() bool {
			return c.allAre(allReady)() && strings.HasSuffix(c.status("kata-1", "message"), "(3 of 3 nodes done)")
		})
		two := ""
		for _, r := range c.world.Runs() {
			if strings.HasSuffix(r.Image, ":two") {
				two = r.Revision
			}
		}
		want := "revision " + two + " is given up, and nodes go back to revision " + c.status("kata-1", "revision") + ": "
		if got := c.status("kata-1", "message"); !strings.HasPrefix(got, want) || !strings.Contains(got, "have it tried again with: longshore retry kata") {
			t.Errorf("the spec says %s, expected it to begin with %s", got, want)
		}
		if got := c.eventsLike("RevisionGivenUp"); len(got) != 1 {
			t.Errorf("events: %v", got)
		}
		// It stays so, over a crash as well, and costs nothing.
		runs, since := len(c.world.Runs()), len(c.api.Writes())
		c.stop()
		c.start()
		c.pass(10 * time.Minute)
		if more := c.writes(since); len(c.world.Runs()) != runs || len(more) > 0 {
			t.Errorf("in ten minutes after that %d commands ran, and the writes were %v", len(c.world.Runs())-runs, more)
		}
		// Any change of the spec is another try.
		change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:three" })
		c.within(5*time.Minute, "every node is at three", c.allAre("kata Ready three HandlersReported ready"))
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
	})
}

func TestAFirstRevisionThatFailsIsUninstalled(t *testing.T) {
	run(t, failing("one"), threeNodes(spec("kata-1", "one", "onFailure", "Rollback", "attempts", "1")), func(c *cluster) {
		c.within(5*time.Minute, "it is given up", func() bool {
			return c.status("kata-1", "phase") == "Halted" && strings.Contains(c.status("kata-1", "message"), "is given up, and there is none to go back to")
		})
		c.within(5*time.Minute, "nothing is left on any node", c.allAre(""))
		c.pass(10 * time.Minute)
		if installs := slices.DeleteFunc(c.world.Runs(), func(r simulation.Run) bool { return r.Operation != "install" }); len(installs) != 1 {
			t.Errorf("it was installed %d times", len(installs))
		}
		// People may have it tried again.
		say(c, "kata-1", observed.AnnotationRetry, "now")
		c.within(5*time.Minute, "it was tried again, and given up again", func() bool {
			return len(slices.DeleteFunc(c.world.Runs(), func(r simulation.Run) bool { return r.Operation != "install" })) == 2 && c.allAre("")() && len(c.turns()) == 0
		})
	})
}

func TestPeopleGoBackAndForth(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		one := c.status("kata-1", "revision")
		change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:two" })
		c.within(5*time.Minute, "every node is at two", c.allAre("kata Ready two HandlersReported ready"))
		two := c.status("kata-1", "revision")
		say(c, "kata-1", observed.AnnotationRollback, two+" "+one)
		c.within(5*time.Minute, "every node is back at one", c.allAre(allReady))
		if got := c.status("kata-1", "message"); !strings.Contains(got, "people asked for that") {
			t.Errorf("the spec says %s", got)
		}
		say(c, "kata-1", observed.AnnotationRetry, "now")
		c.within(5*time.Minute, "every node is at two again", c.allAre("kata Ready two HandlersReported ready"))
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
	})
}

func TestAPauseHoldsUntilPeopleResumeUnderWhateverName(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		say(c, "kata-1", observed.AnnotationPause, "INC-4711")
		change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:two" })
		c.within(time.Minute, "the spec is Paused", c.phaseIs("kata-1", "Paused"))
		// As with a hash suffix: another ConfigMap takes its place.
		c.api.Delete(spec("kata-1", ""))
		c.pass(5 * time.Second)
		c.api.Create(spec("kata-2", "three"))
		c.within(time.Minute, "that one is Paused", c.phaseIs("kata-2", "Paused"))
		c.pass(10 * time.Minute)
		if got := c.status("kata-2", "message"); !c.allAre(allReady)() || got != `people paused the runtime ("INC-4711") with 0 of 3 nodes done; Paused 3` {
			t.Errorf("nodes are %v; the spec says %s", c.nodes(), got)
		}
		say(c, "kata-2", observed.AnnotationPause, observed.Resumed)
		c.within(5*time.Minute, "every node is at three", c.allAre("kata Ready three HandlersReported ready"))
	})
}

func TestAnOrphanedRuntimeStaysAndIsTakenOverByALaterSpec(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one", "deletionPolicy", "Orphan")), func(c *cluster) {
		c.installed()
		c.api.Delete(spec("kata-1", ""))
		c.pass(5 * time.Minute)
		since, ran := len(c.api.Writes()), len(c.world.Runs())
		c.pass(10 * time.Minute)
		if got := c.writes(since); len(got) > 0 || !c.allAre(allReady)() {
			t.Errorf("nodes are %v after the writes %v", c.nodes(), got)
		}
		if got := c.ours(); !slices.Contains(got, "RuntimeClass kata") {
			t.Errorf("what is left is %v", got)
		}
		c.api.Create(spec("kata-2", "one"))
		c.within(time.Minute, "the later spec is Ready", c.phaseIs("kata-2", "Ready"))
		if got := len(c.world.Runs()); got != ran {
			t.Errorf("%d commands ran for a spec that asks for what is there", got-ran)
		}
		c.api.Delete(spec("kata-2", ""))
		c.within(10*time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.ours()) == 0 })
	})
}

func TestNewNodesGoFirstAndLoseTheirTaintWhenTheRuntimeIsThere(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "two")), func(c *cluster) {
		c.within(5*time.Minute, "every node is at two", c.allAre("kata Ready two HandlersReported ready"))
		c.pass(20 * time.Second)
		taints := []corev1.Taint{
			{Key: "example.com/other", Effect: corev1.TaintEffectNoSchedule},
			{Key: observed.NotReadyTaint("kata"), Effect: corev1.TaintEffectNoExecute},
		}
		for _, name := range []string{"d", "e", "f"} {
			n := simulation.ReadyNode(name, nil)
			n.Spec.Taints = taints
			c.api.Create(n)
		}
		c.within(20*time.Second, "the new nodes are installed at once", c.allAre("kata Ready two HandlersReported ready"))
		c.pass(5 * time.Second)
		for _, n := range simulation.List(c.api, &corev1.Node{}) {
			if n.Name >= "d" && (len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != "example.com/other") {
				t.Errorf("node %s has the taints %v", n.Name, n.Spec.Taints)
			}
		}
		if got := c.turns(); len(got) != 0 {
			t.Errorf("turns are booked: %v", got)
		}
	})
}
