package informers

import (
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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

func at(second int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC))
}

// fullNode is a node as a kubelet and others leave it, with much that is not read.
func fullNode() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", UID: "n1", ResourceVersion: "7", CreationTimestamp: at(0),
			Labels:        map[string]string{"kubernetes.io/os": "linux", "kata.longshore.dev/ready": "true"},
			Annotations:   map[string]string{"kata.longshore.dev/progress": `{"phase":"Ready"}`, "kata.longshore.dev/hold": "x", "volumes.kubernetes.io/y": "z"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
			Finalizers:    []string{"f"},
		},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "t", Effect: corev1.TaintEffectNoSchedule}}, Unschedulable: true, PodCIDR: "10.0.0.0/24", ProviderID: "p"},
		Status: corev1.NodeStatus{
			Capacity: corev1.ResourceList{corev1.ResourceCPU: {}},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: at(1), LastHeartbeatTime: at(9), Reason: "KubeletReady", Message: "kubelet is posting ready status"},
			},
			Addresses: []corev1.NodeAddress{{Address: "10.0.0.1"}},
			Images:    []corev1.ContainerImage{{Names: []string{"x"}, SizeBytes: 1}},
			NodeInfo:  corev1.NodeSystemInfo{BootID: "b", MachineID: "m", KernelVersion: "6"},
			RuntimeHandlers: []corev1.NodeRuntimeHandler{
				{Name: "kata", Features: &corev1.NodeRuntimeHandlerFeatures{}}, {Name: ""},
			},
		},
	}
}

func TestANodeIsReadTheSameForTheFirstTimeOrAgain(t *testing.T) {
	full := fullNode()
	want := observed.Node{
		Name: "a", UID: "n1", ResourceVersion: "7", Labels: observed.LabelsOf(full.Labels),
		Annotations:    map[string]string{"kata.longshore.dev/progress": `{"phase":"Ready"}`, "kata.longshore.dev/hold": "x"},
		HasAnnotations: true, Taints: full.Spec.Taints, Unschedulable: true, Ready: true, ReadySince: at(1).Time,
		Handlers: []string{"", "kata"}, BootID: "b", MachineID: "m",
	}
	want.Index()
	other := fullNode()
	other.Labels, other.Annotations, other.Status.RuntimeHandlers = map[string]string{"kubernetes.io/os": "linux"}, nil, nil
	for name, before := range map[string]observed.Node{"for the first time": {}, "unchanged": Node(full), "after another one": Node(other)} {
		if diff := cmp.Diff(want, nodeAfter(&before, full), cmp.AllowUnexported(observed.Node{}, observed.Progress{}), cmpopts.EquateComparable(unique.Handle[observed.Says]{})); diff != "" {
			t.Errorf("%s, want (-) and got (+):\n%s", name, diff)
		}
	}
}

func TestWhetherANodeHasAnnotationsIsKnown(t *testing.T) {
	cases := map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"none":      {nil, false},
		"others'":   {map[string]string{"a": "b"}, true},
		"ours":      {map[string]string{"kata.longshore.dev/hold": ""}, true},
		"ours, too": {map[string]string{"kata.longshore.dev/hold": "", "a": "b"}, true},
	}
	for name, c := range cases {
		node := fullNode()
		node.Annotations = c.annotations
		if got := Node(node).HasAnnotations; got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestANodeThatIsNotReadyOrSaysNothing(t *testing.T) {
	for _, status := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionUnknown} {
		node := fullNode()
		node.Status.Conditions[1].Status = status
		if n := Node(node); n.Ready || !n.ReadySince.Equal(at(1).Time) {
			t.Errorf("%s: %+v", status, n)
		}
	}
	node := fullNode()
	now := at(5)
	node.Status.Conditions, node.Status.RuntimeHandlers, node.DeletionTimestamp = nil, nil, &now
	if n := Node(node); n.Ready || !n.ReadySince.IsZero() || n.Handlers != nil || !n.Deleting {
		t.Errorf("a node that says nothing is %+v", n)
	}
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func terminated(code int32, reason, message string, second int) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, StartedAt: at(second - 1), FinishedAt: at(second)}}
}

