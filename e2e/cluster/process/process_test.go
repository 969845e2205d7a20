package process

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func child(t *testing.T, script string) Identity {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAProcessThatEndedIsNotAliveBeforeAnybodyWaited(t *testing.T) {
	id := child(t, "exec sleep 60")
	if !id.Alive() {
		t.Fatal("a running child counts as gone")
	}
	if err := id.End(unix.SIGTERM, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("the ended child counts as alive while it is a zombie")
	}
}

func TestAProcessThatIgnoresTheSignalIsKilled(t *testing.T) {
	id := child(t, "trap '' TERM; echo; while :; do sleep 1; done")
	if err := id.End(unix.SIGTERM, 50*time.Millisecond); err != nil || id.Alive() {
		t.Errorf("End = %v, alive %t; want it killed", err, id.Alive())
	}
}

func TestAnotherProcessUnderTheSamePIDIsLeftAlone(t *testing.T) {
	id := child(t, "exec sleep 60")
	stranger := Identity{PID: id.PID, Started: id.Started + 1}
	if stranger.Alive() {
		t.Error("a process with another start time counts as ours")
	}
	if err := stranger.End(unix.SIGKILL, time.Second); err != nil || !id.Alive() {
		t.Errorf("End = %v, child alive %t; want it untouched", err, id.Alive())
	}
}
