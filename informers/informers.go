// Package informers answers: what is there?
//
// It watches what Longshore looks at, keeps only what is read, and gives it out as one [observed.Snapshot]. It polls nothing but its own rights, and
// it never watches the pods of the whole cluster: only those in the namespace of the installers that carry our label, and those of single
// nodes for as long as a decision asks for them.
package informers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"longshore.dev/longshore/observed"
)

// Cluster is the read side of one cluster.
type Cluster struct {
	kube              kubernetes.Interface
	factories         []kubeinformers.SharedInformerFactory
	changed           func()
	namespace, system string

	specs, pools, unlabelled, turns, labels, payload, nodes, pods, sets, revisions, classes cache.SharedIndexInformer
	// secret is nil where nobody asked for it, and so is memory.
	secret cache.SharedIndexInformer
	memory cache.SharedIndexInformer
	looks  looks
	own    own

	mu sync.Mutex
	// rights is nil as long as nobody asked.
	rights *observed.Rights
	// passwords are all that the secret ever had: what a pod has said stays when the password is another.
	passwords     []observed.Hidden
	freshNodes    overlay[*node]
	freshPods     overlay[*corev1.Pod]
	freshTurns    overlay[*corev1.ConfigMap]
	freshMemory   overlay[*corev1.ConfigMap]
	freshLabels   overlay[*corev1.ConfigMap]
	freshPayload  overlay[*corev1.ConfigMap]
	freshSpecs    overlay[*corev1.ConfigMap]
	freshPools    overlay[*corev1.ConfigMap]
	freshOthers   overlay[*corev1.ConfigMap]
	freshRevs     overlay[*appsv1.ControllerRevision]
	freshSets     overlay[*appsv1.DaemonSet]
	freshClasses  overlay[*nodev1.RuntimeClass]
	revisionsMemo memo[observed.Revision]
}

// What is ours has the label of our field manager. The DaemonSet controller makes ControllerRevisions of its own, with the labels of our
// pod templates.
const (
	ourObjects   = observed.LabelManagedBy + "=" + observed.Manager
	ourSnapshots = ourObjects + ",!" + observed.LabelInstaller
)

// New returns the read side for specs, pools and installers in namespace and turns in system. changed is called, from several
// goroutines and often, when something that matters is not as it was.
func New(kube kubernetes.Interface, namespace, system string, changed func()) (*Cluster, error) {
	c := &Cluster{kube: kube, changed: changed, namespace: namespace, system: system}
	ours := func(o *metav1.ListOptions) { o.LabelSelector = ourObjects }
	specs := c.factory(namespace, trimSpec, func(o *metav1.ListOptions) { o.LabelSelector = observed.LabelRuntime })
	pools := c.factory(namespace, trimOthers, func(o *metav1.ListOptions) { o.LabelSelector = observed.LabelPool })
	unlabelled := c.factory(namespace, trimUnlabelled, func(o *metav1.ListOptions) { o.LabelSelector = unlabelledOnly })
	turns := c.factory(system, trimOthers, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", observed.TurnsName).String()
	})
	doneLabels := c.factory(namespace, trimOthers, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", observed.DoneLabelsName).String()
	})
	payload := c.factory(namespace, trimOthers, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", observed.PayloadConfigName).String()
	})
	installers := c.factory(namespace, nil, ours)
	snapshots := c.factory(namespace, nil, func(o *metav1.ListOptions) { o.LabelSelector = ourSnapshots })
	everywhere := c.factory(metav1.NamespaceAll, nil, func(*metav1.ListOptions) {})

	c.specs = specs.Core().V1().ConfigMaps().Informer()
	c.pools = pools.Core().V1().ConfigMaps().Informer()
	c.unlabelled = unlabelled.Core().V1().ConfigMaps().Informer()
	c.turns = turns.Core().V1().ConfigMaps().Informer()
	c.labels = doneLabels.Core().V1().ConfigMaps().Informer()
	c.payload = payload.Core().V1().ConfigMaps().Informer()
	c.pods = installers.Core().V1().Pods().Informer()
	c.sets = installers.Apps().V1().DaemonSets().Informer()
	c.revisions = snapshots.Apps().V1().ControllerRevisions().Informer()
	c.nodes = everywhere.Core().V1().Nodes().Informer()
	c.classes = everywhere.Node().V1().RuntimeClasses().Informer()

	trims := map[cache.SharedIndexInformer]cache.TransformFunc{
		c.pods: trimPod, c.sets: trimDaemonSet, c.revisions: trimOthers, c.nodes: c.keepNode, c.classes: trimOthers,
	}
	for informer, trim := range trims {
		if err := informer.SetTransform(trim); err != nil {
			return nil, fmt.Errorf("set up informer: %w", err)
		}
	}
	for _, informer := range c.all() {
		handler := c.handler()
		if informer == c.unlabelled {
			handler = c.unlabelledHandler()
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("set up informer: %w", err)
		}
	}
	return c, nil
}

