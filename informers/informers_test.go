package informers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a cluster that is being watched, in virtual time.
type watched struct {
	*informers.Cluster
	api     *simulation.API
	changes atomic.Int64
}

func watch(t *testing.T, objects []runtime.Object, body func(*watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{api: simulation.NewAPI(objects...)}
		cluster, err := informers.New(w.api.Kube, "longshore", "longshore-system", func() { w.changes.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		w.Cluster = cluster
		if cluster.HasSynced() {
			t.Error("synced before it was started")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cluster.Stop()
		defer cancel()
		cluster.Start(ctx)
		if err := cluster.Synced(ctx); err != nil || !cluster.HasSynced() {
			t.Fatal(err)
		}
		w.settle()
		body(w)
	})
}

// settle waits until every event has arrived and forgets how many there were.
func (w *watched) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
	w.changes.Store(0)
}

// changed waits until every event has arrived and tells how often something mattered.
func (w *watched) changed() int64 {
	synctest.Wait()
	return w.changes.Load()
}

func (w *watched) snapshot() *observed.Snapshot { return w.Snapshot(time.Now()) }

func configMap(namespace, name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Data: map[string]string{"u1": "kata a1 install"}}
}

func pod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: "a", InitContainers: []corev1.Container{{Name: "install"}}, Containers: []corev1.Container{{Name: "pause"}}},
	}
}

func revision(name string) *appsv1.ControllerRevision {
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: name, Labels: ours},
		Data:       runtime.RawExtension{Raw: []byte(`{"format":1,"hashed":{},"daemonSets":{}}`)},
	}
}

var (
	ours = map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}
	asks = map[string]string{observed.LabelRuntime: "kata"}
	// A label says what a ConfigMap is even where its value is a mistake.
	pools = map[string]string{observed.LabelPool: ""}
	both  = map[string]string{observed.LabelRuntime: "kata", observed.LabelPool: "databases"}
)

func names(s *observed.Snapshot) map[string][]string {
	out := map[string][]string{}
	for i := range s.Nodes {
		out["nodes"] = append(out["nodes"], s.Nodes[i].Name)
	}
	for i := range s.Specs {
		out["specs"] = append(out["specs"], s.Specs[i].Name)
	}
	for i := range s.Pools {
		out["pools"] = append(out["pools"], s.Pools[i].Name)
	}
	for i := range s.Pods {
		out["pods"] = append(out["pods"], s.Pods[i].Name)
	}
	for i := range s.Revisions {
		out["revisions"] = append(out["revisions"], s.Revisions[i].Name)
	}
	for i := range s.DaemonSets {
		out["sets"] = append(out["sets"], s.DaemonSets[i].Name)
	}
	for i := range s.RuntimeClasses {
		out["classes"] = append(out["classes"], s.RuntimeClasses[i].Name)
	}
	return out
}

func TestASnapshotHasWhatConcernsLongshoreSortedByName(t *testing.T) {
	objects := []runtime.Object{
		simulation.ReadyNode("b", nil), simulation.ReadyNode("a", nil), simulation.ReadyNode("c", nil),
		configMap("longshore", "kata-2", asks), configMap("longshore", "kata-1", asks), configMap("longshore", "no-spec", nil), configMap("elsewhere", "kata-3", asks),
		configMap("longshore", "pool-b", pools), configMap("longshore", "pool-a", pools), configMap("elsewhere", "pool-c", pools), configMap("longshore", "both", both),
		configMap("longshore-system", "longshore-turns", nil), configMap("longshore-system", "others", nil), configMap("longshore", "longshore-turns", nil),
		pod("kata-install-a1-x", ours), pod("stranger", nil), revision("kata-a2"), revision("kata-a1"),
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-install-a1", Labels: ours}},
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "stranger"}},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "stranger"}, Handler: "x"},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata", Labels: ours}, Handler: "kata"},
	}
	watch(t, objects, func(w *watched) {
		s := w.snapshot()
		want := map[string][]string{
			"nodes": {"a", "b", "c"}, "specs": {"both", "kata-1", "kata-2"}, "pools": {"both", "pool-a", "pool-b"}, "pods": {"kata-install-a1-x"}, "revisions": {"kata-a1", "kata-a2"}, "sets": {"kata-install-a1"},
			"classes": {"kata", "stranger"},
		}
		if diff := cmp.Diff(want, names(s)); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
		if !s.Turns.Exists || len(s.Turns.Booked) != 1 || s.Turns.Booked[0].Node != "u1" {
			t.Errorf("turns are %+v", s.Turns)
		}
		if !s.Time.Equal(time.Now()) {
			t.Errorf("the time is %s", s.Time)
		}
	})
}

