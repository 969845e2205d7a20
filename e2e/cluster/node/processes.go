package node

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes starts the children of a node's init and reaps everything that ends up there, its own or orphaned.
type processes struct {
	mu       sync.Mutex
	children map[int]*child
}

// child is one process that somebody waits for.
type child struct {
	pid    int
	exited chan unix.WaitStatus
	// ready gets a value when the service is up; nil once that was seen.
	ready  chan struct{}
	notify *net.UnixConn
}

const notifyDir = "/run/longshore-node"

func newProcesses() *processes { return &processes{children: map[int]*child{}} }

// reap collects the dead for ever. SIGCHLD says only that there may be some.
func (p *processes) reap() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	for {
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
			p.bury(pid, status)
		}
		<-signals
	}
}

func (p *processes) bury(pid int, status unix.WaitStatus) {
	p.mu.Lock()
	dead := p.children[pid]
	delete(p.children, pid)
	p.mu.Unlock()
	if dead == nil {
		return
	}
	if dead.notify != nil {
		_ = dead.notify.Close()
	}
	dead.exited <- status
}

// start runs a unit's program with its output in the unit's log. It bypasses os/exec, whose own waiting would fight with reap.
func (p *processes) start(u unit) (*child, error) {
	logs, err := os.OpenFile(filepath.Join("/var/log", u.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logs.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	c := &child{exited: make(chan unix.WaitStatus, 1), ready: make(chan struct{}, 1)}
	env := append(initEnv(), u.Env...)
	if u.Notify {
		address := filepath.Join(notifyDir, u.Name+".notify")
		if c.notify, err = listenNotify(address); err != nil {
			return nil, err
		}
		env = append(env, "NOTIFY_SOCKET="+address)
	} else {
		c.ready <- struct{}{}
	}

	p.mu.Lock()
	c.pid, err = syscall.ForkExec(u.Argv[0], u.Argv, &syscall.ProcAttr{
		Env: env, Files: []uintptr{null.Fd(), logs.Fd(), logs.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err == nil {
		// Under the lock: a program that dies at once must not be reaped before it is known.
		p.children[c.pid] = c
	}
	p.mu.Unlock()
	if err != nil {
		if c.notify != nil {
			_ = c.notify.Close()
		}
		return nil, fmt.Errorf("starting %q: %w", u.Argv[0], err)
	}
	if c.notify != nil {
		go awaitNotify(c.notify, c.ready)
	}
	return c, nil
}

func listenNotify(address string) (*net.UnixConn, error) {
	if err := os.MkdirAll(filepath.Dir(address), 0o755); err != nil {
		return nil, err
	}
	_ = os.Remove(address) // of the run before
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
}

// awaitNotify reads what sd_notify sends until the service says that it is up, and goes on reading so that the service never blocks.
func awaitNotify(conn *net.UnixConn, ready chan<- struct{}) {
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		for line := range bytes.Lines(buffer[:n]) {
			if string(bytes.TrimSpace(line)) == "READY=1" {
				select {
				case ready <- struct{}{}:
				default:
				}
			}
		}
	}
}
