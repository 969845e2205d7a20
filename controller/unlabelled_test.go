package controller_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// relabel changes the labels of a ConfigMap.
func (c *cluster) relabel(name string, labels map[string]string) {
	simulation.Change(c.api, spec(name, ""), func(cm *corev1.ConfigMap) { cm.Labels = labels })
}

// clean tells whether nothing of ours is left on a ConfigMap but for what people wrote.
func (c *cluster) clean(name string) func() bool {
	return func() bool {
		cm, ok := simulation.Get(c.api, spec(name, ""))
		ours := slices.ContainsFunc(slices.Collect(maps.Keys(cm.Annotations)), func(key string) bool {
			return strings.HasPrefix(key, observed.Domain+"/") && key != observed.AnnotationPause
		})
		return ok && !ours && !c.held(name)()
	}
}

func foreground() *corev1.ConfigMap {
	return spec("kata-1", "one", "deletionPolicy", "Foreground")
}

func TestASpecThatLosesItsLabelIsUninstalledAndHasNothingOfOursLeft(t *testing.T) {
	for name, down := range map[string]bool{"while the controller runs": false, "while the controller is down": true} {
		t.Run(name, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(foreground()), func(c *cluster) {
				c.installed()
				say(c, "kata-1", observed.AnnotationPause, "false")
				if down {
					c.stop()
				}
				c.relabel("kata-1", nil)
				if down {
					c.start()
				}
				c.within(time.Minute, "nothing of ours is on it", c.clean("kata-1"))
				c.within(5*time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.ours()) == 0 && len(c.turns()) == 0 })
				cm, _ := simulation.Get(c.api, spec("kata-1", ""))
				if diff := cmp.Diff(map[string]string{observed.AnnotationPause: "false"}, cm.Annotations); diff != "" {
					t.Errorf("annotations (-want +got):\n%s", diff)
				}
				since := len(c.api.Writes())
				c.pass(10 * time.Minute)
				if got := c.writes(since); len(got) > 0 {
					t.Errorf("with nothing to do there was written %v", got)
				}
				c.api.Delete(spec("kata-1", ""))
				c.pass(time.Second)
				if c.there() {
					t.Error("kubectl delete hangs")
				}
			})
		})
	}
}

func TestADeletedSpecThatLosesItsLabelGoes(t *testing.T) {
	run(t, wellBehaved, threeNodes(foreground()), func(c *cluster) {
		c.installed()
		annotate(c, "b", "kata.longshore.dev/hold", "INC-4711")
		c.api.Delete(spec("kata-1", ""))
		c.pass(5 * time.Minute)
		if !c.there() {
			t.Fatal("the spec went before its last node was done")
		}
		c.relabel("kata-1", nil)
		c.within(time.Second, "it is gone", func() bool { return !c.there() })
	})
}

func TestASupersededSpecAndAPoolThatLoseTheirLabelsLoseTheirStatus(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), pool()), func(c *cluster) {
		c.installed()
		c.api.Create(spec("kata-2", "one"))
		c.within(time.Minute, "the first spec is Superseded", c.phaseIs("kata-1", "Superseded"))
		c.relabel("kata-1", map[string]string{"theirs": "x"})
		c.relabel("blue", nil)
		c.within(time.Minute, "nothing of ours is on the spec", c.clean("kata-1"))
		c.within(time.Minute, "nothing of ours is on the pool", c.clean("blue"))
		c.pass(5 * time.Minute)
		if runs := len(c.world.Runs()); runs != 3 || !c.allAre(allReady)() {
			t.Errorf("%d commands ran, and the nodes are %v", runs, c.nodes())
		}
	})
}

func TestALabelThatMovesToAnotherRuntimeOrBackOrToAPoolKeepsWorking(t *testing.T) {
	run(t, wellBehaved, threeNodes(foreground()), func(c *cluster) {
		c.installed()
		simulation.Change(c.api, spec("kata-1", ""), func(cm *corev1.ConfigMap) {
			cm.Labels = map[string]string{observed.LabelRuntime: "other"}
			cm.Data["runtimeClasses"] = "[{name: other, handler: other}]"
		})
		c.within(10*time.Minute, "every node has the other runtime only", c.allAre("other Ready one HandlersReported ready"))
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		if !c.held("kata-1")() {
			t.Error("the spec has no finalizer")
		}
		c.relabel("kata-1", nil)
		c.relabel("kata-1", map[string]string{observed.LabelRuntime: "other"})
		c.within(time.Minute, "the spec is held and Ready", func() bool { return c.held("kata-1")() && c.phaseIs("kata-1", "Ready")() })
		c.relabel("kata-1", map[string]string{observed.LabelPool: "databases"})
		c.within(time.Minute, "nothing holds the pool", func() bool {
			return !c.held("kata-1")() && c.status("kata-1", "progress") == "" && c.phaseIs("kata-1", "Invalid")()
		})
	})
}

func TestWhileAConfigMapWithoutALabelCannotBeWrittenNothingWaitsForIt(t *testing.T) {
	run(t, wellBehaved, threeNodes(foreground()), func(c *cluster) {
		c.installed()
		c.api.Fault(func(w simulation.Write) error {
			if w.Name == "kata-1" {
				return errors.New("etcd is away")
			}
			return nil
		})
		c.relabel("kata-1", nil)
		c.within(5*time.Minute, "nothing is left on nodes", func() bool { return c.allAre("")() && len(c.turns()) == 0 })
		if c.clean("kata-1")() {
			t.Fatal("the ConfigMap was written")
		}
		c.api.Fault(nil)
		c.within(time.Minute, "nothing of ours is on it", c.clean("kata-1"))
	})
}

// A copy that somebody made with all annotations is theirs. It is tried once, not with every pass.
func TestAnnotationsThatSomebodyElseAppliedStay(t *testing.T) {
	theirs := spec("copy", "one")
	theirs.Labels, theirs.Annotations = nil, map[string]string{observed.SpecPhase: "Ready"}
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), theirs), func(c *cluster) {
		tried := 0
		c.api.Fault(func(w simulation.Write) error {
			if w.Name == "copy" {
				tried++
			}
			return nil
		})
		c.installed()
		if tried > 2 || c.status("copy", "phase") != "Ready" {
			t.Errorf("written %d times, the phase is %q", tried, c.status("copy", "phase"))
		}
	})
}
