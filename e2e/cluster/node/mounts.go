package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// diskDir is the mount point of the node's disk in its state directory, upperDir the overlay's upper directory on it, logDir the logs.
	diskDir, upperDir, logDir = "disk", "upper", "log"
	// stateDir and kernelDir are on the disk, beside the upper directory.
	stateDir, kernelDir = "state", "kernel"

	bootIDFile = "/proc/sys/kernel/random/boot_id"
)

// stateDirs hold what changes all the time on any node: on the disk, but outside of the upper directory, so that a comparison before and after an
// install is about the install.
var stateDirs = []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni", "/var/tmp"}

// machineSysctls are those that the kubelet sets for the whole machine. It finds them set already, in files of the node: the machine keeps its own.
var machineSysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// mountAll fills root, a path relative to the node's disk.
func mountAll(root string, o orders) error {
	for _, m := range []struct{ kind, target, options string }{
		{"proc", "proc", ""},
		{"sysfs", "sys", ""},
		{"tmpfs", "sys/fs/cgroup", "mode=0755"},
		{"tmpfs", "dev", "mode=0755"},
		{"tmpfs", "run", "mode=0755"},
		{"tmpfs", "tmp", "mode=1777"},
	} {
		if err := unix.Mount(m.kind, filepath.Join(root, m.target), m.kind, unix.MS_NOSUID, m.options); err != nil {
			return fmt.Errorf("mounting /%s: %w", m.target, err)
		}
	}
	for _, fill := range []func(string, orders) error{mountDevices, mountCgroups, mountState, mountParts, mountKernelFiles} {
		if err := fill(root, o); err != nil {
			return err
		}
	}
	return nil
}

// mountDevices makes a /dev with what containers and kubelet ask for and none of the machine's disks.
func mountDevices(root string, _ orders) error {
	dev := filepath.Join(root, "dev")
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse", "kvm", "net/tun"} {
		var stat unix.Stat_t
		if err := unix.Stat(filepath.Join("/dev", name), &stat); err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(dev, filepath.Dir(name)), 0o755); err != nil {
			return err
		}
		if err := unix.Mknod(filepath.Join(dev, name), stat.Mode, int(stat.Rdev)); err != nil {
			return fmt.Errorf("device %q: %w", name, err)
		}
		if err := unix.Chmod(filepath.Join(dev, name), stat.Mode&0o777); err != nil {
			return err
		}
	}
	for _, m := range []struct{ kind, options string }{{"devpts", "newinstance,ptmxmode=0666,mode=0620"}, {"tmpfs", "mode=1777"}, {"mqueue", ""}} {
		target := map[string]string{"devpts": "pts", "tmpfs": "shm", "mqueue": "mqueue"}[m.kind]
		if err := mountAt(filepath.Join(dev, target), m.kind, m.options); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

func mountAt(target, kind, options string) error {
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, target, kind, unix.MS_NOSUID|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mounting %s at %q: %w", kind, target, err)
	}
	return nil
}

// mountCgroups shows the node its own cgroup as the top of every tree.
func mountCgroups(root string, o orders) error {
	for _, h := range o.Trees {
		target := filepath.Join(root, "sys/fs/cgroup", h.Name)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := bind(filepath.Join(h.Mount, o.Cgroup), target); err != nil {
			return fmt.Errorf("cgroups: %w", err)
		}
	}
	return nil
}

func mountState(root string, o orders) error {
	for _, dir := range stateDirs {
		state := filepath.Join(stateDir, dir)
		if err := os.MkdirAll(state, 0o755); err != nil {
			return err
		}
		if err := bind(state, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	// Logs stay readable on the machine after the node's death.
	return bind(filepath.Join(o.Config.Dir, logDir), filepath.Join(root, "var/log"))
}

// programs are the sources of what is mounted below partsDir. A program comes with its whole directory: runc protects itself by an overlay over the
// directory it was started from, where a mount over the file alone would be missing.
func programs(cfg Config) map[string]string {
	sources := map[string]string{initPart: cfg.bin(initPart)}
	for _, key := range cfg.requiredBins() {
		sources[key] = cfg.bin(key)
		if !slices.Contains(dirBins, key) {
			sources[key] = filepath.Dir(cfg.bin(key))
		}
	}
	return sources
}

// mountParts shows the binaries, read-only: they are shared by all nodes and kept for the next cluster.
func mountParts(root string, o orders) error {
	sources := programs(o.Config)
	for _, key := range slices.Sorted(maps.Keys(sources)) {
		if err := bind(sources[key], filepath.Join(root, partPath(key))); err != nil {
			return fmt.Errorf("program %q: %w", key, err)
		}
		if err := readOnly(filepath.Join(root, partPath(key))); err != nil {
			return fmt.Errorf("program %q: %w", key, err)
		}
	}
	return nil
}

// mountKernelFiles puts files of the node over those of the kernel that would show or change the machine.
func mountKernelFiles(root string, _ orders) error {
	files := maps.Clone(machineSysctls)
	files[strings.TrimPrefix(bootIDFile, "/proc/sys/")] = newBootID()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		target := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		source := filepath.Join(kernelDir, filepath.Base(name))
		if err := os.WriteFile(source, []byte(files[name]+"\n"), 0o644); err != nil {
			return err
		}
		if err := bind(source, target); err != nil {
			return err
		}
	}
	return nil
}

func newBootID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// bind mounts source over target. The target is there already, in the layer or on a mount: making it here would leave it in the upper directory.
func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %q at %q: %w", source, target, err)
	}
	return nil
}

func readOnly(target string) error {
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}
