package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/process"
	"longshore.dev/longshore/e2e/images"
)

// crashEnv makes the test binary a program that brings the named cluster up and waits to be killed.
const crashEnv = "LONGSHORE_TEST_CRASH"

func TestMain(m *testing.M) {
	Main()
	if name := os.Getenv(crashEnv); name != "" {
		opts := Options{Name: name, Simulated: 1, Loopback: CanRunNodes() != nil, Progress: os.Stdout}
		if !opts.Loopback {
			opts.Nodes = []NodeOptions{{Name: "crash"}}
		}
		if _, err := Up(context.Background(), opts); err != nil {
			panic(err)
		}
		select {}
	}
	os.Exit(m.Run())
}

// options are those of a cluster for one test; whatever happens, it is gone when the test has ended.
func options(t *testing.T, name string) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("a control plane takes seconds, and minutes to build")
	}
	if err := Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
		nothingLeft(t, name)
	})
	return Options{Name: name, Loopback: CanRunNodes() != nil, Progress: t.Output()}
}

func nothingLeft(t *testing.T, name string) {
	t.Helper()
	left, err := Leftovers(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, thing := range left {
		t.Errorf("left over: %s", thing)
	}
}

func mustUp(t *testing.T, opts Options) *Cluster {
	t.Helper()
	c, err := Up(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAClusterComesAndGoesWithoutATrace(t *testing.T) {
	for name, loopback := range map[string]bool{"test-net": false, "test-loopback": true} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			opts := options(t, name)
			if !loopback && opts.Loopback {
				t.Skip("no network of its own here:", CanRunNodes())
			}
			opts.Loopback, opts.Simulated = loopback, 3
			c := mustUp(t, opts)
			output, err := c.Kubectl(t.Context(), "get", "nodes", "--no-headers")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(output, " Ready "); got != 3 {
				t.Errorf("%d nodes are Ready, want 3:\n%s", got, output)
			}
			if err := c.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, name)
			if _, err := Attach(name); !errors.Is(err, ErrNotRunning) {
				t.Errorf("attaching to what is down: %v, want %v", err, ErrNotRunning)
			}
		})
	}
}

func TestUpOnARunningClusterAddsOnlyWhatIsMissing(t *testing.T) {
	opts := options(t, "test-again")
	opts.Simulated = 1
	before, err := mustUp(t, opts).Units()
	// Nobody holds that cluster any more, and it has to stay all the same.
	runtime.GC()
	if err != nil {
		t.Fatal(err)
	}
	opts.Simulated = 2
	c := mustUp(t, opts)
	after, err := c.Units()
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if before[name].Process != after[name].Process {
			t.Errorf("%s was process %d and is %d", name, before[name].Process.PID, after[name].Process.PID)
		}
	}
	if output, err := c.Kubectl(t.Context(), "get", "nodes", "-oname"); err != nil || strings.Count(output, "\n") != 2 {
		t.Errorf("nodes: %q, %v; want two", output, err)
	}
}

