package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

const verifying = "{image: 'registry.example.com/verify:1', cmd: [/bin/check]}"

// refuted is a payload whose verification fails on a node.
func refuted(node string) func(simulation.Run) simulation.Result {
	return func(r simulation.Run) simulation.Result {
		switch {
		case r.Operation == observed.StepVerify && r.Node == node:
			return simulation.Result{Takes: time.Second, Code: 1, Message: "no kernel of its own"}
		case r.Operation == observed.StepVerify:
			return simulation.Result{Takes: time.Second}
		}
		return wellBehaved(r)
	}
}

func TestAnInstallIsVerifiedUnderTheRuntimeAndNothingOfThatIsLeft(t *testing.T) {
	run(t, refuted(""), threeNodes(spec("kata-1", "one", "verify", verifying)), func(c *cluster) {
		c.within(5*time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		if got := c.nodes(); !strings.HasSuffix(got[0], " Verified ready") {
			t.Errorf("the nodes are %v", got)
		}
		var steps []string
		for _, r := range c.world.Runs() {
			if r.Node == "a" {
				steps = append(steps, r.Operation)
			}
		}
		if !slices.Equal(steps, []string{"install", "verify"}) {
			t.Errorf("on node a ran %v", steps)
		}
		if got := c.count("patch nodes/a"); got != 4 {
			t.Errorf("an install with verification took %d writes on the node, expected 4", got)
		}
		class, ok := simulation.Get(c.api, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata-verify-kata"}})
		if !ok || class.Handler != "kata" || class.Scheduling != nil {
			t.Errorf("the class of the verification is %+v", class)
		}
		// Another verification is for installs from now on.
		runs := len(c.world.Runs())
		change(c, func(data map[string]string) { data["verify"] = strings.Replace(verifying, ":1", ":2", 1) })
		c.pass(time.Minute)
		if more := len(c.world.Runs()) - runs; more != 0 || !c.phaseIs("kata-1", "Ready")() {
			t.Errorf("%d commands ran, and the spec is %s", more, c.status("kata-1", "phase"))
		}
		c.api.Delete(spec("kata-1", ""))
		c.within(10*time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.ours()) == 0 })
	})
}

func TestANodeWhoseVerificationFailsIsNotOffered(t *testing.T) {
	run(t, refuted("b"), threeNodes(spec("kata-1", "one", "verify", verifying, "attempts", "2")), func(c *cluster) {
		c.within(5*time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		if got := c.node(c.api.Node("b")); got != "b kata Failed one VerifyFailed" {
			t.Errorf("the node is %s", got)
		}
		if !c.says("b", "attempt 2 of 2: step verify exited 1: no kernel of its own")() {
			t.Errorf("the node says %s", c.api.Node("b").Annotations[observed.ProgressKey("kata")])
		}
		c.api.Delete(spec("kata-1", ""))
		c.within(10*time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.ours()) == 0 })
	})
}

func TestARebootCostsOneWriteAndNoCommand(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		c.pass(time.Minute)
		before := c.count("patch nodes/")
		for boot := range 3 {
			simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, func(n *corev1.Node) {
				n.Status.NodeInfo.BootID = strings.Repeat("x", boot+1)
			})
			c.pass(time.Minute)
		}
		if got := c.count("patch nodes/") - before; got != 3 || len(c.world.Runs()) != 3 {
			t.Errorf("three reboots led to %d writes, and %d commands ran in all", got, len(c.world.Runs()))
		}
		if !c.says("b", `"bootID":"xxx"`)() {
			t.Errorf("the node says %s", c.api.Node("b").Annotations[observed.ProgressKey("kata")])
		}
	})
}
