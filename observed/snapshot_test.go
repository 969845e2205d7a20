package observed

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unique"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// everything is a snapshot with a value in every field.
func everything() *Snapshot {
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	s := &Snapshot{
		Time: at(30),
		Specs: []Spec{{
			Name: "kata-1", UID: "s1", ResourceVersion: "11", Runtime: "kata", Created: at(1), Deleting: true,
			Data: map[string]string{"nodeSelector": "*"}, BinaryData: map[string][]byte{"x": {0, 255}}, Annotations: map[string]string{SpecPhase: "Ready"},
		}},
		Pools:      []Spec{{Name: "databases", UID: "s2", ResourceVersion: "17", Pool: "databases", Created: at(2), Data: map[string]string{"nodeSelector": "*"}}},
		PoolMemory: &PoolMemory{Exists: true, UID: "t2", ResourceVersion: "18", Data: map[string]string{"databases": "{}"}},
		Unlabelled: []Spec{{Name: "kata-0", UID: "s3", ResourceVersion: "19", Created: at(1), Finalizers: []string{Finalizer}, Annotations: map[string]string{SpecPhase: "Ready"}}},
		Nodes: []Node{{
			Name: "a", UID: "n1", ResourceVersion: "12", Labels: LabelsOf(map[string]string{GateKey("kata"): "a1-install", "kubernetes.io/os": "linux"}),
			Annotations:    map[string]string{ProgressKey("kata"): `{"phase":"Installing","operation":"install","revision":"a1","since":"2026-01-02T03:04:05Z","later":1}`, HoldKey("crun"): ""},
			HasAnnotations: true, Taints: []corev1.Taint{{Key: NotReadyTaint("kata"), Effect: corev1.TaintEffectNoSchedule}},
			Unschedulable: true, Deleting: true, Ready: true, ReadySince: at(2), Handlers: []string{"", "kata"}, BootID: "b", MachineID: "m",
		}},
		Pods: []Pod{{
			Name: "kata-install-a1-x", UID: "p1", Node: "a", Runtime: "kata", DaemonSet: "kata-install-a1", Created: at(3), Deleting: true,
			Reason: "Evicted", Message: "no space",
			Steps: []Container{{
				Name: "install", Restarts: 2, Running: true, Started: at(4), Done: true,
				Exit: &Exit{Code: 3, Reason: "Error", Message: "disk full", At: at(5)}, Waiting: "CrashLoopBackOff", WaitingMessage: "back-off",
			}},
			Main: Container{Name: "pause"},
		}},
		Revisions: []Revision{{
			Name: "kata-a1", UID: "r1", ResourceVersion: "13", Runtime: "kata", Revision: "a1", Number: 7, Created: at(6),
			Annotations: map[string]string{AnnotationVanished: "x"}, Problem: "p",
			Content: &RevisionContent{
				Format: 1, Hashed: map[string]any{"payloadImage": "x"}, Classes: []Class{{Name: "kata", Handler: "kata"}},
				DaemonSets:     map[string]*appsv1.DaemonSet{"install": {ObjectMeta: metav1.ObjectMeta{Name: "kata-install-a1"}}},
				RuntimeClasses: []*nodev1.RuntimeClass{{ObjectMeta: metav1.ObjectMeta{Name: "kata"}, Handler: "kata"}},
			},
		}},
		DaemonSets: []DaemonSet{{
			Name: "kata-install-a1", UID: "d1", ResourceVersion: "14", Generation: 2, Runtime: "kata", Revision: "a1", Step: "install",
			Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}, Owners: nil, Deleting: true,
		}},
		RuntimeClasses: []RuntimeClass{{
			Name: "kata", UID: "c1", ResourceVersion: "15", Handler: "kata", Labels: map[string]string{LabelManagedBy: Manager}, Annotations: map[string]string{AnnotationAdopt: "kata"}, Deleting: true,
		}},
		Turns:    Turns{Exists: true, UID: "t1", ResourceVersion: "16", Booked: []Turn{{Node: "n1", Runtime: "kata", Revision: "a1", Operation: Install}}, Problem: "p"},
		Mismatch: map[NodeRuntime]time.Time{{Node: "n1", Runtime: "kata"}: at(7)},
	}
	for i := range s.Nodes {
		s.Nodes[i].Index()
	}
	return s
}

