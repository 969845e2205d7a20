package informers

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"longshore.dev/longshore/observed"
)

// unlabelledOnly selects the ConfigMaps that are neither spec nor pool.
const unlabelledOnly = "!" + observed.LabelRuntime + ",!" + observed.LabelPool

// statusAnnotations are all that Longshore writes on specs and pools.
var statusAnnotations = slices.Concat(observed.SpecAnnotations, observed.PoolAnnotations)

// unlabelledHandler says "look again" only about ConfigMaps that have something of ours: those of others come and go.
func (c *Cluster) unlabelledHandler() cache.ResourceEventHandler {
	return cache.FilteringResourceEventHandler{
		FilterFunc: func(object any) bool {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			cm, ok := object.(*corev1.ConfigMap)
			return ok && marked(cm)
		},
		Handler: c.handler(),
	}
}

// unlabelledSpecs are the ConfigMaps that were specs or pools and still have something of ours. One that the other watches show (still, or again) is left to those.
func (c *Cluster) unlabelledSpecs(s *observed.Snapshot) []observed.Spec {
	labelled := map[string]bool{}
	for _, list := range [][]observed.Spec{s.Specs, s.Pools} {
		for i := range list {
			labelled[list[i].Name] = true
		}
	}
	var out []observed.Spec
	for _, cm := range merged(c.unlabelled, &c.freshOthers) {
		if marked(cm) && !labelled[cm.Name] {
			out = append(out, specOf(cm))
		}
	}
	slices.SortFunc(out, func(a, b observed.Spec) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// marked tells whether a ConfigMap has our finalizer, or a status annotation of ours.
func marked(cm *corev1.ConfigMap) bool {
	has := func(key string) bool { _, there := cm.Annotations[key]; return there }
	return slices.Contains(cm.Finalizers, observed.Finalizer) || slices.ContainsFunc(statusAnnotations, has)
}

// trimUnlabelled keeps what is ours: most of these ConfigMaps are somebody else's, and may be large.
func trimUnlabelled(object any) (any, error) {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object, nil
	}
	return trimmedUnlabelled(cm), nil
}

func trimmedUnlabelled(cm *corev1.ConfigMap) *corev1.ConfigMap {
	trimmed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: cm.Name, Namespace: cm.Namespace, UID: cm.UID, ResourceVersion: cm.ResourceVersion, CreationTimestamp: cm.CreationTimestamp,
		DeletionTimestamp: cm.DeletionTimestamp, Finalizers: cm.Finalizers,
	}}
	for _, key := range statusAnnotations {
		if value, ok := cm.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&trimmed.ObjectMeta, key, value)
		}
	}
	return trimmed
}
