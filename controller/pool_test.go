package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// pool is a pool of all nodes, with keys and values put over it.
func pool(over ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "blue", Namespace: "longshore", Labels: map[string]string{observed.LabelPool: "databases"}},
		Data:       map[string]string{"nodeSelector": "*"},
	}
	for i := 0; i < len(over); i += 2 {
		cm.Data[over[i]] = over[i+1]
	}
	return cm
}

// midnight is when the clock of a bubble begins, on a Saturday.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bluePool is one that is refused.
func bluePool() *corev1.ConfigMap { return pool("paused", "no") }

func TestWhileAPoolIsRefusedNothingStartsOnAnyNodeAndEverybodyIsToldWhy(t *testing.T) {
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
		want := `data[paused]: Unsupported value: "no": supported values: "true", "false"; nothing starts on any node while this pool is refused; ` +
			"mend it, or delete it: kubectl delete configmap blue"
		if got := c.status("blue", "message"); got != want {
			t.Errorf("the pool says %s", got)
		}
		if got := c.status("blue", "observed-data"); got != "keys=2\nnodeSelector=*\n--nodeSelector\npaused=no\n--paused\npool=databases binaryData=0\n" {
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

func TestAPoolBoundsWhatAllRuntimesTakeOutOfServiceTogether(t *testing.T) {
	gvisor := spec("gvisor-1", "one", "maxUnavailable", "3", "runtimeClasses", "[{name: gvisor, handler: gvisor}]")
	gvisor.Labels[observed.LabelRuntime] = "gvisor"
	objects := threeNodes(spec("kata-1", "one", "maxUnavailable", "3"), gvisor, pool("maxUnavailable", "2"))
	run(t, wellBehaved, objects, func(c *cluster) {
		most := 0
		c.within(10*time.Minute, "both runtimes are on every node", func() bool {
			out := map[string]bool{}
			done := 0
			for _, object := range simulation.List(c.api, &corev1.Node{}) {
				n := informers.Node(object)
				for _, s := range n.States() {
					switch {
					case s.Progress == nil:
					case s.Progress.Phase == observed.PhaseReady && time.Since(s.Progress.Since) >= 9*time.Second:
						done++
					default:
						out[n.Name] = true
					}
				}
			}
			most = max(most, len(out))
			return done == 6
		})
		if most != 2 {
			t.Errorf("at most %d nodes were out of service at once, expected 2: the pool allows them, and so do the runtimes", most)
		}
		if phase, message := c.status("blue", "phase"), c.status("blue", "message"); phase != "Ready" || message != "3 nodes; at most 2 out of service at once" {
			t.Errorf("the pool says %s: %s", phase, message)
		}
	})
}

func TestNodesWaitForTheirWindowAndBeginWhenItOpens(t *testing.T) {
	objects := threeNodes(spec("kata-1", "one", "maxUnavailable", "3"), pool("maintenanceWindow", "{schedule: 30 * * * *, duration: 20m}"))
	run(t, wellBehaved, objects, func(c *cluster) {
		c.within(time.Minute, "everybody waits", func() bool { return c.status("kata-1", "message") == "0 of 3 nodes done; OutsideWindow 3" })
		c.pass(time.Until(midnight.Add(30*time.Minute - time.Second)))
		if writes := c.count("patch nodes/"); writes != 0 {
			t.Errorf("%d nodes were written before the window opened", writes)
		}
		c.within(time.Minute, "every node is Ready", c.allAre(allReady))
		// What is to be taken off waits for the next one.
		c.pass(time.Until(midnight.Add(40 * time.Minute)))
		c.api.Delete(spec("kata-1", ""))
		c.pass(time.Until(midnight.Add(89 * time.Minute)))
		if !c.allAre(allReady)() {
			t.Errorf("outside of the window the nodes became %v", c.nodes())
		}
		c.pass(time.Until(midnight.Add(90 * time.Minute)))
		c.within(5*time.Minute, "nothing is left", c.allAre(""))
	})
}

func TestARefusedPoolStaysInForceAsItWasLast(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), pool("paused", "true")), func(c *cluster) {
		c.within(time.Minute, "the pool is Paused", c.phaseIs("blue", "Paused"))
		change := func(nodeSelector, paused string) {
			simulation.Change(c.api, pool(), func(cm *corev1.ConfigMap) {
				cm.Data = map[string]string{"nodeSelector": nodeSelector, "paused": paused}
			})
		}
		change("kubernetes.io/hostname=a", "true")
		// It is forgotten by nobody, not even by a controller that starts anew.
		c.within(time.Minute, "b and c are done", func() bool { n := c.nodes(); return n[0] == "a" && n[1] == "b "+allReady && n[2] == "c "+allReady })
		change("kubernetes.io/hostname=a", "no")
		c.within(time.Minute, "the pool is Invalid", c.phaseIs("blue", "Invalid"))
		c.stop()
		c.start()
		c.pass(10 * time.Minute)
		if got := c.nodes(); got[0] != "a" {
			t.Errorf("a node of the pool became %s", got[0])
		}
		if got := c.status("blue", "message"); !strings.HasSuffix(got, "the last good version stays in force: 1 nodes; nothing begins while the pool is paused") {
			t.Errorf("the pool says %s", got)
		}
		change("kubernetes.io/hostname=a", "false")
		c.within(time.Minute, "a is done as well", c.allAre(allReady))
	})
}
