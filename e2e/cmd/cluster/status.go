package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster"
)

func (d *driver) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the parts of the cluster and how they are", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Attach(d.name)
			if err != nil {
				return err
			}
			return errors.Join(printStatus(cmd.Context(), c, os.Stdout), c.Close())
		},
	}
}

func printStatus(ctx context.Context, c *cluster.Cluster, out io.Writer) error {
	units, err := c.Units()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "cluster\t%s\nAPI server\t%s\nregistry\t%s\nkubeconfig\t%s\n\n", c.Name(), c.APIServer(), c.Registry(), c.Kubeconfig())
	fmt.Fprintln(table, "PART\tPROCESS\tSTATE")
	for _, name := range slices.Sorted(maps.Keys(units)) {
		state := "running"
		if !units[name].Running {
			state = units[name].Exit
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", name, units[name].Process.PID, state)
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return errors.Join(table.Flush(), fmt.Errorf("listing nodes: %w", err))
	}
	printNodes(table, nodes.Items)
	return table.Flush()
}

// printNodes shows real nodes one by one and only counts the simulated ones.
func printNodes(out io.Writer, nodes []corev1.Node) {
	var machines []corev1.Node
	simulated, simulatedReady := 0, 0
	for _, node := range nodes {
		switch {
		case node.Labels[cluster.SimulatedLabel] != cluster.SimulatedValue:
			machines = append(machines, node)
		case ready(node) == "True":
			simulatedReady++
			fallthrough
		default:
			simulated++
		}
	}
	if len(machines) > 0 {
		fmt.Fprintln(out, "\nNODE\tREADY\tRUNTIME\tHANDLERS")
	}
	for _, node := range machines {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", node.Name, ready(node), node.Status.NodeInfo.ContainerRuntimeVersion, handlers(node))
	}
	if simulated > 0 {
		fmt.Fprintf(out, "\nsimulated nodes\t%d of %d Ready\n", simulatedReady, simulated)
	}
}

func ready(node corev1.Node) string {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return string(condition.Status)
		}
	}
	return "unknown"
}

func handlers(node corev1.Node) string {
	var names []string
	for _, handler := range node.Status.RuntimeHandlers {
		if handler.Name != "" {
			names = append(names, handler.Name)
		}
	}
	return cmp.Or(strings.Join(names, ","), "not reported")
}

func (d *driver) logs() *cobra.Command {
	return &cobra.Command{
		Use: "logs [WHAT]", Short: "Print a log; without a name, the names there are", Args: cobra.MaximumNArgs(1),
		Long: "logs prints the log of a part of the control plane (etcd, kube-apiserver, …, audit, keeper) or, as NODE/UNIT, of a node's kubelet,\n" +
			"containerd, kube-proxy or init. Without a name it lists the names there are.",
		RunE: func(_ *cobra.Command, args []string) error {
			logs, err := cluster.Logs(d.name)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				for _, name := range slices.Sorted(maps.Keys(logs)) {
					fmt.Printf("%s\t%s\n", name, logs[name])
				}
				return nil
			}
			path, ok := logs[args[0]]
			if !ok {
				return fmt.Errorf("cluster %q has no log %q; it has %s", d.name, args[0], strings.Join(slices.Sorted(maps.Keys(logs)), ", "))
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			_, err = io.Copy(os.Stdout, file)
			return errors.Join(err, file.Close())
		},
	}
}