// Each case is what a kubelet reports of a container, and what is read of it.
func TestWhatAKubeletReportsOfACommand(t *testing.T) {
	cases := map[string]struct {
		status *corev1.ContainerStatus
		want   observed.Container
	}{
		"nothing yet": {nil, observed.Container{Name: "install"}},
		"waiting for its image": {
			&corev1.ContainerStatus{State: waiting("ImagePullBackOff", "no such image")},
			observed.Container{Name: "install", Waiting: "ImagePullBackOff", WaitingMessage: "no such image"},
		},
		"running": {
			&corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(3)}}},
			observed.Container{Name: "install", Running: true, Started: at(3).Time},
		},
		"ended well": {
			&corev1.ContainerStatus{State: terminated(0, "Completed", "", 4)},
			observed.Container{Name: "install", Done: true, Started: at(3).Time},
		},
		"failed just now": {
			&corev1.ContainerStatus{State: terminated(3, "Error", "disk full", 4)},
			observed.Container{Name: "install", Started: at(3).Time, Exit: &observed.Exit{Code: 3, Reason: "Error", Message: "disk full", At: at(4).Time}},
		},
		"waiting to be run again": {
			&corev1.ContainerStatus{State: waiting("CrashLoopBackOff", "back-off 10s"), LastTerminationState: terminated(3, "Error", "disk full", 4), RestartCount: 1},
			observed.Container{
				Name: "install", Restarts: 1, Waiting: "CrashLoopBackOff", WaitingMessage: "back-off 10s",
				Exit: &observed.Exit{Code: 3, Reason: "Error", Message: "disk full", At: at(4).Time},
			},
		},
		"running again": {
			&corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(6)}}, LastTerminationState: terminated(137, "Error", "", 4), RestartCount: 2},
			observed.Container{Name: "install", Restarts: 2, Running: true, Started: at(6).Time, Exit: &observed.Exit{Code: 137, Reason: "Error", At: at(4).Time}},
		},
		"ended well after a failure": {
			&corev1.ContainerStatus{State: terminated(0, "Completed", "", 8), LastTerminationState: terminated(137, "Error", "", 4), RestartCount: 1},
			observed.Container{Name: "install", Restarts: 1, Done: true, Started: at(7).Time, Exit: &observed.Exit{Code: 137, Reason: "Error", At: at(4).Time}},
		},
		"failed twice, the last end counts": {
			&corev1.ContainerStatus{State: terminated(4, "Error", "second", 8), LastTerminationState: terminated(3, "Error", "first", 4), RestartCount: 1},
			observed.Container{Name: "install", Restarts: 1, Started: at(7).Time, Exit: &observed.Exit{Code: 4, Reason: "Error", Message: "second", At: at(8).Time}},
		},
		"never made, in a pod that was deleted": {
			&corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "not found"}}},
			observed.Container{Name: "install"},
		},
		"lost by the container runtime": {
			&corev1.ContainerStatus{ContainerID: "containerd://1", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "not found"}}},
			observed.Container{Name: "install", Exit: &observed.Exit{Code: 137, Reason: "ContainerStatusUnknown", Message: "not found"}},
		},
		"of another container": {
			&corev1.ContainerStatus{Name: "other", State: terminated(0, "Completed", "", 4)},
			observed.Container{Name: "install"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var statuses []corev1.ContainerStatus
			if c.status != nil {
				if c.status.Name == "" {
					c.status.Name = "install"
				}
				statuses = []corev1.ContainerStatus{{Name: "before"}, *c.status}
			}
			if diff := cmp.Diff(c.want, containerOf(&corev1.Container{Name: "install"}, statuses)); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
		})
	}
}

// fullPod is an installer pod with two steps, with much that is not read.
func fullPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-install-a1-x", UID: "p1", CreationTimestamp: at(0), ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
			Labels: map[string]string{observed.LabelRuntimeOf: "kata", observed.LabelInstaller: "kata-install-a1"},
		},
		Spec: corev1.PodSpec{
			NodeName:       "a",
			InitContainers: []corev1.Container{{Name: "pre", Image: "x", Env: []corev1.EnvVar{{Name: "SECRET", Value: "x"}}}, {Name: "install", Image: "y"}},
			Containers:     []corev1.Container{{Name: "pause", Image: "z"}},
		},
		Status: corev1.PodStatus{
			Phase:                 corev1.PodPending,
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "install", State: waiting("PodInitializing", "")}, {Name: "pre", State: terminated(0, "Completed", "", 3)}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: "pause", State: waiting("PodInitializing", "")}},
			Conditions:            []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodInitialized, Status: corev1.ConditionFalse}},
			PodIP:                 "10.0.0.9",
		},
	}
}

