package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

// Evict has one pod leave, as `kubectl drain` does, with its own grace period and under every PodDisruptionBudget. Unlike there the uid is a
// precondition: a pod of a StatefulSet may be on another node by now, under the same name. A pod that is gone is no error. Why the API server refuses to evict it
// comes back in words: a budget that allows none now (429), or a right that is missing.
func (w *Writer) Evict(ctx context.Context, pod *observed.Workload) (refused string, err error) {
	uid := pod.UID
	err = w.kube.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return "", nil
	case apierrors.IsTooManyRequests(err), apierrors.IsForbidden(err), apierrors.IsInternalError(err):
		// Several budgets for one pod are an internal error to the API server.
		return words(err), nil
	}
	if refused := Refused(err); refused != "" {
		return refused, nil
	}
	return "", fmt.Errorf("evict pod %s: %w", pod, err)
}

// words are an error of the API server with the causes that it names, such as the numbers of a PodDisruptionBudget.
func words(err error) string {
	text := []string{strings.TrimSuffix(err.Error(), ".")}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			if cause.Message != "" {
				text = append(text, strings.TrimSuffix(cause.Message, "."))
			}
		}
	}
	return strings.Join(text, "; ")
}
