package informers

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

// Transforms run before an object is stored: what is not read again does not stay in memory. That of nodes is in node.go.

func trimMeta(o *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion, Generation: o.Generation,
		CreationTimestamp: o.CreationTimestamp, DeletionTimestamp: o.DeletionTimestamp, Labels: o.Labels,
		Annotations: ours(o.Annotations), OwnerReferences: o.OwnerReferences,
	}
}

// ours keeps the annotations of Longshore. An empty map stands for "there are others".
func ours(annotations map[string]string) map[string]string {
	if annotations == nil {
		return nil
	}
	kept := map[string]string{}
	for key, value := range annotations {
		domain, _, _ := strings.Cut(key, "/")
		if domain == observed.Domain || strings.HasSuffix(domain, "."+observed.Domain) {
			kept[key] = value
		}
	}
	return kept
}

func trimPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return trimmedPod(pod), nil
}

func trimmedPod(pod *corev1.Pod) *corev1.Pod {
	trimmed := &corev1.Pod{
		ObjectMeta: trimMeta(&pod.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: pod.Spec.NodeName, Affinity: pod.Spec.Affinity},
		Status: corev1.PodStatus{
			Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message,
			InitContainerStatuses: pod.Status.InitContainerStatuses, ContainerStatuses: pod.Status.ContainerStatuses,
		},
	}
	for i := range pod.Spec.InitContainers {
		trimmed.Spec.InitContainers = append(trimmed.Spec.InitContainers, corev1.Container{Name: pod.Spec.InitContainers[i].Name, Image: pod.Spec.InitContainers[i].Image})
	}
	for i := range pod.Spec.Containers {
		trimmed.Spec.Containers = append(trimmed.Spec.Containers, corev1.Container{Name: pod.Spec.Containers[i].Name, Image: pod.Spec.Containers[i].Image})
	}
	for _, c := range pod.Status.Conditions {
		if (c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse) || (c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue) {
			trimmed.Status.Conditions = append(trimmed.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
		}
	}
	return trimmed
}

func trimDaemonSet(object any) (any, error) {
	set, ok := object.(*appsv1.DaemonSet)
	if !ok {
		return object, nil
	}
	return &appsv1.DaemonSet{ObjectMeta: trimMeta(&set.ObjectMeta)}, nil
}

// trimSpec keeps what Argo CD does with the object besides.
func trimSpec(object any) (any, error) {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object, nil
	}
	wave, waits := cm.Annotations[observed.AnnotationSyncWave]
	if _, err := trimOthers(cm); err != nil {
		return nil, err
	}
	if waits {
		cm.Annotations[observed.AnnotationSyncWave] = wave
	}
	return cm, nil
}

// trimOthers is for kinds that are few and of which nearly all is read.
func trimOthers(object any) (any, error) {
	if accessor, ok := object.(metav1.Object); ok {
		accessor.SetManagedFields(nil)
		accessor.SetAnnotations(ours(accessor.GetAnnotations()))
	}
	return object, nil
}
