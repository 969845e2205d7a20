package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// shell plays make: each target is a script.
func shell(out *bytes.Buffer, scripts map[string]string) *runner {
	return &runner{out: out, command: func(target string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", scripts[target])
		cmd.Stdout = out
		return cmd
	}}
}

func TestAGroupThatFailsKeepsNoOtherFromRunning(t *testing.T) {
	var out bytes.Buffer
	r := shell(&out, map[string]string{"a": "exit 3", "b": "echo b was here"})
	results := r.all(t.Context(), []group{{"a", time.Minute}, {"b", time.Minute}})
	if err := table(&out, results); err != nil {
		t.Fatal(err)
	}
	if results[0].passed() || !results[1].passed() {
		t.Errorf("a passed: %v, want false; b passed: %v, want true", results[0].passed(), results[1].passed())
	}
	for _, want := range []string{"b was here", "FAILED: exit status 3", "GROUP", "\ngroups: 1 passed, 1 failed\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestAGroupThatTakesTooLongIsEndedWithAllItStarted(t *testing.T) {
	for name, script := range map[string]string{"in the foreground": "sleep 600", "in the background": "sleep 600 & wait"} {
		t.Run(name, func(t *testing.T) {
			alive, held, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = alive.Close() }()
			r := &runner{out: io.Discard, command: func(string) *exec.Cmd {
				cmd := exec.Command("sh", "-c", script)
				cmd.ExtraFiles = []*os.File{held}
				return cmd
			}}
			result := r.all(t.Context(), []group{{"slow", 300 * time.Millisecond}})[0]
			if !errors.Is(result.err, errLimit) {
				t.Errorf("error is %v, want %v", result.err, errLimit)
			}
			// The pipe ends when the last process that holds it has.
			if err := errors.Join(held.Close(), alive.SetReadDeadline(time.Now().Add(20*time.Second))); err != nil {
				t.Fatal(err)
			}
			if _, err := alive.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("waiting for the end of what the group started: %v", err)
			}
		})
	}
}

func TestAnInterruptLeavesTheRestUnrun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	results := shell(&out, nil).all(ctx, []group{{"a", time.Minute}})
	if err := table(&out, results); err != nil {
		t.Fatal(err)
	}
	if results[0].started || !strings.Contains(out.String(), "groups: 0 passed, 0 failed, 1 skipped") {
		t.Errorf("a group ran after the interrupt:\n%s", out.String())
	}
}

func TestTheCommandLine(t *testing.T) {
	for _, args := range [][]string{{}, {"check"}, {"check="}, {"check=ten"}, {"=1m"}, {"check=-1m"}, {"-wrong"}} {
		if code := run(t.Context(), args, &bytes.Buffer{}); code != 2 {
			t.Errorf("groups %q: exit code %d, want 2", args, code)
		}
	}
}
