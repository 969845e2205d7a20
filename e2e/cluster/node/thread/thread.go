// Package thread answers: where may this program leave its own namespaces without taking the rest of itself along?
package thread

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Spare runs do on a thread that is thrown away afterwards, so do may move it into other namespaces and leave it there. It is never the program's
// first thread: that one cannot end, would stay where do left it for ever, and is what the kernel shows of the program in /proc/self (its mounts,
// its cgroup, its executable).
func Spare(do func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked, but for the first thread: the runtime ends the thread together with the goroutine.
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			done <- do()
			return
		}
		// Locked as it is, the first thread cannot be chosen again.
		done <- Spare(do)
		runtime.UnlockOSThread()
	}()
	return <-done
}
