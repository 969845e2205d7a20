package parts

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFolderOfAModuleLiesBesideTheBinaries(t *testing.T) {
	p, cache := tiny(t), t.TempDir()
	write(t, filepath.Join(p.folder, "config"), "text", "hello\n")
	write(t, p.folder, "part.json", `{"outputs": {"tiny": "."}, "files": {"tiny-config": "tiny//config"}}`)
	p = reload(t, p.folder)
	var progress bytes.Buffer
	dir, err := p.ensure(t.Context(), &progress, cache)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(p.paths(dir)["tiny-config"], "text"))
	if err != nil || string(text) != "hello\n" {
		t.Errorf("the file in the copied folder: %q, %v; expected what the module has", text, err)
	}
}

func TestAFolderWithoutItsModuleIsRefused(t *testing.T) {
	p := tiny(t)
	cases := map[string]string{"config": "<module path>//<folder>", "no.such/module//config": "no.such/module"}
	for folder, want := range cases {
		err := p.copyFolder(t.Context(), folder, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("folder %q: %v; expected an error that names %q", folder, err, want)
		}
	}
}
