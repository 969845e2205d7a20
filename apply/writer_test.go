package apply_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// echo records what writes returned.
type echo struct{ saw []metav1.Object }

func (e *echo) Saw(o metav1.Object) { e.saw = append(e.saw, o) }

// last is what the last write returned.
func (e *echo) last(t *testing.T) metav1.Object {
	t.Helper()
	if len(e.saw) == 0 {
		t.Fatal("no write was echoed")
	}
	return e.saw[len(e.saw)-1]
}

func newWriter(objects ...runtime.Object) (*simulation.API, *apply.Writer, *echo) {
	api, e := simulation.NewAPI(objects...), &echo{}
	return api, apply.New(api.Kube, e, "longshore", "longshore-system"), e
}

// writes are the stored writes in short.
func writes(api *simulation.API) []string {
	var out []string
	for _, w := range api.Writes() {
		out = append(out, w.String())
	}
	return out
}

func turnsOf(t *testing.T, api *simulation.API) *corev1.ConfigMap {
	t.Helper()
	cm, ok := simulation.Get(api, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: "longshore-turns"}})
	if !ok {
		t.Fatal("there is no ConfigMap of turns")
	}
	return cm
}

var (
	first  = observed.Turn{Node: "u1", Runtime: "kata", Revision: "a1", Operation: observed.Install}
	second = observed.Turn{Node: "u2", Runtime: "kata", Revision: "a1", Operation: observed.Install}
)

func TestTurnsAreOneCompareAndSwap(t *testing.T) {
	api, w, e := newWriter()
	if err := w.Turns(t.Context(), observed.Turns{}, []observed.Turn{first}); err != nil {
		t.Fatal(err)
	}
	made := turnsOf(t, api)
	if diff := cmp.Diff(map[string]string{"u1": "kata a1 install"}, made.Data); diff != "" {
		t.Errorf("data, want (-) and got (+):\n%s", diff)
	}
	if made.Labels[observed.LabelManagedBy] != observed.Manager {
		t.Errorf("labels are %v", made.Labels)
	}
	if got := e.last(t); got.GetResourceVersion() != made.ResourceVersion || got.GetName() != observed.TurnsName {
		t.Errorf("echoed %v", got)
	}

	seen := observed.Turns{Exists: true, UID: made.UID, ResourceVersion: made.ResourceVersion}
	if err := w.Turns(t.Context(), seen, []observed.Turn{first, second}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"u1": "kata a1 install", "u2": "kata a1 install"}, turnsOf(t, api).Data); diff != "" {
		t.Errorf("data, want (-) and got (+):\n%s", diff)
	}

	err := w.Turns(t.Context(), seen, nil)
	if !apierrors.IsConflict(err) || !apply.Outrun(err) {
		t.Errorf("a write from an old view ends with %v", err)
	}
	if len(turnsOf(t, api).Data) != 2 {
		t.Error("a write from an old view was stored")
	}
}

func TestTurnsThatSomebodyElseMadeAreNotOverwritten(t *testing.T) {
	api, w, e := newWriter()
	if err := w.Turns(t.Context(), observed.Turns{}, []observed.Turn{first}); err != nil {
		t.Fatal(err)
	}
	err := w.Turns(t.Context(), observed.Turns{}, nil)
	if !apierrors.IsAlreadyExists(err) || !apply.Outrun(err) {
		t.Errorf("the second creation ends with %v", err)
	}
	if len(turnsOf(t, api).Data) != 1 || len(e.saw) != 1 {
		t.Error("the second creation changed something")
	}
}

func TestTurnsThatWereDeletedAreNotUpdated(t *testing.T) {
	api, w, _ := newWriter()
	if err := w.Turns(t.Context(), observed.Turns{}, []observed.Turn{first}); err != nil {
		t.Fatal(err)
	}
	old := turnsOf(t, api)
	seen := observed.Turns{Exists: true, UID: old.UID, ResourceVersion: old.ResourceVersion}
	api.Delete(old)
	if err := w.Turns(t.Context(), seen, []observed.Turn{second}); !apierrors.IsNotFound(err) || !apply.Outrun(err) {
		t.Errorf("an update of what is gone ends with %v", err)
	}
	if err := w.Turns(t.Context(), observed.Turns{}, []observed.Turn{first}); err != nil {
		t.Fatal(err)
	}
	if err := w.Turns(t.Context(), seen, []observed.Turn{second}); !apierrors.IsConflict(err) {
		t.Errorf("an update of another ConfigMap of that name ends with %v", err)
	}
}

