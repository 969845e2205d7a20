package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore.dev/longshore/e2e/deploy"
)

// The samples are not installed here: their payloads are not ours, or need hardware that is not there. What the real API server
// can say is whether it would take them, alone and with the component of every distribution.
func TestTheAPIServerWouldTakeEverySampleAndWhatItBecomes(t *testing.T) {
	source, err := deploy.Source()
	if err != nil {
		t.Fatal(err)
	}
	samples, overlays := kustomizations(t, filepath.Join(source, "kustomize", "samples")), kustomizations(t, filepath.Join(source, "kustomize", "overlays"))
	for _, overlay := range append([]string{""}, overlays...) {
		name := "plain"
		if overlay != "" {
			name = filepath.Base(overlay)
		}
		t.Run(name, func(t *testing.T) {
			s := start(t, "samples")
			var specs strings.Builder
			for _, sample := range samples {
				specs.WriteString("---\n" + s.built(sample, overlay))
			}
			file := s.file(specs.String())
			s.wouldTake(file)
			objects, words, code := s.longshore(filepath.Join(t.TempDir(), "none"), "render", file)
			if code != 0 {
				t.Fatalf("render exited %d: %s", code, words)
			}
			if sets, classes := strings.Count(objects, "kind: DaemonSet"), strings.Count(objects, "kind: RuntimeClass"); sets < 2*len(samples) || classes < len(samples) {
				t.Errorf("%d samples became %d DaemonSets and %d RuntimeClasses", len(samples), sets, classes)
			}
			s.wouldTake(s.file(objects))
		})
	}
}

// kustomizations are the folders with one in a folder that has some.
func kustomizations(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "kustomization.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found nothing in %s: %v", dir, err)
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}

// built is what `kustomize build` makes of a sample, with an overlay if one is given, as the overlay's comment says.
func (s *suite) built(sample, overlay string) string {
	s.t.Helper()
	dir := s.t.TempDir()
	text := fmt.Sprintf("resources: [%s]\n", s.relative(dir, sample))
	if overlay != "" {
		text += fmt.Sprintf("components: [%s]\n", s.relative(dir, overlay))
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.c.Kubectl(s.t.Context(), "kustomize", dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// relative is how kustomize wants a folder to be named.
func (s *suite) relative(from, to string) string {
	s.t.Helper()
	path, err := filepath.Rel(from, to)
	if err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *suite) file(text string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// wouldTake applies objects with a dry run: the API server checks, defaults and admits them, and keeps nothing.
func (s *suite) wouldTake(file string) {
	s.t.Helper()
	if out, err := s.c.Kubectl(s.t.Context(), "apply", "--server-side", "--dry-run=server", "--field-manager=samples", "--force-conflicts", "--filename", file); err != nil {
		s.t.Errorf("%v\n%s", err, out)
	}
}