func TestAPodIsReadTheSameTrimmedOrNot(t *testing.T) {
	trimmed, err := trimPod(fullPod())
	if err != nil {
		t.Fatal(err)
	}
	want := observed.Pod{
		Name: "kata-install-a1-x", UID: "p1", Node: "a", Runtime: "kata", DaemonSet: "kata-install-a1", Created: at(0).Time,
		Steps: []observed.Container{{Name: "pre", Image: "x", Done: true, Started: at(2).Time}, {Name: "install", Image: "y", Waiting: "PodInitializing"}},
		Main:  observed.Container{Name: "pause", Image: "z", Waiting: "PodInitializing"},
	}
	for name, pod := range map[string]*corev1.Pod{"as the API server gives it": fullPod(), "as the informer keeps it": trimmed.(*corev1.Pod)} {
		if diff := cmp.Diff(want, podOf(pod)); diff != "" {
			t.Errorf("%s, want (-) and got (+):\n%s", name, diff)
		}
	}
	small := trimmed.(*corev1.Pod)
	if small.Spec.InitContainers[0].Env != nil || small.Status.PodIP != "" || small.ManagedFields != nil {
		t.Errorf("what is not read is kept: %+v", small)
	}
}

func TestAMainContainerThatIsNoPauseContainerIsAStep(t *testing.T) {
	pod := fullPod()
	pod.Spec.Containers[0].Name, pod.Status.ContainerStatuses[0].Name = "daemon", "daemon"
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(4)}}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	trimmed, err := trimPod(pod.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range map[string]*corev1.Pod{"as the API server gives it": pod, "as the informer keeps it": trimmed.(*corev1.Pod)} {
		got := podOf(pod)
		last := got.Steps[len(got.Steps)-1]
		if !got.Ready || got.Main.Name != "" || len(got.Steps) != 3 || last.Name != "daemon" || !last.Running {
			t.Errorf("%s: %+v; expected three steps, the last one the running daemon, and a pod that is ready", name, got)
		}
	}
}

func TestAPodSaysWhyItDoesNotGoOn(t *testing.T) {
	now := at(9)
	cases := map[string]struct {
		change          func(*corev1.Pod)
		reason, message string
		deleting        bool
	}{
		"no room": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"}}
		}, "Unschedulable", "0/3 nodes are available", false},
		"evicted": {func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on resource"
		}, "Evicted", "The node was low on resource", false},
		"on its way out": {func(p *corev1.Pod) { p.DeletionTimestamp = &now }, "", "", true},
	}
	for name, c := range cases {
		pod := fullPod()
		c.change(pod)
		trimmed, err := trimPod(pod)
		if err != nil {
			t.Fatal(err)
		}
		if p := podOf(trimmed.(*corev1.Pod)); p.Reason != c.reason || p.Message != c.message || p.Deleting != c.deleting {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestAPodThatIsNotBoundYetIsKnownByItsAffinity(t *testing.T) {
	term := func(key string, values ...string) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}},
		}}}
	}
	cases := map[string]struct {
		affinity *corev1.Affinity
		want     string
	}{
		"one node":          {term("metadata.name", "b"), "b"},
		"several nodes":     {term("metadata.name", "b", "c"), ""},
		"another field":     {term("metadata.uid", "b"), ""},
		"no affinity":       {nil, ""},
		"no node affinity":  {&corev1.Affinity{}, ""},
		"no hard affinity":  {&corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}, ""},
		"bound all the way": {term("metadata.name", "b"), "a"},
	}
	for name, c := range cases {
		pod := fullPod()
		pod.Spec.Affinity = c.affinity
		if name != "bound all the way" {
			pod.Spec.NodeName = ""
		}
		trimmed, err := trimPod(pod)
		if err != nil {
			t.Fatal(err)
		}
		if got := podOf(trimmed.(*corev1.Pod)).Node; got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestASpecIsReadWithItsStatusOnly(t *testing.T) {
	now := at(9)
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-1", UID: "s1", ResourceVersion: "3", CreationTimestamp: at(0), DeletionTimestamp: &now,
			Labels:        map[string]string{observed.LabelRuntime: "kata", observed.LabelPool: "databases"},
			Annotations:   map[string]string{observed.SpecPhase: "Ready", "longshore.dev/other": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Data: map[string]string{"a": "b"}, BinaryData: map[string][]byte{"c": {1}},
	}
	trimmed, err := trimOthers(cm)
	if err != nil {
		t.Fatal(err)
	}
	want := observed.Spec{
		Name: "kata-1", UID: "s1", ResourceVersion: "3", Runtime: "kata", Pool: "databases", Created: at(0).Time, Deleting: true, Data: cm.Data, BinaryData: cm.BinaryData,
		Annotations: map[string]string{observed.SpecPhase: "Ready"},
	}
	if diff := cmp.Diff(want, specOf(trimmed.(*corev1.ConfigMap))); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	if kept := trimmed.(*corev1.ConfigMap); kept.ManagedFields != nil || len(kept.Annotations) != 2 {
		t.Errorf("kept %+v", kept.ObjectMeta)
	}
	cm.Annotations = nil
	if got := specOf(cm).Annotations; got != nil {
		t.Errorf("annotations are %v", got)
	}
}

func TestTurnsWithABadLineSayWhichOneItIs(t *testing.T) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: "t1", ResourceVersion: "4"}, Data: map[string]string{"u1": "kata a1 install", "u2": "what"}}
	got := turnsOf(cm)
	if !got.Exists || got.UID != "t1" || got.ResourceVersion != "4" || len(got.Booked) != 1 || !strings.Contains(got.Problem, `u2: "what"`) {
		t.Errorf("read %+v", got)
	}
}