func TestASavedSnapshotIsTheSameSnapshot(t *testing.T) {
	want := everything()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &Snapshot{}
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	// The states are not saved but read anew from the labels and annotations.
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Node{}, Progress{}), cmpopts.EquateComparable(unique.Handle[Says]{})); diff != "" {
		t.Errorf("saved (-) and read (+):\n%s", diff)
	}
	if p := got.Nodes[0].Progress("kata"); p == nil || p.Phase != PhaseInstalling {
		t.Errorf("the read node has progress %+v", p)
	}
}

func TestASnapshotSavesHandlersThatNobodyReportsAsNone(t *testing.T) {
	text, err := json.Marshal(Node{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var n Node
	if err := json.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	if n.Handlers != nil {
		t.Errorf("handlers are %q, expected none at all", n.Handlers)
	}
}

func TestAPairOfNodeAndRuntimeIsReadFromText(t *testing.T) {
	var n NodeRuntime
	if err := n.UnmarshalText([]byte("u1/kata")); err != nil || n != (NodeRuntime{Node: "u1", Runtime: "kata"}) {
		t.Errorf("read %+v, %v", n, err)
	}
	if err := n.UnmarshalText([]byte("u1")); err == nil || !strings.Contains(err.Error(), `"u1"`) {
		t.Errorf("the error is %v", err)
	}
}

func TestARuntimeClassIsOursByBothLabels(t *testing.T) {
	cases := map[string]struct {
		labels map[string]string
		want   string
	}{
		"ours":            {map[string]string{LabelManagedBy: Manager, LabelRuntimeOf: "kata"}, "kata"},
		"of another tool": {map[string]string{LabelManagedBy: "Helm", LabelRuntimeOf: "kata"}, ""},
		"not marked":      {map[string]string{LabelRuntimeOf: "kata"}, ""},
		"no runtime":      {map[string]string{LabelManagedBy: Manager}, ""},
		"no labels":       {nil, ""},
	}
	for name, c := range cases {
		if got := (&RuntimeClass{Labels: c.labels}).Owner(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestHandlersAreNamedOnceInTheOrderOfTheSpec(t *testing.T) {
	content := RevisionContent{Classes: []Class{{Name: "a", Handler: "qemu"}, {Name: "b", Handler: "clh"}, {Name: "c", Handler: "qemu"}}}
	if got := content.Handlers(); !slices.Equal(got, []string{"qemu", "clh"}) {
		t.Errorf("got %q", got)
	}
	if got := (&RevisionContent{}).Handlers(); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestRevisionContentIsReadAsItWasWritten(t *testing.T) {
	want := everything().Revisions[0].Content
	data, err := EncodeContent(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeContent(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("written (-) and read (+):\n%s", diff)
	}
}

func TestRevisionContentThatCannotBeUsedIsAnError(t *testing.T) {
	cases := map[string]struct{ data, says string }{
		"nothing":           {``, "unexpected end"},
		"not ours":          {`{"spec":{}}`, "has format 0, expected 1 to 2: it was not written by Longshore"},
		"a newer version's": {`{"format":3}`, "has format 3, expected 1 to 2: it was written by a newer version"},
		"a null DaemonSet":  {`{"format":1,"daemonSets":{"install":null}}`, `no DaemonSet under the step "install"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			content, err := DecodeContent([]byte(c.data))
			if content != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("read %+v, %v; expected an error that says %q", content, err, c.says)
			}
		})
	}
}