func TestALostLabelTakesASpecOutOfSight(t *testing.T) {
	watch(t, []runtime.Object{configMap("longshore", "kata-1", asks)}, func(w *watched) {
		simulation.Change(w.api, configMap("longshore", "kata-1", nil), func(cm *corev1.ConfigMap) { cm.Labels = nil })
		if got := w.changed(); got != 1 {
			t.Errorf("%d changes", got)
		}
		if s := w.snapshot(); len(s.Specs) != 0 {
			t.Errorf("specs are %+v", s.Specs)
		}
	})
}

func TestOnlyWhatMattersLeadsToAnotherLook(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Node)
		want   int64
	}{
		"a heartbeat":           {func(n *corev1.Node) { n.Status.Conditions[0].LastHeartbeatTime = metav1.Now() }, 0},
		"a pulled image":        {func(n *corev1.Node) { n.Status.Images = []corev1.ContainerImage{{Names: []string{"x"}}} }, 0},
		"an annotation of some": {func(n *corev1.Node) { n.Annotations = map[string]string{"ttl": "1"} }, 0},
		"another value of it":   {func(n *corev1.Node) { n.Annotations["ttl"] = "2" }, 0},
		"another address":       {func(n *corev1.Node) { n.Status.Addresses = []corev1.NodeAddress{{Address: "10.0.0.1"}} }, 0},
		"NotReady":              {func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }, 1},
		"a label":               {func(n *corev1.Node) { n.Labels["pool"] = "gpu" }, 1},
		"a hold":                {func(n *corev1.Node) { n.Annotations["kata.longshore.dev/hold"] = "x" }, 1},
		"a handler": {func(n *corev1.Node) {
			n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: "kata"})
		}, 1},
		"features of a handler": {func(n *corev1.Node) { n.Status.RuntimeHandlers[0].Features = &corev1.NodeRuntimeHandlerFeatures{} }, 0},
		"a taint":               {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x"}} }, 1},
		"a reboot":              {func(n *corev1.Node) { n.Status.NodeInfo.BootID = "other" }, 1},
		"a newer kernel":        {func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = "7" }, 0},
	}
	node := simulation.ReadyNode("a", nil)
	watch(t, []runtime.Object{node}, func(w *watched) {
		// An annotation comes before another value of it.
		for _, name := range slices.Concat([]string{"an annotation of some", "another value of it", "a hold"}, []string{
			"a heartbeat", "a pulled image", "another address", "NotReady", "a label", "a handler", "features of a handler", "a taint", "a reboot", "a newer kernel",
		}) {
			w.settle()
			simulation.Change(w.api, node, cases[name].change)
			if got := w.changed(); got != cases[name].want {
				t.Errorf("%s led to %d looks, want %d", name, got, cases[name].want)
			}
		}
		w.settle()
		w.api.Delete(node)
		if got := w.changed(); got != 1 {
			t.Errorf("a deletion led to %d looks", got)
		}
	})
}

// later is an object as a write of ours returned it, whose watch event has not come yet.
func later[T metav1.Object](object T, version int) T {
	object.SetResourceVersion(fmt.Sprint(version))
	return object
}

func TestASnapshotShowsOurOwnWritesBeforeTheWatchDoes(t *testing.T) {
	watch(t, []runtime.Object{simulation.ReadyNode("a", nil), configMap("longshore-system", "longshore-turns", nil), configMap("longshore", "kata-1", asks), configMap("longshore", "pool", pools)}, func(w *watched) {
		node := w.api.Node("a").DeepCopy()
		node.Labels["kata.longshore.dev/gate"] = "a1-install"
		w.Saw(later(node, 1000))
		turns, _ := simulation.Get(w.api, configMap("longshore-system", "longshore-turns", nil))
		turns.Data = map[string]string{"u7": "kata a1 install"}
		w.Saw(later(turns, 1001))
		spec, _ := simulation.Get(w.api, configMap("longshore", "kata-1", nil))
		spec.Annotations = map[string]string{observed.SpecPhase: "Ready"}
		w.Saw(later(spec, 1002))
		pool, _ := simulation.Get(w.api, configMap("longshore", "pool", nil))
		pool.Annotations = map[string]string{observed.SpecPhase: "Invalid"}
		w.Saw(later(pool, 1006))
		w.Saw(later(configMap("longshore", "lost-its-label", nil), 1007))
		w.Saw(later(revision("kata-a1"), 1003))
		w.Saw(later(&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "kata-install-a1", Labels: ours}}, 1004))
		w.Saw(later(&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}}, 1005))

		for range 2 {
			s := w.snapshot()
			if s.Nodes[0].Labels.Get("kata.longshore.dev/gate") != "a1-install" || s.Nodes[0].State("kata").Gate != "a1-install" {
				t.Errorf("labels are %v", s.Nodes[0].Labels)
			}
			if len(s.Turns.Booked) != 1 || s.Turns.Booked[0].Node != "u7" || s.Turns.ResourceVersion != "1001" {
				t.Errorf("turns are %+v", s.Turns)
			}
			if s.Specs[0].Annotations[observed.SpecPhase] != "Ready" {
				t.Errorf("the spec's annotations are %v", s.Specs[0].Annotations)
			}
			if s.Pools[0].Annotations[observed.SpecPhase] != "Invalid" {
				t.Errorf("the pool's annotations are %v", s.Pools[0].Annotations)
			}
			got := names(s)
			want := map[string][]string{"nodes": {"a"}, "specs": {"kata-1"}, "pools": {"pool"}, "revisions": {"kata-a1"}, "sets": {"kata-install-a1"}, "classes": {"kata"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
		}
		if got := w.changed(); got != 0 {
			t.Errorf("an echo led to %d looks", got)
		}
	})
}