func TestADaemonSetAndAClassAreReadTheSameTrimmedOrNot(t *testing.T) {
	now := at(9)
	set := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-install-a1", UID: "d1", ResourceVersion: "5", Generation: 2, DeletionTimestamp: &now,
			Labels:          map[string]string{observed.LabelRuntimeOf: "kata", observed.LabelRevision: "a1", observed.LabelStep: "install"},
			OwnerReferences: []metav1.OwnerReference{{UID: "r1"}, {UID: "s1"}},
		},
		Spec: appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeName: "x"}}}, Status: appsv1.DaemonSetStatus{NumberReady: 3},
	}
	trimmed, err := trimDaemonSet(set.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	want := observed.DaemonSet{
		Name: "kata-install-a1", UID: "d1", ResourceVersion: "5", Generation: 2, Runtime: "kata", Revision: "a1", Step: "install",
		Labels: set.Labels, Owners: []types.UID{"r1", "s1"}, Deleting: true,
	}
	for _, s := range []*appsv1.DaemonSet{set, trimmed.(*appsv1.DaemonSet)} {
		if diff := cmp.Diff(want, daemonSetOf(s)); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
	}
	if kept := trimmed.(*appsv1.DaemonSet); kept.Spec.Template.Spec.NodeName != "" || kept.Status.NumberReady != 0 {
		t.Error("what is not read is kept")
	}

	class := &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "kata", UID: "c1", ResourceVersion: "6", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{observed.AnnotationAdopt: "kata", "x": "y"}},
		Handler:    "kata",
	}
	kept, err := trimOthers(class)
	if err != nil {
		t.Fatal(err)
	}
	wantClass := observed.RuntimeClass{
		Name: "kata", UID: "c1", ResourceVersion: "6", Handler: "kata", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{observed.AnnotationAdopt: "kata"},
	}
	if diff := cmp.Diff(wantClass, classOf(kept.(*nodev1.RuntimeClass))); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

func TestARevisionIsReadAndADamagedOneSaysSo(t *testing.T) {
	object := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kata-qemu-a1", UID: "r1", ResourceVersion: "8", CreationTimestamp: at(0), Labels: map[string]string{observed.LabelRuntimeOf: "kata-qemu"},
			Annotations: map[string]string{observed.AnnotationSpec: "{}"},
		},
		Data: runtime.RawExtension{Raw: []byte(`{"format":1,"hashed":{"a":1},"classes":[{"name":"n","handler":"h"}],"daemonSets":{}}`)}, Revision: 7,
	}
	got := revisionOf(object)
	want := observed.Revision{
		Name: "kata-qemu-a1", UID: "r1", ResourceVersion: "8", Runtime: "kata-qemu", Revision: "a1", Number: 7, Created: at(0).Time,
		Annotations: map[string]string{observed.AnnotationSpec: "{}"},
		Content: &observed.RevisionContent{
			Format: 1, Hashed: map[string]any{"a": float64(1)}, Classes: []observed.Class{{Name: "n", Handler: "h"}}, DaemonSets: map[string]*appsv1.DaemonSet{},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	object.Data.Raw = []byte(`{"spec":{}}`)
	if got := revisionOf(object); got.Content != nil || !strings.Contains(got.Problem, "not written by Longshore") || got.Number != 7 {
		t.Errorf("read %+v", got)
	}
}

func TestTransformsLeaveWhatTheyDoNotKnow(t *testing.T) {
	for _, trim := range []func(any) (any, error){(&Cluster{}).keepNode, trimPod, trimDaemonSet, trimOthers} {
		if got, err := trim("a tombstone"); got != "a tombstone" || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}
