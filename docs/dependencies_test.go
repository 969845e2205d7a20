package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryDependencyHasAReason(t *testing.T) {
	for heading, module := range map[string]string{"The product": ".", "End-to-end tests": "e2e"} {
		required := requirements(t, module)
		documented := first(t, "dependencies.md", heading, "module")
		for path, direct := range required {
			if direct && !slices.Contains(documented, path) {
				t.Errorf("docs/dependencies.md, %s: lacks a line for %s, which is a direct dependency: what is it for?", heading, path)
			}
		}
		for _, path := range documented {
			if _, ok := required[path]; !ok {
				t.Errorf("docs/dependencies.md, %s: has a line for %s, which is no dependency", heading, path)
			}
		}
	}
}

// requirements are the modules that a go.mod requires, and whether its own code names them.
func requirements(t *testing.T, module string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		words := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(words) >= 2 && strings.HasPrefix(words[1], "v") {
			found[words[0]] = !strings.Contains(line, "// indirect")
		}
	}
	return found
}
