package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"longshore": main})
}

// The scripts in testdata/scripts show what people see. UPDATE=1 writes what they compare with anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/scripts",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a program that has to end with an exit code: `exits 2 longshore render --nope`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %v: %v", args[1:], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("%v ended with exit code %d, want %d", args[1:], code, want)
	}
}

func TestThePauseContainerWaitsUntilItIsToldToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var ended atomic.Bool
		go func() {
			root := rootCommand(&environment{stdout: io.Discard, stderr: io.Discard, lookup: func(string) string { return "" }})
			root.SetArgs([]string{"pause-container"})
			if err := root.ExecuteContext(ctx); err != nil {
				t.Error(err)
			}
			ended.Store(true)
		}()
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if ended.Load() {
			t.Error("it ended by itself")
		}
		cancel()
		synctest.Wait()
		if !ended.Load() {
			t.Error("it did not end")
		}
	})
}
