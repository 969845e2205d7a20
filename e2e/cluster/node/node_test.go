package node

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/node/thread"
)

func TestContainerSurvivesARestartOfContainerd(t *testing.T) {
	for _, flavor := range []Flavor{Containerd2, Containerd16} {
		t.Run(string(flavor), func(t *testing.T) {
			n := startNode(t, realNode(t, flavor))
			output(t, n, "ctr", "-n", "k8s.io", "run", "--detach", pauseImage, "c1")
			before, mainPID := taskPID(t, n, "c1"), output(t, n, "systemctl", "show", "containerd")

			output(t, n, "systemctl", "restart", "containerd.service")

			if now := output(t, n, "systemctl", "show", "containerd"); now == mainPID {
				t.Errorf("systemctl restart left the same process: %s", now)
			}
			if now := taskPID(t, n, "c1"); now != before || now == "" {
				t.Errorf("container c1 ran as process %q, after the restart of containerd as %q", before, now)
			}
			if state := output(t, n, "systemctl", "is-active", "containerd"); state != "active" {
				t.Errorf("containerd is %q after systemctl restart returned, want active", state)
			}
		})
	}
}

func TestStopLeavesNothing(t *testing.T) {
	cfg := networked(t, realNode(t, Containerd2), 1)
	before := leftovers(t, cfg)
	n := startNode(t, cfg)
	output(t, n, "ctr", "-n", "k8s.io", "run", "--detach", pauseImage, "c1")
	for name := range machineSysctls {
		output(t, n, "sh", "-c", "echo 7 > /proc/sys/"+name)
	}
	during := strings.Join(leftovers(t, cfg), "\n")
	for _, kind := range []string{"interface " + n.state.Veth, "route 198.18.1.0/25", "cgroup /sys/fs/cgroup", "containerd", "containerd-shim", "pause"} {
		if !strings.Contains(during, kind) {
			t.Errorf("of a running node no %q is seen: this test sees nothing\n%s", kind, during)
		}
	}
	for range 2 {
		if err := n.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantSame(t, before, leftovers(t, cfg))
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state directory after Stop: %v, want it gone", err)
	}
}

func TestAnotherProcessStopsANodeWhoseStarterWasKilled(t *testing.T) {
	cfg := networked(t, realNode(t, Containerd2), 1)
	before := leftovers(t, cfg)
	starter := helper(t, "start", cfg)
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait()

	n, err := Attach(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Running() {
		t.Fatalf("the node died with its starter:\n%s", n.Logs("init"))
	}
	if name := output(t, n, "hostname"); name != cfg.Name {
		t.Errorf("hostname = %q, want %q", name, cfg.Name)
	}
	output(t, n, "ctr", "-n", "k8s.io", "run", "--detach", pauseImage, "c1")
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, leftovers(t, cfg))
}

func TestACrashedNodeTellsItsLogsAndIsStopped(t *testing.T) {
	cfg := networked(t, realNode(t, Containerd2), 1)
	before := leftovers(t, cfg)
	n := startNode(t, cfg)
	if err := n.state.Init.End(unix.SIGKILL, killPatience); err != nil {
		t.Fatal(err)
	}
	attached, err := Attach(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if attached.Running() {
		t.Error("a node whose init was killed counts as running")
	}
	if err := attached.Exec(t.Context(), []string{"true"}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), `"n1" does not run`) {
		t.Errorf("Exec on a crashed node: %v", err)
	}
	if logs := attached.Logs("containerd"); !strings.Contains(logs, "containerd successfully booted") {
		t.Errorf("logs of containerd after the crash: %q", lastLines(logs, 3))
	}
	if err := attached.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, leftovers(t, cfg))
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	cfg := networked(t, realNode(t, Containerd2), 1)
	before := leftovers(t, cfg)
	cfg.Bins = maps.Clone(cfg.Bins)
	cfg.Bins["pause"] = "/nowhere/pause"
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("Start = %v, want an error that names /nowhere", err)
	}
	wantSame(t, before, leftovers(t, cfg))
}

func TestNodesReachEachOther(t *testing.T) {
	base := realNode(t, Containerd2)
	first := networked(t, base, 1)
	second := networked(t, base, 2)
	startNode(t, first)
	n2 := startNode(t, second)
	listener := listenInside(t, n2, netip.AddrPortFrom(second.IP.Addr(), 7777))
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello from n2\n"))
			_ = conn.Close()
		}
	}()
	n1, err := Attach(first.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := output(t, n1, "bash", "-c", "cat < /dev/tcp/"+second.IP.Addr().String()+"/7777"); got != "hello from n2" {
		t.Errorf("n1 read %q from n2", got)
	}
}

