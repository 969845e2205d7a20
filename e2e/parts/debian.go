package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Debian downloads the named Debian packages, unpacks them below one directory of the cache and returns it. Only the named ones: the
// caller lists the dependencies it needs. Nothing is installed, and apt's state on the machine is not touched, so this needs no root.
func Debian(ctx context.Context, progress io.Writer, packages ...string) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	return unpackDebian(ctx, progress, cache, packages)
}

func unpackDebian(ctx context.Context, progress io.Writer, cache string, packages []string) (string, error) {
	packages = slices.Sorted(slices.Values(packages))
	release, err := os.ReadFile("/etc/debian_version")
	if err != nil {
		return "", fmt.Errorf("packages %s are taken from Debian, and this machine is none: %w", strings.Join(packages, ", "), err)
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(string(release)) + "\n" + strings.Join(packages, "\n")))
	dir := filepath.Join(cache, "debian-"+hex.EncodeToString(sum[:8]))
	if exists(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, progress, filepath.Join(cache, "debian.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	temp, err := freshDir(cache, "debian.unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	clock := startClock(progress, "Debian packages "+strings.Join(packages, ", "), "")
	if err := download(ctx, temp, filepath.Join(cache, "apt"), packages); err != nil {
		clock.stop("failed")
		return "", err
	}
	clock.stop("unpacked")
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

// download keeps apt's lists in a directory of its own below the cache.
func download(ctx context.Context, dir, apt string, packages []string) error {
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(apt, sub), 0o755); err != nil {
			return err
		}
	}
	debs, err := os.MkdirTemp(filepath.Join(apt, "debs"), "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	options := []string{
		"-q", "-o", "Dir::State::Lists=" + filepath.Join(apt, "lists"), "-o", "Dir::Cache=" + filepath.Join(apt, "cache"),
		"-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1",
	}
	if err := run(ctx, debs, "apt-get", append(slices.Clone(options), "update")...); err != nil {
		return err
	}
	if err := run(ctx, debs, "apt-get", append(append(slices.Clone(options), "download"), packages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := run(ctx, debs, "dpkg-deb", "-x", file, dir); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(string(output), 10))
	}
	return nil
}

// cgoEnv points the C compiler and pkg-config at unpacked packages instead of the machine's own.
func cgoEnv(sysroot string) []string {
	libs, _ := filepath.Glob(filepath.Join(sysroot, "usr/lib/*-linux-gnu"))
	env := []string{"CGO_CFLAGS=-O2 -I" + filepath.Join(sysroot, "usr/include"), "PKG_CONFIG_SYSROOT_DIR=" + sysroot}
	for _, lib := range libs {
		env = append(env, "CGO_LDFLAGS=-L"+lib, "PKG_CONFIG_PATH="+filepath.Join(lib, "pkgconfig"), "LD_LIBRARY_PATH="+lib)
	}
	if tool := filepath.Join(sysroot, "usr/bin/pkgconf"); exists(tool) {
		env = append(env, "PKG_CONFIG="+tool)
	}
	return env
}
