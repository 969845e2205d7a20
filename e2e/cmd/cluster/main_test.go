package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster"
)

// driverEnv makes the test binary the driver itself.
const driverEnv = "LONGSHORE_TEST_DRIVER"

func TestMain(m *testing.M) {
	cluster.Main()
	if os.Getenv(driverEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// call is one call of the driver.
func call(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := start(t.Context(), args...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	_ = cmd.Run()
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

func start(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), driverEnv+"=1", "KUBECONFIG=/nowhere/config")
	return cmd
}

// begin makes sure that there is no such cluster before and after the test.
func begin(t *testing.T, name string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a control plane takes seconds, and minutes to build")
	}
	end := func() {
		if err := cluster.Down(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	}
	end()
	t.Cleanup(end)
}

// TestTheDriver walks through the commands in the order in which a person would use them.
func TestTheDriver(t *testing.T) {
	const name = "test-driver"
	begin(t, name)
	for _, step := range []struct {
		args        string
		out, errors string
		code        int
	}{
		{args: "status", errors: `cluster "test-driver" is not running`, code: 1},
		{args: "down", errors: "nothing is left"},
		{args: "up --loopback --nodes 1", errors: "cannot have real nodes", code: 1},
		{args: "up --loopback --simulated 1", out: "admin.kubeconfig\n", errors: "KUBECONFIG=/nowhere/config is ignored"},
		{args: "up --loopback --simulated 1", errors: "runs already"},
		{args: "status", out: "1 of 1 Ready"},
		{args: "kubeconfig", out: "admin.kubeconfig\n"},
		{args: "kubectl get nodes -oname", out: "node/sim-0001\n", errors: "is ignored"},
		{args: "kubectl get nonsense", errors: "nonsense", code: 1},
		{args: "logs", out: "kube-apiserver"},
		{args: "logs audit", out: `"kind":"Event"`},
		{args: "logs nonsense", errors: `no log "nonsense"; it has audit, etcd`, code: 1},
		{args: "exec sim-0001 -- true", errors: `no real node "sim-0001"`, code: 1},
		{args: "down", errors: "nothing is left"},
		{args: "down", errors: "nothing is left"},
	} {
		out, words, code := call(t, append([]string{"--name", name}, strings.Fields(step.args)...)...)
		if code != step.code || !strings.Contains(out, step.out) || !strings.Contains(words, step.errors) {
			t.Errorf("%s: exit %d, want %d; output, to hold %q:\n%s\nerrors, to hold %q:\n%s", step.args, code, step.code, step.out, out, step.errors, words)
		}
	}
}

// TestCtrlC presses it once, where up cleans up itself, and twice, where it ends at once and the keeper cleans up.
func TestCtrlC(t *testing.T) {
	const name = "test-ctrl-c"
	for what, times := range map[string]int{"once": 1, "twice": 2} {
		t.Run(what, func(t *testing.T) {
			begin(t, name)
			cmd := start(t.Context(), "--name", name, "up", "--loopback", "--simulated", "1")
			words, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(words)
			for lines.Scan() && !strings.Contains(lines.Text(), "API server ready") {
				continue
			}
			for range times {
				_ = cmd.Process.Signal(unix.SIGINT)
				// The second counts only when the first has been seen.
				for times > 1 && lines.Scan() && !strings.Contains(lines.Text(), "taking down") {
					continue
				}
			}
			_, _ = io.Copy(io.Discard, words)
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted up ended well")
			}
			gone(t, name)
		})
	}
}

func gone(t *testing.T, name string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		left, err := cluster.Leftovers(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("left over: %q", left)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
