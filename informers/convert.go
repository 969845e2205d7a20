package informers

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

func specOf(cm *corev1.ConfigMap) observed.Spec {
	s := observed.Spec{
		Name: cm.Name, UID: cm.UID, ResourceVersion: cm.ResourceVersion, Runtime: cm.Labels[observed.LabelRuntime], Pool: cm.Labels[observed.LabelPool],
		Created: cm.CreationTimestamp.Time, Deleting: cm.DeletionTimestamp != nil, Finalizers: cm.Finalizers, Data: cm.Data, BinaryData: cm.BinaryData,
		SyncWave: cm.Annotations[observed.AnnotationSyncWave],
	}
	for _, key := range slices.Concat(observed.SpecAnnotations, observed.PoolAnnotations) {
		if value, ok := cm.Annotations[key]; ok {
			if s.Annotations == nil {
				s.Annotations = map[string]string{}
			}
			s.Annotations[key] = value
		}
	}
	for _, key := range observed.PeopleAnnotations {
		if value, ok := cm.Annotations[key]; ok {
			if s.People == nil {
				s.People = map[string]string{}
			}
			s.People[key] = value
		}
	}
	return s
}

func turnsOf(cm *corev1.ConfigMap) observed.Turns {
	turns := observed.Turns{Exists: true, UID: cm.UID, ResourceVersion: cm.ResourceVersion}
	booked, err := observed.ParseTurns(cm.Data)
	if err != nil {
		turns.Problem = err.Error()
	}
	turns.Booked = booked
	return turns
}

func podOf(pod *corev1.Pod) observed.Pod {
	p := observed.Pod{
		Name: pod.Name, UID: pod.UID, Node: nodeOf(pod), Runtime: pod.Labels[observed.LabelRuntimeOf], DaemonSet: pod.Labels[observed.LabelInstaller],
		Created: pod.CreationTimestamp.Time, Deleting: pod.DeletionTimestamp != nil,
		Template: pod.Annotations[observed.AnnotationTemplate], Reason: pod.Status.Reason, Message: pod.Status.Message,
	}
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			p.Reason, p.Message = c.Reason, c.Message
		case c.Type == corev1.PodReady:
			p.Ready = c.Status == corev1.ConditionTrue
		}
	}
	for i := range pod.Spec.InitContainers {
		p.Steps = append(p.Steps, containerOf(&pod.Spec.InitContainers[i], pod.Status.InitContainerStatuses))
	}
	for i := range pod.Spec.Containers {
		c := containerOf(&pod.Spec.Containers[i], pod.Status.ContainerStatuses)
		if c.Name == observed.PauseContainer {
			p.Main = c
			continue
		}
		p.Steps = append(p.Steps, c)
	}
	return p
}

// nodeOf is the node that a pod of a DaemonSet is for, also before the scheduler has bound it.
func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == "metadata.name" && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

func containerOf(spec *corev1.Container, statuses []corev1.ContainerStatus) observed.Container {
	c := observed.Container{Name: spec.Name, Image: spec.Image}
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == spec.Name })
	if i < 0 {
		return c
	}
	s := &statuses[i]
	if neverWas(s) {
		return c
	}
	c.Restarts = int(s.RestartCount)
	switch {
	case s.State.Running != nil:
		c.Running, c.Started = true, s.State.Running.StartedAt.Time
	case s.State.Terminated != nil:
		c.Started = s.State.Terminated.StartedAt.Time
		c.Done = s.State.Terminated.ExitCode == 0
	case s.State.Waiting != nil:
		c.Waiting, c.WaitingMessage = s.State.Waiting.Reason, s.State.Waiting.Message
	}
	for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
		if t != nil && t.ExitCode != 0 {
			c.Exit = &observed.Exit{Code: int(t.ExitCode), Reason: t.Reason, Message: t.Message, At: t.FinishedAt.Time}
			break
		}
	}
	return c
}

// neverWas tells whether the kubelet says of a container that was never made that its end is unknown. It does so for the first container of every
// pod that is deleted before its image is there (TerminatePod in pkg/kubelet/status/status_manager.go). A container that ran has an id.
func neverWas(s *corev1.ContainerStatus) bool {
	t := s.State.Terminated
	return t != nil && t.Reason == "ContainerStatusUnknown" && s.ContainerID == "" && t.ContainerID == "" && t.StartedAt.IsZero() && s.RestartCount == 0
}

func daemonSetOf(set *appsv1.DaemonSet) observed.DaemonSet {
	s := observed.DaemonSet{
		Name: set.Name, UID: set.UID, ResourceVersion: set.ResourceVersion, Generation: set.Generation,
		Runtime: set.Labels[observed.LabelRuntimeOf], Revision: set.Labels[observed.LabelRevision], Step: set.Labels[observed.LabelStep],
		Labels: set.Labels, Annotations: set.Annotations, Deleting: set.DeletionTimestamp != nil,
	}
	for _, o := range set.OwnerReferences {
		s.Owners = append(s.Owners, o.UID)
	}
	return s
}

func classOf(class *nodev1.RuntimeClass) observed.RuntimeClass {
	return observed.RuntimeClass{
		Name: class.Name, UID: class.UID, ResourceVersion: class.ResourceVersion, Handler: class.Handler, Labels: class.Labels,
		Annotations: class.Annotations, Deleting: class.DeletionTimestamp != nil,
	}
}

func revisionOf(object *appsv1.ControllerRevision) observed.Revision {
	runtime := object.Labels[observed.LabelRuntimeOf]
	r := observed.Revision{
		Name: object.Name, UID: object.UID, ResourceVersion: object.ResourceVersion, Runtime: runtime,
		Revision: strings.TrimPrefix(object.Name, runtime+"-"), Number: object.Revision, Created: object.CreationTimestamp.Time, Annotations: object.Annotations,
	}
	content, err := observed.DecodeContent(object.Data.Raw)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	r.Content = content
	return r
}

// memo remembers conversions by uid and resource version: between two passes nearly nothing changes.
type memo[T any] struct {
	kept map[types.UID]*kept[T]
	// round is counted on by every sweep; used is how many were asked for since the last one.
	round, used int
}

type kept[T any] struct {
	version string
	value   T
	round   int
}

func (m *memo[T]) get(uid types.UID, version string, convert func() T) *T {
	k := m.kept[uid]
	if k == nil {
		if m.kept == nil {
			m.kept = map[types.UID]*kept[T]{}
		}
		k = &kept[T]{version: version, value: convert(), round: m.round - 1}
		m.kept[uid] = k
	}
	if k.version != version {
		k.version, k.value = version, convert()
	}
	if k.round != m.round {
		k.round = m.round
		m.used++
	}
	return &k.value
}

// sweep forgets what was not asked for since the last sweep.
func (m *memo[T]) sweep() {
	if m.used < len(m.kept) {
		maps.DeleteFunc(m.kept, func(_ types.UID, k *kept[T]) bool { return k.round != m.round })
	}
	m.round++
	m.used = 0
}
