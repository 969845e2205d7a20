package informers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
)

// own watches what Longshore itself consists of: its namespaces, and the Deployment of its controller. Whoever deletes them deletes with them whoever could take finalizers
// off specs.
type own struct {
	namespaces []cache.SharedIndexInformer
	deployment cache.SharedIndexInformer
	// name is that of the Deployment; there is true once it was seen. A controller that runs in no Deployment has none to lose.
	name  string
	there bool
}

// WatchOwn has snapshots say when Longshore itself, or one of its namespaces, is being deleted, before [Cluster.Start]. Where the right is missing, that is an
// error for which apierrors.IsForbidden is true, and nothing else waits for it. Whatever else keeps the API server from answering, the watch outlasts.
func (c *Cluster) WatchOwn(ctx context.Context, deployment string) error {
	named := func(name string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	}
	for _, namespace := range []string{c.namespace, c.system} {
		if _, err := c.kube.CoreV1().Namespaces().List(ctx, named(namespace)); apierrors.IsForbidden(err) {
			return fmt.Errorf("read namespace %s: %w", namespace, err)
		}
	}
	if _, err := c.kube.AppsV1().Deployments(c.system).List(ctx, named(deployment)); apierrors.IsForbidden(err) {
		return fmt.Errorf("read Deployment %s/%s: %w", c.system, deployment, err)
	}
	for _, namespace := range []string{c.namespace, c.system} {
		factory := c.factory(metav1.NamespaceAll, trimOwn, func(o *metav1.ListOptions) { o.FieldSelector = named(namespace).FieldSelector })
		c.own.namespaces = append(c.own.namespaces, factory.Core().V1().Namespaces().Informer())
	}
	factory := c.factory(c.system, trimOwn, func(o *metav1.ListOptions) { o.FieldSelector = named(deployment).FieldSelector })
	c.own.name, c.own.deployment = deployment, factory.Apps().V1().Deployments().Informer()
	for _, informer := range append(c.own.namespaces, c.own.deployment) {
		if _, err := informer.AddEventHandler(c.handler()); err != nil {
			return fmt.Errorf("set up informer: %w", err)
		}
	}
	return nil
}

// terminating says what of Longshore is being deleted, "" for nothing.
func (c *Cluster) terminating() string {
	for i, informer := range c.own.namespaces {
		name := []string{c.namespace, c.system}[i]
		for _, object := range informer.GetStore().List() {
			if ns, ok := object.(*corev1.Namespace); ok && ns.Name == name && ns.DeletionTimestamp != nil {
				return "namespace " + name
			}
		}
	}
	if c.own.deployment == nil || !c.own.deployment.HasSynced() {
		return ""
	}
	what := fmt.Sprintf("the controller (Deployment %s/%s)", c.system, c.own.name)
	for _, object := range c.own.deployment.GetStore().List() {
		if d, ok := object.(*appsv1.Deployment); ok && d.Name == c.own.name {
			c.own.there = true
			if d.DeletionTimestamp != nil {
				return what
			}
			return ""
		}
	}
	if c.own.there {
		return what
	}
	return ""
}

// trimOwn keeps whether an object is being deleted.
func trimOwn(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: trimMeta(&o.ObjectMeta)}, nil
	case *appsv1.Deployment:
		return &appsv1.Deployment{ObjectMeta: trimMeta(&o.ObjectMeta)}, nil
	}
	return object, nil
}
