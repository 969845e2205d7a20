package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"longshore.dev/longshore/observed"
)

// CatchUp reads what decisions are made from out of the API server's own store, past every cache: the next snapshot shows nothing that was
// outdated before this call. Watches may lag, and whoever begins to act must not do so on a view from before the last writes of
// whoever acted until then.
func (c *Cluster) CatchUp(ctx context.Context) error {
	if _, err := c.ConsistentNodes(ctx); err != nil {
		return err
	}
	for _, ask := range []struct {
		what string
		list func() (runtime.Object, error)
	}{
		{"turns", func() (runtime.Object, error) {
			return c.kube.CoreV1().ConfigMaps(c.system).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", observed.TurnsName).String()})
		}},
		{"installer pods", func() (runtime.Object, error) {
			return c.kube.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: ourObjects})
		}},
		{"snapshots", func() (runtime.Object, error) {
			return c.kube.AppsV1().ControllerRevisions(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: ourSnapshots})
		}},
		{"specs", func() (runtime.Object, error) {
			return c.kube.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: observed.LabelRuntime})
		}},
		{"pools", func() (runtime.Object, error) {
			return c.kube.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: observed.LabelPool})
		}},
		{"what is remembered of pools", func() (runtime.Object, error) {
			if c.memory == nil {
				return &corev1.ConfigMapList{}, nil
			}
			return c.kube.CoreV1().ConfigMaps(c.system).List(ctx, poolMemoryOnly())
		}},
		{"the ConfigMap of payloads", func() (runtime.Object, error) {
			return c.kube.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", observed.PayloadConfigName).String()})
		}},
	} {
		list, err := ask.list()
		if err != nil {
			return fmt.Errorf("list %s: %w", ask.what, err)
		}
		if err := meta.EachListItem(list, func(object runtime.Object) error {
			if o, ok := object.(metav1.Object); ok {
				c.Saw(o)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("list %s: %w", ask.what, err)
		}
	}
	return nil
}
