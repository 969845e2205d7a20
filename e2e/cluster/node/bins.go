package node

import (
	"context"
	"fmt"
	"io"
	"maps"

	"longshore.dev/longshore/e2e/parts"
)

var (
	// nftPackages are nft and all its libraries but the C library; a node takes of them what its machine lacks.
	nftPackages = []string{
		"nftables", "libnftables1", "libnftnl11", "libmnl0", "libjansson4", "libxtables12", "libedit2", "libbsd0", "libmd0", "libgmp10", "libtinfo6",
	}
	containerd16Packages = []string{"containerd", "runc", "libseccomp2"}
)

// Bins builds or downloads what nodes of these flavors run, besides "kubernetes", in the form that Config.Bins wants it.
func Bins(ctx context.Context, progress io.Writer, flavors ...Flavor) (map[string]string, error) {
	bins, err := parts.Build(ctx, progress, "containerd", "runc", "cni", "pause")
	if err != nil {
		return nil, fmt.Errorf("binaries of the nodes: %w", err)
	}
	debian := map[string][]string{"nftables": nftPackages}
	for _, flavor := range flavors {
		if flavor == Containerd16 {
			debian["containerd16"] = containerd16Packages
		}
	}
	unpacked := map[string]string{}
	for key, packages := range debian {
		if unpacked[key], err = parts.Debian(ctx, progress, packages...); err != nil {
			return nil, fmt.Errorf("packages of the nodes: %w", err)
		}
	}
	maps.Copy(bins, unpacked)
	return bins, nil
}
