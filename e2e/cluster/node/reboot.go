package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// reboot ends every other process of the node, takes down what they set up (mounts, interfaces, rules, cgroups, /run) and boots the same disk with a
// new boot id. The init stays the same process, so that the namespaces and whoever holds its pid stay valid.
func (m *machine) reboot() {
	m.log.Info("rebooting")
	// Held until the exec: no service is started again, and the reaper stands still.
	m.procs.mu.Lock()
	_ = unix.Kill(-1, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	err := errors.Join(m.unmountNew(), emptyDir("/run"), emptyDir("/tmp"), resetNetwork())
	if err != nil {
		m.log.Error("rebooting", "error", err)
	}
	if trees, err := hierarchies(); err == nil {
		for _, h := range trees {
			_ = removeBelow(h.Mount)
		}
	}
	if err := os.WriteFile(bootIDFile, []byte(newBootID()+"\n"), 0o644); err != nil {
		m.log.Error("rebooting", "error", err)
	}
	for _, fd := range []int{reportFD, diskFD} {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	m.log.Error("rebooting", "error", unix.Exec(partPath(initPart), []string{initName, "run"}, initEnv()))
}

// mountIDs are the mounts of this moment.
func mountIDs() (map[string]bool, error) {
	ids := map[string]bool{}
	err := eachMount(func(id, _ string) { ids[id] = true })
	return ids, err
}

func eachMount(visit func(id, target string)) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			visit(fields[0], unescape(fields[4]))
		}
	}
	return nil
}

// unescape undoes what the kernel writes instead of blanks in a path.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// unmountNew takes off everything that was mounted since the boot, last first.
func (m *machine) unmountNew() error {
	var targets []string
	if err := eachMount(func(id, target string) {
		if !m.mounts[id] {
			targets = append(targets, target)
		}
	}); err != nil {
		return err
	}
	for _, target := range slices.Backward(targets) {
		// A parent that was detached took its children along.
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %q: %w", target, err)
		}
	}
	return nil
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

func removeBelow(root string) error {
	entries, err := os.ReadDir(root)
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != cgroupLeaf {
			err = errors.Join(err, rmdirs(filepath.Join(root, entry.Name())))
		}
	}
	return err
}

// resetNetwork removes every interface but those that the node was born with; addresses and routes go with them.
func resetNetwork() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		name := link.Attrs().Name
		if name == "lo" || name == insideName {
			continue
		}
		if _, builtIn := link.(*netlink.GenericLink); builtIn {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("removing interface %q: %w", name, err)
		}
	}
	return nil
}
