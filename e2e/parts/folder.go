package parts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// copyFolder copies a folder of a module that the part requires. The version is the one that go.mod says, so go.sum in
// the key covers it.
func (p part) copyFolder(ctx context.Context, folder, to string) error {
	module, below, ok := strings.Cut(folder, "//")
	if !ok {
		return fmt.Errorf("%q: expected \"<module path>//<folder>\"", folder)
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = p.folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	var messages bytes.Buffer
	cmd.Stderr = &messages
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("finding module %s in %s: %w\n%s", module, p.folder, err, lastLines(messages.String(), 10))
	}
	dir := strings.TrimSpace(string(output))
	if dir == "" {
		return fmt.Errorf("module %s is not downloaded: expected that a binary of part %q needs it", module, p.name)
	}
	// CopyFS gives new files their usual modes; those of the module cache are read-only and could not be removed.
	return os.CopyFS(to, os.DirFS(filepath.Join(dir, below)))
}
