package health

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const ignoreUpdates = "resource.customizations.ignoreResourceUpdates.ConfigMap"

// buildFolder is what kustomize makes of a folder.
func buildFolder(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range built.Resources() {
		object, err := resource.Map()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, &unstructured.Unstructured{Object: object})
	}
	return objects
}

// decode reads an object into a type of Argo CD and refuses fields that it does not have.
func decode[T any](t *testing.T, u *unstructured.Unstructured) T {
	t.Helper()
	var into T
	text, err := yaml.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &into); err != nil {
		t.Fatalf("%s %s: %v", u.GetKind(), u.GetName(), err)
	}
	return into
}

// shipped is the project and the Applications by their names.
func shipped(t *testing.T) (v1alpha1.AppProject, map[string]v1alpha1.Application) {
	t.Helper()
	var project v1alpha1.AppProject
	apps := map[string]v1alpha1.Application{}
	for _, u := range buildFolder(t, gitops+"/argocd") {
		switch u.GetKind() {
		case v1alpha1.AppProjectSchemaGroupVersionKind.Kind:
			project = decode[v1alpha1.AppProject](t, u)
		case v1alpha1.ApplicationSchemaGroupVersionKind.Kind:
			apps[u.GetName()] = decode[v1alpha1.Application](t, u)
		}
	}
	return project, apps
}

func TestTheProjectPermitsWhatTheApplicationsBring(t *testing.T) {
	project, apps := shipped(t)
	if err := project.ValidateProject(); err != nil {
		t.Error(err)
	}
	if names := slices.Sorted(maps.Keys(apps)); !slices.Equal(names, []string{"longshore-controller", "longshore-specs"}) {
		t.Fatalf("found Applications %q", names)
	}
	cluster := &v1alpha1.Cluster{Server: "https://kubernetes.default.svc"}
	noClusters := func(string) ([]*v1alpha1.Cluster, error) { return nil, nil }
	for name, app := range apps {
		if !project.IsSourcePermitted(app.Spec.GetSource()) || app.Spec.Project != project.Name {
			t.Errorf("project %q does not permit the source of Application %q", project.Name, name)
		}
	}
	folders := []string{"../../../../kustomize/default", "../../../../kustomize/samples/gvisor"}
	for _, folder := range folders {
		for _, u := range buildFolder(t, folder) {
			gvk, namespace := u.GroupVersionKind(), u.GetNamespace()
			if !project.IsGroupKindNamePermitted(gvk.GroupKind(), u.GetName(), namespace != "") {
				t.Errorf("project %q does not permit %s %q of %s", project.Name, gvk.GroupKind(), u.GetName(), folder)
			}
			if namespace == "" {
				continue
			}
			if ok, err := project.IsDestinationPermitted(cluster, namespace, noClusters); err != nil || !ok {
				t.Errorf("project %q does not permit namespace %q: %v", project.Name, namespace, err)
			}
		}
	}
}

func TestDeletionEndsWithTheProject(t *testing.T) {
	project, apps := shipped(t)
	controller, specs := apps["longshore-controller"], apps["longshore-specs"]
	const wave, finalizer = "argocd.argoproj.io/sync-wave", "resources-finalizer.argocd.argoproj.io"
	waves := []string{project.Annotations[wave], controller.Annotations[wave], specs.Annotations[wave]}
	if !slices.Equal(waves, []string{"-1", "0", "1"}) {
		t.Errorf("project, controller and specs are in the waves %q", waves)
	}
	for _, object := range [][]string{project.Finalizers, controller.Finalizers, specs.Finalizers} {
		if !slices.Equal(object, []string{finalizer}) {
			t.Errorf("found finalizers %q, expected %q", object, finalizer)
		}
	}
	var root v1alpha1.Application
	readYAML(t, gitops+"/argocd/app-of-apps.yaml", &root)
}

func TestTheDefaultsOfArgoCDStandInTheFragment(t *testing.T) {
	const module = "github.com/argoproj/argo-cd/v3"
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	var defaults corev1.ConfigMap
	readYAML(t, strings.TrimSpace(string(dir))+"/manifests/base/config/argocd-cm.yaml", &defaults)
	ours := updates(t, argocdCM(t)[ignoreUpdates])
	theirs := updates(t, defaults.Data[ignoreUpdates])
	if len(theirs.JQPathExpressions) == 0 {
		t.Error("Argo CD has no defaults for ConfigMaps any more")
	}
	for _, path := range theirs.JQPathExpressions {
		if !slices.Contains(ours.JQPathExpressions, path) {
			t.Errorf("argocd-cm.yaml lacks %s, a default of Argo CD", path)
		}
	}
}

func updates(t *testing.T, text string) v1alpha1.OverrideIgnoreDiff {
	t.Helper()
	var out v1alpha1.OverrideIgnoreDiff
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Argo CD refreshes an Application if what is left of an object without the ignored fields differs, or its health
// status.
func TestOnlyPhaseAndWarningsCauseARefresh(t *testing.T) {
	normalizer, err := normalizers.NewIgnoreNormalizer(nil, map[string]v1alpha1.ResourceOverride{
		"ConfigMap": {IgnoreDifferences: updates(t, argocdCM(t)[ignoreUpdates])},
	}, normalizers.IgnoreNormalizerOpts{})
	if err != nil {
		t.Fatal(err)
	}
	hashed := func(annotation, value string) []byte {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		u.SetName("kata")
		u.SetAnnotations(map[string]string{"longshore.dev/phase": "Halted", "longshore.dev/warnings": "a", annotation: value})
		if err := normalizer.Normalize(u); err != nil {
			t.Fatal(err)
		}
		text, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for annotation, refreshes := range map[string]bool{
		"phase": true, "warnings": true,
		"progress": false, "message": false, "conditions": false, "revision": false, "observed-data": false,
	} {
		name := "longshore.dev/" + annotation
		if got := !bytes.Equal(hashed(name, "before"), hashed(name, "after")); got != refreshes {
			t.Errorf("a change of %s refreshes: got %t, expected %t", name, got, refreshes)
		}
	}
}

// Flux's substitution would eat it, whoever turns it on.
func TestNoFileHoldsADollarSignWithABrace(t *testing.T) {
	err := filepath.WalkDir(gitops, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("$"+"{")) {
			t.Errorf("%s holds a dollar sign with a brace", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
