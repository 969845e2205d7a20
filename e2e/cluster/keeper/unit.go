package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/process"
)

// Unit is a program to keep.
type Unit struct {
	// Name is what the program is called by, as its zeroth argument too.
	Name string
	Path string
	Args []string
	// Log is the file its output is appended to.
	Log string
	// NetNS is the path of the network namespace to run it in; empty is the machine's.
	NetNS string
}

// Status says how a unit is doing.
type Status struct {
	Running bool
	Process process.Identity
	// Exit describes the end of a unit that does not run.
	Exit string
}

// running is one run of a unit.
type running struct {
	unit Unit
	id   process.Identity
	done chan struct{}

	mutex sync.Mutex
	exit  string
}

// start runs the unit on a thread of its own that is never given back: it may be in another network, and the signal that ends the program
// together with the keeper is sent by the kernel when this thread goes.
func start(unit Unit) (*running, error) {
	run := &running{unit: unit, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(run.done)
		run.live(started)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %q: %w", unit.Name, err)
	}
	return run, nil
}

func (r *running) live(started chan<- error) {
	log, err := os.OpenFile(r.unit.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		started <- err
		return
	}
	defer func() { _ = log.Close() }()
	if err := enter(r.unit.NetNS); err != nil {
		started <- err
		return
	}
	cmd := &exec.Cmd{
		Path: r.unit.Path, Args: append([]string{r.unit.Name}, r.unit.Args...), Env: environment(), Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	r.id, err = process.Of(cmd.Process.Pid)
	started <- err
	err = cmd.Wait()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.exit = "ended: exit status 0"
	if err != nil {
		r.exit = "ended: " + err.Error()
	}
}

// environment is the little that units get: nothing of the user's, above all no KUBECONFIG and no proxy.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
}

func enter(path string) error {
	if path == "" {
		return nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	return netns.Set(ns)
}

func (r *running) status() Status {
	select {
	case <-r.done:
		r.mutex.Lock()
		defer r.mutex.Unlock()
		return Status{Process: r.id, Exit: r.exit}
	default:
		return Status{Running: true, Process: r.id}
	}
}

var errStillThere = errors.New("still there after SIGKILL")

// end sends the signal and kills the unit when patience ends.
func (r *running) end(signal unix.Signal, patience time.Duration) error {
	for _, attempt := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{signal, patience}, {unix.SIGKILL, 10 * time.Second}} {
		select {
		case <-r.done:
			return nil
		default:
		}
		// Nobody has waited for the child yet, so the pid is still its own.
		if err := unix.Kill(r.id.PID, attempt.signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stopping %q: %w", r.unit.Name, err)
		}
		select {
		case <-r.done:
			return nil
		case <-time.After(attempt.patience):
		}
	}
	return fmt.Errorf("stopping %q: %w", r.unit.Name, errStillThere)
}
