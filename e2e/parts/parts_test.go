package parts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tiny lays down a part that compiles in a moment.
func tiny(t *testing.T) part {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "tiny")
	write(t, folder, "go.mod", "module tiny\n\ngo 1.26\n")
	write(t, folder, "main.go", "package main\n\nvar word = \"unset\"\n\nfunc main() { println(word) }\n")
	write(t, folder, "part.json", `{"outputs": {"tiny": "."}, "links": {"alias": "tiny"}, "ldflags": ["-X main.word=set"]}`)
	return reload(t, folder)
}

func reload(t *testing.T, folder string) part {
	t.Helper()
	p, err := load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAPartIsBuiltOnceAndFoundAgain(t *testing.T) {
	p, cache := tiny(t), t.TempDir()
	killed := filepath.Join(cache, "tiny.building-1")
	write(t, killed, "tiny", "half of it")
	var progress bytes.Buffer
	dir, err := p.ensure(t.Context(), &progress, cache)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(progress.String(), "tiny: built after") {
		t.Errorf("progress = %q, want it to say that tiny was built", progress.String())
	}
	if exists(killed) {
		t.Error("what a killed build left is still there")
	}
	output, err := exec.CommandContext(t.Context(), p.paths(dir)["alias"]).CombinedOutput()
	if err != nil || string(output) != "set\n" {
		t.Errorf("the built program printed %q, %v; want the word that the flags set", output, err)
	}
	progress.Reset()
	again, err := p.ensure(t.Context(), &progress, cache)
	if err != nil || again != dir || progress.Len() > 0 {
		t.Errorf("second time: %q, %v, progress %q; want %q without a word", again, err, progress.String(), dir)
	}
}

func TestTheKeyFollowsWhatDecidesTheBytes(t *testing.T) {
	p := tiny(t)
	key := func() string {
		key, err := reload(t, p.folder).key(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	seen := map[string]string{key(): "the first state"}
	write(t, p.folder, "main_test.go", "package main\n")
	write(t, p.folder, "README.md", "words\n")
	if _, same := seen[key()]; !same {
		t.Error("a test file or a text changed the key")
	}
	changes := map[string][2]string{
		"the source":    {"main.go", "package main\n\nfunc main() {}\n"},
		"a second file": {"more.go", "package main\n"},
		"the flags":     {"part.json", `{"outputs": {"tiny": "."}, "tags": ["x"]}`},
		"the module":    {"go.mod", "module tiny\n\ngo 1.26.0\n"},
	}
	for what, change := range changes {
		write(t, p.folder, change[0], change[1])
		if before, same := seen[key()]; same {
			t.Errorf("changing %s left the key of %s", what, before)
		}
		seen[key()] = what
	}
}

func TestAFailedBuildSaysWhyAndLeavesNothing(t *testing.T) {
	p, cache := tiny(t), t.TempDir()
	write(t, p.folder, "main.go", "package main\n\nfunc main() { undefinedWord() }\n")
	_, err := p.ensure(t.Context(), new(bytes.Buffer), cache)
	if err == nil || !strings.Contains(err.Error(), "undefinedWord") {
		t.Fatalf("error = %v, want the compiler's words", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 || left[0].Name() != "tiny.lock" {
		t.Errorf("the cache holds %v, %v; want only the lock", left, err)
	}
}

func TestARecipeWithoutOutputsIsRefused(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "part.json", `{}`)
	if _, err := load(folder); err == nil || !strings.Contains(err.Error(), "outputs is empty") {
		t.Errorf("error = %v, want one that names outputs", err)
	}
}
