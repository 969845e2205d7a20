package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// memory is what is remembered of pools.
func (c *cluster) memory() map[string]string {
	cm, ok := simulation.Get(c.api, memoryObject())
	if !ok {
		return map[string]string{"there is": "none"}
	}
	return cm.Data
}

func memoryObject() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: observed.PoolsName}}
}

// replace is `kubectl replace` of a pool: annotations that the new version does not have are gone.
func (c *cluster) replace(by *corev1.ConfigMap) {
	simulation.Change(c.api, by, func(cm *corev1.ConfigMap) { cm.Data, cm.Labels, cm.Annotations = by.Data, by.Labels, nil })
}

func hasLastGood(c *cluster) bool { return c.status("blue", "last-good") != "" }

const pausedPool = `{"nodeSelector":"*","paused":"true"}`

func TestAPoolThatAReplaceBreaksAndWipesStaysInForceAsItWasLast(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), pool("paused", "true")), func(c *cluster) {
		c.within(time.Minute, "the pool is Paused", c.phaseIs("blue", "Paused"))
		if diff := cmp.Diff(map[string]string{"blue": pausedPool}, c.memory()); diff != "" || hasLastGood(c) {
			t.Errorf("memory (-want +got):\n%s", diff)
		}
		c.replace(bluePool())
		message := func() bool {
			return strings.HasSuffix(c.status("blue", "message"), "the last good version stays in force: 3 nodes; nothing begins while the pool is paused")
		}
		c.within(time.Minute, "the pool says that its last version is in force", message)
		c.stop()
		c.start()
		c.replace(bluePool())
		c.pass(10 * time.Minute)
		if runs := len(c.world.Runs()); runs > 0 || !message() || hasLastGood(c) {
			t.Errorf("%d commands ran, and the pool says %s", runs, c.status("blue", "message"))
		}
		if got := c.count("create configmaps/longshore-pools") + c.count("update configmaps/longshore-pools"); got != 1 {
			t.Errorf("the memory was written %d times", got)
		}
		c.api.Delete(bluePool())
		c.installed()
		if got := c.memory(); len(got) > 0 {
			t.Errorf("of a pool that is gone is remembered %v", got)
		}
	})
}

func TestAPoolOfAnEarlierVersionIsTakenOverIntoTheMemory(t *testing.T) {
	old := bluePool()
	old.Annotations = map[string]string{observed.PoolLastGood: pausedPool}
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), old), func(c *cluster) {
		c.within(time.Minute, "the pool is remembered", func() bool { return c.memory()["blue"] == pausedPool })
		c.within(time.Minute, "the pool is Invalid", c.phaseIs("blue", "Invalid"))
		c.replace(bluePool())
		c.pass(10 * time.Minute)
		if got := len(c.world.Runs()); got > 0 || c.memory()["blue"] != pausedPool {
			t.Errorf("%d commands ran, remembered is %v", got, c.memory())
		}
	})
}

func TestWhileTheMemoryOfPoolsCannotBeWrittenNothingWaitsForItAndNothingIsLost(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.api.Fault(func(w simulation.Write) error {
			if w.Name == observed.PoolsName {
				return errors.New("etcd is away")
			}
			return nil
		})
		c.api.Create(pool())
		c.installed()
		if !hasLastGood(c) {
			t.Error("the pool is remembered nowhere")
		}
		c.api.Fault(nil)
		c.within(time.Minute, "the pool is remembered", func() bool { return c.memory()["blue"] == `{"nodeSelector":"*"}` })
		c.within(time.Minute, "and not on itself any more", func() bool { return !hasLastGood(c) })
	})
}

func TestAPoolThatTheMemoryHasNoRoomForSaysSo(t *testing.T) {
	objects := threeNodes()
	for i := range 17 {
		large := pool("nodeSelector", "zone in ("+strings.Repeat("a,", 30000)+"a)")
		large.Name = fmt.Sprintf("blue-%02d", i)
		objects = append(objects, large)
	}
	run(t, wellBehaved, objects, func(c *cluster) {
		c.pass(time.Minute)
		if got := len(c.memory()); got != 16 {
			t.Errorf("%d pools are remembered", got)
		}
		if got := c.status("blue-16", "message"); !strings.Contains(got, "ConfigMap longshore-pools has no room for these ") || c.status("blue-16", "phase") != "Ready" || c.status("blue-16", "last-good") == "" {
			t.Errorf("the pool says %s", got)
		}
		if got := c.status("blue-15", "message"); strings.Contains(got, "longshore-pools") || c.status("blue-15", "last-good") != "" {
			t.Errorf("a pool that is remembered says %s", got)
		}
	})
}