func TestANodeIsWrittenOnceAndOutrunTheSecondTime(t *testing.T) {
	api, w, e := newWriter(simulation.ReadyNode("a", nil))
	n := api.Node("a")
	look := &observed.Node{Name: "a", UID: n.UID, Labels: observed.LabelsOf(n.Labels)}
	move := observed.Transition{
		Node: "a", UID: n.UID, Runtime: "kata", Gate: "a1-install",
		After: &observed.Progress{Phase: observed.PhaseInstalling, Operation: observed.Install, Revision: "a1", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	}
	if err := w.Node(t.Context(), look, move); err != nil {
		t.Fatal(err)
	}
	n = api.Node("a")
	if n.Labels["kata.longshore.dev/gate"] != "a1-install" || n.Annotations["kata.longshore.dev/progress"] != move.After.String() {
		t.Errorf("labels %v, annotations %v", n.Labels, n.Annotations)
	}
	if e.last(t).GetResourceVersion() != n.ResourceVersion {
		t.Error("the echo is not what was stored")
	}
	err := w.Node(t.Context(), look, move)
	if err == nil || !apply.Outrun(err) || !strings.Contains(err.Error(), `patch node "a" for runtime "kata"`) {
		t.Errorf("the second write from the same view ends with %v", err)
	}
	if len(e.saw) != 1 {
		t.Error("a write that failed was echoed")
	}
	api.Delete(n)
	if err := w.Node(t.Context(), look, move); !apply.Outrun(err) {
		t.Errorf("a write on a node that is gone ends with %v", err)
	}
}

func TestOutrunIsNotEveryError(t *testing.T) {
	group := schema.GroupResource{Resource: "nodes"}
	cases := map[string]struct {
		err  error
		want bool
	}{
		"none":           {nil, false},
		"conflict":       {apierrors.NewConflict(group, "a", errors.New("x")), true},
		"not there":      {apierrors.NewNotFound(group, "a"), true},
		"there already":  {apierrors.NewAlreadyExists(group, "a"), true},
		"a test failed":  {apierrors.NewGenericServerResponse(422, "patch", group, "a", "testing value failed", 0, false), true},
		"not allowed":    {apierrors.NewForbidden(group, "a", errors.New("x")), false},
		"overloaded":     {apierrors.NewTooManyRequests("x", 1), false},
		"timed out":      {apierrors.NewServerTimeout(group, "patch", 1), false},
		"network is off": {errors.New("connection refused"), false},
	}
	for name, c := range cases {
		if got := apply.Outrun(c.err); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func daemonSet() *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-install-a1", Namespace: "longshore",
			Labels:          map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "kata", UID: "s1"}},
		},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{observed.LabelInstaller: "kata-install-a1"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{observed.LabelInstaller: "kata-install-a1"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: "pause:1"}}},
			},
		},
	}
}

func TestADaemonSetIsAppliedAndNotOwnedBeyondWhatItSays(t *testing.T) {
	api, w, e := newWriter()
	set := daemonSet()
	if err := w.DaemonSet(t.Context(), set, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	made, ok := simulation.Get(api, set)
	if !ok || made.Generation != 1 || e.last(t).GetUID() != made.UID {
		t.Fatalf("made %+v, %v", made, ok)
	}
	simulation.Change(api, made, func(s *appsv1.DaemonSet) {
		s.Annotations = map[string]string{"deprecated.daemonset.template.generation": "1"}
		s.Status.DesiredNumberScheduled = 3
	})
	set.OwnerReferences = nil
	set.Spec.Template.Spec.Containers[0].Image = "pause:2"
	if err := w.DaemonSet(t.Context(), set, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	after, _ := simulation.Get(api, set)
	if after.Spec.Template.Spec.Containers[0].Image != "pause:2" || len(after.OwnerReferences) != 0 || after.Generation != 2 {
		t.Errorf("applied image %q, owners %v, generation %d", after.Spec.Template.Spec.Containers[0].Image, after.OwnerReferences, after.Generation)
	}
	if after.Annotations["deprecated.daemonset.template.generation"] != "1" || after.Status.DesiredNumberScheduled != 3 {
		t.Error("what others wrote is gone")
	}
	for _, f := range after.ManagedFields {
		if f.Manager == observed.Manager && f.Operation != metav1.ManagedFieldsOperationApply {
			t.Errorf("the fields are managed by %s %s", f.Manager, f.Operation)
		}
	}
	if set.Kind != "" {
		t.Error("the object handed over was changed")
	}
}

func TestADryRunStoresAndEchoesNothing(t *testing.T) {
	api, w, e := newWriter()
	if err := w.DaemonSet(t.Context(), daemonSet(), apply.DryRun()); err != nil {
		t.Fatal(err)
	}
	if err := w.RuntimeClass(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}, Handler: "kata"}, apply.DryRun()); err != nil {
		t.Fatal(err)
	}
	if got := writes(api); got != nil || len(e.saw) > 0 {
		t.Errorf("wrote %v, echoed %v", got, e.saw)
	}
}

