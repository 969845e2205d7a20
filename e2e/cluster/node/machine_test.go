package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/node/thread"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// realNode returns the configuration of a node with containerd alone, or skips with the reason why this machine cannot run one.
func realNode(t *testing.T, flavor Flavor) Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("real nodes need root: namespaces, mounts and cgroups are made")
	}
	if testing.Short() {
		t.Skip("-short: a real node builds containerd and starts it")
	}
	bins, err := testBins()
	if err != nil {
		t.Fatal(err)
	}
	// A path that would end an overlay's option if it were written there.
	return Config{Name: "n1", Dir: filepath.Join(t.TempDir(), "a:b,c", "n1"), Bins: bins, Flavor: flavor}
}

// testBins builds once for all tests.
var testBins = sync.OnceValues(func() (map[string]string, error) {
	return Bins(context.Background(), os.Stderr, Containerd16)
})

const testBridge = "br0"

// networked puts a node into the network of a control plane that is not there; the number tells the nodes of one test apart.
func networked(t *testing.T, cfg Config, number int) Config {
	t.Helper()
	cfg.Name = fmt.Sprintf("n%d", number)
	cfg.Dir = filepath.Join(filepath.Dir(cfg.Dir), cfg.Name)
	cfg.NetNS, cfg.Bridge = fmt.Sprintf("longshore-test-%d", os.Getpid()), testBridge
	cfg.IP = netip.MustParsePrefix(fmt.Sprintf("198.18.0.%d/24", 10+number))
	cfg.Gateway = netip.MustParseAddr("198.18.0.1")
	cfg.PodCIDR = netip.MustParsePrefix(fmt.Sprintf("198.18.%d.0/25", number))
	if number > 1 {
		return cfg
	}
	if err := thread.Spare(func() error { _, err := netns.NewNamed(cfg.NetNS); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.DeleteNamed(cfg.NetNS); err != nil {
			t.Error(err)
		}
	})
	h := handle(t, cfg.NetNS)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = testBridge
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	bridge, err := h.LinkByName(testBridge)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.18.0.1/24"))}); err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(bridge); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func handle(t *testing.T, name string) *netlink.Handle {
	t.Helper()
	ns, err := openNetNS(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func startNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	began := time.Now()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("node %q started after %s", cfg.Name, time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() && n.Running() {
			t.Logf("init:\n%s\ncontainerd:\n%s", lastLines(n.Logs("init"), 30), lastLines(n.Logs("containerd"), 30))
		}
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// output runs a command inside the node and returns what it printed.
func output(t *testing.T, n *Node, cmd ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := n.Exec(t.Context(), cmd, nil, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// taskPID is the process of a running container, empty when it does not run.
func taskPID(t *testing.T, n *Node, container string) string {
	t.Helper()
	for line := range strings.Lines(output(t, n, "ctr", "-n", "k8s.io", "task", "list")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == container && fields[2] == "RUNNING" {
			return fields[1]
		}
	}
	return ""
}

// leftovers lists everything on the machine and in the node's network that this node could leave behind. Other clusters may come and go meanwhile.
func leftovers(t *testing.T, cfg Config) []string {
	t.Helper()
	found := slices.Concat(links(t, cfg), cgroups(t, cfg), nodeProcesses(t, cfg))
	if err := eachMount(func(_, target string) {
		if strings.HasPrefix(target, cfg.Dir) {
			found = append(found, "mount "+target)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for name := range machineSysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err == nil {
			found = append(found, fmt.Sprintf("sysctl %s=%s", name, bytes.TrimSpace(value)))
		}
	}
	slices.Sort(found)
	return found
}

func links(t *testing.T, cfg Config) []string {
	t.Helper()
	var found []string
	if _, err := netlink.LinkByName("ls" + shortID(cfg)); err == nil {
		found = append(found, "interface on the machine")
	}
	h := handle(t, cfg.NetNS)
	inside, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range inside {
		found = append(found, "interface "+link.Attrs().Name+" in "+cfg.NetNS)
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range routes {
		found = append(found, "route "+route.Dst.String()+" in "+cfg.NetNS)
	}
	return found
}

func cgroups(t *testing.T, cfg Config) []string {
	t.Helper()
	trees, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, h := range trees {
		dir := filepath.Join(h.Mount, "longshore-"+shortID(cfg))
		if _, err := os.Stat(dir); err == nil {
			found = append(found, "cgroup "+dir)
		}
	}
	return found
}

// nodeProcesses lists the processes in the node's cgroup, where all of them are born.
func nodeProcesses(t *testing.T, cfg Config) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		groups, _ := os.ReadFile(file)
		if bytes.Contains(groups, []byte("longshore-"+shortID(cfg))) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
			found = append(found, fmt.Sprintf("process %s %s", filepath.Base(filepath.Dir(file)), bytes.TrimSpace(command)))
		}
	}
	return found
}

func encode(t *testing.T, cfg Config) string {
	t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func decode(t *testing.T, text string) Config {
	t.Helper()
	var cfg Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}
