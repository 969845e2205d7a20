package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// CanRunNodes says in one line why this machine or user cannot run real nodes; nil says that they can. It tries instead of reading
// capabilities, because a container may have them and still be refused.
func CanRunNodes() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("this is %s, and they need Linux", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("they need root, and this is user %d", os.Geteuid())
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !strings.Contains(string(filesystems), "\toverlay\n") {
		return errors.New("the kernel has no overlay file system (modprobe overlay may help)")
	}
	// Unsharing the mount namespace makes the runtime change the propagation of /, which is the very right that nodes need.
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("this root may not make namespaces and mounts: %w", err)
	}
	return nil
}