func (c *Cluster) factory(namespace string, trim cache.TransformFunc, tweak func(*metav1.ListOptions)) kubeinformers.SharedInformerFactory {
	opts := []kubeinformers.SharedInformerOption{kubeinformers.WithNamespace(namespace), kubeinformers.WithTweakListOptions(tweak)}
	if trim != nil {
		opts = append(opts, kubeinformers.WithTransform(trim))
	}
	f := kubeinformers.NewSharedInformerFactoryWithOptions(c.kube, 0, opts...)
	c.factories = append(c.factories, f)
	return f
}

func (c *Cluster) all() []cache.SharedIndexInformer {
	all := []cache.SharedIndexInformer{c.specs, c.pools, c.unlabelled, c.turns, c.labels, c.payload, c.nodes, c.pods, c.sets, c.revisions, c.classes}
	for _, informer := range []cache.SharedIndexInformer{c.secret, c.memory} {
		if informer != nil {
			all = append(all, informer)
		}
	}
	all = append(all, c.own.namespaces...)
	if c.own.deployment != nil {
		all = append(all, c.own.deployment)
	}
	return all
}

// handler says "look again" when an object changed in something that is kept: a heartbeat changes nothing.
func (c *Cluster) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.changed() },
		DeleteFunc: func(any) { c.changed() },
		UpdateFunc: func(before, after any) {
			if !sameButVersion(before, after) {
				c.changed()
			}
		},
	}
}

