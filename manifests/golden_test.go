package manifests

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/spec"
)

const pauseImage = "registry.example.com/longshore:v1.2.3"

// A folder of testdata is a spec beside the objects that it becomes; with a folder `site`, in a cluster with that component.
func TestASpecBecomesTheseObjects(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/spec.yaml")
	if err != nil || len(folders) == 0 {
		t.Fatalf("found no specs: %v", err)
	}
	for _, file := range folders {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r := newTestRenderer()
			if files := readFolder(t, filepath.Join(dir, "site")); len(files) > 0 {
				if err := r.SetSite(files); err != nil {
					t.Fatal(err)
				}
			}
			objects := mustRender(t, r, readSpec(t, file))
			text, err := objects.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "objects.yaml"), text)
		})
	}
}

func newTestRenderer() *Renderer { return NewRenderer(Options{PauseImage: pauseImage}) }

// readSpec reads a ConfigMap as the controller would.
func readSpec(t testing.TB, file string) *spec.Runtime {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	rt, errs := spec.Parse(config.Labels[spec.LabelRuntime], config.Data, config.BinaryData)
	if len(errs) > 0 {
		t.Fatalf("%s: %v", file, errs.ToAggregate())
	}
	return rt
}

// readFolder reads the files of a folder by name; a folder that is not there has none.
func readFolder(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = text
	}
	return files
}

func mustRender(t testing.TB, r *Renderer, rt *spec.Runtime) *Objects {
	t.Helper()
	objects, errs := r.Render(t.Context(), rt)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return objects
}

// golden compares a text with a file, or writes the file when UPDATE is set.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; UPDATE=1 writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-) and what was rendered (+), UPDATE=1 rewrites it:\n%s", file, diff)
	}
}
