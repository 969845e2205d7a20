package health

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"
)

// build is what kustomize makes of a kustomization whose paths are relative to the folder of the repository.
func build(t *testing.T, kustomization *kustomize.Kustomization) map[string]*unstructured.Unstructured {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{kustomization.Resources, kustomization.Components} {
		for i, path := range paths {
			absolute, err := filepath.Abs(gitops + "/../" + path)
			if err != nil {
				t.Fatal(err)
			}
			if paths[i], err = filepath.Rel(folder, absolute); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := yaml.Marshal(kustomization)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, resource := range built.Resources() {
		object, err := resource.Map()
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: object}
		objects[u.GetKind()+"/"+u.GetName()] = u
	}
	return objects
}

// decode reads an object into a type of Flux and refuses fields that it does not have.
func decode[T any](t *testing.T, objects map[string]*unstructured.Unstructured, name string) T {
	t.Helper()
	var into T
	if objects[name] == nil {
		t.Fatalf("no %s in gitops/flux", name)
	}
	text, err := yaml.Marshal(objects[name].Object)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return into
}

func TestFluxReadsTheFiles(t *testing.T) {
	objects := build(t, &kustomize.Kustomization{Resources: []string{"gitops/flux"}})
	source := decode[sourcev1.GitRepository](t, objects, "GitRepository/longshore")
	controller := decode[kustomizev1.Kustomization](t, objects, "Kustomization/longshore-controller")
	specs := decode[kustomizev1.Kustomization](t, objects, "Kustomization/longshore-specs")
	if len(objects) != 3 {
		t.Errorf("found %d objects in gitops/flux, expected 3", len(objects))
	}
	for _, k := range []kustomizev1.Kustomization{controller, specs} {
		if !k.Spec.Wait || !k.Spec.Prune || k.Spec.Timeout == nil || k.Spec.RetryInterval == nil {
			t.Errorf("Kustomization %q: expected wait, prune, timeout and retryInterval", k.Name)
		}
		if k.Spec.SourceRef.Name != source.Name || k.Namespace != source.Namespace {
			t.Errorf("Kustomization %q does not read GitRepository %q", k.Name, source.Name)
		}
		if k.Spec.PostBuild != nil {
			t.Errorf("Kustomization %q has postBuild, which replaces text in commands", k.Name)
		}
	}
	if len(specs.Spec.DependsOn) != 1 || specs.Spec.DependsOn[0].Name != controller.Name {
		t.Errorf("specs depend on %v, expected %q", specs.Spec.DependsOn, controller.Name)
	}
}

func TestTheComponentMakesTheSpecsWaitForTermination(t *testing.T) {
	objects := build(t, &kustomize.Kustomization{
		Resources: []string{"gitops/flux"}, Components: []string{"gitops/flux/wait-for-termination"},
	})
	for name, expected := range map[string]string{
		"Kustomization/longshore-specs":      kustomizev1.DeletionPolicyWaitForTermination,
		"Kustomization/longshore-controller": "",
	} {
		if got := decode[kustomizev1.Kustomization](t, objects, name).Spec.DeletionPolicy; got != expected {
			t.Errorf("%s has deletionPolicy %q, expected %q", name, got, expected)
		}
	}
}

// The patch stands in Flux's Kustomization, so a wrong target would do nothing, in silence.
func TestFluxMakesThePullSecretOnlyOnce(t *testing.T) {
	controller := decode[kustomizev1.Kustomization](t,
		build(t, &kustomize.Kustomization{Resources: []string{"gitops/flux"}}), "Kustomization/longshore-controller")
	base := &kustomize.Kustomization{Resources: []string{"kustomize/default"}}
	for _, patch := range controller.Spec.Patches {
		target := patch.Target
		id := resid.ResId{
			Gvk:       resid.Gvk{Group: target.Group, Version: target.Version, Kind: target.Kind},
			Name:      target.Name,
			Namespace: target.Namespace,
		}
		base.Patches = append(base.Patches, kustomize.Patch{Patch: patch.Patch, Target: &kustomize.Selector{ResId: id}})
	}
	var patched []string
	for name, u := range build(t, base) {
		if u.GetAnnotations()["kustomize.toolkit.fluxcd.io/ssa"] == "IfNotPresent" {
			patched = append(patched, name)
		}
	}
	if !slices.Equal(patched, []string{"Secret/longshore-pull"}) {
		t.Errorf("Flux makes %q only once, expected Secret/longshore-pull", patched)
	}
}
