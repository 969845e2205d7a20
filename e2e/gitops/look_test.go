package gitops

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// specs are the ConfigMaps of a runtime.
func (s *scenario) specs(runtime string) []corev1.ConfigMap {
	s.Helper()
	list, err := s.w.configMaps().List(s.Context(), metav1.ListOptions{LabelSelector: domain + "runtime=" + runtime})
	if err != nil {
		s.Fatal(err)
	}
	return list.Items
}

// remain expects so many specs of the runtime in the end: a tool may prune after it says that all is well.
func (s *scenario) remain(runtime string, count int) {
	s.Helper()
	eventually(s.T, fmt.Sprintf("%d specs of %s remain", count, runtime), soon, func(context.Context) (bool, string) {
		found := len(s.specs(runtime))
		return found == count, fmt.Sprint(found)
	})
}

// newest is the name of the newest spec: the one that is in force.
func (s *scenario) newest() string {
	s.Helper()
	found := s.specs(s.runtime)
	if len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b corev1.ConfigMap) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	}).Name
}

// nextSecond waits until a ConfigMap that is made now is newer than those there are: timestamps are whole seconds, and
// of two specs of the same second the name decides.
func (s *scenario) nextSecond() {
	s.Helper()
	for _, cm := range s.specs(s.runtime) {
		eventually(s.T, "the next second", soon, func(context.Context) (bool, string) {
			now := time.Now()
			return now.Unix() > cm.CreationTimestamp.Unix(), now.String()
		})
	}
}

// create makes a spec by hand.
func (s *scenario) create(of source, name string) {
	s.Helper()
	cm := &corev1.ConfigMap{Data: of.data, ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: installers, Labels: map[string]string{domain + "runtime": of.runtime},
	}}
	if _, err := s.w.configMaps().Create(s.Context(), cm, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// ready waits until a spec says that it is Ready.
func (s *scenario) ready(name string) {
	s.Helper()
	eventually(s.T, fmt.Sprintf("spec %s is Ready", name), soon, func(ctx context.Context) (bool, string) {
		cm, err := s.w.configMaps().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return cm.Annotations[domain+"phase"] == "Ready", describe(cm)
	})
}

// gone waits until nothing of the runtime is left on any node, and no installer.
func (s *scenario) gone(runtime string) {
	s.Helper()
	eventually(s.T, "nothing is left of "+runtime, patience, func(ctx context.Context) (bool, string) {
		list, err := s.w.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for i := range list.Items {
			for _, keys := range []map[string]string{list.Items[i].Labels, list.Items[i].Annotations} {
				for key := range keys {
					if strings.HasPrefix(key, runtime+".longshore.dev/") {
						return false, "node " + list.Items[i].Name + " has " + key
					}
				}
			}
		}
		of := metav1.ListOptions{LabelSelector: runtimeOf + "=" + runtime}
		sets, err := s.w.kube.AppsV1().DaemonSets(installers).List(ctx, of)
		return err == nil && len(sets.Items) == 0, fmt.Sprintf("DaemonSets: %v", err)
	})
}

// alone waits until no other runtime is under way on any node: what an earlier scenario left is being uninstalled, and without Longshore's
// namespaces nobody could finish that.
func (s *scenario) alone() {
	s.Helper()
	eventually(s.T, "no other runtime is under way", patience, func(ctx context.Context) (bool, string) {
		list, err := s.w.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for i := range list.Items {
			for key := range list.Items[i].Labels {
				runtime, ours := strings.CutSuffix(key, ".longshore.dev/gate")
				if ours && runtime != s.runtime {
					return false, "node " + list.Items[i].Name + " has " + key
				}
			}
		}
		return true, ""
	})
}
