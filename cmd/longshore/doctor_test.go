package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/observed"
)

// deployed are the objects of a deployment in order.
func deployed() []runtime.Object {
	system := metav1.ObjectMeta{Namespace: "longshore-system", Name: "longshore"}
	renewed := metav1.NewMicroTime(noon.Add(-3 * time.Second))
	return []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "longshore", Labels: map[string]string{podSecurity: "privileged"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "longshore-system", Labels: map[string]string{podSecurity: "restricted"}}},
		&appsv1.Deployment{ObjectMeta: system, Status: appsv1.DeploymentStatus{ReadyReplicas: 2}},
		&coordinationv1.Lease{ObjectMeta: system, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("longshore-1"), RenewTime: &renewed}},
	}
}

// examined is what the doctor finds in a cluster with these objects, where the controller's account may do all but what is denied.
func examined(t *testing.T, denied string, objects ...runtime.Object) (lines []string, code int) {
	t.Helper()
	kube := fake.NewClientset(objects...)
	kube.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview) //nolint:forcetypeassert // it is just what was asked for
		a := review.Spec.ResourceAttributes
		review.Status.Allowed = a.Verb+" "+a.Resource != denied
		return true, review, nil
	})
	d := &doctor{connection: &connection{namespace: "longshore", system: "longshore-system"}, kube: kube, now: noon}
	d.examine(t.Context())
	var out bytes.Buffer
	if err := d.tell(&environment{stdout: &out}); err != nil {
		code = exitCode(err)
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n"), code
}

func TestTheDoctorFindsNothingWrongWhereNothingIs(t *testing.T) {
	lines, code := examined(t, "", slices.Concat(newCluster(t).objects, deployed())...)
	want := []string{
		"ok     namespace longshore",
		"ok     namespace longshore-system",
		"ok     2 replicas of the controller are ready",
		"ok     longshore-1 leads",
		"ok     the account system:serviceaccount:longshore-system:longshore has its rights",
		"ok     every spec and pool is in namespace longshore",
		"ok     nothing in the cluster is out of place: 1 runtimes, 0 pools, 5 nodes",
	}
	if diff := cmp.Diff(want, lines); diff != "" || code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
}

