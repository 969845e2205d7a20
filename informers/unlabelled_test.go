package informers_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// told is a ConfigMap with a status of ours, and a finalizer where it is to be held.
func told(name string, labels map[string]string, finalizers ...string) *corev1.ConfigMap {
	cm := configMap("longshore", name, labels)
	cm.Annotations = map[string]string{observed.SpecPhase: "Ready", observed.AnnotationPause: "INC-4711", "theirs": "x"}
	cm.Finalizers = finalizers
	return cm
}

func unlabelled(s *observed.Snapshot) []string {
	var names []string
	for i := range s.Unlabelled {
		names = append(names, s.Unlabelled[i].Name)
	}
	return names
}

func TestASnapshotHasConfigMapsWithoutALabelThatHaveSomethingOfOursAndNothingOfTheirData(t *testing.T) {
	held := configMap("longshore", "held", nil)
	held.Finalizers = []string{observed.Finalizer}
	theirs := configMap("longshore", "theirs", nil)
	theirs.Annotations, theirs.Finalizers = map[string]string{observed.AnnotationPause: "x", "a": "b"}, []string{"example.com/theirs"}
	objects := []runtime.Object{
		told("told", nil, "example.com/theirs", observed.Finalizer), held, theirs, told("kata-1", asks), told("blue", pools), told("both", both), configMap("longshore", "nothing", nil),
	}
	elsewhere := told("elsewhere", nil)
	elsewhere.Namespace = "elsewhere"
	watch(t, append(objects, elsewhere), func(w *watched) {
		s := w.snapshot()
		if diff := cmp.Diff([]string{"held", "told"}, unlabelled(s)); diff != "" {
			t.Fatalf("want (-) and got (+):\n%s", diff)
		}
		stored, _ := simulation.Get(w.api, told("told", nil))
		want := observed.Spec{
			Name: "told", UID: stored.UID, ResourceVersion: stored.ResourceVersion, Created: stored.CreationTimestamp.Time,
			Finalizers: []string{"example.com/theirs", observed.Finalizer}, Annotations: map[string]string{observed.SpecPhase: "Ready"},
		}
		if diff := cmp.Diff(want, s.Unlabelled[1]); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
	})
}

func TestConfigMapsOfOthersLeadToNoLook(t *testing.T) {
	watch(t, []runtime.Object{configMap("longshore", "theirs", nil), told("told", nil)}, func(w *watched) {
		simulation.Change(w.api, configMap("longshore", "theirs", nil), func(cm *corev1.ConfigMap) { cm.Data["more"] = "x" })
		w.api.Create(configMap("longshore", "more", nil))
		w.api.Delete(configMap("longshore", "theirs", nil))
		simulation.Change(w.api, told("told", nil), func(cm *corev1.ConfigMap) { cm.Data["more"] = "x" })
		if got := w.changed(); got != 0 {
			t.Errorf("%d looks", got)
		}
		simulation.Change(w.api, told("told", nil), func(cm *corev1.ConfigMap) { cm.Annotations = nil })
		if got := w.changed(); got != 1 || len(w.snapshot().Unlabelled) > 0 {
			t.Errorf("%d looks, unlabelled are %v", got, unlabelled(w.snapshot()))
		}
	})
}

func TestASpecThatLosesItsLabelIsSeenAsOneWithoutAndOneThatGetsItBackIsASpec(t *testing.T) {
	watch(t, []runtime.Object{told("kata-1", asks)}, func(w *watched) {
		label := func(labels map[string]string) {
			simulation.Change(w.api, told("kata-1", nil), func(cm *corev1.ConfigMap) { cm.Labels = labels })
			w.settle()
		}
		for range 2 {
			label(nil)
			if s := w.snapshot(); !slices.Equal(unlabelled(s), []string{"kata-1"}) || len(s.Specs) > 0 {
				t.Errorf("unlabelled are %v, specs %v", unlabelled(s), s.Specs)
			}
			label(asks)
			if s := w.snapshot(); len(s.Unlabelled) > 0 || len(s.Specs) != 1 {
				t.Errorf("unlabelled are %v, specs %v", unlabelled(s), s.Specs)
			}
		}
	})
}

func TestOurWriteToAConfigMapWithoutALabelMakesNoSpecOfIt(t *testing.T) {
	watch(t, []runtime.Object{told("told", nil, observed.Finalizer), told("kata-1", asks)}, func(w *watched) {
		stored, _ := simulation.Get(w.api, told("told", nil))
		free := stored.DeepCopy()
		free.Finalizers = nil
		w.Saw(later(free, 1000))
		for range 2 {
			s := w.snapshot()
			if len(s.Specs) != 1 || len(s.Pools) > 0 || !slices.Equal(unlabelled(s), []string{"told"}) || s.Unlabelled[0].Held() || len(s.Unlabelled[0].Data) > 0 {
				t.Errorf("specs are %v, pools %v, unlabelled %+v", s.Specs, s.Pools, s.Unlabelled)
			}
		}
		// A write to a spec that lost its label meanwhile: whether it is one still is for the watch of specs to say.
		lost, _ := simulation.Get(w.api, told("kata-1", nil))
		lost = lost.DeepCopy()
		lost.Labels = nil
		w.Saw(later(lost, 1001))
		if s := w.snapshot(); len(s.Specs) != 1 || !slices.Equal(unlabelled(s), []string{"told"}) {
			t.Errorf("specs are %v, unlabelled %v", s.Specs, unlabelled(s))
		}
		done := stored.DeepCopy()
		done.Finalizers, done.Annotations = nil, nil
		w.Saw(later(done, 1002))
		if s := w.snapshot(); len(s.Unlabelled) > 0 {
			t.Errorf("unlabelled are %v", unlabelled(s))
		}
	})
}