func TestARuntimeClassIsApplied(t *testing.T) {
	api, w, e := newWriter()
	class := &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "kata", Labels: map[string]string{observed.LabelManagedBy: observed.Manager}}, Handler: "kata",
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"kata.longshore.dev/ready": "true"}},
	}
	if err := w.RuntimeClass(t.Context(), class, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	made, ok := simulation.Get(api, class)
	if !ok || made.Handler != "kata" || made.Scheduling == nil || e.last(t).GetName() != "kata" {
		t.Errorf("made %+v", made)
	}
	class.Scheduling = nil
	if err := w.RuntimeClass(t.Context(), class, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if after, _ := simulation.Get(api, class); after.Scheduling != nil {
		t.Error("what is no longer applied stays")
	}
}

func revision(number int64, annotations map[string]string) *appsv1.ControllerRevision {
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-a1", Namespace: "longshore", Annotations: annotations,
			Labels: map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"},
		},
		Data: runtime.RawExtension{Raw: []byte(`{"format":1,"hashed":{},"daemonSets":{}}`)}, Revision: number,
	}
}

func TestARevisionThatIsThereGetsItsMarksAndKeepsItsData(t *testing.T) {
	api, w, e := newWriter()
	if err := w.CreateRevision(t.Context(), revision(1, map[string]string{observed.AnnotationSpec: "{}"})); err != nil {
		t.Fatal(err)
	}
	made, _ := simulation.Get(api, revision(0, nil))
	other := revision(4, map[string]string{observed.AnnotationSpec: `{"a":"b"}`})
	other.Data.Raw = []byte(`{"format":1,"hashed":{"other":1},"daemonSets":{}}`)
	if err := w.CreateRevision(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	after, _ := simulation.Get(api, revision(0, nil))
	if after.UID != made.UID || string(after.Data.Raw) != string(made.Data.Raw) {
		t.Errorf("the data became %s", after.Data.Raw)
	}
	if after.Revision != 4 || after.Annotations[observed.AnnotationSpec] != `{"a":"b"}` {
		t.Errorf("number %d, annotations %v", after.Revision, after.Annotations)
	}
	if e.last(t).GetResourceVersion() != after.ResourceVersion {
		t.Error("the echo is not what was stored")
	}
	if diff := cmp.Diff([]string{"create controllerrevisions/kata-a1", "patch controllerrevisions/kata-a1"}, writes(api)); diff != "" {
		t.Errorf("writes, want (-) and got (+):\n%s", diff)
	}
}

func TestARevisionIsMarkedOnlyAsItWasSeen(t *testing.T) {
	api, w, _ := newWriter()
	if err := w.CreateRevision(t.Context(), revision(1, map[string]string{observed.AnnotationSpec: "{}", "others": "stay"})); err != nil {
		t.Fatal(err)
	}
	made, _ := simulation.Get(api, revision(0, nil))
	seen := &observed.Revision{Name: "kata-a1", UID: made.UID, ResourceVersion: made.ResourceVersion}
	marks := map[string]string{observed.AnnotationVanished: "2026-01-02T03:04:05Z", observed.AnnotationSpec: "", observed.AnnotationNothingSelected: ""}
	if err := w.MarkRevision(t.Context(), seen, 7, marks); err != nil {
		t.Fatal(err)
	}
	after, _ := simulation.Get(api, revision(0, nil))
	if diff := cmp.Diff(map[string]string{observed.AnnotationVanished: "2026-01-02T03:04:05Z", "others": "stay"}, after.Annotations); diff != "" || after.Revision != 7 {
		t.Errorf("number %d, annotations, want (-) and got (+):\n%s", after.Revision, diff)
	}
	if err := w.MarkRevision(t.Context(), seen, 8, nil); !apierrors.IsConflict(err) {
		t.Errorf("a mark from an old view ends with %v", err)
	}
	seen.ResourceVersion, seen.UID = "", "other"
	if err := w.MarkRevision(t.Context(), seen, 8, nil); !apierrors.IsConflict(err) {
		t.Errorf("a mark of another object of that name ends with %v", err)
	}
	api.Delete(after)
	if err := w.MarkRevision(t.Context(), seen, 8, nil); !apierrors.IsNotFound(err) {
		t.Errorf("a mark of what is gone ends with %v", err)
	}
}

func spec() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kata", Namespace: "longshore", Labels: map[string]string{observed.LabelRuntime: "kata"}, Annotations: map[string]string{"theirs": "x"}},
		Data:       map[string]string{"nodeSelector": "*"},
	}
}

