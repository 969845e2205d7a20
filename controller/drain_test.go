package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// workload is a pod of a ReplicaSet that runs on a node.
func workload(name, node string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name, UID: "rs", Controller: &yes}},
		},
		Spec:   corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// using has a pod ask for a RuntimeClass.
func using(class string, pod *corev1.Pod) *corev1.Pod {
	pod.Spec.RuntimeClassName = &class
	return pod
}

func (c *cluster) workloads() []string {
	var names []string
	for _, pod := range simulation.List(c.api, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}}) {
		names = append(names, pod.Name)
	}
	return names
}

// cordoned names the nodes that are.
func (c *cluster) cordoned() []string {
	var names []string
	for _, n := range simulation.List(c.api, &corev1.Node{}) {
		if n.Spec.Unschedulable {
			names = append(names, n.Name)
		}
	}
	return names
}

// says tells whether what stands on a node has these words.
func (c *cluster) says(node, words string) func() bool {
	return func() bool {
		return strings.Contains(c.api.Node(node).Annotations[observed.ProgressKey("kata")], words)
	}
}

func TestANodeIsDrainedAndItsBudgetsAreRespected(t *testing.T) {
	objects := threeNodes(spec("kata-1", "one", "drain", "Drain", "nodeSelector", "kubernetes.io/hostname=a"), workload("web", "a"), workload("far", "b"))
	bare := workload("bare", "a")
	bare.OwnerReferences = nil
	run(t, wellBehaved, append(objects, bare), func(c *cluster) {
		c.api.Refuse(func(*corev1.Pod) error {
			return apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10)
		})
		c.within(time.Minute, "the node is blocked by the pod that nobody would make anew", c.says("a", "default/bare"))
		if got := c.cordoned(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("cordoned are %v", got)
		}
		c.pass(time.Minute)
		if got := c.count("create pods/"); got != 0 {
			t.Errorf("%d evictions while a bare pod is in the way", got)
		}
		c.api.Delete(bare)
		c.within(time.Minute, "the refusal is told", func() bool { return strings.Contains(c.status("kata-1", "message"), "EvictionRefused 1") })
		c.pass(time.Minute)
		if runs := c.world.Runs(); len(runs) != 0 {
			t.Errorf("commands ran on a node that was not empty: %v", runs)
		}
		// The one that leads next goes on.
		c.stop()
		c.start()
		c.pass(10 * time.Second)
		c.api.Refuse(nil)
		c.within(time.Minute, "the node is Ready", func() bool { return strings.Contains(c.node(c.api.Node("a")), "kata Ready one") })
		if got := c.cordoned(); len(got) != 0 {
			t.Errorf("still cordoned are %v", got)
		}
		if got := c.workloads(); !slices.Equal(got, []string{"far"}) {
			t.Errorf("pods that are left: %v", got)
		}
	})
}

func TestANodeThatCannotBeDrainedIsGivenBackAndTheOthersGoOn(t *testing.T) {
	objects := threeNodes(spec("kata-1", "one", "drain", "Drain", "installTimeout", "1m"), workload("web", "a"))
	run(t, wellBehaved, objects, func(c *cluster) {
		c.api.Refuse(func(*corev1.Pod) error { return apierrors.NewTooManyRequests("no", 10) })
		c.within(3*time.Minute, "the two others are done", func() bool { return c.status("kata-1", "progress") == "2/3" })
		if got := c.workloads(); !slices.Equal(got, []string{"web"}) {
			t.Errorf("pods that are left: %v", got)
		}
		c.within(3*time.Minute, "the node is tried again", func() bool { return slices.Equal(c.cordoned(), []string{"a"}) })
		c.within(3*time.Minute, "and given back again", func() bool { return len(c.cordoned()) == 0 && c.says("a", "DrainTimedOut")() })
		c.api.Refuse(nil)
		c.within(3*time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
	})
}

func TestAnUninstallWaitsForThePodsThatUseTheRuntime(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), using("kata", workload("db", "b")), workload("web", "c")), func(c *cluster) {
		c.installed()
		c.api.Delete(spec("kata-1", ""))
		c.within(5*time.Minute, "b is blocked", c.says("b", `"phase":"Blocked"`))
		if !c.says("b", "waiting for pods that use the runtime: default/db; their RuntimeClasses are kata")() {
			t.Errorf("the node says %s", c.api.Node("b").Annotations[observed.ProgressKey("kata")])
		}
		if _, ready := c.api.Node("b").Labels["kata.longshore.dev/ready"]; ready {
			t.Error("the node is offered to new pods while it waits for the old ones")
		}
		c.within(20*time.Minute, "its turn is given back, it is offered again, and the others go on", func() bool {
			return c.api.Node("b").Labels["kata.longshore.dev/ready"] == "true" && c.node(c.api.Node("a")) == "a" && c.node(c.api.Node("c")) == "c"
		})
		if got := c.workloads(); !slices.Equal(got, []string{"db", "web"}) {
			t.Errorf("pods that are left: %v", got)
		}
		c.api.Delete(workload("db", "b"))
		c.within(20*time.Minute, "nothing is left", func() bool { return c.allAre("")() && len(c.turns()) == 0 })
		if got := c.count("create pods/"); got != 0 {
			t.Errorf("%d evictions", got)
		}
	})
}

func TestAnUninstallEvictsThePodsThatUseTheRuntimeWhenAskedTo(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one", "inUsePolicy", "Evict"), using("kata", workload("db", "b")), workload("web", "b")), func(c *cluster) {
		c.installed()
		c.api.Delete(spec("kata-1", ""))
		c.within(5*time.Minute, "nothing is left", c.allAre(""))
		if got := c.workloads(); !slices.Equal(got, []string{"web"}) {
			t.Errorf("pods that are left: %v", got)
		}
		if got := c.log.like("pod evicted", "default/db"); len(got) != 1 {
			t.Errorf("the log says %v", got)
		}
	})
}

func TestWithoutTheRightToLookNothingIsUninstalledAndPeopleAreToldWhy(t *testing.T) {
	objects := []runtime.Object{simulation.ReadyNode("a", nil), spec("kata-1", "one")}
	run(t, wellBehaved, objects, func(c *cluster) {
		c.within(time.Minute, "it is installed", c.phaseIs("kata-1", "Ready"))
		c.api.Forbid(func(r *authorizationv1.ResourceAttributes) bool { return r.Verb == "watch" })
		c.stop()
		c.start()
		c.api.Delete(spec("kata-1", ""))
		c.pass(10 * time.Minute)
		if got := c.node(c.api.Node("a")); got != "a kata Ready one HandlersReported ready" {
			t.Errorf("the node is %s", got)
		}
		// Whoever applies the component need not restart anything.
		c.api.Forbid(nil)
		c.within(time.Minute, "nothing is left", c.allAre(""))
	})
}
