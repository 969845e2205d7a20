package spec

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// readSpec reads a ConfigMap of testdata.
func readSpec(t testing.TB, file string) (name string, data map[string]string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(raw, &configMap); err != nil {
		t.Fatalf("reading %s: %v", file, err)
	}
	return configMap.Labels[LabelRuntime], configMap.Data
}

func BenchmarkParse(b *testing.B) {
	name, data := readSpec(b, "typical.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := Parse(name, data, nil); len(errs) > 0 {
			b.Fatal(errs.ToAggregate())
		}
	}
}

func BenchmarkRevision(b *testing.B) {
	name, data := readSpec(b, "typical.yaml")
	r, errs := Parse(name, data, nil)
	if len(errs) > 0 {
		b.Fatal(errs.ToAggregate())
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Revision()
	}
}
