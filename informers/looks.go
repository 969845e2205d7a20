package informers

import (
	"cmp"
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"longshore.dev/longshore/observed"
)

// looks watch the pods of single nodes, for as long as decisions ask for them. The pods of a whole cluster are never watched.
type looks struct {
	mu    sync.Mutex
	nodes map[string]*look
	wait  sync.WaitGroup
}

// look watches the pods of one node.
type look struct {
	informer cache.SharedIndexInformer
	end      context.CancelFunc

	mu      sync.Mutex
	problem string
}

// Look watches the pods of these nodes, and of no others any more. What is there is in snapshots from the first list on.
func (c *Cluster) Look(ctx context.Context, nodes []string) error {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	for name, l := range c.looks.nodes {
		if !slices.Contains(nodes, name) {
			l.end()
			delete(c.looks.nodes, name)
		}
	}
	for _, name := range nodes {
		if c.looks.nodes[name] != nil {
			continue
		}
		l, err := c.lookAt(ctx, name)
		if err != nil {
			return err
		}
		if c.looks.nodes == nil {
			c.looks.nodes = map[string]*look{}
		}
		c.looks.nodes[name] = l
	}
	return nil
}

func (c *Cluster) lookAt(ctx context.Context, node string) (*look, error) {
	factory := kubeinformers.NewSharedInformerFactoryWithOptions(c.kube, 0, kubeinformers.WithTransform(trimWorkload), kubeinformers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}))
	l := &look{informer: factory.Core().V1().Pods().Informer()}
	if _, err := l.informer.AddEventHandler(c.handler()); err != nil {
		return nil, err
	}
	err := l.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		cache.DefaultWatchErrorHandler(ctx, r, err)
		l.failed(err)
		c.changed()
	})
	if err != nil {
		return nil, err
	}
	ctx, l.end = context.WithCancel(ctx)
	c.looks.wait.Go(func() { l.informer.RunWithContext(ctx) })
	c.looks.wait.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), l.informer.HasSynced) {
			// A node without pods has no event to tell of.
			c.changed()
		}
	})
	return l, nil
}

func (l *look) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem = err.Error()
}

// looked is what the looks have seen, sorted by node.
func (c *Cluster) looked() []observed.Look {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	var out []observed.Look
	for name, l := range c.looks.nodes {
		if seen, ok := l.seen(name); ok {
			out = append(out, seen)
		}
	}
	slices.SortFunc(out, func(a, b observed.Look) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// seen is what is on the node, false as long as nobody knows.
func (l *look) seen(node string) (observed.Look, bool) {
	seen := observed.Look{Node: node}
	if !l.informer.HasSynced() {
		l.mu.Lock()
		defer l.mu.Unlock()
		seen.Problem = l.problem
		return seen, l.problem != ""
	}
	var pods []*corev1.Pod
	for _, object := range l.informer.GetStore().List() {
		if pod, ok := object.(*corev1.Pod); ok && pod.Spec.NodeName == node && pod.Labels[observed.LabelManagedBy] != observed.Manager {
			pods = append(pods, pod)
		}
	}
	seen.Pods = workloads(pods)
	return seen, true
}

// trimWorkload keeps of a pod what a drain chooses by, and what uses a handler.
func trimWorkload(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion, DeletionTimestamp: pod.DeletionTimestamp,
			OwnerReferences: pod.OwnerReferences,
		},
		Spec:   corev1.PodSpec{NodeName: pod.Spec.NodeName, RuntimeClassName: pod.Spec.RuntimeClassName},
		Status: corev1.PodStatus{Phase: pod.Status.Phase},
	}
	if manager, ok := pod.Labels[observed.LabelManagedBy]; ok {
		trimmed.Labels = map[string]string{observed.LabelManagedBy: manager}
	}
	if mirror, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		trimmed.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: mirror}
	}
	return trimmed, nil
}
