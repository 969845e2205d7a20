package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// plan is what one cluster decided before it made anything, and all that is needed to find it again or to remove it.
//
// A cluster with a network of its own has a /20 of 198.18.0.0/15, which is set aside for tests and routed nowhere:
//
//	.0.1            the gateway: API server, registries, the bridge of the nodes
//	.0.2            the machine's end, so that its programs reach everything at the addresses the nodes use
//	.0.10 …         nodes, by slot
//	.1.0 … .11.255  pods, a /25 for each slot
//	.12.0/22        services
//
// A cluster on loopback has none of it but the addresses in names: its parts listen on free ports of 127.0.0.1.
type plan struct {
	Name     string       `json:"name"`
	Loopback bool         `json:"loopback"`
	Subnet   netip.Prefix `json:"subnet"`
	// NetNS and HostLink are the named network namespace and the machine's interface into it.
	NetNS    string `json:"netns,omitempty"`
	HostLink string `json:"hostLink,omitempty"`

	APIServer       netip.AddrPort `json:"apiServer"`
	Etcd            netip.AddrPort `json:"etcd"`
	EtcdPeer        netip.AddrPort `json:"etcdPeer"`
	Kwok            netip.AddrPort `json:"kwok"`
	Registry        netip.AddrPort `json:"registry"`
	PrivateRegistry netip.AddrPort `json:"privateRegistry"`
	// RegistryPassword opens the private registry.
	RegistryPassword string `json:"registryPassword"`
	// SlowHeartbeats keeps thousands of simulated nodes from spending the machine on leases.
	SlowHeartbeats bool `json:"slowHeartbeats"`
}

const (
	planFile    = "cluster.json"
	bridge      = "longshore"
	clusterBits = 20
	maxSlots    = 22
	firstNode   = 10
	// freePorts at the gateway are for registries that tests serve themselves; nodes know them as plain HTTP.
	firstFreePort, freePorts = 5002, 8
	// manyNodes is where heartbeats at the usual rate start to be felt on two cores.
	manyNodes = 1500
)

var testRange = netip.MustParsePrefix("198.18.0.0/15")

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("cluster name %q: expected at most 30 of a-z, 0-9 and -, not at the ends", name)
	}
	return nil
}

// at is the nth address of the cluster's network.
func (p plan) at(n int) netip.Addr {
	bytes := p.Subnet.Addr().As4()
	value := uint32(bytes[0])<<24 | uint32(bytes[1])<<16 | uint32(bytes[2])<<8 | uint32(bytes[3])
	value += uint32(n)
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)})
}

func (p plan) gateway() netip.Addr        { return p.at(1) }
func (p plan) host() netip.Prefix         { return netip.PrefixFrom(p.at(2), 24) }
func (p plan) node(slot int) netip.Prefix { return netip.PrefixFrom(p.at(firstNode+slot), 24) }
func (p plan) pods(slot int) netip.Prefix { return netip.PrefixFrom(p.at(256+128*slot), 25) }
func (p plan) services() netip.Prefix     { return netip.PrefixFrom(p.at(12*256), 22) }
func (p plan) firstService() netip.Addr   { return p.at(12*256 + 1) }
func (p plan) url() string                { return "https://" + p.APIServer.String() }
func (p plan) gatewayNet() netip.Prefix   { return netip.PrefixFrom(p.gateway(), 24) }
func (p plan) freePort(n int) netip.AddrPort {
	return netip.AddrPortFrom(p.gateway(), uint16(firstFreePort+n))
}

// plainRegistries are all addresses where a registry may speak plain HTTP.
func (p plan) plainRegistries() []string {
	addresses := []string{p.Registry.String(), p.PrivateRegistry.String()}
	for n := range freePorts {
		addresses = append(addresses, p.freePort(n).String())
	}
	return addresses
}

// newPlan decides; taken lists the networks that other clusters and the machine itself use.
func newPlan(opts Options, taken []netip.Prefix) (plan, error) {
	p := plan{Name: opts.Name, Loopback: opts.Loopback, RegistryPassword: rand.Text(), SlowHeartbeats: opts.Simulated > manyNodes}
	var err error
	if p.Subnet, err = freeSubnet(opts.Name, taken); err != nil {
		return plan{}, err
	}
	if p.Loopback {
		return p, p.planLoopback()
	}
	p.NetNS = "longshore-" + p.Name
	p.HostLink = hostLink(p.Name)
	local := netip.MustParseAddr("127.0.0.1")
	p.APIServer = netip.AddrPortFrom(p.gateway(), 6443)
	p.Etcd, p.EtcdPeer = netip.AddrPortFrom(local, 2379), netip.AddrPortFrom(local, 2380)
	p.Kwok = netip.AddrPortFrom(local, 10247)
	p.Registry, p.PrivateRegistry = netip.AddrPortFrom(p.gateway(), 5000), netip.AddrPortFrom(p.gateway(), 5001)
	return p, nil
}

// hostLink fits into the fifteen characters that an interface name may have.
func hostLink(name string) string { return fmt.Sprintf("lsh-%08x", hash(name)) }

func (p *plan) planLoopback() error {
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	for _, port := range []*netip.AddrPort{&p.APIServer, &p.Etcd, &p.EtcdPeer, &p.Kwok, &p.Registry, &p.PrivateRegistry} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("choosing a port on loopback: %w", err)
		}
		// All stay open until the last is chosen, so that none is chosen twice.
		listeners = append(listeners, listener)
		*port = netip.MustParseAddrPort(listener.Addr().String())
	}
	return nil
}

// freeSubnet starts at a place that the name decides, so that a cluster tends to have the same addresses every time.
func freeSubnet(name string, taken []netip.Prefix) (netip.Prefix, error) {
	count := 1 << (clusterBits - testRange.Bits())
	all := plan{Subnet: testRange}
	for try := range count {
		n := (int(hash(name)%uint32(count)) + try) % count
		subnet := netip.PrefixFrom(all.at(n<<(32-clusterBits)), clusterBits)
		if !overlapsAny(subnet, taken) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no /%d of %s is free: %d networks of this machine or of other clusters lie in it", clusterBits, testRange, len(taken))
}

func overlapsAny(subnet netip.Prefix, taken []netip.Prefix) bool {
	return slices.ContainsFunc(taken, subnet.Overlaps)
}

func hash(text string) uint32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(text))
	return sum.Sum32()
}

func (p plan) save(dir string) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, planFile), data, 0o600)
}

func loadPlan(dir string) (plan, error) {
	var p plan
	data, err := os.ReadFile(filepath.Join(dir, planFile))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%s: %w", filepath.Join(dir, planFile), err)
	}
	return p, nil
}

// otherPlans reads the plans of all clusters of this user but the named one; half-made ones have none yet.
func otherPlans(base, except string) ([]plan, error) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	var plans []plan
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name() == except {
			continue
		}
		p, err := loadPlan(filepath.Join(base, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// patience is how long parts of the control plane may take on a busy machine of two cores.
const patience = 2 * time.Minute
