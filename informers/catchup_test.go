package informers_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// The watches of this cluster never say anything.
func TestASnapshotAfterCatchingUpShowsWhatNoWatchHasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := simulation.NewAPI(simulation.ReadyNode("a", nil), pod("kata-install-a1-x", ours))
		api.Kube.PrependWatchReactor("*", func(clienttesting.Action) (bool, apiwatch.Interface, error) { return true, apiwatch.NewFake(), nil })
		cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() {})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cluster.Stop()
		defer cancel()
		cluster.Start(ctx)
		if err := cluster.Synced(ctx); err != nil {
			t.Fatal(err)
		}
		simulation.Change(api, simulation.ReadyNode("a", nil), func(n *corev1.Node) { n.Labels["kata.longshore.dev/gate"] = "a1-install" })
		simulation.Change(api, pod("kata-install-a1-x", ours), func(p *corev1.Pod) { p.Status.Reason = "Evicted" })
		for _, o := range []runtime.Object{
			simulation.ReadyNode("b", nil), configMap("longshore-system", "longshore-turns", nil), configMap("longshore", "kata-1", asks),
			pod("kata-install-a1-y", ours), pod("stranger", nil), revision("kata-a1"),
		} {
			api.Create(o)
		}
		if s := cluster.Snapshot(time.Now()); len(s.Nodes) != 1 || s.Turns.Exists {
			t.Fatalf("the watches are not silent: %v", names(s))
		}
		if err := cluster.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s := cluster.Snapshot(time.Now())
			want := map[string][]string{"nodes": {"a", "b"}, "specs": {"kata-1"}, "pods": {"kata-install-a1-x", "kata-install-a1-y"}, "revisions": {"kata-a1"}}
			if diff := cmp.Diff(want, names(s)); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
			if s.Nodes[0].Labels.Get(observed.GateKey("kata")) == "" || s.Pods[0].Reason != "Evicted" || len(s.Turns.Booked) != 1 {
				t.Errorf("the snapshot shows what was: %+v, %+v, %+v", s.Nodes[0].Labels, s.Pods[0], s.Turns)
			}
		}
	})
}

func TestCatchingUpSaysWhatItCannotRead(t *testing.T) {
	for resource, want := range map[string]string{"nodes": "list nodes", "configmaps": "list turns", "pods": "list installer pods", "controllerrevisions": "list snapshots"} {
		t.Run(resource, func(t *testing.T) {
			watch(t, nil, func(w *watched) {
				w.api.Kube.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, fmt.Errorf("no") })
				if err := w.CatchUp(t.Context()); err == nil || err.Error() != want+": no" {
					t.Errorf("error %v, expected %s", err, want)
				}
			})
		})
	}
}
