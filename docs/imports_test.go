package docs_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "longshore.dev/longshore/"

// outside is what the pure core may not import, and why not.
var outside = map[string]string{
	"k8s.io/client-go":   "it has no clients: what it needs comes in a Snapshot, what it wants done goes out as a value",
	"k8s.io/utils/clock": "it has no clock: time comes in a Snapshot, and a decision says when to look again",
	"k8s.io/klog/v2":     "it does not log: it returns what there is to say",
	"go.uber.org/zap":    "it does not log: it returns what there is to say",
	"log":                "it does not log: it returns what there is to say",
	"log/slog":           "it does not log: it returns what there is to say",
	"os":                 "it touches neither files nor the environment",
	"net/http":           "it talks to nobody",
}

// listed is what `go list` says of a package, tests left out.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	// A cached result is good for as long as the files that a test has looked at are the same; those that `go list` looks at do not count.
	for _, pattern := range []string{"../*/*.go", "../*/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var found []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
}

// room is the folder of a package of ours, "" for any other: `controller` for `longshore.dev/longshore/controller/simulation`.
func room(path string) string {
	rest, ours := strings.CutPrefix(path, module)
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// The table of imports in CONTRIBUTING.md is the rule.
func TestImportsGoOneWay(t *testing.T) {
	allowed, pure := map[string][]string{}, map[string]bool{}
	for _, row := range table(t, filepath.Join("..", "CONTRIBUTING.md"), "Where things live", "package") {
		above := slices.Collect(maps.Keys(allowed))
		for _, name := range backquoted(row[0]) {
			switch {
			case row[1] == "nothing":
				allowed[name] = nil
			case strings.HasPrefix(row[1], "all"):
				allowed[name] = above
			default:
				allowed[name] = strings.Split(row[1], ", ")
			}
			pure[name] = row[2] == "no"
		}
	}
	for _, p := range packages(t) {
		name := room(p.ImportPath)
		if name == "docs" {
			continue
		}
		if _, ok := allowed[name]; !ok {
			t.Errorf("package %s has no row in the table of CONTRIBUTING.md: which question does it answer, and what may it import?", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			if other := room(path); other != "" && other != name && !slices.Contains(allowed[name], other) {
				t.Errorf("%s imports %s; the table of CONTRIBUTING.md lets %s import of ours: %s", p.ImportPath, path, name, strings.Join(allowed[name], ", "))
			}
			if why, ok := outside[path]; ok && pure[name] {
				t.Errorf("%s is part of the pure core and imports %s; %s", p.ImportPath, path, why)
			}
		}
		for _, path := range p.Deps {
			if pure[name] && (path == "k8s.io/client-go" || strings.HasPrefix(path, "k8s.io/client-go/")) {
				t.Errorf("%s is part of the pure core and reaches %s through something that it imports; %s", p.ImportPath, path, outside["k8s.io/client-go"])
				break
			}
		}
	}
}
