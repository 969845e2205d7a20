package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ensure returns the cache directory of the part, built now if it is not there yet. The lock makes a second process wait for the first
// instead of building the same; the rename at the end makes a half-built directory impossible.
func (p part) ensure(ctx context.Context, progress io.Writer, cache string) (string, error) {
	key, err := p.key(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, p.name+"-"+key)
	if exists(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, progress, filepath.Join(cache, p.name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	temp, err := freshDir(cache, p.name+".building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := p.build(ctx, progress, cache, temp); err != nil {
		return "", err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

// freshDir makes a directory for a build. The caller holds the lock, so those there are were left by builds that were killed.
func freshDir(cache, prefix string) (string, error) {
	stale, err := filepath.Glob(filepath.Join(cache, prefix+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(cache, prefix)
}

func (p part) build(ctx context.Context, progress io.Writer, cache, dir string) error {
	env := []string{"CGO_ENABLED=0"}
	if p.recipe.Cgo {
		env = []string{"CGO_ENABLED=1"}
	}
	if len(p.recipe.Debian) > 0 {
		sysroot, err := unpackDebian(ctx, progress, cache, p.recipe.Debian)
		if err != nil {
			return err
		}
		env = append(env, cgoEnv(sysroot)...)
	}
	clock := startClock(progress, p.name, p.recipe.Cold)
	for _, name := range slices.Sorted(maps.Keys(p.recipe.Outputs)) {
		if err := p.compile(ctx, env, p.recipe.Outputs[name], filepath.Join(dir, name)); err != nil {
			clock.stop("failed")
			return err
		}
	}
	clock.stop("built")
	for name, target := range p.recipe.Links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for name, folder := range p.recipe.Files {
		if err := p.copyFolder(ctx, folder, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("folder %q: %w", name, err)
		}
	}
	return nil
}

// compile runs one `go build`. The thread is held because the parent-death signal that ends the build with this process follows the thread.
func (p part) compile(ctx context.Context, env []string, pkg, output string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var messages bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, p.flags()...), "-o", output, pkg)...)
	cmd.Dir = p.folder
	cmd.Env = append(append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false"), env...)
	cmd.Stdout, cmd.Stderr = &messages, &messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go build %s in %s: %w\n%s", pkg, p.folder, err, lastLines(messages.String(), 30))
	}
	return nil
}

// flags are the same for every machine, so that equal sources give equal bytes.
func (p part) flags() []string {
	flags := []string{"-trimpath", "-ldflags=" + strings.Join(append([]string{"-s", "-w"}, p.recipe.LDFlags...), " ")}
	if len(p.recipe.Tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(p.recipe.Tags, ","))
	}
	return flags
}

func lock(ctx context.Context, progress io.Writer, path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	told := false
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !told {
			fmt.Fprintf(progress, "%s: another process builds it, waiting\n", strings.TrimSuffix(filepath.Base(path), ".lock"))
			told = true
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
