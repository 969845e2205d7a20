package apply

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// Finalizers writes the finalizers of a spec by compare-and-swap: a list has no keys, so that only the whole of it can be tested.
func (w *Writer) Finalizers(ctx context.Context, s *observed.Spec, want []string) error {
	patch, err := FinalizerPatch(s, want)
	if err != nil {
		return err
	}
	after, err := w.kube.CoreV1().ConfigMaps(w.namespace).Patch(ctx, s.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
	if err != nil {
		return fmt.Errorf("patch the finalizers of ConfigMap %s/%s: %w", w.namespace, s.Name, err)
	}
	if after.DeletionTimestamp == nil || len(after.Finalizers) > 0 {
		w.echo.Saw(after)
	}
	return nil
}

// FinalizerPatch is the JSON Patch that gives a spec these finalizers in place of those that it was seen with.
func FinalizerPatch(s *observed.Spec, want []string) ([]byte, error) {
	const path = "/metadata/finalizers"
	ops := []operation{{Op: "test", Path: "/metadata/uid", Value: string(s.UID)}}
	if len(s.Finalizers) > 0 {
		ops = append(ops, operation{Op: "test", Path: path, Value: s.Finalizers})
	} else {
		ops = append(ops, operation{Op: "test", Path: path, Value: nil})
	}
	if len(want) > 0 {
		ops = append(ops, operation{Op: "add", Path: path, Value: want})
	} else {
		ops = append(ops, operation{Op: "remove", Path: path})
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("patch for ConfigMap %q: %w", s.Name, err)
	}
	return patch, nil
}
