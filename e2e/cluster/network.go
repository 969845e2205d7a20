package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns"

func (p plan) netnsPath() string {
	if p.NetNS == "" {
		return ""
	}
	return filepath.Join(netnsDir, p.NetNS)
}

// makeNetwork gives the cluster its network namespace with a bridge, and the machine an end in it.
func makeNetwork(p plan) error {
	if p.Loopback {
		return nil
	}
	if err := makeNetNS(p.NetNS); err != nil {
		return fmt.Errorf("network namespace %q: %w", p.NetNS, err)
	}
	ns, err := netns.GetFromPath(p.netnsPath())
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	if err := makeBridge(inside, p); err != nil {
		return fmt.Errorf("bridge %q in network namespace %q: %w", bridge, p.NetNS, err)
	}
	if err := makeHostLink(inside, ns, p); err != nil {
		return fmt.Errorf("interface %q: %w", p.HostLink, err)
	}
	return nil
}

// makeNetNS runs on a thread that ends with it: a thread that was in another network is of no use to the rest of the program.
func makeNetNS(name string) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.NewNamed(name)
		if err == nil {
			err = errors.Join(ns.Close(), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
		}
		failed <- err
	}()
	return <-failed
}

func makeBridge(inside *netlink.Handle, p plan) error {
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(loopback); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridge
	if err := inside.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return err
	}
	link, err := inside.LinkByName(bridge)
	if err != nil {
		return err
	}
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p.gatewayNet())}); err != nil {
		return err
	}
	return inside.LinkSetUp(link)
}

func makeHostLink(inside *netlink.Handle, ns netns.NsHandle, p plan) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.HostLink
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "host", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	peer, err := inside.LinkByName("host")
	if err != nil {
		return err
	}
	parent, err := inside.LinkByName(bridge)
	if err != nil {
		return err
	}
	if err := errors.Join(inside.LinkSetMaster(peer, parent), inside.LinkSetUp(peer)); err != nil {
		return err
	}
	link, err := netlink.LinkByName(p.HostLink)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p.host())}); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{Dst: ipNet(p.Subnet), Gw: p.gateway().AsSlice(), LinkIndex: link.Attrs().Index})
}

// removeNetwork takes away whatever is there of the cluster's network.
func removeNetwork(p plan) error {
	if p.Loopback {
		return nil
	}
	var errs []error
	link, err := netlink.LinkByName(p.HostLink)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); err != nil && !gone && !errors.Is(err, unix.ENODEV) {
		errs = append(errs, fmt.Errorf("removing interface %q: %w", p.HostLink, err))
	}
	if err := netns.DeleteNamed(p.NetNS); err != nil && !errors.Is(err, os.ErrNotExist) {
		// A crash between making the file and mounting the namespace on it leaves a plain file.
		if err := os.Remove(p.netnsPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing network namespace %q: %w", p.NetNS, err))
		}
	}
	return errors.Join(errs...)
}

// usedNetworks lists what the machine routes already, but for its default route.
func usedNetworks() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing the machine's routes: %w", err)
	}
	var used []netip.Prefix
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		if prefix, err := netip.ParsePrefix(route.Dst.String()); err == nil && prefix.Bits() > 0 {
			used = append(used, prefix)
		}
	}
	return used, nil
}

// listenIn opens a listening socket in the network namespace at path, empty for the machine's. The socket stays there; the thread does not.
func listenIn(ctx context.Context, path, address string) (net.Listener, error) {
	if path == "" {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	type result struct {
		listener net.Listener
		err      error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err != nil {
			results <- result{err: fmt.Errorf("network namespace %q: %w", path, err)}
			return
		}
		defer func() { _ = ns.Close() }()
		if err := netns.Set(ns); err != nil {
			results <- result{err: err}
			return
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		results <- result{listener, err}
	}()
	r := <-results
	return r.listener, r.err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
