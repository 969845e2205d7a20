package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/cluster/node"
)

// size is what up and build are asked for.
type size struct {
	nodes, containerd16, simulated int
	loopback                       bool
}

func (s *size) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.nodes, "nodes", 2, "real nodes with containerd 2")
	cmd.Flags().IntVar(&s.containerd16, "containerd16", 0, "real nodes with Debian's containerd 1.6")
	cmd.Flags().IntVar(&s.simulated, "simulated", 0, "nodes that kwok plays")
	cmd.Flags().BoolVar(&s.loopback, "loopback", false, "no network of its own and no real nodes: needs no root")
}

// options names the nodes: node-1 … with containerd 2, legacy-1 … with 1.6.
func (d *driver) options(s *size, changed func(string) bool) (cluster.Options, error) {
	if s.loopback && !changed("nodes") {
		s.nodes = 0
	}
	opts := cluster.Options{Name: d.name, Simulated: s.simulated, Loopback: s.loopback, Keep: true, Progress: os.Stderr}
	for n := range s.nodes {
		opts.Nodes = append(opts.Nodes, cluster.NodeOptions{Name: fmt.Sprintf("node-%d", n+1), Flavor: node.Containerd2})
	}
	for n := range s.containerd16 {
		opts.Nodes = append(opts.Nodes, cluster.NodeOptions{Name: fmt.Sprintf("legacy-%d", n+1), Flavor: node.Containerd16})
	}
	if opts.Loopback {
		return opts, nil
	}
	if err := cluster.CanRunNodes(); err != nil {
		return opts, fmt.Errorf("real nodes cannot run here: %w; a control plane with simulated nodes can: up --loopback --simulated 20", err)
	}
	return opts, nil
}

func (d *driver) up() *cobra.Command {
	s := &size{}
	cmd := &cobra.Command{
		Use: "up", Short: "Bring the cluster up, or what is missing of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sayIgnored()
			opts, err := d.options(s, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			c, err := cluster.Up(cmd.Context(), opts)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "its registry is %s, its kubeconfig:\n", c.Registry())
			fmt.Println(c.Kubeconfig())
			return c.Close()
		},
	}
	s.flags(cmd)
	return cmd
}

func (d *driver) build() *cobra.Command {
	s := &size{}
	cmd := &cobra.Command{
		Use: "build", Short: "Build and download what up needs, and no more", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := d.options(s, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return cluster.Build(cmd.Context(), opts)
		},
	}
	s.flags(cmd)
	return cmd
}
