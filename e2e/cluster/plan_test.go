package cluster

import (
	"net/netip"
	"testing"
)

func TestClustersDoNotShareNetworks(t *testing.T) {
	var taken []netip.Prefix
	for range 1 << (clusterBits - testRange.Bits()) {
		subnet, err := freeSubnet("any", taken)
		if err != nil {
			t.Fatalf("after %d networks: %v", len(taken), err)
		}
		if overlapsAny(subnet, taken) || !testRange.Overlaps(subnet) || subnet != subnet.Masked() {
			t.Fatalf("%s is not a free network of %s; taken: %v", subnet, testRange, taken)
		}
		taken = append(taken, subnet)
	}
	if subnet, err := freeSubnet("any", taken); err == nil {
		t.Errorf("got %s when all were taken", subnet)
	}
}

func TestTheAddressesOfAClusterDoNotOverlap(t *testing.T) {
	p := plan{Subnet: netip.MustParsePrefix("198.18.16.0/20")}
	parts := []netip.Prefix{p.services(), netip.PrefixFrom(p.gateway(), 24).Masked()}
	for slot := range maxSlots {
		parts = append(parts, p.pods(slot))
		if !parts[1].Contains(p.node(slot).Addr()) {
			t.Errorf("node %d has %s, outside %s", slot, p.node(slot), parts[1])
		}
	}
	for i, part := range parts {
		if part != part.Masked() || !p.Subnet.Contains(part.Addr()) {
			t.Errorf("%s is not a network inside %s", part, p.Subnet)
		}
		if overlapsAny(part, parts[:i]) {
			t.Errorf("%s overlaps one of %v", part, parts[:i])
		}
	}
}

func TestNamesThatWouldBreakPathsAreRefused(t *testing.T) {
	for _, name := range []string{"", "-a", "a-", "A", "a/b", "..", "a b", "this-name-is-longer-than-thirty-characters"} {
		if err := checkName(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	for _, name := range []string{"a", "longshore", "test-1"} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
