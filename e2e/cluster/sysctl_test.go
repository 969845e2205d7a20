package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSysctlsComeBackWhenTheLastClusterGoes(t *testing.T) {
	if CanRunNodes() != nil {
		t.Skip("sysctls cannot be written here:", CanRunNodes())
	}
	base, path := t.TempDir(), sysctlPath("kernel/keys/root_maxkeys")
	original, err := os.ReadFile(path)
	if err != nil {
		t.Skip("this kernel has no such setting:", err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, original, 0) })
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := holdSysctls(t.Context(), base, name); err != nil {
			t.Fatal(err)
		}
	}
	changed := "999983\n"
	if err := os.WriteFile(path, []byte(changed), 0); err != nil {
		t.Skip("this setting cannot be written here:", err)
	}
	for _, step := range []struct{ name, want string }{{"one", changed}, {"two", string(original)}} {
		if err := releaseSysctls(t.Context(), base, step.name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != step.want {
			t.Errorf("after %q left: %q, %v; want %q", step.name, got, err, step.want)
		}
	}
	if _, err := os.Stat(filepath.Join(base, sysctlFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the saved values are still there: %v", err)
	}
}
