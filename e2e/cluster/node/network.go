package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"longshore.dev/longshore/e2e/cluster/node/thread"
)

// insideName is the node's interface as the node sees it.
const insideName = "eth0"

// attachNetwork gives the namespaces of process pid an interface on the bridge and routes the node's pods to it.
func attachNetwork(cfg Config, veth string, pid int) error {
	inside, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network of process %d: %w", pid, err)
	}
	defer func() { _ = inside.Close() }()
	node, err := netlink.NewHandleAt(inside, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network of process %d: %w", pid, err)
	}
	defer node.Close()
	if err := up(node, "lo"); err != nil || cfg.NetNS == "" {
		return err
	}

	outside, err := openNetNS(cfg.NetNS)
	if err != nil {
		return err
	}
	defer func() { _ = outside.Close() }()
	if err := plug(cfg, outside, veth, pid); err != nil {
		return fmt.Errorf("attaching node %q to bridge %q in network %q: %w", cfg.Name, cfg.Bridge, cfg.NetNS, err)
	}
	if err := configureInside(node, cfg); err != nil {
		return fmt.Errorf("network inside node %q: %w", cfg.Name, err)
	}
	return forwardIn(outside)
}

func openNetNS(name string) (netns.NsHandle, error) {
	fd, err := netns.GetFromPath(filepath.Join("/run/netns", name))
	if err != nil {
		return fd, fmt.Errorf("network namespace %q: %w", name, err)
	}
	return fd, nil
}

// plug makes the pair of interfaces and, in the control plane's network, the route to the node's pods.
func plug(cfg Config, outside netns.NsHandle, veth string, pid int) error {
	h, err := netlink.NewHandleAt(outside, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	bridge, err := h.LinkByName(cfg.Bridge)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.MTU = veth, bridge.Attrs().Index, bridge.Attrs().MTU
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: insideName, PeerNamespace: netlink.NsPid(pid)}
	if err := h.LinkAdd(pair); err != nil {
		return fmt.Errorf("adding %q: %w", veth, err)
	}
	if err := up(h, veth); err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{Dst: ipNet(cfg.PodCIDR.Masked()), Gw: cfg.IP.Addr().AsSlice(), LinkIndex: bridge.Attrs().Index})
}

func configureInside(h *netlink.Handle, cfg Config) error {
	link, err := h.LinkByName(insideName)
	if err != nil {
		return err
	}
	if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipNet(cfg.IP)}); err != nil {
		return fmt.Errorf("address %s: %w", cfg.IP, err)
	}
	if err := up(h, insideName); err != nil {
		return err
	}
	if err := h.RouteReplace(&netlink.Route{Gw: cfg.Gateway.AsSlice(), LinkIndex: link.Attrs().Index}); err != nil {
		return fmt.Errorf("default route via %s: %w", cfg.Gateway, err)
	}
	return nil
}

// forwardIn lets the control plane's network pass packets between nodes: each reaches the others' pods through the gateway.
func forwardIn(ns netns.NsHandle) error {
	return thread.Spare(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})
}

// detachNetwork removes what attachNetwork left outside; most of it went with the node's namespace.
func detachNetwork(s state) error {
	if s.NetNS == "" {
		return nil
	}
	outside, err := openNetNS(s.NetNS)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = outside.Close() }()
	h, err := netlink.NewHandleAt(outside, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return errors.Join(removeLink(h, s.Veth), removeRoute(h, s.PodCIDR))
}

func removeLink(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	// The kernel removes it on its own when the other end's namespace dies; ENODEV means that it was faster.
	if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing interface %q: %w", name, err)
	}
	return nil
}

func removeRoute(h *netlink.Handle, cidr string) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return fmt.Errorf("route to pods: %w", err)
	}
	if err := h.RouteDel(&netlink.Route{Dst: ipNet(prefix.Masked())}); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("removing route to %s: %w", cidr, err)
	}
	return nil
}

func up(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("interface %q up: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