func TestAStatusIsAppliedAndOldAnnotationsGo(t *testing.T) {
	api, w, e := newWriter(spec())
	made, _ := simulation.Get(api, spec())
	s := &observed.Spec{Name: "kata", UID: made.UID}
	if err := w.Status(t.Context(), s, map[string]string{observed.SpecPhase: "Progressing", observed.SpecRevision: "a1"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Status(t.Context(), s, map[string]string{observed.SpecPhase: "Invalid"}); err != nil {
		t.Fatal(err)
	}
	after, _ := simulation.Get(api, spec())
	if diff := cmp.Diff(map[string]string{"theirs": "x", observed.SpecPhase: "Invalid"}, after.Annotations); diff != "" {
		t.Errorf("annotations, want (-) and got (+):\n%s", diff)
	}
	if after.Data["nodeSelector"] != "*" || after.Labels[observed.LabelRuntime] != "kata" || e.last(t).GetResourceVersion() != after.ResourceVersion {
		t.Errorf("the spec became %+v", after)
	}
}

// The fake clientset itself would make the ConfigMap anew; that an API server answers a uid that is not there with a conflict is
// played by the simulation, and shown on a real one by the end-to-end tests.
func TestAStatusNeverMakesADeletedSpecAnew(t *testing.T) {
	api, w, e := newWriter(spec())
	made, _ := simulation.Get(api, spec())
	api.Delete(made)
	err := w.Status(t.Context(), &observed.Spec{Name: "kata", UID: made.UID}, map[string]string{observed.SpecPhase: "Ready"})
	if !apply.Outrun(err) {
		t.Errorf("the write ends with %v", err)
	}
	if _, ok := simulation.Get(api, spec()); ok || len(e.saw) > 0 {
		t.Error("the spec was made anew")
	}
	for _, a := range api.Kube.Actions() {
		if a.GetVerb() == "patch" && !strings.Contains(string(a.(interface{ GetPatch() []byte }).GetPatch()), `"uid":"`+string(made.UID)+`"`) {
			t.Error("the patch does not name the uid")
		}
	}
	api.Create(spec())
	err = w.Status(t.Context(), &observed.Spec{Name: "kata", UID: made.UID}, map[string]string{observed.SpecPhase: "Ready"})
	if !apply.Outrun(err) {
		t.Errorf("the write on another spec of that name ends with %v", err)
	}
	if after, _ := simulation.Get(api, spec()); after.Annotations[observed.SpecPhase] != "" {
		t.Error("the status of a deleted spec stands on another one")
	}
}

func TestDeleteTakesOnlyTheObjectThatWasSeen(t *testing.T) {
	class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}, Handler: "kata"}
	api, w, _ := newWriter(daemonSet(), revision(1, nil), class)
	objects := map[string]runtime.Object{"DaemonSet": daemonSet(), "ControllerRevision": revision(1, nil), "RuntimeClass": class}
	uids := map[string]types.UID{}
	s, _ := simulation.Get(api, daemonSet())
	r, _ := simulation.Get(api, revision(0, nil))
	c, _ := simulation.Get(api, class)
	uids["DaemonSet"], uids["ControllerRevision"], uids["RuntimeClass"] = s.UID, r.UID, c.UID
	for kind, object := range objects {
		name := object.(metav1.Object).GetName()
		if err := w.Delete(t.Context(), kind, name, "another"); !apply.Outrun(err) {
			t.Errorf("%s: the deletion of another object of that name ends with %v", kind, err)
		}
		if err := w.Delete(t.Context(), kind, name, uids[kind]); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := w.Delete(t.Context(), kind, name, uids[kind]); err != nil {
			t.Errorf("%s: the deletion of what is gone ends with %v", kind, err)
		}
	}
	if err := w.Delete(t.Context(), "Node", "a", "u1"); err == nil || !strings.Contains(err.Error(), `delete Node "a"`) {
		t.Errorf("the deletion of a node ends with %v", err)
	}
	if got := len(api.Writes()); got != 3 {
		t.Errorf("%d writes, want 3: %v", got, writes(api))
	}
	for _, a := range api.Kube.Actions() {
		if d, ok := a.(interface{ GetDeleteOptions() metav1.DeleteOptions }); ok && d.GetDeleteOptions().Preconditions == nil {
			t.Errorf("%s is deleted without a precondition", a.GetResource().Resource)
		}
	}
}

