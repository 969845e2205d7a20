package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"longshore.dev/longshore/observed"
)

// WatchPoolMemory has what is remembered of pools in the snapshots, before [Cluster.Start]. Whoever may not read it does with what stands on the pools themselves: then it
// is an error for which apierrors.IsForbidden is true, and nothing else waits for it. Whatever else keeps the API server from answering, the watch outlasts.
func (c *Cluster) WatchPoolMemory(ctx context.Context) error {
	if _, err := c.kube.CoreV1().ConfigMaps(c.system).List(ctx, poolMemoryOnly()); apierrors.IsForbidden(err) {
		return fmt.Errorf("read ConfigMap %s/%s: %w", c.system, observed.PoolsName, err)
	}
	factory := c.factory(c.system, trimOthers, func(o *metav1.ListOptions) { o.FieldSelector = poolMemoryOnly().FieldSelector })
	c.memory = factory.Core().V1().ConfigMaps().Informer()
	if _, err := c.memory.AddEventHandler(c.handler()); err != nil {
		return fmt.Errorf("set up informer: %w", err)
	}
	return nil
}

func poolMemoryOnly() metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", observed.PoolsName).String()}
}

// poolMemory is what is remembered of pools, nil where nobody looks.
func (c *Cluster) poolMemory() *observed.PoolMemory {
	if c.memory == nil {
		return nil
	}
	for _, cm := range merged(c.memory, &c.freshMemory) {
		if cm.Name == observed.PoolsName {
			return poolMemoryOf(cm)
		}
	}
	return &observed.PoolMemory{}
}

func poolMemoryOf(cm *corev1.ConfigMap) *observed.PoolMemory {
	return &observed.PoolMemory{Exists: true, UID: cm.UID, ResourceVersion: cm.ResourceVersion, Data: cm.Data}
}