func TestTheDoctorFindsWhatIsWrongAndSaysWhatToDo(t *testing.T) {
	spec := func(namespace, name, label, value string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{label: value}, CreationTimestamp: metav1.NewTime(noon.Add(-2 * time.Hour))}, Data: data,
		}
	}
	node := func(annotations map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "z", UID: "z", Annotations: annotations}}
	}
	for name, c := range map[string]struct {
		denied  string
		without string
		with    []runtime.Object
		want    string
	}{
		"a namespace that is not there": {"", "longshore-system", nil, "WRONG  there is no namespace longshore-system; deploy Longshore"},
		"no controller":                 {"", "Deployment", nil, "WRONG  there is no Deployment longshore-system/longshore; deploy Longshore"},
		"nobody leads":                  {"", "Lease", nil, "WRONG  no controller ever held the lease longshore-system/longshore; look at the log"},
		"nobody leads any more": {"", "Lease", []runtime.Object{&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: "longshore"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("longshore-1"), RenewTime: new(metav1.NewMicroTime(noon.Add(-time.Hour)))},
		}}, "WRONG  no controller leads: the lease longshore-system/longshore was renewed last at 2026-11-20T11:00:00Z"},
		"a namespace that refuses installers": {"", "longshore", []runtime.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "longshore", Labels: map[string]string{podSecurity: "baseline"}}},
		}, "WRONG  namespace longshore has the label pod-security.kubernetes.io/enforce=baseline: installers are refused there; set it to privileged"},
		"a right that is missing": {"patch nodes", "", nil, "WRONG  the account system:serviceaccount:longshore-system:longshore may not patch nodes; deploy"},
		"a right that a spec takes": {
			"create pods", "", nil,
			"WRONG  the account system:serviceaccount:longshore-system:longshore may not see the pods of other namespaces and evict them, which drain or inUsePolicy of kata take; add kustomize/components/workloads",
		},
		"a spec elsewhere": {"", "", []runtime.Object{spec("default", "kata", observed.LabelRuntime, "kata", nil)}, "WRONG  nobody watches the ConfigMaps default/kata; put them into namespace longshore, or delete them"},
		"a spec that is superseded": {
			"", "",
			[]runtime.Object{spec("longshore", "kata-old", observed.LabelRuntime, "kata", map[string]string{})},
			"note   ConfigMap kata-old is superseded by kata; nobody obeys it: kubectl -n longshore delete configmap kata-old",
		},
		"a pool that is refused":       {"", "", []runtime.Object{spec("longshore", "blue", observed.LabelPool, "blue", map[string]string{})}, `WRONG  pool "blue" is Invalid; see longshore status`},
		"a spec that is refused":       {"", "", []runtime.Object{spec("longshore", "crun", observed.LabelRuntime, "crun", map[string]string{})}, `WRONG  the spec of runtime "crun" is Invalid; see longshore status crun`},
		"progress that cannot be read": {"", "", []runtime.Object{node(map[string]string{observed.ProgressKey("kata"): "{"})}, "WRONG  node z: annotation kata.longshore.dev/progress: progress is not readable"},
		"a node of no runtime": {
			"", "",
			[]runtime.Object{node(map[string]string{observed.ProgressKey("crun"): (&observed.Progress{Phase: observed.PhaseReady}).String()})},
			`WRONG  1 nodes carry runtime "crun", of which neither a spec nor a snapshot is there; clean up there`,
		},
		"a hold for no runtime": {"", "", []runtime.Object{node(map[string]string{observed.HoldKey("crun"): "INC"})}, `note   node z has an annotation of people for runtime "crun", which is not there`},
	} {
		objects := slices.DeleteFunc(slices.Concat(newCluster(t).objects, deployed()), func(o runtime.Object) bool {
			switch o := o.(type) {
			case *corev1.Namespace:
				return o.Name == c.without
			case *appsv1.Deployment:
				return c.without == "Deployment"
			case *coordinationv1.Lease:
				return c.without == "Lease"
			}
			return false
		})
		lines, code := examined(t, c.denied, append(objects, c.with...)...)
		found := slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, c.want) })
		if !found || (code == 1) != strings.HasPrefix(c.want, isWrong) {
			t.Errorf("%s: exit code %d, expected %q among\n%s", name, code, c.want, strings.Join(lines, "\n"))
		}
	}
}

// What the doctor asks for is what a deployment gives.
func TestTheDoctorKnowsTheRightsThatAreShipped(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "kustomize", "default", "rbac-*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	shipped, known := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.SplitSeq(raw, []byte("\n---\n")) {
			var role rbacv1.Role // a ClusterRole has the same fields, and no namespace
			if err := yaml.Unmarshal(text, &role); err != nil {
				t.Fatal(err)
			}
			for _, rule := range role.Rules {
				for _, resource := range rule.Resources {
					if resource == "events" {
						continue
					}
					for _, name := range append(slices.Clone(rule.ResourceNames), "")[:max(len(rule.ResourceNames), 1)] {
						for _, verb := range rule.Verbs {
							shipped[strings.Join([]string{role.Namespace, rule.APIGroups[0], resource, name, verb}, " ")] = true
						}
					}
				}
			}
		}
	}
	for _, r := range rights {
		namespace := map[place]string{withSpecs: "longshore", withController: "longshore-system"}[r.in]
		for _, verb := range r.verbs {
			known[strings.Join([]string{namespace, r.group, r.resource, r.name, verb}, " ")] = true
		}
	}
	if diff := cmp.Diff(shipped, known); diff != "" {
		t.Errorf("rights of kustomize/default (-) and those that the doctor knows (+):\n%s", diff)
	}
}
