package main

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// cluster are the objects of a small cluster in the middle of a rollout: node a is Ready, b at work, c failed, d held, e waits.
type cluster struct {
	objects  []runtime.Object
	revision string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	data := map[string]string{
		"payloadImage": "registry.example.com/kata:1", "installCmd": `["/install"]`, "uninstallCmd": `["/uninstall"]`, "nodeSelector": "*",
		"runtimeClasses": "[{name: kata, handler: kata}]", "maxUnavailable": "3", "maxFailed": "1",
		"environmentVariables": "[{name: COLOUR, value: green}]",
	}
	parsed, errs := spec.Parse("kata", data, nil)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	c := &cluster{revision: parsed.Revision()}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	content, err := observed.EncodeContent(&observed.RevisionContent{
		Format: 1, Classes: []observed.Class{{Name: "kata", Handler: "kata"}}, DaemonSets: map[string]*appsv1.DaemonSet{"install": {}, "uninstall": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}
	at := metav1.NewTime(noon.Add(-time.Hour))
	c.objects = []runtime.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata", UID: "s", CreationTimestamp: at, Labels: map[string]string{observed.LabelRuntime: "kata"}}, Data: data},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: observed.TurnsName, UID: "t"}, Data: observed.FormatTurns([]observed.Turn{
			{Node: "uid-b", Runtime: "kata", Revision: c.revision, Operation: observed.Install},
			{Node: "uid-c", Runtime: "kata", Revision: c.revision, Operation: observed.Install},
		})},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "payload-secret"}, Data: map[string][]byte{"password": []byte("hunter2")}},
		&appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-" + c.revision, UID: "r", CreationTimestamp: at, Labels: ours, Annotations: map[string]string{
				observed.AnnotationSpec: string(text), observed.AnnotationSource: `{"name":"kata","uid":"s","created":"` + noon.Add(-time.Hour).UTC().Format(time.RFC3339) + `"}`,
			}},
			Revision: 1, Data: runtime.RawExtension{Raw: content},
		},
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: observed.DaemonSetName("kata", "install", c.revision), Labels: map[string]string{
			observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata", observed.LabelRevision: c.revision, observed.LabelStep: "install",
		}}},
	}
	c.nodes()
	return c
}

func (c *cluster) nodes() {
	ready := observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: c.revision, Attempt: 1, Since: noon.Add(-10 * time.Minute),
		Reason: "HandlersReported", Message: "the node reports handler kata", MachineID: "m-a", BootID: "b-a",
	}
	under := observed.Progress{
		Phase: observed.PhaseInstalling, Operation: observed.Install, Step: "install", Revision: c.revision, Attempt: 2, Since: noon.Add(-90 * time.Second),
		Reason: "CommandFailed", Message: "step install exited 1: mirror is down", MachineID: "m-b", BootID: "b-b", PodUID: "p", Exits: 1,
	}
	failed := under
	failed.Phase, failed.Attempt, failed.Since, failed.Exits = observed.PhaseFailed, 3, noon.Add(-4*time.Minute), 3
	failed.Reason, failed.Message, failed.MachineID, failed.BootID = "InstallFailed", "attempt 3 of 3: step install exited 1: no space left on device", "m-c", "b-c"
	c.node("a", &ready, nil)
	c.node("b", &under, nil)
	c.node("c", &failed, nil)
	c.node("d", nil, map[string]string{observed.HoldKey("kata"): "disk swap, INC-4711"})
	c.node("e", nil, nil)
	started := metav1.NewTime(noon.Add(-20 * time.Second))
	c.objects = append(c.objects, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-install-x7k", UID: "p", CreationTimestamp: metav1.NewTime(noon.Add(-80 * time.Second)), Labels: map[string]string{
			observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata", observed.LabelInstaller: observed.DaemonSetName("kata", "install", c.revision),
		}},
		Spec: corev1.PodSpec{NodeName: "b", InitContainers: []corev1.Container{{Name: "prepare"}, {Name: "install"}}, Containers: []corev1.Container{{Name: "pause"}}},
		Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{
				{Name: "prepare", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
				{
					Name: "install", RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
					LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "mirror is down", FinishedAt: started}},
				},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "pause", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}},
		},
	})
}

func (c *cluster) node(name string, p *observed.Progress, annotations map[string]string) {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{"kubernetes.io/os": "linux"}, Annotations: map[string]string{}},
		Status: corev1.NodeStatus{
			NodeInfo:        corev1.NodeSystemInfo{MachineID: "m-" + name, BootID: "b-" + name},
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-24 * time.Hour))}},
			RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}},
		},
	}
	maps.Copy(n.Annotations, annotations)
	if p != nil {
		n.Annotations[observed.ProgressKey("kata")] = p.String()
		n.Labels[observed.PhaseKey("kata")] = string(p.Phase)
		switch p.Phase {
		case observed.PhaseReady:
			n.Labels[observed.ReadyKey("kata")] = "true"
			n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: "kata"})
		case observed.PhaseInstalling:
			n.Labels[observed.GateKey("kata")] = observed.GateValue(c.revision, "install")
		default:
		}
	}
	c.objects = append(c.objects, n)
}
