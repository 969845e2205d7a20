package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted cgroup tree of the machine.
type hierarchy struct {
	// Mount is where the machine has it, Name its directory below /sys/fs/cgroup ("" for the only tree of pure cgroup v2).
	Mount, Name string
	V2          bool
}

// hierarchies lists what a node takes part in: every v1 tree, or the v2 tree where there is no v1. On hybrid machines v2 has no controllers and
// is left out, so that nothing inside a node mistakes the machine for one with cgroup v2.
func hierarchies() ([]hierarchy, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing cgroups: %w", err)
	}
	found := parseHierarchies(string(data))
	if len(found) == 0 {
		return nil, errors.New("no cgroup file system is mounted below /sys/fs/cgroup")
	}
	return found, nil
}

func parseHierarchies(mountinfo string) []hierarchy {
	var v1, v2 []hierarchy
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(kind) < 1 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
			continue
		}
		h := hierarchy{Mount: fields[4], Name: strings.TrimPrefix(strings.TrimPrefix(fields[4], "/sys/fs/cgroup"), "/")}
		switch kind[0] {
		case "cgroup":
			v1 = append(v1, h)
		case "cgroup2":
			h.V2 = true
			v2 = append(v2, h)
		}
	}
	if len(v1) > 0 {
		return v1
	}
	return v2
}

// createCgroup makes the node's directory in every tree.
func createCgroup(trees []hierarchy, name string) error {
	for _, h := range trees {
		dir := filepath.Join(h.Mount, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making cgroup: %w", err)
		}
		prepare := func() error { return inheritCpuset(h.Mount, dir) }
		if h.V2 {
			prepare = func() error { return passControllers(h.Mount) }
		}
		if err := prepare(); err != nil {
			return fmt.Errorf("cgroup %q: %w", dir, err)
		}
	}
	return nil
}

// inheritCpuset fills the cpuset of a v1 cgroup, which starts empty and then refuses every process.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0)
}

// joinCgroup moves a process, as seen from the machine, into the node's cgroup.
func joinCgroup(trees []hierarchy, name string, pid int) error {
	for _, h := range trees {
		procs := filepath.Join(h.Mount, name, "cgroup.procs")
		if err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("moving process %d into its cgroup: %w", pid, err)
		}
	}
	return nil
}

// removeCgroup removes the node's directories, deepest first. A process that was just killed may keep its cgroup busy for a moment.
func removeCgroup(ctx context.Context, name string) error {
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range trees {
		errs = append(errs, removeTree(ctx, filepath.Join(h.Mount, name)))
	}
	return errors.Join(errs...)
}

func removeTree(ctx context.Context, root string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := rmdirs(root)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// rmdirs removes root and the directories below it; the files of a cgroup go with it.
func rmdirs(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}

// passControllers lets the groups below root (cgroup v2) use every controller that root has.
func passControllers(root string) error {
	data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(data)) {
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("controller %q below %q: %w", controller, root, err)
		}
	}
	return nil
}
