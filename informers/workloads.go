package informers

import (
	"cmp"
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedapps "k8s.io/client-go/kubernetes/typed/apps/v1"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubectl/pkg/drain"

	"longshore.dev/longshore/observed"
)

// workloads tells of the pods on a node which ones a drain evicts. The choice is that of `kubectl drain --ignore-daemonsets --delete-emptydir-data`: it is made by
// the same code, from pods that the watch has already.
func workloads(pods []*corev1.Pod) []observed.Workload {
	helper := &drain.Helper{Ctx: context.Background(), Client: seen{pods: pods}, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true} //nolint:forbidigo // nothing is called that could be cancelled
	chosen := map[types.UID]bool{}
	// Its errors tell in words of flags which pods nobody would make anew; who they are is seen below.
	if list, _ := helper.GetPodsForDeletion(""); list != nil {
		for _, pod := range list.Pods() {
			chosen[pod.UID] = true
		}
	}
	out := make([]observed.Workload, 0, len(pods))
	for _, pod := range pods {
		_, static := pod.Annotations[corev1.MirrorPodAnnotationKey]
		w := observed.Workload{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Deleting: pod.DeletionTimestamp != nil,
			Ended:     pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
			Evictable: chosen[pod.UID], Static: static, Bare: !static && metav1.GetControllerOf(pod) == nil,
		}
		if pod.Spec.RuntimeClassName != nil {
			w.Class = *pod.Spec.RuntimeClassName
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b observed.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// seen is as much of a client as it takes to choose pods from those that are known. Anything else of it panics.
type seen struct {
	kubernetes.Interface
	pods []*corev1.Pod
}

func (s seen) CoreV1() typedcore.CoreV1Interface { return seenCore{seen: s} }
func (s seen) AppsV1() typedapps.AppsV1Interface { return seenApps{} }

type seenCore struct {
	typedcore.CoreV1Interface
	seen seen
}

func (c seenCore) Pods(string) typedcore.PodInterface { return seenPods{seen: c.seen} }

type seenPods struct {
	typedcore.PodInterface
	seen seen
}

// List gives the pods that are known.
func (p seenPods) List(context.Context, metav1.ListOptions) (*corev1.PodList, error) {
	list := &corev1.PodList{}
	for _, pod := range p.seen.pods {
		list.Items = append(list.Items, *pod)
	}
	return list, nil
}

type seenApps struct{ typedapps.AppsV1Interface }

func (seenApps) DaemonSets(string) typedapps.DaemonSetInterface { return seenDaemonSets{} }

type seenDaemonSets struct{ typedapps.DaemonSetInterface }

// Get takes every DaemonSet to be there that a pod says it is of. A drain would evict, if forced to, what a DaemonSet has left behind; this one leaves it.
func (seenDaemonSets) Get(_ context.Context, name string, _ metav1.GetOptions) (*appsv1.DaemonSet, error) {
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}