// TestAnInterruptedUpLeavesNothing interrupts at each line of progress.
func TestAnInterruptedUpLeavesNothing(t *testing.T) {
	for name, moment := range map[string]string{"early": "", "late": "API server ready"} {
		t.Run(name, func(t *testing.T) {
			opts := options(t, "test-interrupt")
			opts.Simulated = 1
			ctx, interrupt := context.WithCancelCause(t.Context())
			asked := errors.New("interrupted")
			opts.Progress = writerFunc(func(line []byte) {
				if strings.HasPrefix(string(line), moment) {
					interrupt(asked)
				}
			})
			if moment == "" {
				time.AfterFunc(100*time.Millisecond, func() { interrupt(asked) })
			}
			if _, err := Up(ctx, opts); !errors.Is(err, asked) && !errors.Is(err, context.Canceled) {
				t.Errorf("Up = %v, want the interrupt", err)
			}
			nothingLeft(t, opts.Name)
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(data []byte) (int, error) { f(data); return len(data), nil }

func TestAKilledProgramTakesItsClusterAlong(t *testing.T) {
	t.Run("at any time", func(t *testing.T) { killed(t, func(string) {}) })
	// Taking a cluster down begins with that; a second Ctrl-C kills whoever waits for the keeper's end.
	t.Run("after it asked the keeper to end", func(t *testing.T) {
		killed(t, func(dir string) {
			var keeper process.Identity
			data, err := os.ReadFile(filepath.Join(dir, "keeper.json"))
			if err == nil {
				err = json.Unmarshal(data, &keeper)
			}
			if err == nil {
				err = unix.Kill(keeper.PID, unix.SIGTERM)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	})
}

// killed kills a program with a cluster, right after what happens before to the cluster's directory.
func killed(t *testing.T, before func(dir string)) {
	t.Helper()
	name := options(t, "test-crash").Name
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), crashEnv+"="+name)
	output, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, output, " up after ")
	if left, err := Leftovers(name); err != nil || len(left) < 6 {
		t.Errorf("while it is up there are %q, %v; expected files and processes, or the rest of this test says nothing", left, err)
	}
	cgroups := cgroupsOf(t, name)
	base, err := baseDir()
	if err != nil {
		t.Fatal(err)
	}
	before(filepath.Join(base, name))
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait()
	eventually(t, func() bool {
		left, err := Leftovers(name)
		return err == nil && len(left) == 0
	})
	nothingLeft(t, name)
	for _, cgroup := range cgroups {
		if _, err := os.Stat(cgroup); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left over: cgroup %s, %v", cgroup, err)
		}
	}
}

// cgroupsOf finds the cgroups of the real nodes of a cluster.
func cgroupsOf(t *testing.T, name string) []string {
	t.Helper()
	c, err := Attach(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	names, err := c.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		var state struct {
			Cgroup string `json:"cgroup"`
		}
		data, err := os.ReadFile(filepath.Join(c.layout.node(name), "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &state); err != nil || state.Cgroup == "" {
			t.Fatalf("state of node %q: %q, %v; want the name of its cgroup", name, data, err)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			matches, err := filepath.Glob(pattern + state.Cgroup)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, matches...)
		}
	}
	if len(names) > 0 && len(found) == 0 {
		t.Fatalf("nodes %q have no cgroup", names)
	}
	return found
}

// TestAfterAKilledKeeperUpStartsAfresh kills the process that would clean up: its units die with it, the rest is found by the next Up.
func TestAfterAKilledKeeperUpStartsAfresh(t *testing.T) {
	opts := options(t, "test-keeper")
	opts.Simulated = 1
	c := mustUp(t, opts)
	before, err := c.Units()
	if err != nil {
		t.Fatal(err)
	}
	var keeper process.Identity
	data, err := os.ReadFile(c.layout.file("keeper.json"))
	if err == nil {
		err = json.Unmarshal(data, &keeper)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.End(unix.SIGKILL, time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, unit := range before {
		eventually(t, func() bool { return !unit.Process.Alive() })
		if unit.Process.Alive() {
			t.Errorf("%s outlived the keeper", name)
		}
	}
	if _, err := Attach(opts.Name); !errors.Is(err, ErrNotRunning) {
		t.Errorf("attaching to what died: %v, want %v", err, ErrNotRunning)
	}
	if output, err := mustUp(t, opts).Kubectl(t.Context(), "get", "nodes", "-oname"); err != nil || output != "node/sim-0001\n" {
		t.Errorf("the new cluster answers %q, %v", output, err)
	}
}

func TestAStoppedAPIServerComesBackWithItsData(t *testing.T) {
	opts := options(t, "test-stop")
	opts.Simulated = 1
	c := mustUp(t, opts)
	if err := c.StopUnit("kube-apiserver", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if output, err := c.Kubectl(t.Context(), "get", "nodes"); err == nil {
		t.Errorf("a stopped API server answers %q", output)
	}
	if err := c.StartUnit(t.Context(), "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	if output, err := c.Kubectl(t.Context(), "get", "nodes", "-oname"); err != nil || output != "node/sim-0001\n" {
		t.Errorf("started again it answers %q, %v; want the node", output, err)
	}
}

func awaitLine(t *testing.T, from io.Reader, part string) {
	t.Helper()
	var seen bytes.Buffer
	for chunk := make([]byte, 1024); !strings.Contains(seen.String(), part); {
		n, err := from.Read(chunk)
		if err != nil {
			t.Fatalf("the program ended before it said %q: %v\n%s", part, err, seen.String())
		}
		seen.Write(chunk[:n])
	}
}

func eventually(t *testing.T, check func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !check() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Error("did not come about within a minute")
			return
		}
	}
}

// serve runs a registry on the listener until the test ends.
func serve(t *testing.T, listener net.Listener) {
	t.Helper()
	registry, err := images.NewRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}
