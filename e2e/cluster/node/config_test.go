package node

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// complete is a configuration that nothing is wrong with.
func complete() Config {
	return Config{
		Name: "n1", Dir: "/run/n1", Flavor: Containerd2, NetNS: "ns", Bridge: "br0",
		IP: netip.MustParsePrefix("198.18.0.11/24"), Gateway: netip.MustParseAddr("198.18.0.1"), PodCIDR: netip.MustParsePrefix("198.18.1.0/25"),
		Bins: map[string]string{
			"containerd": "/b/containerd", "containerd-shim-runc-v2": "/b/containerd-shim-runc-v2", "ctr": "/b/ctr", "runc": "/b/runc", "cni": "/b/cni",
			"pause": "/b/pause", "kubernetes": "/b/kubernetes", "nftables": "/b/nftables",
		},
	}
}

func TestValidateTellsEverythingAtOnce(t *testing.T) {
	if err := complete().validate(); err != nil {
		t.Fatalf("a complete configuration: %v", err)
	}
	tests := map[string]struct {
		change func(*Config)
		want   []string
	}{
		"no name and a relative directory": {func(c *Config) { c.Name, c.Dir = "", "n1" }, []string{`name ""`, `dir "n1"`}},
		"unknown flavor":                   {func(c *Config) { c.Flavor = "crio" }, []string{`flavor "crio"`, `"containerd2"`}},
		"missing programs":                 {func(c *Config) { c.Bins = map[string]string{"runc": "runc"} }, []string{"bins[containerd]", `bins[runc] is "runc"`, "bins[cni]"}},
		"1.6 without its packages":         {func(c *Config) { c.Flavor = Containerd16 }, []string{"bins[containerd16]"}},
		"a kubelet without a network":      {func(c *Config) { c.NetNS = "" }, []string{"netNS is empty"}},
		"half a network":                   {func(c *Config) { c.Bridge, c.Gateway = "", netip.Addr{} }, []string{`network "ns"`, `bridge ""`}},
		"two things": {
			func(c *Config) { c.Flavor, c.Bridge = "", "" }, []string{`flavor ""`, `bridge ""`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := complete()
			test.change(&cfg)
			err := cfg.validate()
			if err == nil {
				t.Fatal("no error")
			}
			for _, words := range test.want {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("error %q does not say %q", err, words)
				}
			}
		})
	}
}

func TestHierarchies(t *testing.T) {
	const (
		cpu     = "34 33 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
		named   = "35 33 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
		unified = "36 33 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
		pure    = "36 33 0:32 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		other   = "37 1 0:33 / /var/lib/docker/cgroup rw - cgroup cgroup rw,cpu\n22 1 8:1 / / rw - ext4 /dev/sda rw\n"
	)
	tests := map[string]struct {
		mountinfo string
		want      []hierarchy
	}{
		"v1":             {cpu + named + other, []hierarchy{{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", false}, {"/sys/fs/cgroup/systemd", "systemd", false}}},
		"hybrid is v1":   {cpu + unified, []hierarchy{{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", false}}},
		"v2":             {pure + other, []hierarchy{{"/sys/fs/cgroup", "", true}}},
		"none":           {other, nil},
		"a cut off line": {"34 33 0:30 / /sys\n\n" + pure, []hierarchy{{"/sys/fs/cgroup", "", true}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := parseHierarchies(test.mountinfo); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFilesOfANode(t *testing.T) {
	cfg := complete()
	cfg.Registries, cfg.Labels = []string{"198.18.0.1:5000"}, map[string]string{"b": "2", "a": "1"}
	cfg.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}}
	cfg.KubeletKey = []byte("secret")
	layer := t.TempDir()
	if err := writeFiles(layer, cfg); err != nil {
		t.Fatal(err)
	}
	contains := map[string][]string{
		"/etc/hostname":   {"n1\n"},
		"/etc/hosts":      {"198.18.0.11 n1\n"},
		"/etc/machine-id": {machineID(cfg)},
		"/etc/containerd/certs.d/198.18.0.1:5000/hosts.toml": {`[host."http://198.18.0.1:5000"]`},
		"/etc/containerd/config.toml":                        {"/etc/containerd/conf.d/*.toml", pauseImage},
		"/etc/cni/net.d/10-pods.conflist":                    {`"198.18.1.0/25"`},
		kubeletConfigFile:                                    {`"NoSchedule"`, `"cgroupfs"`},
		kubeletKeyFile:                                       {"secret"},
		unitsFile:                                            {"--node-labels=a=1,b=2", "--node-ip=198.18.0.11"},
	}
	for name, words := range contains {
		data, err := os.ReadFile(filepath.Join(layer, name))
		if err != nil {
			t.Error(err)
		}
		for _, word := range words {
			if !strings.Contains(string(data), word) {
				t.Errorf("%s does not contain %q:\n%s", name, word, data)
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(data) {
			t.Errorf("%s is not JSON:\n%s", name, data)
		}
	}
	info, err := os.Stat(filepath.Join(layer, kubeletKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubelet's key: %v, %v; want it for root only", info.Mode(), err)
	}
}

func TestMachineIDsDifferByNameAndPlace(t *testing.T) {
	a, b := complete(), complete()
	b.Dir = "/run/other"
	if machineID(a) == machineID(b) || len(machineID(a)) != 32 {
		t.Errorf("machine ids %q and %q: expected two different ones of 32 digits", machineID(a), machineID(b))
	}
	b.MachineID = "0123456789abcdef0123456789abcdef"
	if machineID(b) != b.MachineID {
		t.Errorf("machine id %q, want the given one", machineID(b))
	}
	if shortID(a) == shortID(complete()) && shortID(a) == shortID(b) {
		t.Error("two nodes of one name in different places have the same cgroup")
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/a\040b\134c`); got != `/a b\c` {
		t.Errorf("unescape = %q", got)
	}
}
