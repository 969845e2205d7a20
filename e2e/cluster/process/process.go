// Package process answers: is that still our process?
//
// A pid alone may be somebody else's by now; together with the start time it names one process for ever.
package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Identity names one process of this boot of the machine; the zero value names none.
type Identity struct {
	PID int `json:"pid"`
	// Started is field 22 of /proc/<pid>/stat, in clock ticks since boot.
	Started uint64 `json:"started"`
}

// Of identifies a process that certainly lives: this one, or a child that was not waited for yet.
func Of(pid int) (Identity, error) {
	started, err := startTime(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	return Identity{PID: pid, Started: started}, nil
}

// Alive tells whether the process runs; one that ended but was not waited for does not.
func (i Identity) Alive() bool {
	fd, err := i.open()
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	ended, err := waitEnd(fd, 0)
	return err == nil && !ended
}

// End sends the signal and waits; a process that is still there when patience ends is killed. One that is gone already is no error.
func (i Identity) End(signal unix.Signal, patience time.Duration) error {
	fd, err := i.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, attempt := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{signal, patience}, {unix.SIGKILL, 10 * time.Second}} {
		if err := unix.PidfdSendSignal(fd, attempt.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("sending %s to process %d: %w", attempt.signal, i.PID, err)
		}
		ended, err := waitEnd(fd, attempt.patience)
		if err != nil || ended {
			return err
		}
	}
	return fmt.Errorf("process %d is still there after SIGKILL", i.PID)
}

// open returns a descriptor of this very process, or fs.ErrNotExist.
func (i Identity) open() (int, error) {
	if i.PID == 0 {
		return -1, fs.ErrNotExist
	}
	fd, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, fs.ErrNotExist
	}
	if err != nil {
		return -1, fmt.Errorf("opening process %d: %w", i.PID, err)
	}
	// Only now, with the descriptor held, does the start time prove that the pid was not given to another process in between.
	if started, err := startTime(i.PID); err != nil || started != i.Started {
		_ = unix.Close(fd)
		return -1, fs.ErrNotExist
	}
	return fd, nil
}

func waitEnd(fd int, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		left := max(0, time.Until(deadline))
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return ready > 0, err
	}
}

func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command in field 2 may hold spaces and parentheses itself; its last parenthesis ends it.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the command, expected at least 20", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