// recorder takes down events.
type recorder struct{ got []string }

func (r *recorder) Eventf(regarding, _ runtime.Object, kind, reason, action, note string, args ...any) {
	ref := regarding.(*corev1.ObjectReference)
	r.got = append(r.got, strings.Join([]string{ref.Kind, ref.Namespace, ref.Name, string(ref.UID), kind, reason, action, args[0].(string), note}, "|"))
}

func TestEventsAreAboutTheObjectThatWasSeen(t *testing.T) {
	r := &recorder{}
	events := apply.NewEvents(r, "longshore")
	events.Spec(&observed.Spec{Name: "kata", UID: "s1"}, corev1.EventTypeNormal, "Ready", "3 of 3 nodes done")
	events.Node(&observed.Node{Name: "a", UID: "n1"}, corev1.EventTypeWarning, "InstallFailed", strings.Repeat("x", 2000)+"100% \x1b[31mof the disk")
	if len(r.got) != 2 {
		t.Fatalf("got %q", r.got)
	}
	if want := "ConfigMap|longshore|kata|s1|Normal|Ready|Rollout|3 of 3 nodes done|%s"; r.got[0] != want {
		t.Errorf("got  %q\nwant %q", r.got[0], want)
	}
	if got := r.got[1]; !strings.HasPrefix(got, "Node||a|n1|Warning|InstallFailed|Rollout|…x") || !strings.HasSuffix(got, "x100%  [31mof the disk|%s") || len(got) > observed.MaxMessage+100 {
		t.Errorf("got %q", got)
	}
}

func TestAPodIsEvictedOnlyIfItIsTheOneThatWasSeen(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db-0"}}
	api, w, _ := newWriter(pod)
	there, _ := simulation.Get(api, pod)
	seen := observed.Workload{Namespace: "default", Name: "db-0", UID: "another"}
	gone := func() bool {
		pod, _ := simulation.Get(api, pod)
		return pod.DeletionTimestamp != nil
	}
	for _, name := range []string{"db-0", "nobody"} {
		seen.Name = name
		if refused, err := w.Evict(t.Context(), &seen); refused != "" || err != nil || gone() {
			t.Errorf("%s: refused %q, error %v, gone %t", name, refused, err, gone())
		}
	}
	seen.Name, seen.UID = "db-0", there.UID
	api.Refuse(func(*corev1.Pod) error {
		err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10)
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: "DisruptionBudget", Message: "The disruption budget db needs 3 healthy pods and has 3 currently"})
		return err
	})
	const want = "Cannot evict pod as it would violate the pod's disruption budget; The disruption budget db needs 3 healthy pods and has 3 currently"
	if refused, err := w.Evict(t.Context(), &seen); refused != want || err != nil || gone() {
		t.Errorf("refused %q, error %v, gone %t", refused, err, gone())
	}
	api.Refuse(nil)
	if refused, err := w.Evict(t.Context(), &seen); refused != "" || err != nil || !gone() {
		t.Errorf("refused %q, error %v, gone %t", refused, err, gone())
	}
}
