package simulation_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The simulation stands beside the product's code, and only tests may know it: a cluster that is played must not get into the binary.
func TestOnlyTestsImportTheSimulation(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		importer, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		const simulation = "longshore.dev/longshore/controller/simulation"
		if (path == simulation || strings.HasPrefix(path, simulation+"/")) && !strings.HasPrefix(importer, simulation) {
			t.Errorf("%s imports it outside of tests", importer)
		}
	}
}
