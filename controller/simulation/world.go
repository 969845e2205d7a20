package simulation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// Tick is how often the world moves.
const Tick = 500 * time.Millisecond

// backOff is how long the kubelet waits before it runs a failed command again.
const backOff = 10 * time.Second

// World plays everything that is not Longshore: the DaemonSet controller, the garbage collector, the kubelets and the payloads.
type World struct {
	api     *API
	payload func(Run) Result

	mu   sync.Mutex
	pods map[types.UID]*podState
	runs []Run
	born int
	// most is how many nodes had an installer at work at the same time, at most.
	most int
}

// Run is one run of a payload's command on a node.
type Run struct {
	Node, Runtime, Revision string
	// Step is the name of the init container; Operation is install or uninstall.
	Step, Operation string
	Image           string
	// Try is 1 for the first run in a pod.
	Try int
}

// Result is what a run does.
type Result struct {
	// Code and Message are how it ends, Takes is when.
	Code    int
	Message string
	Takes   time.Duration
	// Offers and Withdraws are handlers that the node's kubelet reports, or no longer reports, afterwards.
	Offers, Withdraws []string
}

// podState is where a pod is: the container it is at, since when, and what became of its runs.
type podState struct {
	container int
	try       int
	running   bool
	until     time.Time
	result    Result
	last      *corev1.ContainerStateTerminated
	main      bool
	leaving   bool
}

// NewWorld returns a world on the API server whose payload does what the function says.
func NewWorld(api *API, payload func(Run) Result) *World {
	return &World{api: api, payload: payload, pods: map[types.UID]*podState{}}
}

// Live moves the world until the context ends.
func (w *World) Live(ctx context.Context) {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.step()
		}
	}
}

// Runs are the runs of commands so far.
func (w *World) Runs() []Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.runs)
}

// Most is how many nodes had an installer at work at the same time, at most. One that is done, or on its way out, is not at work.
func (w *World) Most() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

func (w *World) step() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.collect()
	sets := List(w.api, &appsv1.DaemonSet{})
	nodes := List(w.api, &corev1.Node{})
	pods := List(w.api, &corev1.Pod{})
	for _, set := range sets {
		for _, node := range nodes {
			w.place(set, node, pods)
		}
	}
	busy := map[string]bool{}
	for _, pod := range pods {
		if pod.Labels[observed.LabelInstaller] == "" {
			if pod.DeletionTimestamp != nil {
				w.api.Delete(pod)
			}
			continue
		}
		if !wanted(pod, sets, nodes) {
			w.leave(pod)
			continue
		}
		if state := w.pods[pod.UID]; state == nil || !state.main {
			busy[pod.Spec.NodeName] = true
		}
		if i := slices.IndexFunc(nodes, func(n *corev1.Node) bool { return n.Name == pod.Spec.NodeName }); i >= 0 && isReady(nodes[i]) {
			w.play(pod)
		}
	}
	w.most = max(w.most, len(busy))
}

// collect is the garbage collector: what has owners goes when none of them is left.
func (w *World) collect() {
	there := map[types.UID]bool{}
	for _, o := range List(w.api, &appsv1.ControllerRevision{}) {
		there[o.UID] = true
	}
	for _, o := range List(w.api, &corev1.ConfigMap{}) {
		there[o.UID] = true
	}
	for _, set := range List(w.api, &appsv1.DaemonSet{}) {
		if len(set.OwnerReferences) > 0 && !slices.ContainsFunc(set.OwnerReferences, func(o metav1.OwnerReference) bool { return there[o.UID] }) {
			w.api.Delete(set)
		}
	}
}

// place is the DaemonSet controller for one node: a pod where the node selector matches and none is there.
func (w *World) place(set *appsv1.DaemonSet, node *corev1.Node, pods []*corev1.Pod) {
	if !matches(set, node) || slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return owned(p, set) && p.Spec.NodeName == node.Name }) {
		return
	}
	w.born++
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%05d", set.Name, w.born), Namespace: set.Namespace, Labels: set.Spec.Template.Labels, Annotations: set.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: set.Name, UID: set.UID, Controller: &yes, BlockOwnerDeletion: &yes}},
		},
		Spec:   *set.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	pod.Spec.NodeName = node.Name
	w.api.Create(pod)
}

func matches(set *appsv1.DaemonSet, node *corev1.Node) bool {
	return labels.SelectorFromSet(set.Spec.Template.Spec.NodeSelector).Matches(labels.Set(node.Labels))
}

func owned(pod *corev1.Pod, set *appsv1.DaemonSet) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == set.UID })
}

