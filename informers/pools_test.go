package informers_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

func memory(namespace string) *corev1.ConfigMap {
	cm := configMap(namespace, observed.PoolsName, nil)
	cm.Data = map[string]string{"blue": `{"nodeSelector":"*"}`}
	return cm
}

// remembering calls body with a cluster that watches the memory of pools as well. Nothing is watched before body starts it.
func remembering(t *testing.T, api *simulation.API, body func(context.Context, *informers.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() {})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cluster.Stop()
		defer cancel()
		if err := cluster.WatchPoolMemory(ctx); err != nil {
			t.Fatal(err)
		}
		cluster.Start(ctx)
		if err := cluster.Synced(ctx); err != nil {
			t.Fatal(err)
		}
		body(ctx, cluster)
	})
}

func TestASnapshotHasWhatIsRememberedOfPools(t *testing.T) {
	api := simulation.NewAPI(memory("longshore"), configMap("longshore-system", "others", nil), configMap("longshore-system", "longshore-turns", nil))
	remembering(t, api, func(_ context.Context, c *informers.Cluster) {
		if s := c.Snapshot(time.Now()); s.PoolMemory == nil || s.PoolMemory.Exists || len(s.PoolMemory.Data) > 0 {
			t.Errorf("of what is not there is seen %+v", s.PoolMemory)
		}
		api.Create(memory("longshore-system"))
		synctest.Wait()
		made, _ := simulation.Get(api, memory("longshore-system"))
		want := &observed.PoolMemory{Exists: true, UID: made.UID, ResourceVersion: made.ResourceVersion, Data: made.Data}
		s := c.Snapshot(time.Now())
		if diff := cmp.Diff(want, s.PoolMemory); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
		if len(s.Turns.Booked) != 1 || s.Turns.Problem != "" {
			t.Errorf("turns are %+v", s.Turns)
		}
		ours := made.DeepCopy()
		ours.Data = map[string]string{"green": "{}"}
		c.Saw(later(ours, 1000))
		for range 2 {
			if m := c.Snapshot(time.Now()).PoolMemory; m.ResourceVersion != "1000" || m.Of("green") != "{}" || m.Of("blue") != "" {
				t.Errorf("of our own write is seen %+v", m)
			}
		}
	})
}

// The watches of this cluster never say anything.
func TestCatchingUpReadsPoolsAndWhatIsRememberedOfThem(t *testing.T) {
	api := simulation.NewAPI(simulation.ReadyNode("a", nil), simulation.ReadyNode("b", nil))
	api.Kube.PrependWatchReactor("*", func(clienttesting.Action) (bool, apiwatch.Interface, error) { return true, apiwatch.NewFake(), nil })
	remembering(t, api, func(ctx context.Context, c *informers.Cluster) {
		api.Create(memory("longshore-system"))
		api.Create(configMap("longshore", "blue", pools))
		if err := c.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		if s := c.Snapshot(time.Now()); len(s.Pools) != 1 || s.PoolMemory.Of("blue") == "" {
			t.Errorf("pools are %+v, the memory is %+v", s.Pools, s.PoolMemory)
		}
	})
}

func TestWhoeverMayNotReadTheMemoryOfPoolsDoesWithout(t *testing.T) {
	watch(t, []runtime.Object{memory("longshore-system"), configMap("longshore", "blue", pools)}, func(w *watched) {
		w.api.Kube.PrependReactor("list", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if action.GetNamespace() != "longshore-system" {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", fmt.Errorf("no"))
		})
		if err := w.WatchPoolMemory(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("the error is %v", err)
		}
		if s := w.snapshot(); s.PoolMemory != nil || len(s.Pools) != 1 {
			t.Errorf("the snapshot has the memory %+v and pools %+v", s.PoolMemory, s.Pools)
		}
	})
}
