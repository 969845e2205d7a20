package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// key hashes everything that decides the bytes of a part: the Go version, the platform, the flags, and each source file with its name.
func (p part) key(ctx context.Context) (string, error) {
	version, err := goVersion(ctx, p.folder)
	if err != nil {
		return "", err
	}
	files, err := p.sources()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s/%s\n%q\n", version, runtime.GOOS, runtime.GOARCH, p.flags())
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(p.folder, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n", name, len(data))
		hash.Write(data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// sources lists the files of the folder that `go build` reads, and the recipe.
func (p part) sources() ([]string, error) {
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		isGo := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
		if isGo || slices.Contains([]string{"go.mod", "go.sum", "part.json"}, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// goVersion asks in the part's folder, since its go.mod may choose a toolchain of its own.
func goVersion(ctx context.Context, folder string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = folder
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking for the version of Go in %s: %w", folder, err)
	}
	return strings.TrimSpace(string(output)), nil
}