func TestTheWatchWinsOnceItHasCaughtUp(t *testing.T) {
	watch(t, []runtime.Object{simulation.ReadyNode("a", nil), simulation.ReadyNode("b", nil)}, func(w *watched) {
		old := w.api.Node("a").DeepCopy()
		simulation.Change(w.api, old, func(n *corev1.Node) { n.Labels["step"] = "newer" })
		w.settle()
		old.Labels["step"] = "ours, long ago"
		w.Saw(old)
		if got := w.snapshot().Nodes[0].Labels.Get("step"); got != "newer" {
			t.Errorf("the snapshot shows %q", got)
		}

		// A node that was deleted and made anew is another one, whatever its version.
		gone := w.api.Node("b").DeepCopy()
		w.api.Delete(gone)
		w.api.Create(simulation.ReadyNode("b", nil))
		w.settle()
		gone.Labels["step"] = "of the old machine"
		w.Saw(later(gone, 1000))
		if n := w.snapshot().Nodes[1]; n.Labels.Get("step") != "" || n.UID == gone.UID {
			t.Errorf("the snapshot shows %+v", n)
		}

		// What we made and somebody else deleted goes when the watch has passed its version.
		made := revision("kata-a1")
		w.api.Create(made)
		stored, _ := simulation.Get(w.api, made)
		w.Saw(stored)
		if got := len(w.snapshot().Revisions); got != 1 {
			t.Errorf("%d revisions", got)
		}
		w.settle()
		w.api.Delete(stored)
		w.settle()
		if got := len(w.snapshot().Revisions); got != 0 {
			t.Errorf("%d revisions after the deletion", got)
		}
	})
}

func TestConsistentNodesArePastEveryCache(t *testing.T) {
	watch(t, []runtime.Object{simulation.ReadyNode("a", nil)}, func(w *watched) {
		w.api.Create(simulation.ReadyNode("b", map[string]string{"kata.longshore.dev/gate": "a1-install"}))
		w.api.Kube.ClearActions()
		nodes, err := w.ConsistentNodes(t.Context())
		if err != nil || len(nodes) != 2 || nodes[1].State("kata") == nil {
			t.Errorf("nodes are %+v, %v", nodes, err)
		}
		list := w.api.Kube.Actions()[0].(clienttesting.ListActionImpl)
		if list.ListOptions.ResourceVersion != "" {
			t.Errorf("the list may come from a cache: %+v", list.ListOptions)
		}
	})
}

func TestAMissingRightIsAnErrorThatNamesIt(t *testing.T) {
	for resource, want := range map[string]string{
		"nodes": "read nodes", "configmaps": "read ConfigMaps in namespace longshore", "pods": "read Pods in namespace longshore",
		"daemonsets": "read DaemonSets in namespace longshore", "controllerrevisions": "read ControllerRevisions in namespace longshore", "runtimeclasses": "read RuntimeClasses",
	} {
		t.Run(resource, func(t *testing.T) {
			watch(t, nil, func(w *watched) {
				if err := w.MayRead(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.api.Kube.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", fmt.Errorf("no"))
				})
				err := w.MayRead(t.Context())
				if !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

func TestAFirstListThatNeverComesIsAnErrorWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := simulation.NewAPI()
		api.Kube.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewInternalError(fmt.Errorf("etcd is away"))
		})
		cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() {})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cluster.Stop()
		defer cancel()
		cluster.Start(ctx)
		if err := cluster.Synced(ctx); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
			t.Errorf("the error is %v", err)
		}
	})
}
