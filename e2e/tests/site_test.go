package tests

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	siteName = "longshore-site"
	// What the controller logs of the site's component.
	siteInForce = "site component is in force"
	siteRefused = "site component is not in force"
)

// teamComponent is a component that gives every installer a label.
func teamComponent(team string) string {
	return "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels:\n- pairs: {team: " + team + "}\n  includeTemplates: true\n"
}

// TestTheSiteComponentIsReadAgainWhenItChanges changes, breaks and mends the site's component in the ConfigMap that the controllers have mounted.
// Revisions that are made afterwards have what the last good component says.
func TestTheSiteComponentIsReadAgainWhenItChanges(t *testing.T) {
	s := start(t, "sited")
	site := &siteWriter{suite: s}
	t.Cleanup(site.remove)

	site.write(teamComponent("one"), siteInForce)
	s.apply(fmt.Sprintf(specText, "sited", s.siteImage(1), "containerd=2"))
	s.ready("sited", 2)
	s.wantTeam("one")

	site.write("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [deployment.yaml]\n", siteRefused)
	s.set("sited", "payloadImage", s.siteImage(2))
	s.wantTeam("one")

	site.write(teamComponent("two"), siteInForce)
	s.set("sited", "payloadImage", s.siteImage(3))
	s.wantTeam("two")
	s.ready("sited", 2)
}

func (s *suite) siteImage(n int) string {
	s.t.Helper()
	return s.payload("sited:"+strconv.Itoa(n), map[string]string{"/install.sh": touchScript + "\n# " + strconv.Itoa(n), "/uninstall.sh": removeScript})
}

// wantTeam waits until the pods of the revision that the spec asks for have the label, and until its rollout is done.
func (s *suite) wantTeam(team string) {
	s.t.Helper()
	revision := s.ready("sited", 2)
	set, err := s.kube.AppsV1().DaemonSets("longshore").Get(s.t.Context(), "sited-install-"+revision, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := set.Spec.Template.Labels["team"]; got != team {
		s.t.Errorf("pods of %s have the label team=%q, expected %q", set.Name, got, team)
	}
}

// siteWriter writes the ConfigMap of the site's component, and waits until every controller has read it.
type siteWriter struct {
	*suite
	writes int
}

func (w *siteWriter) write(kustomization, says string) {
	w.t.Helper()
	before := w.said(w.t.Context(), says)
	maps := w.kube.CoreV1().ConfigMaps("longshore-system")
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: siteName}, Data: map[string]string{"kustomization.yaml": kustomization}}
	_, err := maps.Update(w.t.Context(), cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(w.t.Context(), cm, metav1.CreateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.touch()
	w.wait(w.t.Context(), "every controller says that the "+says, func(ctx context.Context) (bool, string) {
		now := w.said(ctx, says)
		for pod, count := range now {
			if count <= before[pod] {
				return false, fmt.Sprintf("lines by pod: %v, before: %v", now, before)
			}
		}
		return len(now) > 0, fmt.Sprint(now)
	})
}

// touch has the kubelets look at the controllers' volumes now, and not within a minute: a pod that changes is synced at once.
func (w *siteWriter) touch() {
	w.t.Helper()
	w.writes++
	_, err := w.c.Kubectl(context.Background(), "--namespace=longshore-system", "annotate", "pods", "--selector=app.kubernetes.io/name=longshore",
		"--overwrite", "longshore.test/touched="+strconv.Itoa(w.writes))
	if err != nil {
		w.t.Error(err)
	}
}

// said counts the lines of each controller's log that have the words.
func (w *siteWriter) said(ctx context.Context, words string) map[string]int {
	w.t.Helper()
	pods, err := w.kube.CoreV1().Pods("longshore-system").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=longshore"})
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]int{}
	for i := range pods.Items {
		name := pods.Items[i].Name
		log, err := w.kube.CoreV1().Pods("longshore-system").GetLogs(name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		counts[name] = strings.Count(string(log), words)
	}
	return counts
}

// remove takes the component away; the controllers go on without one.
func (w *siteWriter) remove() {
	ctx := context.Background()
	before := w.said(ctx, siteInForce)
	if err := w.kube.CoreV1().ConfigMaps("longshore-system").Delete(ctx, siteName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		w.t.Error(err)
	}
	w.touch()
	w.wait(ctx, "the controllers have no site component any more", func(ctx context.Context) (bool, string) {
		now := w.said(ctx, siteInForce)
		for pod, count := range now {
			if count <= before[pod] {
				return false, fmt.Sprint(now)
			}
		}
		return true, ""
	})
}
