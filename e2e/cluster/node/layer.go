package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The layer lies between the machine's root (below) and the node's upper directory (above). It hides what is the machine's own and holds what
// makes a node a node, so that the upper directory starts empty and shows only what was changed on the node later.

var (
	// machineDirs are the directories of the machine that a node sees: programs and libraries.
	machineDirs = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"}
	// ownDirs start empty on a node, whatever the machine has there.
	ownDirs = []string{
		"boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr/local", "usr/lib/cni", "var",
		"etc/containerd/conf.d", "etc/containerd/certs.d", "etc/cni/net.d", "etc/kubernetes/pki", "opt/cni", "var/lib", "var/log", "var/tmp",
		// containerd makes these two at its first start.
		"opt/containerd/bin", "opt/containerd/lib",
		"usr/local/bin", "usr/local/sbin", "var/lib/containerd", "var/lib/kubelet", "var/lib/cni",
	}
	// machineFiles of /etc are what programs from the machine need to run at all.
	machineFiles = []string{
		"alternatives", "debian_version", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "login.defs", "nsswitch.conf", "os-release", "passwd",
		"protocols", "services", "shells",
	}
)

// overlayOpaque marks a directory of a layer that hides the same directory of the layers below.
const overlayOpaque = "trusted.overlay.opaque"

func buildLayer(layer string, cfg Config) error {
	if err := hideMachine(layer); err != nil {
		return err
	}
	for _, dir := range ownDirs {
		if err := opaqueDir(filepath.Join(layer, dir)); err != nil {
			return err
		}
	}
	for _, name := range machineFiles {
		if err := copyTree(filepath.Join("/etc", name), filepath.Join(layer, "etc", name)); err != nil {
			return fmt.Errorf("copying /etc/%s: %w", name, err)
		}
	}
	for _, modes := range []struct {
		dir  string
		mode uint32
	}{{"tmp", 0o1777}, {"var/tmp", 0o1777}, {"root", 0o700}} {
		if err := unix.Chmod(filepath.Join(layer, modes.dir), modes.mode); err != nil {
			return err
		}
	}
	if err := writeFiles(layer, cfg); err != nil {
		return err
	}
	if err := placePrograms(layer, cfg); err != nil {
		return err
	}
	return linkPrograms(layer, cfg)
}

// placePrograms makes the mount points below partsDir and the one file there that is made, not mounted.
func placePrograms(layer string, cfg Config) error {
	for key, source := range programs(cfg) {
		info, err := os.Stat(source)
		if err != nil {
			return fmt.Errorf("program %q: %w", key, err)
		}
		target := filepath.Join(layer, partPath(key))
		if info.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = os.WriteFile(target, nil, 0o755)
		}
		if err != nil {
			return err
		}
	}
	archive, err := pauseTar(cfg.bin("pause"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(layer, pauseArchive), archive, 0o644)
}

// hideMachine whites out every name of the machine's root directory that a node has no business with.
func hideMachine(layer string) error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if slices.Contains(machineDirs, name) || slices.Contains(ownDirs, name) {
			continue
		}
		if err := unix.Mknod(filepath.Join(layer, name), unix.S_IFCHR, 0); err != nil {
			return fmt.Errorf("hiding /%s: %w", name, err)
		}
	}
	return nil
}

func opaqueDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Setxattr(dir, overlayOpaque, []byte("y"), 0); err != nil {
		return &fs.PathError{Op: "setxattr", Path: dir, Err: err}
	}
	return nil
}

// copyTree copies a file, a symbolic link or a directory of them; what the machine does not have is left out.
func copyTree(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return os.CopyFS(to, os.DirFS(from))
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	default:
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, info.Mode().Perm())
	}
}

// partsDir is where the node sees the binaries it was given, each mounted read-only under its key of Config.Bins. The names that people and
// installers know are links to there: replacing a link is an ordinary change to the node's disk.
const partsDir = "/usr/lib/longshore-node"

func partPath(key string) string { return filepath.Join(partsDir, key) }

// programPath is where the node sees the program that Config.Bins has under key.
func programPath(cfg Config, key string) string {
	return filepath.Join(partPath(key), filepath.Base(cfg.bin(key)))
}

// linkPrograms puts every program at the path where distributions have it.
func linkPrograms(layer string, cfg Config) error {
	links := map[string]string{"/usr/bin/systemctl": partPath(initPart), "/var/run": "/run", "/var/lock": "/run/lock"}
	if cfg.Flavor == Containerd16 {
		for _, name := range []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "sbin/runc"} {
			links["/usr/"+name] = filepath.Join(partPath("containerd16"), "usr", name)
		}
	} else {
		for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} {
			links["/usr/bin/"+name] = programPath(cfg, name)
		}
	}
	if cfg.hasKubelet() {
		multiCall := programPath(cfg, "kubernetes")
		links["/usr/bin/kubelet"], links["/usr/bin/kube-proxy"] = multiCall, multiCall
		if err := linkNftables(links, cfg.bin("nftables")); err != nil {
			return err
		}
	}
	plugins, err := os.ReadDir(cfg.bin("cni"))
	if err != nil {
		return fmt.Errorf("network plugins: %w", err)
	}
	for _, plugin := range plugins {
		// Debian's containerd looks in /usr/lib/cni, everybody else in /opt/cni/bin.
		for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni"} {
			links[filepath.Join(dir, plugin.Name())] = filepath.Join(partPath("cni"), plugin.Name())
		}
	}
	for name, target := range links {
		path := filepath.Join(layer, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return nil
}

// linkNftables adds nft and those of its libraries that the machine does not have itself.
func linkNftables(links map[string]string, unpacked string) error {
	links["/usr/sbin/nft"] = filepath.Join(partPath("nftables"), "usr/sbin/nft")
	for _, dir := range []string{"usr/lib", "lib"} {
		libraries, err := filepath.Glob(filepath.Join(unpacked, dir, "*-linux-gnu", "*.so.*"))
		if err != nil {
			return err
		}
		for _, library := range libraries {
			inside := strings.TrimPrefix(library, unpacked)
			name := filepath.Join("/usr", strings.TrimPrefix(inside, "/usr"))
			if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
				links[name] = filepath.Join(partPath("nftables"), inside)
			}
		}
	}
	return nil
}
