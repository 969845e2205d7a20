package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// there tells whether the first spec is.
func (c *cluster) there() bool {
	_, ok := simulation.Get(c.api, spec("kata-1", ""))
	return ok
}

func (c *cluster) held(name string) func() bool {
	return func() bool {
		cm, ok := simulation.Get(c.api, spec(name, ""))
		return ok && slices.Contains(cm.Finalizers, observed.Finalizer)
	}
}

func TestASpecThatIsDeletedInTheForegroundStaysUntilItsNodesAreDone(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one", "deletionPolicy", "Foreground")), func(c *cluster) {
		c.installed()
		if !c.held("kata-1")() {
			t.Fatal("the spec has no finalizer")
		}
		annotate(c, "b", "kata.longshore.dev/hold", "INC-4711")
		c.api.Delete(spec("kata-1", ""))
		c.within(5*time.Minute, "two nodes are done", func() bool {
			return strings.HasPrefix(c.status("kata-1", "message"), "1 nodes left; Held 1; the ConfigMap goes when no node carries the runtime any more, or at once with: longshore release kata")
		})
		if phase := c.status("kata-1", "phase"); phase != "Uninstalling" {
			t.Errorf("the deleted spec is %s", phase)
		}
		for _, set := range simulation.List(c.api, &appsv1.DaemonSet{}) {
			if len(set.OwnerReferences) != 1 {
				t.Errorf("DaemonSet %s has owners %v: one that is being deleted is none", set.Name, set.OwnerReferences)
			}
		}
		c.stop()
		c.start()
		c.pass(time.Minute)
		if !c.there() {
			t.Fatal("the spec went before its last node was done")
		}
		simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, func(n *corev1.Node) { delete(n.Annotations, "kata.longshore.dev/hold") })
		c.within(5*time.Minute, "the spec is gone", func() bool { return !c.there() })
		c.within(time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.ours()) == 0 && len(c.turns()) == 0 })
		if got := c.eventsLike("FinalizerReleased"); len(got) > 0 {
			t.Errorf("events %v", got)
		}
	})
}

func TestADeletedSpecIsLetGoWhenAnotherOneTakesItsPlace(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one", "deletionPolicy", "Foreground")), func(c *cluster) {
		c.installed()
		c.api.Delete(spec("kata-1", ""))
		c.pass(20 * time.Second)
		c.api.Create(spec("kata-2", "one", "deletionPolicy", "Foreground"))
		c.within(time.Minute, "the old one is gone and the new one is held", func() bool { return !c.there() && c.held("kata-2")() })
		c.pass(5 * time.Minute)
		if runs := c.world.Runs(); len(runs) != 3 {
			t.Errorf("%d runs in all", len(runs))
		}
	})
}

func TestNothingHangsWhenLongshoreItselfIsDeleted(t *testing.T) {
	for name, object := range map[string]metav1.Object{
		"a namespace":    &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "longshore", Finalizers: []string{"kubernetes"}}},
		"the controller": &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "longshore", Namespace: "longshore-system"}},
	} {
		t.Run(name, func(t *testing.T) {
			objects := threeNodes(spec("kata-1", "one", "deletionPolicy", "Foreground"))
			switch o := object.(type) {
			case *corev1.Namespace:
				objects = append(objects, o)
			case *appsv1.Deployment:
				objects = append(objects, o)
			}
			run(t, wellBehaved, objects, func(c *cluster) {
				c.installed()
				switch o := object.(type) {
				case *corev1.Namespace:
					c.api.Delete(o)
				case *appsv1.Deployment:
					c.api.Delete(o)
				}
				c.within(time.Second, "nothing holds the spec", func() bool { return c.there() && !c.held("kata-1")() })
				c.api.Delete(spec("kata-1", ""))
				c.pass(time.Second)
				if c.there() {
					t.Error("the spec is still there")
				}
				if got := c.eventsLike("FinalizerReleased"); len(got) != 1 {
					t.Errorf("events %v", got)
				}
			})
		})
	}
}

func TestAWrongPruneFallsBackAndAnOldSurvivorDoesNot(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		c.api.Create(spec("kata-2", "two"))
		c.within(5*time.Minute, "every node is at two", c.allAre("kata Ready two HandlersReported ready"))
		c.api.Delete(spec("kata-2", ""))
		c.within(5*time.Minute, "every node is back at one", c.allAre(allReady))
		c.within(time.Minute, "the first spec is Ready", c.phaseIs("kata-1", "Ready"))

		c.api.Create(spec("kata-3", "two"))
		c.within(5*time.Minute, "every node is at two again", c.allAre("kata Ready two HandlersReported ready"))
		c.pass(10 * time.Minute)
		runs := len(c.world.Runs())
		c.api.Delete(spec("kata-3", ""))
		c.within(time.Minute, "the first spec says that it does not count", func() bool {
			return c.status("kata-1", "phase") == "Conflict" && strings.HasPrefix(c.status("kata-1", "message"), `ConfigMap "kata-3", which was in force, is gone, and "kata-1" had been superseded since `)
		})
		c.stop()
		c.start()
		c.pass(20 * time.Minute)
		if got := c.allAre("kata Ready two HandlersReported ready"); !got() || len(c.world.Runs()) != runs {
			t.Errorf("%d commands ran, and the nodes are %v", len(c.world.Runs())-runs, c.nodes())
		}
		say(c, "kata-1", observed.AnnotationRetry, "now")
		c.within(5*time.Minute, "every node is at one after people said so", c.allAre(allReady))
	})
}
