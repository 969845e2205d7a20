package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"

	"longshore.dev/longshore/e2e/cluster/keeper"
	"longshore.dev/longshore/e2e/cluster/node"
)

// Down takes the cluster down.
func (c *Cluster) Down(ctx context.Context) error {
	return errors.Join(c.Close(), Down(ctx, c.plan.Name))
}

// Down takes the named cluster down, or what a crash left of it; none is no error.
func Down(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	base, err := makeBaseDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(base, name)
	unlock, err := lockCluster(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		unlock()
		// Gone with its last cluster; not empty while there are others.
		_ = os.Remove(base)
	}()
	return remove(ctx, dir)
}

// remove needs the cluster's lock. It goes on after errors: each thing that can go, goes. Only when all are gone the state directory goes too,
// because it is what a second try works from.
func remove(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p, err := loadPlan(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// The plan is the first thing in the directory: without it nothing was made.
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	errs := []error{stopNodes(ctx, layout{dir})}
	if !keeper.IsSelf(dir) {
		errs = append(errs, keeper.Stop(dir))
	}
	errs = append(errs, removeNetwork(p), releaseSysctls(ctx, filepath.Dir(dir), p.Name))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("taking cluster %q down: %w", p.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("taking cluster %q down: %w", p.Name, err)
	}
	return nil
}

func stopNodes(ctx context.Context, l layout) error {
	slots, err := l.readSlots()
	if err != nil {
		return err
	}
	var (
		wait sync.WaitGroup
		errs = make([]error, len(slots))
	)
	for i, s := range slots {
		wait.Go(func() { errs[i] = stopNode(ctx, l.node(s.name)) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

func stopNode(ctx context.Context, dir string) error {
	n, err := node.Attach(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return n.Stop(ctx)
}

// Leftovers lists what is there of the named cluster: processes, interfaces, namespaces, mounts, cgroups, files. After Down it is empty.
func Leftovers(name string) ([]string, error) {
	base, err := baseDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, name)
	p := plan{NetNS: "longshore-" + name, HostLink: hostLink(name)}
	var found []string
	for _, path := range []string{dir, dir + ".lock", p.netnsPath()} {
		if _, err := os.Lstat(path); err == nil {
			found = append(found, "file "+path)
		}
	}
	if _, err := netlink.LinkByName(p.HostLink); err == nil {
		found = append(found, "interface "+p.HostLink)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir+"/") || strings.Contains(line, p.netnsPath()+" ") {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	processes, err := processesOf(dir)
	return append(found, processes...), err
}

// processesOf finds processes by their command line: every one of a cluster names its state directory there.
func processesOf(dir string) ([]string, error) {
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		data, err := os.ReadFile(entry)
		if err != nil {
			continue // it ended in the meantime
		}
		words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		for _, word := range words {
			if word == dir || strings.Contains(word, dir+"/") {
				found = append(found, fmt.Sprintf("process %s: %s", filepath.Base(filepath.Dir(entry)), words[0]))
				break
			}
		}
	}
	return found, nil
}
