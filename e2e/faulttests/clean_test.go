package faulttests

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// runtimeLabel marks specs.
const runtimeLabel = "longshore.dev/runtime"

// within is a context that outlives the test's, for cleaning up.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*patience)
}

// clean takes away what the test left, as people would: specs first, and then it waits until there is nothing. Where that does not help, what is
// left is removed by force. It never ends before it has done all of that.
func (s *suite) clean() {
	ctx, cancel := within()
	defer cancel()
	s.proxy.Calm()
	if s.t.Failed() {
		s.heal(ctx)
	}
	if err := s.prune(ctx, ""); err != nil {
		s.t.Error(err)
	}
	if left := s.left(ctx, ""); len(left) > 0 {
		s.serve(ctx)
		if err := until(ctx, "nothing is left", s.nothing("")); err != nil {
			s.t.Error(err)
			s.sweep()
		}
	}
	ctx, cancelLast := within()
	defer cancelLast()
	for _, name := range s.nodes() {
		if _, err := s.sh(ctx, name, "rm -rf /opt/fault-*"); err != nil {
			s.t.Error(err)
		}
	}
	if err := until(ctx, "every node is Ready", s.everyNodeReady); err != nil {
		s.t.Error(err)
	}
}

// serve sees to it that a controller runs: after a failure a fresh one, because nobody knows what the test did to its own.
func (s *suite) serve(ctx context.Context) {
	if !s.t.Failed() && s.ctl.Running() {
		return
	}
	if s.t.Failed() {
		s.close()
		s.proxy, s.ctl = s.controller(ctx)
	}
	if err := s.ctl.Start(); err != nil {
		s.t.Error(err)
	}
}

// nodes are the names of the real nodes that there are now.
func (s *suite) nodes() []string {
	names, err := s.c.Nodes()
	if err != nil {
		s.t.Error(err)
	}
	return names
}

// heal lets commands that hang go on, and undoes what strikes leave behind when they are cut short.
func (s *suite) heal(ctx context.Context) {
	for _, name := range s.nodes() {
		s.healNode(ctx, name, "*")
	}
}

// healNode is [suite.heal] for one node and the runtimes that a pattern of the shell matches.
func (s *suite) healNode(ctx context.Context, name, runtimes string) {
	if out, err := s.sh(ctx, name, "rm -rf /opt/fault-"+runtimes+"/hang /var/tmp/fill; systemctl start containerd; systemctl start kubelet"); err != nil {
		s.t.Errorf("healing node %s: %v: %s", name, err, out)
	}
}

// prune deletes every spec of a runtime, "" for any.
func (s *suite) prune(ctx context.Context, runtime string) error {
	selector := runtimeLabel
	if runtime != "" {
		selector += "=" + runtime
	}
	return s.kube.CoreV1().ConfigMaps("longshore").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: selector})
}

// sweep removes what is left of any runtime, without asking a controller.
func (s *suite) sweep() {
	ctx, cancel := within()
	defer cancel()
	s.close()
	ours := metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of"}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	err := until(ctx, "nothing is left after a sweep", func(ctx context.Context) (bool, string) {
		errs := []error{
			s.unpin(ctx),
			s.kube.AppsV1().DaemonSets("longshore").DeleteCollection(ctx, now, ours),
			s.kube.AppsV1().ControllerRevisions("longshore").DeleteCollection(ctx, now, ours),
			s.kube.CoreV1().Pods("longshore").DeleteCollection(ctx, now, ours),
			s.kube.NodeV1().RuntimeClasses().DeleteCollection(ctx, now, ours),
			s.kube.CoreV1().ConfigMaps("longshore-system").Delete(ctx, "longshore-turns", now),
			s.kube.CoreV1().ConfigMaps("longshore-system").Delete(ctx, "longshore-pools", now),
			s.strip(ctx),
		}
		for _, err := range errs {
			if err != nil && !apierrors.IsNotFound(err) {
				return false, err.Error()
			}
		}
		return s.nothing("")(ctx)
	})
	if err != nil {
		s.t.Error(err)
	}
}

// unpin takes the finalizers off every spec, and the specs away.
func (s *suite) unpin(ctx context.Context) error {
	specs, err := s.kube.CoreV1().ConfigMaps("longshore").List(ctx, metav1.ListOptions{LabelSelector: runtimeLabel})
	if err != nil {
		return err
	}
	for i := range specs.Items {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		if _, err := s.kube.CoreV1().ConfigMaps("longshore").Patch(ctx, specs.Items[i].Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return s.prune(ctx, "")
}

// strip takes every key of ours off the nodes.
func (s *suite) strip(ctx context.Context) error {
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		gone := func(keys map[string]string) map[string]any {
			nulls := map[string]any{}
			for key := range keys {
				if strings.Contains(key, ".longshore.dev/") {
					nulls[key] = nil
				}
			}
			return nulls
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": gone(n.Labels), "annotations": gone(n.Annotations)}})
		if err != nil {
			return err
		}
		if _, err := s.kube.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// everyNodeReady is a condition to wait for.
func (s *suite) everyNodeReady(ctx context.Context) (ready bool, stand string) {
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err.Error()
	}
	var not []string
	for i := range nodes.Items {
		if !nodeReady(&nodes.Items[i]) {
			not = append(not, nodes.Items[i].Name)
		}
	}
	return len(not) == 0, fmt.Sprintf("not Ready: %q", not)
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// TestWhatAFailedTestLeavesIsSweptAway has a command hang that nobody releases any more, and a spec that a finalizer holds.
func TestWhatAFailedTestLeavesIsSweptAway(t *testing.T) {
	s := start(t)
	y := &story{suite: s, image: s.payload("left:1", ""), runtime: "left", nodes: []string{nodeB}}
	s.run()
	y.hang()
	y.do(0)
	y.begun(1)
	s.kubectl("--namespace=longshore", "patch", "configmap", "left", "--type=merge", `--patch={"metadata":{"finalizers":["longshore.dev/test"]}}`)
	s.sweep()
	s.proxy, s.ctl = s.controller(t.Context())
	s.run()
	y.runtime = "after"
	y.do(0)
	y.installed("1")
}
