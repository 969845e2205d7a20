// Package tests answers: does it really work?
//
// One real cluster serves the whole package: two nodes with containerd 2 and one with Debian's containerd 1.6. Longshore runs in it
// as pods with the shipped roles. Every test has runtimes and files of its own.
package tests

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/deploy"
)

// The nodes of the cluster.
const (
	nodeA = "node-a"
	nodeB = "node-b"
	nodeC = "node-c" // containerd 1.6
)

// shared is the cluster of the package, nil where real nodes cannot run.
var shared *cluster.Cluster

// why tells why there is no cluster.
var why string

func TestMain(m *testing.M) {
	cluster.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := cluster.CanRunNodes(); err != nil {
		why = "real nodes cannot run here: " + err.Error()
		fmt.Println(why)
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := up(ctx)
	if c != nil {
		defer func() {
			if err := c.Down(context.WithoutCancel(ctx)); err != nil {
				fmt.Println("taking the cluster down:", err)
			}
		}()
	}
	if err != nil {
		fmt.Println("bringing the cluster up:", err)
		return 1
	}
	shared = c
	return m.Run()
}

func up(ctx context.Context) (*cluster.Cluster, error) {
	c, err := cluster.Up(ctx, cluster.Options{
		Name: "tests", Progress: os.Stdout, Nodes: []cluster.NodeOptions{
			{Name: nodeA, Labels: map[string]string{"containerd": "2"}},
			{Name: nodeB, Labels: map[string]string{"containerd": "2"}},
			{Name: nodeC, Flavor: node.Containerd16, Labels: map[string]string{"containerd": "1.6"}},
		},
	})
	if err != nil {
		return nil, err
	}
	// The promised delays are tested in virtual time; here they would only be waited for.
	_, err = deploy.Longshore(ctx, c, os.Stdout, "--vanish-grace=3s", "--mismatch-grace=3s")
	if err != nil {
		logs, logErr := c.Kubectl(ctx, "--namespace=longshore-system", "logs", "deployment/longshore", "--tail=50")
		if logErr == nil {
			fmt.Println(logs)
		}
		pods, logErr := c.Kubectl(ctx, "--namespace=longshore-system", "describe", "pods")
		if logErr == nil {
			fmt.Println(strings.TrimSpace(pods))
		}
	}
	return c, err
}
