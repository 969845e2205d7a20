package simulation

import (
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// Forbid sets which rights clients do not have, when they ask for them. Nil is none.
func (a *API) Forbid(forbid func(*authorizationv1.ResourceAttributes) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forbid = forbid
}

// Refuse sets which pods are not evicted, and the error that is answered. Nil is none.
func (a *API) Refuse(refuse func(*corev1.Pod) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = refuse
}

// review tells clients which rights they have.
func (a *API) review(action clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
	review.Status.Allowed = a.forbid == nil || !a.forbid(review.Spec.ResourceAttributes)
	return true, review, nil
}

// evict begins to take a pod away.
func (a *API) evict(eviction *policyv1.Eviction) error {
	gvr := corev1.SchemeGroupVersion.WithResource("pods")
	before, err := a.tracker.Get(gvr, eviction.Namespace, eviction.Name)
	if err != nil {
		return err
	}
	if p := eviction.DeleteOptions.Preconditions; p != nil && p.UID != nil {
		if err := precondition(gvr, before, *p.UID, ""); err != nil {
			return err
		}
	}
	pod := before.DeepCopyObject().(*corev1.Pod)
	if a.refuse != nil {
		if err := a.refuse(pod); err != nil {
			return err
		}
	}
	pod.DeletionTimestamp = &metav1.Time{Time: time.Now().UTC().Truncate(time.Second)}
	_, err = a.store(gvr, pod.Namespace, before, pod, "")
	return err
}
