// Command cluster answers: how do people bring a real Kubernetes up on one machine, look into it and take it down?
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/e2e/cluster"
)

func main() {
	cluster.Main()
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// After the first signal the default is back: a second one ends the program at once, and the cluster's keeper cleans up.
	context.AfterFunc(ctx, stop)
	err := command().ExecuteContext(ctx)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	return 0
}

// driver holds what all commands share.
type driver struct{ name string }

func command() *cobra.Command {
	d := &driver{}
	root := &cobra.Command{
		Use:   "cluster",
		Short: "A real Kubernetes on this machine, for tests",
		Long: "cluster brings a real Kubernetes up on this one Linux machine, without Docker: etcd, API server, controller manager and scheduler in a\n" +
			"network namespace of their own, real nodes with kubelet and containerd in namespaces beside it, and simulated nodes played by kwok.\n" +
			"Everything is built from Go modules and Debian packages into a cache; the first time takes many minutes.",
		SilenceUsage: true, SilenceErrors: true, TraverseChildren: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.PersistentFlags().StringVar(&d.name, "name", "longshore", "which cluster; several can run side by side")
	root.AddCommand(d.up(), d.build(), d.down(), d.status(), d.kubeconfig(), d.exec(), d.logs(), d.kubectl())
	return root
}

// sayIgnored tells who has exported a KUBECONFIG that it is not used.
func sayIgnored() { cluster.SayIgnored(os.Stderr, os.Getenv("KUBECONFIG")) }

func (d *driver) down() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take the cluster down, or what a crash left of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Half a cluster is of no use: an interrupt does not stop this.
			if err := cluster.Down(context.WithoutCancel(cmd.Context()), d.name); err != nil {
				return err
			}
			left, err := cluster.Leftovers(d.name)
			if err != nil {
				return err
			}
			for _, thing := range left {
				fmt.Fprintln(os.Stderr, "left over:", thing)
			}
			if len(left) > 0 {
				return fmt.Errorf("cluster %q is down, but %d things of it are still there", d.name, len(left))
			}
			fmt.Fprintf(os.Stderr, "cluster %q is down, nothing is left\n", d.name)
			return nil
		},
	}
}

func (d *driver) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of the administrator's kubeconfig", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := cluster.Attach(d.name)
			if err != nil {
				return err
			}
			fmt.Println(c.Kubeconfig())
			return c.Close()
		},
	}
}

func (d *driver) exec() *cobra.Command {
	return &cobra.Command{
		Use: "exec NODE -- COMMAND…", Short: "Run a command on a real node, as root in all its namespaces", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Attach(d.name)
			if err != nil {
				return err
			}
			node, err := c.Node(args[0])
			if err != nil {
				return errors.Join(err, c.Close())
			}
			return errors.Join(node.Exec(cmd.Context(), args[1:], os.Stdin, os.Stdout, os.Stderr), c.Close())
		},
	}
}

func (d *driver) kubectl() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl …", Short: "Run kubectl on the cluster (put --name before this word)", DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			sayIgnored()
			c, err := cluster.Attach(d.name)
			if err != nil {
				return err
			}
			kubectl, err := c.KubectlCommand(cmd.Context(), args...)
			if err != nil {
				return errors.Join(err, c.Close())
			}
			kubectl.Stdin, kubectl.Stdout, kubectl.Stderr = os.Stdin, os.Stdout, os.Stderr
			// A bare exit status, so that main can end with the same.
			if err := kubectl.Run(); err != nil {
				return err
			}
			return c.Close()
		},
	}
}