func sameButVersion(before, after any) bool {
	if a, ok := before.(*node); ok {
		b, ok := after.(*node)
		return ok && a.sameButVersion(b)
	}
	a, okA := before.(runtime.Object)
	b, okB := after.(runtime.Object)
	if !okA || !okB {
		return false
	}
	a, b = a.DeepCopyObject(), b.DeepCopyObject()
	for _, o := range []runtime.Object{a, b} {
		if m, ok := o.(metav1.Object); ok {
			m.SetResourceVersion("")
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// Start begins to watch until the context ends; Stop waits for the watches to end.
func (c *Cluster) Start(ctx context.Context) {
	for _, f := range c.factories {
		f.StartWithContext(ctx)
	}
}

// Stop waits until every watch has ended, after the context given to Start has.
func (c *Cluster) Stop() {
	for _, f := range c.factories {
		f.Shutdown()
	}
	c.looks.wait.Wait()
}

// Synced waits until everything was listed once, or until the context ends.
func (c *Cluster) Synced(ctx context.Context) error {
	synced := make([]cache.InformerSynced, 0, len(c.all()))
	for _, informer := range c.all() {
		synced = append(synced, informer.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return fmt.Errorf("wait for the first list of every kind: %w", context.Cause(ctx))
	}
	return nil
}

// HasSynced tells whether everything was listed once.
func (c *Cluster) HasSynced() bool {
	for _, informer := range c.all() {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// Snapshot is all that is there at the given time, with our own writes in it even if their watch events are still on the way.
func (c *Cluster) Snapshot(now time.Time) *observed.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &observed.Snapshot{Time: now, Namespace: c.namespace, Looks: c.looked(), Rights: c.rights, Terminating: c.terminating()}
	nodes := merged(c.nodes, &c.freshNodes)
	// Thousands of nodes are sorted where a place is a pointer.
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.Name, b.Name) })
	s.Nodes = make([]observed.Node, 0, len(nodes))
	for _, node := range nodes {
		s.Nodes = append(s.Nodes, node.observed)
	}
	for _, cm := range merged(c.specs, &c.freshSpecs) {
		s.Specs = append(s.Specs, specOf(cm))
	}
	for _, cm := range merged(c.pools, &c.freshPools) {
		s.Pools = append(s.Pools, specOf(cm))
	}
	s.Unlabelled = c.unlabelledSpecs(s)
	for _, cm := range merged(c.turns, &c.freshTurns) {
		if cm.Name == observed.TurnsName {
			s.Turns = turnsOf(cm)
		}
	}
	s.PoolMemory = c.poolMemory()
	for _, cm := range merged(c.labels, &c.freshLabels) {
		s.DoneLabels = new(cm.Data[observed.DoneLabelsKey])
	}
	for _, cm := range merged(c.payload, &c.freshPayload) {
		if cm.Name == observed.PayloadConfigName {
			s.PayloadConfig = payloadConfigOf(cm)
		}
	}
	s.PayloadSecret = c.payloadSecret()
	for _, set := range merged(c.sets, &c.freshSets) {
		s.DaemonSets = append(s.DaemonSets, daemonSetOf(set))
	}
	for _, r := range merged(c.revisions, &c.freshRevs) {
		s.Revisions = append(s.Revisions, *c.revisionsMemo.get(r.UID, r.ResourceVersion, func() observed.Revision { return revisionOf(r) }))
	}
	c.revisionsMemo.sweep()
	for _, pod := range merged(c.pods, &c.freshPods) {
		p := podOf(pod)
		c.clean(&p)
		s.Pods = append(s.Pods, p)
	}
	for _, class := range merged(c.classes, &c.freshClasses) {
		s.RuntimeClasses = append(s.RuntimeClasses, classOf(class))
	}
	sortSnapshot(s)
	return s
}

func sortSnapshot(s *observed.Snapshot) {
	slices.SortFunc(s.Specs, func(a, b observed.Spec) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Pools, func(a, b observed.Spec) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.DaemonSets, func(a, b observed.DaemonSet) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Revisions, func(a, b observed.Revision) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Pods, func(a, b observed.Pod) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.RuntimeClasses, func(a, b observed.RuntimeClass) int { return cmp.Compare(a.Name, b.Name) })
}

// ConsistentNodes lists the nodes from the API server's own store, past every cache: for a rebuild of lost turns. What it finds is in the
// next snapshot.
func (c *Cluster) ConsistentNodes(ctx context.Context) ([]observed.Node, error) {
	var nodes []observed.Node
	// All pages are of one moment, that of the first; thousands of whole nodes at once would take hundreds of megabytes.
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.kube.CoreV1().Nodes().List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		for i := range list.Items {
			kept := c.kept(&list.Items[i])
			c.sawNode(kept)
			nodes = append(nodes, kept.observed)
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nodes, nil
		}
	}
}

// pageSize is how many nodes are listed at once.
const pageSize = 250

// Saw takes what a write of ours returned: snapshots show it at once, before the watch does.
func (c *Cluster) Saw(object metav1.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch o := object.(type) {
	case *corev1.Node:
		// What is not read does not stay in memory, not even until the watch shows the node.
		saw(&c.freshNodes, c.kept(o))
	case *corev1.Pod:
		saw(&c.freshPods, trimmedPod(o))
	case *corev1.ConfigMap:
		c.sawConfigMap(o)
	case *appsv1.ControllerRevision:
		saw(&c.freshRevs, o)
	case *appsv1.DaemonSet:
		saw(&c.freshSets, o)
	case *nodev1.RuntimeClass:
		saw(&c.freshClasses, o)
	}
}

func (c *Cluster) sawNode(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	saw(&c.freshNodes, n)
}

// sawConfigMap puts a ConfigMap where its labels say: what the watch of a list does not select must not get into it by our writes.
func (c *Cluster) sawConfigMap(cm *corev1.ConfigMap) {
	if cm.Name == observed.TurnsName && cm.Namespace == c.system {
		saw(&c.freshTurns, cm)
		return
	}
	if cm.Name == observed.PoolsName && cm.Namespace == c.system {
		saw(&c.freshMemory, cm)
		return
	}
	if cm.Name == observed.DoneLabelsName && cm.Namespace == c.namespace {
		saw(&c.freshLabels, cm)
		return
	}
	if cm.Name == observed.PayloadConfigName && cm.Namespace == c.namespace {
		saw(&c.freshPayload, cm)
		return
	}
	_, isSpec := cm.Labels[observed.LabelRuntime]
	_, isPool := cm.Labels[observed.LabelPool]
	if isSpec {
		saw(&c.freshSpecs, cm)
	}
	if isPool {
		saw(&c.freshPools, cm)
	}
	if !isSpec && !isPool {
		saw(&c.freshOthers, trimmedUnlabelled(cm))
	}
}

func saw[T metav1.Object](o *overlay[T], object T) {
	if o.fresh == nil {
		o.fresh = map[string]T{}
	}
	o.fresh[object.GetName()] = object
}

// merged is what an informer has, with fresher objects of ours in place of staler ones. The store's own version is asked for, and before
// the list: what the watch has received but the store does not show yet must not count as passed, or what we have just made is gone
// for a moment.
func merged[T metav1.Object](informer cache.SharedIndexInformer, o *overlay[T]) []T {
	watched := informer.GetStore().LastStoreSyncResourceVersion()
	stored := informer.GetStore().List()
	objects := make([]T, 0, len(stored)+1)
	seen := map[string]bool{}
	for _, s := range stored {
		object, ok := s.(T)
		if !ok {
			continue
		}
		if len(o.fresh) > 0 {
			object = o.fresher(object)
			seen[object.GetName()] = true
		}
		objects = append(objects, object)
	}
	for _, name := range slices.Sorted(maps.Keys(o.fresh)) {
		if !seen[name] && o.created(name, watched) {
			objects = append(objects, o.fresh[name])
		}
	}
	return objects
}

// MayRead lists one object of every kind that is watched: a missing right is an error at once, where a watch would try for ever.
func (c *Cluster) MayRead(ctx context.Context) error {
	one := metav1.ListOptions{Limit: 1}
	asks := map[string]func() error{
		"nodes":                                  func() error { _, err := c.kube.CoreV1().Nodes().List(ctx, one); return err },
		"ConfigMaps in namespace " + c.namespace: func() error { _, err := c.kube.CoreV1().ConfigMaps(c.namespace).List(ctx, one); return err },
		"Pods in namespace " + c.namespace:       func() error { _, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, one); return err },
		"DaemonSets in namespace " + c.namespace: func() error { _, err := c.kube.AppsV1().DaemonSets(c.namespace).List(ctx, one); return err },
		"ControllerRevisions in namespace " + c.namespace: func() error {
			_, err := c.kube.AppsV1().ControllerRevisions(c.namespace).List(ctx, one)
			return err
		},
		"RuntimeClasses": func() error { _, err := c.kube.NodeV1().RuntimeClasses().List(ctx, one); return err },
	}
	for _, what := range slices.Sorted(maps.Keys(asks)) {
		if err := asks[what](); err != nil {
			return fmt.Errorf("read %s: %w", what, err)
		}
	}
	return nil
}