func TestADyingServiceIsStartedAgainAndAStoppedOneIsNot(t *testing.T) {
	n := startNode(t, realNode(t, Containerd2))
	before := mainPID(t, n)
	output(t, n, "kill", "-KILL", before)
	deadline := time.Now().Add(20 * time.Second)
	for now := before; now == before || now == "0"; now = mainPID(t, n) {
		if time.Now().After(deadline) {
			t.Fatalf("containerd was killed and did not come back:\n%s", n.Logs("init"))
		}
	}
	output(t, n, "systemctl", "start", "containerd") // waits until it is up

	output(t, n, "systemctl", "stop", "containerd")
	var stdout bytes.Buffer
	err := n.Exec(t.Context(), []string{"systemctl", "is-active", "containerd"}, nil, &stdout, nil)
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed || exit.ExitCode() != 3 || stdout.String() != "inactive\n" {
		t.Errorf("is-active of a stopped service: %v, %q; want exit code 3 and inactive", err, stdout.String())
	}
}

func mainPID(t *testing.T, n *Node) string {
	t.Helper()
	for line := range strings.Lines(output(t, n, "systemctl", "show", "containerd")) {
		if pid, ok := strings.CutPrefix(strings.TrimSpace(line), "MainPID="); ok {
			return pid
		}
	}
	t.Fatal("systemctl show told no MainPID")
	return ""
}

func TestTheDiskShowsWhatWasChangedAndNothingElse(t *testing.T) {
	n := startNode(t, realNode(t, Containerd2))
	entries, err := os.ReadDir(n.Upper())
	if err != nil || len(entries) > 0 {
		t.Errorf("upper directory of a fresh node: %v, %v; want nothing", entries, err)
	}
	config := output(t, n, "cat", "/etc/containerd/config.toml")
	output(t, n, "sh", "-c", `
		echo '# edited' >> /etc/containerd/config.toml
		echo x > /etc/containerd/conf.d/x.toml
		mkdir -p /opt/payload && echo y > /opt/payload/y
		rm -rf /etc/cni/net.d /etc/shells && mkdir /etc/cni/net.d
		echo noise > /tmp/noise && echo noise > /run/noise && echo noise > /var/log/noise`)
	changes := changed(t, n)
	for _, name := range []string{"/etc/containerd/config.toml", "/etc/containerd/conf.d/x.toml", "/opt/payload", "/opt/payload/y", "/etc/shells"} {
		if changes[name] == "" {
			t.Errorf("no change is shown at %s; shown are %v", name, changes)
		}
	}
	if len(changes) != 5 || changes["/etc/shells"] != deleted {
		t.Errorf("changes = %v, want five, and /etc/shells deleted", changes)
	}
	write := "cat > /etc/containerd/config.toml"
	if err := n.Exec(t.Context(), []string{"sh", "-c", write}, strings.NewReader(config+"\n"), nil, os.Stderr); err != nil {
		t.Fatal(err)
	}
	output(t, n, "sh", "-c", "rm -r /etc/containerd/conf.d/x.toml /opt/payload && touch /etc/shells")
	changes = changed(t, n)
	delete(changes, "/etc/shells") // its content is gone for good
	if len(changes) > 0 {
		t.Errorf("changes after everything was put back byte for byte: %v", changes)
	}
}

func changed(t *testing.T, n *Node) map[string]string {
	t.Helper()
	changes, err := n.Changes()
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestTheMachineIsHiddenAndUntouched(t *testing.T) {
	n := startNode(t, realNode(t, Containerd2))
	output(t, n, "sh", "-c", "echo node > /usr/bin/longshore-test && echo node > /longshore-test && echo node > /root/longshore-test")
	for _, name := range []string{"/usr/bin/longshore-test", "/longshore-test", "/root/longshore-test"} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was written on the node and is on the machine: %v", name, err)
		}
	}
	if seen := output(t, n, "ls", "-A", "/home", "/root", "/srv", "/opt/cni"); strings.Contains(seen, "ssh") {
		t.Errorf("the node sees the machine's homes: %s", seen)
	}
	tops := strings.Fields(output(t, n, "ls", "-A", "/"))
	known := slices.Concat(machineDirs, ownDirs, []string{"longshore-test"})
	for _, top := range tops {
		if !slices.Contains(known, top) {
			t.Errorf("the node sees the machine's /%s", top)
		}
	}
	bins := realNode(t, Containerd2).Bins
	if err := n.Exec(t.Context(), []string{"touch", partPath("runc") + "/x"}, nil, nil, nil); err == nil {
		t.Errorf("the node wrote into %s of the cache", bins["runc"])
	}
}

