package thread

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpareIsNeverTheFirstThread(t *testing.T) {
	for range 500 {
		if err := Spare(func() error {
			if unix.Gettid() == os.Getpid() {
				return errors.New("ran on the first thread")
			}
			runtime.Gosched()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSpareReturnsTheError(t *testing.T) {
	want := errors.New("words")
	if err := Spare(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Spare = %v, want %v", err, want)
	}
}

func TestTheProgramStaysWhereItWas(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("leaving a namespace needs root")
	}
	before, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := Spare(func() error { return unix.Unshare(unix.CLONE_NEWUTS) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/proc/self/ns/uts", "/proc/thread-self/ns/uts"} {
		if now, err := os.Readlink(name); err != nil || now != before {
			t.Errorf("%s = %s, %v; want %s", name, now, err, before)
		}
	}
}
