package apply

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// version is a ConfigMap as it was observed.
type version struct {
	exists          bool
	uid             types.UID
	resourceVersion string
}

// Pools writes what is remembered of pools, as [Writer.Turns] writes bookings.
func (w *Writer) Pools(ctx context.Context, before observed.PoolMemory, data map[string]string) error {
	return w.swap(ctx, observed.PoolsName, version{before.Exists, before.UID, before.ResourceVersion}, data)
}

// swap is one compare-and-swap on a ConfigMap beside the controller, or its creation where it was not there.
func (w *Writer) swap(ctx context.Context, name string, before version, data map[string]string) error {
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: w.system, ResourceVersion: before.resourceVersion, UID: before.uid,
			Labels: map[string]string{observed.LabelManagedBy: observed.Manager},
		},
		Data: data,
	}
	maps := w.kube.CoreV1().ConfigMaps(w.system)
	if !before.exists {
		after, err := maps.Create(ctx, object, metav1.CreateOptions{FieldManager: observed.Manager})
		if err != nil {
			return fmt.Errorf("create ConfigMap %s/%s: %w", w.system, name, err)
		}
		w.echo.Saw(after)
		return nil
	}
	after, err := maps.Update(ctx, object, metav1.UpdateOptions{FieldManager: observed.Manager})
	if err != nil {
		return fmt.Errorf("update ConfigMap %s/%s: %w", w.system, name, err)
	}
	w.echo.Saw(after)
	return nil
}
