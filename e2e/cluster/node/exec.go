package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/node/thread"
)

// Exec runs a command inside the node, as root in all its namespaces, and waits for its end. The error wraps *exec.ExitError when it failed on its own.
func (n *Node) Exec(ctx context.Context, cmd []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(cmd) == 0 {
		return fmt.Errorf("node %q: no command to run", n.state.Name)
	}
	pidfd, err := unix.PidfdOpen(n.state.Init.PID, 0)
	// Asked only now: while the descriptor is held the pid cannot become somebody else's.
	if err != nil || !n.state.Init.Alive() {
		return errors.Join(fmt.Errorf("node %q does not run", n.state.Name), err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	inside := &exec.Cmd{Args: cmd, Env: initEnv(), Dir: "/", Stdin: stdin, Stdout: stdout, Stderr: stderr}
	if err := thread.Spare(func() error { return startInside(inside, pidfd) }); err != nil {
		return fmt.Errorf("node %q: running %q: %w", n.state.Name, cmd[0], err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
			_ = inside.Process.Kill()
		case <-done:
		}
	}()
	if err := inside.Wait(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return fmt.Errorf("node %q: %s: %w", n.state.Name, strings.Join(cmd, " "), err)
	}
	return nil
}

// startInside enters the namespaces with the calling thread and starts the command from there.
func startInside(cmd *exec.Cmd, pidfd int) error {
	// A thread shares its root and working directory with all others until it says otherwise.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	if err := unix.Setns(pidfd, all); err != nil {
		return fmt.Errorf("entering the namespaces: %w", err)
	}
	var err error
	if cmd.Path, err = lookInside(cmd.Args[0], cmd.Env); err != nil {
		return err
	}
	return cmd.Start()
}

// lookInside finds a program in the node's PATH, with the eyes of the calling thread.
func lookInside(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range env {
		path, isPath := strings.CutPrefix(variable, "PATH=")
		if !isPath {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			candidate := filepath.Join(dir, name)
			if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return candidate, nil
			}
		}
	}
	return "", exec.ErrNotFound
}