func TestRebootKeepsTheDiskAndNothingElse(t *testing.T) {
	n := startNode(t, networked(t, realNode(t, Containerd2), 1))
	output(t, n, "ctr", "-n", "k8s.io", "run", "--detach", pauseImage, "c1")
	output(t, n, "sh", "-c", "echo x > /etc/kept && echo x > /run/lost && mkdir /mnt/lost && mount -t tmpfs lost /mnt/lost")
	boot := output(t, n, "cat", bootIDFile)
	machineID := output(t, n, "cat", "/etc/machine-id")

	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}

	if now := output(t, n, "cat", bootIDFile); now == boot {
		t.Errorf("boot id is %s before and after the reboot", now)
	}
	if now := output(t, n, "cat", "/etc/machine-id"); now != machineID {
		t.Errorf("machine id was %s and is %s", machineID, now)
	}
	if got := output(t, n, "sh", "-c", "cat /etc/kept; test -e /run/lost || echo gone; grep -c /mnt/lost /proc/self/mountinfo || true"); got != "x\ngone\n0" {
		t.Errorf("after the reboot: %q, want /etc/kept kept, /run and mounts gone", got)
	}
	if pid := taskPID(t, n, "c1"); pid != "" {
		t.Errorf("container c1 still runs as process %s", pid)
	}
	output(t, n, "ctr", "-n", "k8s.io", "run", "--detach", pauseImage, "c2")
}

func TestExec(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	n := startNode(t, realNode(t, Containerd2))
	var stdout, stderr bytes.Buffer
	err = n.Exec(t.Context(), []string{"sh", "-c", "cat; echo words >&2; exit 7"}, strings.NewReader("input"), &stdout, &stderr)
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed || exit.ExitCode() != 7 || stdout.String() != "input" || stderr.String() != "words\n" {
		t.Errorf("Exec = %v, %q, %q; want exit code 7, the input and the words", err, stdout.String(), stderr.String())
	}
	if err := n.Exec(t.Context(), []string{"no-such-program"}, nil, nil, nil); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Exec of a program that is not there = %v", err)
	}
	if now, err := os.Readlink("/proc/self/ns/mnt"); err != nil || now != before {
		t.Errorf("this program is in %s after Exec, %v; want %s", now, err, before)
	}
}

// helper runs this test binary as another process that calls Start and then does nothing.
func helper(t *testing.T, role string, cfg Config) *exec.Cmd {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "NODE_TEST_ROLE="+role, "NODE_TEST_READY="+ready, "NODE_TEST_CONFIG="+encode(t, cfg))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	word, err := os.ReadFile(ready)
	if err != nil || string(word) != "ready" {
		t.Fatalf("the helper said %q, %v:\n%s", word, err, out.String())
	}
	return cmd
}

func TestHelper(t *testing.T) {
	if os.Getenv("NODE_TEST_ROLE") == "" {
		t.Skip("only the body of another process")
	}
	_, err := Start(t.Context(), decode(t, os.Getenv("NODE_TEST_CONFIG")))
	word := "ready"
	if err != nil {
		word = err.Error()
	}
	if err := os.WriteFile(os.Getenv("NODE_TEST_READY"), []byte(word), 0); err != nil {
		t.Fatal(err)
	}
	select {}
}

// listenInside opens a listener in the node's network; a socket stays in the network it was made in.
func listenInside(t *testing.T, n *Node, address netip.AddrPort) net.Listener {
	t.Helper()
	var listener net.Listener
	if err := thread.Spare(func() error {
		ns, err := netns.GetFromPid(n.state.Init.PID)
		if err != nil {
			return err
		}
		if err := netns.Set(ns); err != nil {
			return err
		}
		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func wantSame(t *testing.T, before, after []string) {
	t.Helper()
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("left behind: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("lost: %s", line)
		}
	}
}
