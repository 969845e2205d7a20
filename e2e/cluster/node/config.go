// Package node answers: how does one Linux machine pretend to be several Kubernetes nodes?
//
// A node is a process tree in namespaces of its own (mount, pid, network, uts, ipc, cgroup) whose init is this package: it lays an overlay over the
// machine's root, supervises containerd, kubelet and kube-proxy, reaps children and answers a systemctl. Every mount and the network interface live
// only inside those namespaces, so they vanish with the init; what else there is (cgroup directories, the state directory) is written down before it
// is made and removed by Stop, also from another process after a crash.
package node

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Flavor says which containerd a node runs.
type Flavor string

const (
	// Containerd2 is the containerd built from its Go module: it merges drop-ins of /etc/containerd/conf.d and its kubelet reports runtime handlers.
	Containerd2 Flavor = "containerd2"
	// Containerd16 is Debian's containerd 1.6: its config.toml has to be edited in place, and its kubelet reports no runtime handlers.
	Containerd16 Flavor = "containerd1.6"
)

// Config is what the cluster hands over to start one node.
type Config struct {
	// Name is the hostname and, with a kubelet, the name of the Node object.
	Name string
	// Dir is the node's state directory on the machine; Stop removes it.
	Dir string
	// Bins holds absolute paths: "containerd", "containerd-shim-runc-v2", "ctr", "runc" and "pause" are files, "cni" is a directory of plugins and
	// "nftables" one of unpacked Debian packages (usr/sbin/nft and its libraries). "kubernetes" is the multi-call binary; without it the node runs
	// containerd alone. "nftables" is needed with "kubernetes" only. Flavor Containerd16 needs "containerd16", a directory of unpacked Debian
	// packages, instead of the first four.
	Bins   map[string]string
	Flavor Flavor

	// NetNS is the named network namespace of the control plane, Bridge the bridge in it that the node's interface is attached to. Both empty: the
	// node has a loopback interface only.
	NetNS, Bridge string
	IP            netip.Prefix
	Gateway       netip.Addr
	// PodCIDR is routed to the node in NetNS; nodes reach each other's pods through the gateway.
	PodCIDR netip.Prefix

	// APIServer is the URL that the kubeconfigs below name; it is kept for messages.
	APIServer string
	// CA is the bundle that the kubelet trusts for its clients, KubeletCert and KubeletKey are its serving certificate (PEM).
	CA, KubeletCert, KubeletKey        []byte
	KubeletKubeconfig, ProxyKubeconfig []byte
	// Registries are host:port of registries that speak plain HTTP.
	Registries []string

	Labels map[string]string
	Taints []corev1.Taint
	// MachineID is 32 hex digits; empty means derived from Name and Dir.
	MachineID string
	// Disk is the size of the node's disk in bytes, which is memory; 0 lets it grow with what is written.
	Disk int64
}

// dirBins are the keys of Bins that name directories.
var dirBins = []string{"cni", "nftables", "containerd16"}

// bin is one entry of Config.Bins.
func (c Config) bin(name string) string { return c.Bins[name] }

// hasKubelet tells a full node from one with containerd alone.
func (c Config) hasKubelet() bool { return c.bin("kubernetes") != "" }

// requiredBins lists the keys of Bins that this configuration cannot do without.
func (c Config) requiredBins() []string {
	keys := []string{"cni", "pause"}
	if c.Flavor == Containerd16 {
		keys = append(keys, "containerd16")
	} else {
		keys = append(keys, "containerd", "containerd-shim-runc-v2", "ctr", "runc")
	}
	if c.hasKubelet() {
		keys = append(keys, "kubernetes", "nftables")
	}
	return keys
}

// validate reports everything that is wrong at once.
func (c Config) validate() error {
	var errs []error
	if c.Name == "" || !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("name %q and dir %q: expected a name and an absolute path", c.Name, c.Dir))
	}
	if !slices.Contains([]Flavor{Containerd2, Containerd16}, c.Flavor) {
		errs = append(errs, fmt.Errorf("flavor %q: expected %q or %q", c.Flavor, Containerd2, Containerd16))
	}
	for _, key := range c.requiredBins() {
		if !filepath.IsAbs(c.bin(key)) {
			errs = append(errs, fmt.Errorf("bins[%s] is %q: expected an absolute path", key, c.bin(key)))
		}
	}
	if c.hasKubelet() && c.NetNS == "" {
		errs = append(errs, errors.New("a kubelet needs a network: netNS is empty"))
	}
	if c.NetNS != "" && (c.Bridge == "" || !c.IP.IsValid() || !c.Gateway.IsValid() || !c.PodCIDR.IsValid()) {
		errs = append(errs, fmt.Errorf("network %q: bridge %q, ip %q, gateway %q and podCIDR %q must all be given", c.NetNS, c.Bridge, c.IP, c.Gateway, c.PodCIDR))
	}
	if len(errs) > 0 {
		return fmt.Errorf("node %q: %w", c.Name, errors.Join(errs...))
	}
	return nil
}
