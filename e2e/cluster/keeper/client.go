package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/process"
)

// Client speaks to the keeper of one state directory, from any process.
type Client struct {
	dir string
	rpc *rpc.Client
}

// lifelines are those of the keepers that this process started, by directory. They are held here and not by a Client: one that nobody holds
// any more would be collected, its file closed, and the cluster gone.
var lifelines sync.Map

// Start makes a keeper, a copy of the running program, and returns when it answers.
func Start(ctx context.Context, dir string) (*Client, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{Program, dir}, Dir: "/", Env: os.Environ(), Stdout: log, Stderr: log, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	client, err := await(ctx, dir, ended)
	if err != nil {
		_ = ours.Close()
		_ = cmd.Process.Kill()
		<-ended
		return nil, err
	}
	lifelines.Store(dir, ours)
	return client, nil
}

func await(ctx context.Context, dir string, ended <-chan struct{}) (*Client, error) {
	for {
		if client, err := Dial(dir); err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ended:
			words, _ := os.ReadFile(filepath.Join(dir, logFile))
			return nil, fmt.Errorf("the keeper ended at once; does main call cluster.Main? It said: %s", strings.TrimSpace(string(words)))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Dial finds the running keeper of the directory; fs.ErrNotExist says that there is none.
func Dial(dir string) (*Client, error) {
	id, err := loadIdentity(dir)
	if err != nil {
		return nil, err
	}
	if !id.Alive() {
		return nil, fmt.Errorf("keeper, process %d: %w", id.PID, fs.ErrNotExist)
	}
	client, err := rpc.Dial("unix", filepath.Join(dir, socketFile))
	if err != nil {
		return nil, fmt.Errorf("keeper, process %d, does not answer: %w", id.PID, err)
	}
	return &Client{dir: dir, rpc: client}, nil
}

// Start runs a unit.
func (c *Client) Start(unit Unit) error { return c.rpc.Call("Keeper.Start", unit, &None{}) }

// Stop ends a unit by a signal, and by SIGKILL when patience ends.
func (c *Client) Stop(name string, signal unix.Signal, patience time.Duration) error {
	return c.rpc.Call("Keeper.Stop", StopRequest{Name: name, Signal: signal, Patience: patience}, &None{})
}

// Restart runs a stopped unit again.
func (c *Client) Restart(name string) error { return c.rpc.Call("Keeper.Restart", name, &None{}) }

// Status reports on all units by name.
func (c *Client) Status() (map[string]Status, error) {
	var answer map[string]Status
	err := c.rpc.Call("Keeper.Status", None{}, &answer)
	return answer, err
}

// Keep lets the keeper outlive this process. It does nothing in a process that did not start it.
func (c *Client) Keep() error {
	lifeline, ours := lifelines.LoadAndDelete(c.dir)
	if !ours {
		return nil
	}
	if _, err := lifeline.(*os.File).WriteString(keepWord); err != nil {
		return fmt.Errorf("telling the keeper to stay: %w", err)
	}
	return lifeline.(*os.File).Close()
}

// Close ends the conversation. The lifeline stays: it ends with the process.
func (c *Client) Close() error { return c.rpc.Close() }

// Stop ends the keeper of the directory and with it its units; none is no error.
func Stop(dir string) error {
	id, err := loadIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := id.End(unix.SIGTERM, 20*time.Second); err != nil {
		return err
	}
	if lifeline, ours := lifelines.LoadAndDelete(dir); ours {
		return lifeline.(*os.File).Close()
	}
	return nil
}

// IsSelf tells whether this process is the keeper of the directory.
func IsSelf(dir string) bool {
	id, err := loadIdentity(dir)
	return err == nil && id.PID == os.Getpid()
}

func saveIdentity(dir string) error {
	id, err := process.Of(os.Getpid())
	if err != nil {
		return err
	}
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, identityFile), data, 0o644)
}

func loadIdentity(dir string) (process.Identity, error) {
	var id process.Identity
	data, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return id, fmt.Errorf("no keeper in %q: %w", dir, err)
	}
	if err := json.Unmarshal(data, &id); err != nil {
		return id, fmt.Errorf("keeper in %q: %w", dir, err)
	}
	return id, nil
}