func wanted(pod *corev1.Pod, sets []*appsv1.DaemonSet, nodes []*corev1.Node) bool {
	return slices.ContainsFunc(sets, func(s *appsv1.DaemonSet) bool {
		return owned(pod, s) && slices.ContainsFunc(nodes, func(n *corev1.Node) bool { return n.Name == pod.Spec.NodeName && matches(s, n) })
	})
}

// leave ends a pod: it is on its way out for one tick, and gone at the next.
func (w *World) leave(pod *corev1.Pod) {
	state := w.pods[pod.UID]
	if state != nil && state.leaving {
		delete(w.pods, pod.UID)
		w.api.Delete(pod)
		return
	}
	if state == nil {
		state = &podState{}
		w.pods[pod.UID] = state
	}
	state.leaving = true
	now := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	Change(w.api, pod, func(p *corev1.Pod) { p.DeletionTimestamp = &now })
}

// play is the kubelet for one pod: its init containers run one after the other, each again until it exits 0, and then the main one.
func (w *World) play(pod *corev1.Pod) {
	state := w.pods[pod.UID]
	if state == nil {
		state = &podState{}
		w.pods[pod.UID] = state
	}
	now := time.Now()
	if state.main || now.Before(state.until) {
		return
	}
	switch {
	case state.container == len(pod.Spec.InitContainers):
		state.main = true
	case !state.running:
		w.begin(pod, state, now)
	default:
		w.end(pod, state, now)
	}
	w.report(pod, state, now)
}

func (w *World) begin(pod *corev1.Pod, state *podState, now time.Time) {
	c := pod.Spec.InitContainers[state.container]
	state.try++
	run := Run{
		Node: pod.Spec.NodeName, Runtime: pod.Labels[observed.LabelRuntimeOf], Revision: pod.Labels[observed.LabelRevision],
		Step: c.Name, Operation: pod.Labels[observed.LabelStep], Image: c.Image, Try: state.try,
	}
	w.runs = append(w.runs, run)
	state.result = w.payload(run)
	state.running, state.until = true, now.Add(state.result.Takes)
}

func (w *World) end(pod *corev1.Pod, state *podState, now time.Time) {
	state.running = false
	r := state.result
	if r.Code != 0 {
		state.last = &corev1.ContainerStateTerminated{ExitCode: int32(r.Code), Reason: "Error", Message: r.Message, FinishedAt: metav1.NewTime(now)}
		state.until = now.Add(backOff)
		return
	}
	state.container++
	state.try, state.last = 0, nil
	if len(r.Offers)+len(r.Withdraws) == 0 {
		return
	}
	Change(w.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: pod.Spec.NodeName}}, func(n *corev1.Node) {
		n.Status.RuntimeHandlers = slices.DeleteFunc(n.Status.RuntimeHandlers, func(h corev1.NodeRuntimeHandler) bool { return slices.Contains(r.Withdraws, h.Name) })
		for _, name := range r.Offers {
			if !slices.ContainsFunc(n.Status.RuntimeHandlers, func(h corev1.NodeRuntimeHandler) bool { return h.Name == name }) {
				n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: name})
			}
		}
	})
}

// report writes the pod's status as a kubelet would.
func (w *World) report(pod *corev1.Pod, state *podState, now time.Time) {
	Change(w.api, pod, func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = nil
		for i := range p.Spec.InitContainers {
			s := corev1.ContainerStatus{Name: p.Spec.InitContainers[i].Name}
			switch {
			case i < state.container:
				s.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", FinishedAt: metav1.NewTime(now)}
			case i > state.container:
				s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
			case state.running:
				s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}
				s.RestartCount = int32(state.try - 1)
			default:
				s.RestartCount = int32(max(state.try-1, 0))
				s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
				if state.last != nil {
					s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off restarting failed container"}
				}
			}
			if i == state.container && state.last != nil {
				s.LastTerminationState.Terminated = state.last
			}
			p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, s)
		}
		main := corev1.ContainerStatus{Name: p.Spec.Containers[0].Name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}
		if state.main {
			main.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}
			p.Status.Phase = corev1.PodRunning
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{main}
	})
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// ReadyNode is a Linux node that is Ready, with these labels besides, and whose kubelet reports the default handlers.
func ReadyNode(name string, more map[string]string) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}},
		Status: corev1.NodeStatus{
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().UTC().Truncate(time.Second))}},
			NodeInfo:        corev1.NodeSystemInfo{MachineID: "machine-" + name, BootID: "boot-" + name},
			RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}},
		},
	}
	maps.Copy(node.Labels, more)
	return node
}
