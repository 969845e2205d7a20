package apply_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

func memoryObject() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: observed.PoolsName}}
}

func TestTheMemoryOfPoolsIsOneCompareAndSwap(t *testing.T) {
	api, w, e := newWriter()
	if err := w.Pools(t.Context(), observed.PoolMemory{}, map[string]string{"blue": "{}"}); err != nil {
		t.Fatal(err)
	}
	made, ok := simulation.Get(api, memoryObject())
	if diff := cmp.Diff(map[string]string{"blue": "{}"}, made.Data); !ok || diff != "" {
		t.Errorf("data, want (-) and got (+):\n%s", diff)
	}
	if got := e.last(t); got.GetResourceVersion() != made.ResourceVersion || got.GetName() != observed.PoolsName || made.Labels[observed.LabelManagedBy] != observed.Manager {
		t.Errorf("echoed %v", got)
	}
	if err := w.Pools(t.Context(), observed.PoolMemory{}, nil); !apierrors.IsAlreadyExists(err) || !apply.Outrun(err) {
		t.Errorf("the second creation ends with %v", err)
	}
	seen := observed.PoolMemory{Exists: true, UID: made.UID, ResourceVersion: made.ResourceVersion}
	if err := w.Pools(t.Context(), seen, map[string]string{"green": "{}"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Pools(t.Context(), seen, nil); !apierrors.IsConflict(err) || !apply.Outrun(err) {
		t.Errorf("a write from an old view ends with %v", err)
	}
	after, _ := simulation.Get(api, memoryObject())
	if diff := cmp.Diff(map[string]string{"green": "{}"}, after.Data); diff != "" {
		t.Errorf("data, want (-) and got (+):\n%s", diff)
	}
	api.Delete(after)
	if err := w.Pools(t.Context(), seen, nil); !apierrors.IsNotFound(err) || !apply.Outrun(err) {
		t.Errorf("an update of what is gone ends with %v", err)
	}
}

func TestAStatusOfNothingTakesOffWhatIsOursAndNothingElse(t *testing.T) {
	cm := spec()
	cm.Annotations[observed.AnnotationPause] = "INC-4711"
	cm.Finalizers = []string{"example.com/theirs", observed.Finalizer}
	api, w, e := newWriter(cm)
	made, _ := simulation.Get(api, cm)
	s := &observed.Spec{Name: "kata", UID: made.UID, Finalizers: made.Finalizers}
	status := map[string]string{}
	for _, key := range slices.Concat(observed.SpecAnnotations, observed.PoolAnnotations) {
		status[key] = "x"
	}
	if err := w.Status(t.Context(), s, status); err != nil {
		t.Fatal(err)
	}
	simulation.Change(api, cm, func(cm *corev1.ConfigMap) { cm.Labels = nil; cm.Annotations["also-theirs"] = "y" })
	if err := w.Finalizers(t.Context(), s, []string{"example.com/theirs"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Status(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	after, _ := simulation.Get(api, cm)
	want := map[string]string{"theirs": "x", "also-theirs": "y", observed.AnnotationPause: "INC-4711"}
	if diff := cmp.Diff(want, after.Annotations); diff != "" {
		t.Errorf("annotations, want (-) and got (+):\n%s", diff)
	}
	if after.Data["nodeSelector"] != "*" || !slices.Equal(after.Finalizers, []string{"example.com/theirs"}) || e.last(t).GetResourceVersion() != after.ResourceVersion {
		t.Errorf("the ConfigMap became %+v", after)
	}
	for _, entry := range after.ManagedFields {
		if entry.Manager == observed.Manager && entry.Operation == metav1.ManagedFieldsOperationApply {
			t.Errorf("we still own %s", entry.FieldsV1)
		}
	}
}
