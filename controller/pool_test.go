package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

func bluePool() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "blue", Namespace: "longshore", Labels: map[string]string{observed.LabelPool: "databases"}},
		Data:       map[string]string{"nodeSelector": "*"},
	}
}

func TestWhileThereIsAPoolNothingStartsOnAnyNodeAndEverybodyIsToldWhy(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), bluePool()), func(c *cluster) {
		c.within(time.Minute, "the pool is Invalid", c.phaseIs("blue", "Invalid"))
		c.pass(10 * time.Minute)
		if got := len(c.world.Runs()) + c.count("patch nodes/"); got != 0 {
			t.Errorf("%d commands and writes on nodes", got)
		}
		if got := c.turns(); len(got) != 0 {
			t.Errorf("turns are booked: %v", got)
		}
		if phase, message := c.status("kata-1", "phase"), c.status("kata-1", "message"); phase != "Progressing" || message != "0 of 3 nodes done; PoolInvalid 3" {
			t.Errorf("the spec says %s: %s", phase, message)
		}
		want := "metadata.labels[longshore.dev/pool]: Forbidden: not supported yet: pools; nothing starts on any node while this pool is refused; " +
			"delete it: kubectl delete configmap blue"
		if got := c.status("blue", "message"); got != want {
			t.Errorf("the pool says %s", got)
		}
		if got := c.status("blue", "observed-data"); got != "keys=1\nnodeSelector=*\n--nodeSelector\n" {
			t.Errorf("the pool's status is about %q", got)
		}
		if diff := cmp.Diff([]string{"Warning spec/blue Invalid: " + want}, c.eventsLike("spec/blue")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if got := c.count("patch configmaps/blue"); got != 1 {
			t.Errorf("the pool was written %d times", got)
		}

		c.api.Delete(bluePool())
		c.installed()
	})
}

func TestAPoolThatComesDuringARolloutLetsNodesUnderWayFinish(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.within(time.Minute, "the first gate is open", func() bool { return strings.Contains(c.nodes()[0], "Installing") })
		c.api.Create(bluePool())
		c.pass(10 * time.Minute)
		if diff := cmp.Diff([]string{"a " + allReady, "b", "c"}, c.nodes()); diff != "" {
			t.Errorf("nodes (-want +got):\n%s", diff)
		}
		c.api.Delete(bluePool())
		c.installed()
	})
}

func TestASpecThatGetsThePoolLabelKeepsItsNodesAndIsToldOnceWhatIsWrong(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		since := len(c.api.Writes())
		label := func(value string) {
			simulation.Change(c.api, spec("kata-1", "one"), func(cm *corev1.ConfigMap) {
				delete(cm.Labels, observed.LabelPool)
				if value != "" {
					cm.Labels[observed.LabelPool] = value
				}
			})
		}
		label("databases")
		c.within(time.Minute, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		c.pass(10 * time.Minute)
		if got := c.status("kata-1", "message"); !strings.Contains(got, "take the pool label off: kubectl label configmap kata-1 longshore.dev/pool-") {
			t.Errorf("it says %s", got)
		}
		if writes := c.writes(since); len(writes) > 2 {
			t.Errorf("%d writes, the first are %v", len(writes), writes[:3])
		}
		if !c.allAre(allReady)() {
			t.Errorf("nodes are %v", c.nodes())
		}
		label("")
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
	})
}
