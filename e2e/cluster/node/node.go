package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/process"
)

// Node is one running (or crashed, not yet stopped) node.
type Node struct {
	dir   string
	state state
}

// killPatience is how long the kernel gets to end everything of a node after SIGKILL.
const killPatience = 20 * time.Second

// Start makes the node and returns once its containerd answers and its kubelet is started. What Start made is gone when it returns an error.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("node %q: real nodes need root", cfg.Name)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, stateFile)); err == nil {
		return nil, fmt.Errorf("node %q: there is a node in %q already, stop it first", cfg.Name, cfg.Dir)
	}
	for _, dir := range []string{diskDir, logDir} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("node %q: %w", cfg.Name, err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("node %q: its init is this program: %w", cfg.Name, err)
	}
	cfg.Bins = maps.Clone(cfg.Bins)
	cfg.Bins[initPart] = program
	id := shortID(cfg)
	n := &Node{dir: cfg.Dir, state: state{Name: cfg.Name, Cgroup: "longshore-" + id}}
	if cfg.NetNS != "" {
		n.state.Veth, n.state.NetNS, n.state.PodCIDR = "ls"+id, cfg.NetNS, cfg.PodCIDR.String()
	}
	if err := n.start(ctx, cfg); err != nil {
		err = fmt.Errorf("starting node %q: %w\n%s\n%s", cfg.Name, err, lastLines(n.Logs("init"), 10), lastLines(n.Logs("containerd"), 5))
		return nil, errors.Join(err, n.Stop(context.WithoutCancel(ctx)))
	}
	return n, nil
}

// shortID tells nodes of the same name in different clusters apart, and fits the 15 bytes of an interface's name.
func shortID(cfg Config) string {
	h := fnv.New32a()
	_, _ = io.WriteString(h, cfg.Name+"\n"+cfg.Dir)
	return fmt.Sprintf("%08x", h.Sum32())
}

// start writes down each thing before it makes it, so that whoever finds the state file can remove everything.
func (n *Node) start(ctx context.Context, cfg Config) error {
	if err := n.state.save(n.dir); err != nil {
		return err
	}
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	if err := createCgroup(trees, n.state.Cgroup); err != nil {
		return err
	}
	birth, err := n.spawn()
	if err != nil {
		return err
	}
	defer birth.close()
	if n.state.Init, err = process.Of(birth.pid); err != nil {
		return err
	}
	if err := n.state.save(n.dir); err != nil {
		return err
	}
	if err := joinCgroup(trees, n.state.Cgroup, birth.pid); err != nil {
		return err
	}
	if err := attachNetwork(cfg, n.state.Veth, birth.pid); err != nil {
		return err
	}
	if err := json.NewEncoder(birth.orders).Encode(orders{Config: cfg, Trees: trees, Cgroup: n.state.Cgroup}); err != nil {
		return fmt.Errorf("giving orders: %w", err)
	}
	if err := birth.orders.Close(); err != nil {
		return err
	}
	return birth.await(ctx)
}

// birth is the init between its first instruction and its report.
type birth struct {
	pid     int
	orders  *os.File
	reports *os.File
	exited  chan error
}

// spawn starts this program as the first process of new namespaces. It waits for orders: without them, and when this process dies, it ends.
func (n *Node) spawn() (*birth, error) {
	logs, err := os.OpenFile(filepath.Join(n.dir, logDir, "init.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logs.Close() }()
	theirOrders, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirOrders.Close() }()
	reports, theirReports, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirReports.Close() }()
	init := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{initName, "boot"}, Env: initEnv(), Dir: "/", Stdout: logs, Stderr: logs,
		ExtraFiles: []*os.File{theirOrders, theirReports},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
			// The terminal's Ctrl-C is for the program that drives the cluster.
			Setsid: true,
		},
	}
	if err := init.Start(); err != nil {
		return nil, fmt.Errorf("namespaces for node %q: %w", n.state.Name, err)
	}
	b := &birth{pid: init.Process.Pid, orders: orders, reports: reports, exited: make(chan error, 1)}
	go func() { b.exited <- init.Wait() }()
	return b, nil
}

func (b *birth) close() {
	_ = b.orders.Close()
	_ = b.reports.Close()
}

// await waits for the report of a finished boot.
func (b *birth) await(ctx context.Context) error {
	reported := make(chan error, 1)
	go func() {
		var r bootReport
		if err := json.NewDecoder(b.reports).Decode(&r); err != nil {
			reported <- fmt.Errorf("the init ended without a word: %w", err)
		} else if !r.Booted {
			reported <- errors.New(r.Error)
		}
		close(reported)
	}()
	select {
	case err := <-reported:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Attach finds the node whose state directory is dir, started by this or another process, running or crashed.
func Attach(dir string) (*Node, error) {
	s, err := loadState(dir)
	if err != nil {
		return nil, err
	}
	return &Node{dir: dir, state: s}, nil
}

// Name is the node's name.
func (n *Node) Name() string { return n.state.Name }

// Running tells whether the node's init lives; a node that does not run can only be asked for its logs and be stopped.
func (n *Node) Running() bool { return n.state.Init.Alive() }

// Root is the machine's path to the node's root directory.
func (n *Node) Root() string { return fmt.Sprintf("/proc/%d/root", n.state.Init.PID) }

// Upper is the machine's path to what was changed on the node since it was made: empty after Start. What changes all the time on any node (logs, /run,
// /tmp, the directories of containerd and the kubelet) is not part of it.
func (n *Node) Upper() string {
	return filepath.Join(fmt.Sprintf("/proc/%d/fd/%d", n.state.Init.PID, diskFD), upperDir)
}

// Logs is what a unit (containerd, kubelet, kube-proxy, init) wrote so far, also after the node's death and until Stop.
func (n *Node) Logs(unit string) string {
	data, err := os.ReadFile(filepath.Join(n.dir, logDir, unit+".log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Stop kills everything of the node and removes what it left on the machine. Stopping a stopped node does nothing.
func (n *Node) Stop(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(n.dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := n.state.Init.End(unix.SIGKILL, killPatience); err != nil {
		return fmt.Errorf("stopping node %q: %w", n.state.Name, err)
	}
	// The state file stays when something could not be removed, for the next attempt.
	if err := errors.Join(detachNetwork(n.state), removeCgroup(ctx, n.state.Cgroup)); err != nil {
		return fmt.Errorf("stopping node %q: %w", n.state.Name, err)
	}
	if err := os.RemoveAll(n.dir); err != nil {
		return fmt.Errorf("stopping node %q: %w", n.state.Name, err)
	}
	return nil
}

// Reboot kills everything inside and boots the node again: new boot id, same disk. It returns once the services are started.
func (n *Node) Reboot(ctx context.Context) error {
	before, err := os.ReadFile(filepath.Join(n.Root(), bootIDFile))
	if err != nil {
		return fmt.Errorf("rebooting node %q: %w", n.state.Name, err)
	}
	if _, err := askInit(filepath.Join(n.Root(), systemctlSocket), []string{"reboot"}); err != nil {
		return fmt.Errorf("rebooting node %q: %w", n.state.Name, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := os.ReadFile(filepath.Join(n.Root(), bootIDFile))
		if err == nil && string(now) != string(before) {
			if reply, err := askInit(filepath.Join(n.Root(), systemctlSocket), []string{"is-active", "containerd"}); err == nil && reply.Code == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("rebooting node %q: %w", n.state.Name, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
