package informers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// somebodys is a pod on a node that a controller of some kind has made, or nobody.
func somebodys(name, node, kind string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if kind != "" {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "x", UID: "x", Controller: &yes}}
	}
	return pod
}

// looking calls a test with a read side and what it may look at.
func looking(t *testing.T, test func(context.Context, *simulation.API, *informers.Cluster, func() []observed.Look)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := simulation.NewAPI()
		ctx, cancel := context.WithCancel(t.Context())
		cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() {})
		if err != nil {
			t.Fatal(err)
		}
		cluster.Start(ctx)
		defer func() {
			cancel()
			cluster.Stop()
		}()
		test(ctx, api, cluster, func() []observed.Look {
			synctest.Wait()
			looks := cluster.Snapshot(time.Now()).Looks
			for i := range looks {
				for j := range looks[i].Pods {
					looks[i].Pods[j].UID = ""
				}
			}
			return looks
		})
	})
}

func TestThePodsOfANodeAreSeenWhileTheyAreAskedFor(t *testing.T) {
	looking(t, func(ctx context.Context, api *simulation.API, cluster *informers.Cluster, looks func() []observed.Look) {
		static := somebodys("static", "a", "")
		static.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		ended := somebodys("ended", "a", "Job")
		ended.Status.Phase = corev1.PodSucceeded
		using := somebodys("using", "a", "StatefulSet")
		using.Spec.RuntimeClassName = new("kata")
		ours := somebodys("ours", "a", "DaemonSet")
		ours.Labels = map[string]string{observed.LabelManagedBy: observed.Manager}
		for _, pod := range []*corev1.Pod{static, ended, using, ours, somebodys("agent", "a", "DaemonSet"), somebodys("bare", "a", ""), somebodys("far", "b", "ReplicaSet")} {
			api.Create(pod)
		}
		if got := looks(); got != nil {
			t.Errorf("nobody asked, and there is %v", got)
		}
		if err := cluster.Look(ctx, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		// What a drain evicts is what kubectl would; data in an emptyDir keeps nothing.
		want := []observed.Look{{Node: "a", Pods: []observed.Workload{
			{Namespace: "default", Name: "agent"},
			{Namespace: "default", Name: "bare", Bare: true},
			{Namespace: "default", Name: "ended", Ended: true, Evictable: true},
			{Namespace: "default", Name: "static", Static: true},
			{Namespace: "default", Name: "using", Class: "kata", Evictable: true},
		}}}
		if diff := cmp.Diff(want, looks()); diff != "" {
			t.Errorf("looks (-want +got):\n%s", diff)
		}
		api.Delete(using)
		if got := looks()[0].Pods; len(got) != 4 {
			t.Errorf("after one is gone there are %v", got)
		}
		if err := cluster.Look(ctx, []string{"c"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]observed.Look{{Node: "c", Pods: []observed.Workload{}}}, looks()); diff != "" {
			t.Errorf("looks at another node (-want +got):\n%s", diff)
		}
		if err := cluster.Look(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if got := looks(); got != nil {
			t.Errorf("nobody asks any more, and there is %v", got)
		}
	})
}

func TestRightsAreAskedForAgainUntilTheyAreThere(t *testing.T) {
	looking(t, func(ctx context.Context, api *simulation.API, cluster *informers.Cluster, _ func() []observed.Look) {
		rights := func() *observed.Rights {
			synctest.Wait()
			return cluster.Snapshot(time.Now()).Rights
		}
		if got := rights(); got != nil {
			t.Errorf("nobody asked, and there is %v", got)
		}
		api.Forbid(func(r *authorizationv1.ResourceAttributes) bool { return r.Subresource == "eviction" })
		cluster.WatchRights(ctx, clock.RealClock{})
		if diff := cmp.Diff(&observed.Rights{Pods: true}, rights()); diff != "" {
			t.Errorf("rights (-want +got):\n%s", diff)
		}
		api.Forbid(nil)
		time.Sleep(20 * time.Second)
		if diff := cmp.Diff(&observed.Rights{Pods: true, Evictions: true}, rights()); diff != "" {
			t.Errorf("rights later (-want +got):\n%s", diff)
		}
	})
}
