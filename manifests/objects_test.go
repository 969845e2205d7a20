package manifests

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

func TestASnapshotRestoresTheInstallerAsItWas(t *testing.T) {
	for _, name := range []string{"minimal", "plain", "hooks", "patches", "unprivileged"} {
		rt := readSpec(t, "testdata/"+name+"/spec.yaml")
		objects := mustRender(t, newTestRenderer(), rt)
		content := snapshot(t, objects, rt)
		for step, want := range objects.DaemonSets {
			got, err := Installer(content, step, Current{})
			if err != nil {
				t.Fatal(err)
			}
			// What pods take from today has a digest of its own.
			delete(got.Annotations, observed.AnnotationTemplate)
			delete(got.Spec.Template.Annotations, observed.AnnotationTemplate)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: rendered (-) and restored (+):\n%s", name, diff)
			}
		}
		if diff := cmp.Diff(objects.RuntimeClasses, content.RuntimeClasses); diff != "" {
			t.Errorf("%s: classes rendered (-) and restored (+):\n%s", name, diff)
		}
		if diff := cmp.Diff(rt.Handlers(), content.Handlers()); diff != "" {
			t.Errorf("%s: handlers of the spec (-) and of the snapshot (+):\n%s", name, diff)
		}
	}
}

func TestWhatPodsTakeFromTodayHasADigestOnTheDaemonSetAndItsPods(t *testing.T) {
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	content := snapshot(t, mustRender(t, newTestRenderer(), rt), rt)
	seen := map[string]bool{}
	for _, current := range []Current{
		{}, {PullPolicy: corev1.PullAlways}, {PullSecrets: []corev1.LocalObjectReference{{Name: "a"}}}, {PauseImage: "registry.example.com/longshore:next"},
	} {
		set, err := Installer(content, StepInstall, current)
		if err != nil {
			t.Fatal(err)
		}
		digest := set.Annotations[observed.AnnotationTemplate]
		if digest == "" || digest != set.Spec.Template.Annotations[observed.AnnotationTemplate] || seen[digest] {
			t.Errorf("with %+v the digest is %q on the DaemonSet and %q on its pods, expected a new one on both", current, digest,
				set.Spec.Template.Annotations[observed.AnnotationTemplate])
		}
		seen[digest] = true
		owned, err := Installer(content, StepInstall, Current{PullPolicy: current.PullPolicy, PullSecrets: current.PullSecrets, PauseImage: current.PauseImage, Owners: []metav1.OwnerReference{{Name: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		if owned.Annotations[observed.AnnotationTemplate] != digest {
			t.Error("another owner makes pods outdated")
		}
	}
}

func TestTheSameContentGivesTheSameBytes(t *testing.T) {
	rt := readSpec(t, "testdata/hooks/spec.yaml")
	first, err := ControllerRevision(mustRender(t, newTestRenderer(), rt), rt, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ControllerRevision(mustRender(t, newTestRenderer(), rt), rt, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Data.Raw, second.Data.Raw) {
		t.Error("two renders of one spec have different snapshots")
	}
}

func TestAnInstallerTakesPullSettingsAndOwnersFromNow(t *testing.T) {
	rt := readSpec(t, "testdata/hooks/spec.yaml")
	objects := mustRender(t, newTestRenderer(), rt)
	content := snapshot(t, objects, rt)
	current := Current{
		PullPolicy:  corev1.PullAlways,
		PullSecrets: []corev1.LocalObjectReference{{Name: "a"}, {Name: "b"}},
		PauseImage:  "registry.example.com/longshore:v2",
		Owners:      []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "spec", UID: "u1"}},
	}
	set, err := Installer(content, StepUninstall, current)
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	for _, c := range pod.InitContainers {
		if c.ImagePullPolicy != corev1.PullAlways {
			t.Errorf("%s has the pull policy %q", c.Name, c.ImagePullPolicy)
		}
	}
	if pod.Containers[0].Image != current.PauseImage || pod.Containers[0].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("the main container has image %s, pull policy %s", pod.Containers[0].Image, pod.Containers[0].ImagePullPolicy)
	}
	if diff := cmp.Diff(current.PullSecrets, pod.ImagePullSecrets); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(current.Owners, set.OwnerReferences); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(objects.DaemonSets[StepUninstall], content.DaemonSets[StepUninstall]); diff != "" {
		t.Errorf("the snapshot itself was changed:\n%s", diff)
	}
}

func TestThePullPolicyIsForACommandThatIsTheMainContainerToo(t *testing.T) {
	for _, completion := range []spec.Completion{spec.CompletionReady, spec.CompletionNodeLabel} {
		rt := readSpec(t, "testdata/minimal/spec.yaml")
		rt.Completion = completion
		if completion == spec.CompletionNodeLabel {
			rt.InstallDoneLabel = &spec.DoneLabel{Key: "done"}
		}
		set, err := Installer(snapshot(t, mustRender(t, newTestRenderer(), rt), rt), StepInstall, Current{PullPolicy: corev1.PullAlways})
		if err != nil {
			t.Fatal(err)
		}
		if c := set.Spec.Template.Spec.Containers[0]; c.Name != ContainerInstall || c.ImagePullPolicy != corev1.PullAlways {
			t.Errorf("completion %s: container %s has the pull policy %q", completion, c.Name, c.ImagePullPolicy)
		}
	}
}

// A label of a step that has no installer would make the snapshot one that cannot be read.
func TestOnlyStepsWithAnInstallerHaveDoneLabels(t *testing.T) {
	rt := readSpec(t, "testdata/hooks/spec.yaml")
	rt.Completion, rt.DeletionPolicy, rt.UninstallCmd = spec.CompletionNodeLabel, spec.DeletionOrphan, nil
	rt.InstallDoneLabel, rt.CleanupDoneLabel, rt.PostUninstall.DoneLabel = &spec.DoneLabel{Key: "a"}, &spec.DoneLabel{Key: "b"}, &spec.DoneLabel{Key: "c"}
	content := snapshot(t, mustRender(t, newTestRenderer(), rt), rt)
	if diff := cmp.Diff(map[string]string{StepInstall: "a-"}, content.DoneLabels); diff != "" {
		t.Errorf("done labels, want (-) and got (+):\n%s", diff)
	}
}

func TestAPullPolicyAndSecretsOfAPatchStay(t *testing.T) {
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	rt.Patches = []spec.Patch{
		onInstall(`[{op: add, path: /spec/template/spec/initContainers/0/imagePullPolicy, value: Never}]`),
		onInstall(`[{op: add, path: /spec/template/spec/imagePullSecrets, value: [{name: a}]}]`),
	}
	content := snapshot(t, mustRender(t, newTestRenderer(), rt), rt)
	set, err := Installer(content, StepInstall, Current{PullPolicy: corev1.PullAlways, PullSecrets: []corev1.LocalObjectReference{{Name: "a"}, {Name: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Spec.Template.Spec.InitContainers[0].ImagePullPolicy; got != corev1.PullNever {
		t.Errorf("the pull policy is %s", got)
	}
	if diff := cmp.Diff([]corev1.LocalObjectReference{{Name: "a"}, {Name: "b"}}, set.Spec.Template.Spec.ImagePullSecrets); diff != "" {
		t.Error(diff)
	}
}

func TestAStepThatTheRevisionDoesNotHaveIsAnError(t *testing.T) {
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	_, err := Installer(snapshot(t, mustRender(t, newTestRenderer(), rt), rt), "cleanup", Current{})
	checkErrors(t, err, `the revision has no DaemonSet for the step "cleanup", it has: [install uninstall]`)
}

func TestWithoutAnUninstallCommandThereIsNoUninstaller(t *testing.T) {
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	rt.UninstallCmd, rt.DeletionPolicy = nil, spec.DeletionOrphan
	objects := mustRender(t, newTestRenderer(), rt)
	if diff := cmp.Diff([]string{StepInstall}, slices.Sorted(maps.Keys(objects.DaemonSets))); diff != "" {
		t.Error(diff)
	}
}

// The DaemonSet controller adopts and prunes every ControllerRevision that matches the selector of a DaemonSet.
func TestNoInstallersSelectorMatchesASnapshot(t *testing.T) {
	rt := readSpec(t, "testdata/plain/spec.yaml")
	objects := mustRender(t, newTestRenderer(), rt)
	revision, err := ControllerRevision(objects, rt, 7, map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	for step, set := range objects.DaemonSets {
		selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		if selector.Matches(labels.Set(revision.Labels)) {
			t.Errorf("%s: %s matches the snapshot's labels %v", step, selector, revision.Labels)
		}
		if !selector.Matches(labels.Set(set.Spec.Template.Labels)) {
			t.Errorf("%s: %s does not match its own pods' labels %v", step, selector, set.Spec.Template.Labels)
		}
		for other, another := range objects.DaemonSets {
			if other != step && selector.Matches(labels.Set(another.Spec.Template.Labels)) {
				t.Errorf("%s: %s matches the pods of %s", step, selector, other)
			}
		}
	}
	if revision.Name != observed.RevisionName("kata", objects.Revision) || revision.Namespace != DefaultNamespace || revision.Revision != 7 {
		t.Errorf("the snapshot is %s/%s, number %d", revision.Namespace, revision.Name, revision.Revision)
	}
}

// A name of 40 characters leaves all names and label values within 63.
func TestTheLongestNameFits(t *testing.T) {
	rt := readSpec(t, "testdata/plain/spec.yaml")
	rt.Name = strings.Repeat("k", 40)
	objects := mustRender(t, newTestRenderer(), rt)
	for _, set := range objects.DaemonSets {
		for key, value := range set.Spec.Template.Labels {
			if len(value) > 63 {
				t.Errorf("the label %s has %d characters", key, len(value))
			}
		}
		if len(set.Name) > 63 {
			t.Errorf("%s has %d characters", set.Name, len(set.Name))
		}
	}
}

func TestContentThatIsNotOursIsAnError(t *testing.T) {
	tests := map[string]string{
		`{"spec":{"template":{}}}`:                   "has format 0, expected 1 to 2: it was not written by Longshore",
		`{"format":3}`:                               "has format 3, expected 1 to 2: it was written by a newer version",
		`{"format":1,"daemonSets":{"install":null}}`: `has no DaemonSet under the step "install"`,
		`nonsense`: "is not readable",
	}
	for data, want := range tests {
		_, err := observed.DecodeContent([]byte(data))
		checkErrors(t, err, want)
	}
}

// snapshot is what a ControllerRevision of the objects would give back.
func snapshot(t *testing.T, objects *Objects, rt *spec.Runtime) *observed.RevisionContent {
	t.Helper()
	revision, err := ControllerRevision(objects, rt, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := observed.DecodeContent(revision.Data.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
