package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// The descriptors that the init is born with, and the one it keeps for those outside.
const (
	ordersFD = 3
	reportFD = 4
	// diskFD is the root of the node's disk. The disk's mount point is gone after the boot: this descriptor is the way to the upper directory. The
	// number is out of the way of those that the runtime opens for itself.
	diskFD = 100
)

// orders are what Start tells the init once the process has its cgroup and its network.
type orders struct {
	Config Config
	Trees  []hierarchy
	Cgroup string
}

// bootReport is what the init tells Start: booted, or what went wrong.
type bootReport struct {
	Booted bool   `json:"booted,omitempty"`
	Error  string `json:"error,omitempty"`
}

func report(r bootReport) {
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	// Nobody listens any more after a reboot.
	_, _ = unix.Write(reportFD, append(data, '\n'))
}

// boot turns the bare namespaces into a machine and becomes its supervisor. It holds one thread from the first unshare to the exec, because the
// cgroup namespace belongs to a thread and only the thread that execs takes its own along.
func boot() error {
	runtime.LockOSThread()
	data, err := io.ReadAll(os.NewFile(ordersFD, "orders"))
	if err != nil {
		return fmt.Errorf("reading orders: %w", err)
	}
	if len(data) == 0 {
		return errors.New("no orders came: the program that starts this node is gone")
	}
	var o orders
	if err := json.Unmarshal(data, &o); err != nil {
		return fmt.Errorf("reading orders: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("a cgroup namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(o.Config.Name)); err != nil {
		return fmt.Errorf("hostname %q: %w", o.Config.Name, err)
	}
	if err := makeRoot(o); err != nil {
		return err
	}
	if err := writeSysctls(); err != nil {
		return err
	}
	return fmt.Errorf("becoming init: %w", unix.Exec(partPath(initPart), []string{initName, "run"}, initEnv()))
}

func initEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "container=" + initName}
}

// writeSysctls sets what the kernel keeps for each network namespace; nothing here reaches the machine.
func writeSysctls() error {
	for name, value := range map[string]string{"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"} {
		err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// makeRoot mounts the node's disk, lays the overlay, fills it with mounts and makes it the root.
func makeRoot(o orders) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("leaving the machine's mounts: %w", err)
	}
	disk := filepath.Join(o.Config.Dir, diskDir)
	options := "mode=0755"
	if o.Config.Disk > 0 {
		options += fmt.Sprintf(",size=%d", o.Config.Disk)
	}
	if err := unix.Mount("disk", disk, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mounting the disk of node %q: %w", o.Config.Name, err)
	}
	// Relative names from here on: an overlay's options know no way to write a colon or a comma of a path.
	if err := unix.Chdir(disk); err != nil {
		return err
	}
	for _, dir := range []string{"layer", upperDir, "work", "root", stateDir, kernelDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := buildLayer("layer", o.Config); err != nil {
		return fmt.Errorf("laying out node %q: %w", o.Config.Name, err)
	}
	if err := keepDisk(); err != nil {
		return err
	}
	if err := unix.Mount("overlay", "root", "overlay", 0, "lowerdir=layer:/,upperdir="+upperDir+",workdir=work"); err != nil {
		return fmt.Errorf("overlay over the machine's root: %w", err)
	}
	if err := mountAll("root", o); err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return fmt.Errorf("entering the root of node %q: %w", o.Config.Name, err)
	}
	return settleInCgroup(o)
}

// keepDisk leaves the disk open under a number that survives the exec.
func keepDisk() error {
	fd, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Dup3(fd, diskFD, 0); err != nil {
		return err
	}
	return unix.Close(fd)
}

// enterRoot swaps the roots without a place to put the old one: it is stacked on top of the new one for a moment and taken off.
func enterRoot() error {
	if err := unix.Chdir("root"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	// The kubelet and pods with mountPropagation expect what systemd sets up everywhere.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// cgroupLeaf holds the services of a node with cgroup v2, where a group with processes may not have groups with controllers below it.
const cgroupLeaf = "init"

func settleInCgroup(o orders) error {
	for _, h := range o.Trees {
		if !h.V2 {
			continue
		}
		root := filepath.Join("/sys/fs/cgroup", h.Name)
		leaf := filepath.Join(root, cgroupLeaf)
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
		if err := passControllers(root); err != nil {
			return err
		}
	}
	return nil
}
