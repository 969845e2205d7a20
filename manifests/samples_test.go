package manifests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/spec"
)

const (
	samples  = "../kustomize/samples"
	overlays = "../kustomize/overlays"
	// goldenSamples has what the samples become, and below it what an overlay changes about that.
	goldenSamples = "testdata/samples"
)

func TestEverySampleIsASpecThatRenders(t *testing.T) {
	for _, name := range folders(t, samples) {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join(goldenSamples, name+".yaml"), renderSample(t, name, ""))
		})
	}
	for _, file := range files(t, goldenSamples) {
		if name := strings.TrimSuffix(file, ".yaml"); !slices.Contains(folders(t, samples), name) {
			t.Errorf("%s/%s is of no sample", goldenSamples, file)
		}
	}
}

// Who copies a sample finds out first what it is for and how it gets into a cluster.
func TestEverySampleAndOverlaySaysForWhomItIsAndHowToUseIt(t *testing.T) {
	for _, dir := range []struct{ path, use string }{{samples, "kustomize build kustomize/samples/%s | kubectl apply"}, {overlays, "components: [PATH/kustomize/overlays/%s]"}} {
		for _, name := range folders(t, dir.path) {
			text, err := os.ReadFile(filepath.Join(dir.path, name, "kustomization.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			comment, _, _ := strings.Cut(string(text), "apiVersion:")
			if use := fmt.Sprintf(dir.use, name); !strings.HasPrefix(comment, "# ") || !strings.Contains(comment, use) {
				t.Errorf("%s/%s: the comment at the beginning does not have %q", dir.path, name, use)
			}
		}
	}
}

// touches says which key of a sample an overlay changes, by the label that overlays select samples by. Samples without that label
// know no other place than /etc/containerd.
var touches = map[string]string{"variables": "environmentVariables", "volume": "patches", "": ""}

func TestAnOverlayChangesNothingButPathsOfContainerd(t *testing.T) {
	plain, rendered := map[string]*corev1.ConfigMap{}, map[string][]byte{}
	for _, name := range folders(t, samples) {
		plain[name], rendered[name] = buildSample(t, name, ""), renderSample(t, name, "")
	}
	for _, overlay := range folders(t, overlays) {
		t.Run(overlay, func(t *testing.T) {
			var changes strings.Builder
			for _, name := range folders(t, samples) {
				plain, patched := plain[name], buildSample(t, name, overlay)
				key, ok := touches[plain.Labels["containerd-paths"]]
				if !ok {
					t.Errorf("%s has the label containerd-paths=%s, which no overlay knows", name, plain.Labels["containerd-paths"])
				}
				if got := changedKeys(plain.Data, patched.Data); got != key {
					t.Errorf("%s: the keys %q of the spec differ, expected %q", name, got, key)
				}
				if changed := changedLines(t, rendered[name], renderSample(t, name, overlay)); changed != "" {
					fmt.Fprintf(&changes, "%s:\n%s", name, changed)
				}
			}
			golden(t, filepath.Join(goldenSamples, "overlays", overlay+".txt"), []byte(changes.String()))
		})
	}
}

// changedKeys are the keys that are not the same in both.
func changedKeys(a, b map[string]string) string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	maps.DeleteFunc(all, func(key, _ string) bool { return a[key] == b[key] })
	return strings.Join(slices.Sorted(maps.Keys(all)), ", ")
}

// changedLines are the lines that differ, each change once. No line may come or go, and only paths and values may change.
func changedLines(t *testing.T, a, b []byte) string {
	t.Helper()
	before, after := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	if len(before) != len(after) {
		t.Fatalf("%d lines became %d", len(before), len(after))
	}
	var changed []string
	for i, line := range before {
		if line == after[i] {
			continue
		}
		line, other := strings.TrimSpace(line), strings.TrimSpace(after[i])
		if key, _, _ := strings.Cut(line, ": "); (key != "path" && key != "value") || !strings.HasPrefix(other, key+": ") {
			t.Errorf("%q became %q", line, other)
		}
		if change := "  - " + line + "\n  + " + other + "\n"; !slices.Contains(changed, change) {
			changed = append(changed, change)
		}
	}
	return strings.Join(changed, "")
}

// renderSample is what a sample becomes, with an overlay if one is named. The revision is a word, so that a changed command
// changes the lines of that command.
func renderSample(t *testing.T, name, overlay string) []byte {
	t.Helper()
	objects := mustRender(t, newTestRenderer(), readSample(t, name, overlay))
	text, err := objects.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(string(text), objects.Revision, "REVISION"))
}

// readSample reads a sample as the controller would.
func readSample(t *testing.T, name, overlay string) *spec.Runtime {
	t.Helper()
	config := buildSample(t, name, overlay)
	if config.Namespace != DefaultNamespace {
		t.Errorf("%s is in the namespace %q", name, config.Namespace)
	}
	rt, errs := spec.Parse(config.Labels[spec.LabelRuntime], config.Data, config.BinaryData)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return rt
}

// buildSample is what `kustomize build` makes of a sample, or of one with an overlay as its comment says.
func buildSample(t *testing.T, name, overlay string) *corev1.ConfigMap {
	t.Helper()
	dir := filepath.Join(samples, name)
	if overlay != "" {
		dir = t.TempDir()
		text := fmt.Sprintf("resources: [%s]\ncomponents: [%s]\n", relative(t, dir, filepath.Join(samples, name)), relative(t, dir, filepath.Join(overlays, overlay)))
		if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if built.Size() != 1 {
		t.Fatalf("%s builds %d objects, expected a ConfigMap", name, built.Size())
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	config := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict(text, config); err != nil {
		t.Fatal(err)
	}
	return config
}

// relative is how kustomize wants a folder to be named.
func relative(t *testing.T, from, to string) string {
	t.Helper()
	to, err := filepath.Abs(to)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Rel(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// folders are the names of the folders in one that has some.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	return entries(t, dir, os.DirEntry.IsDir)
}

// files are the names of the files in a folder that has some.
func files(t *testing.T, dir string) []string {
	t.Helper()
	return entries(t, dir, func(entry os.DirEntry) bool { return !entry.IsDir() })
}

func entries(t *testing.T, dir string, wanted func(os.DirEntry) bool) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range found {
		if wanted(entry) {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		t.Fatalf("found nothing in %s", dir)
	}
	return names
}
