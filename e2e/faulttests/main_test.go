// Package faulttests answers: does it survive?
//
// One real cluster serves the whole package: two nodes with containerd 2 and one with Debian's containerd 1.6. Longshore's roles are those
// that are shipped, but the controller is a process outside of the cluster behind a proxy (package faults), so that it can be killed at the
// worst moment. Tests run one after the other; every test has runtimes of its own.
package faulttests

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/images"
)

// The nodes of the cluster.
const (
	nodeA = "node-a" // containerd 1.6
	nodeB = "node-b"
	nodeC = "node-c"
)

// world is what all tests share.
type world struct {
	cluster *cluster.Cluster
	// program is the controller, and image the one that waits in installer pods.
	program, image string
}

// shared is nil where there is no cluster; why tells the reason.
var (
	shared *world
	why    string
)

func TestMain(m *testing.M) {
	cluster.Main()
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		why = "a cluster takes too long for -short"
		return m.Run()
	}
	if err := cluster.CanRunNodes(); err != nil {
		why = "real nodes cannot run here: " + err.Error()
		fmt.Println(why)
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "longshore-faults-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := up(ctx, dir)
	if w != nil {
		defer func() {
			if err := w.cluster.Down(context.WithoutCancel(ctx)); err != nil {
				fmt.Println("taking the cluster down:", err)
			}
		}()
	}
	if err != nil {
		fmt.Println("bringing the cluster up:", err)
		return 1
	}
	shared = w
	return m.Run()
}

func up(ctx context.Context, dir string) (*world, error) {
	c, err := cluster.Up(ctx, cluster.Options{
		Name: "faults", Progress: os.Stdout, Nodes: []cluster.NodeOptions{
			{Name: nodeA, Flavor: node.Containerd16}, {Name: nodeB}, {Name: nodeC},
		},
	})
	if err != nil {
		return nil, err
	}
	w := &world{cluster: c, program: filepath.Join(dir, "longshore")}
	return w, w.install(ctx)
}

// install brings everything of Longshore but its pods into the cluster.
func (w *world) install(ctx context.Context) error {
	source, err := deploy.Source()
	if err != nil {
		return err
	}
	if err := (images.Compile{Dir: source, Package: "./cmd/longshore", Tags: []string{"timetzdata"}}).To(ctx, w.program); err != nil {
		return err
	}
	image, err := images.Controller(ctx, source, "e2e")
	if err != nil {
		return err
	}
	w.image, err = images.Push(ctx, images.Target{Ref: w.cluster.Registry() + "/longshore:e2e", PlainHTTP: true}, image)
	if err != nil {
		return err
	}
	if err := deploy.Apply(ctx, w.cluster, w.image); err != nil {
		return err
	}
	_, err = w.cluster.Kubectl(ctx, "--namespace=longshore-system", "scale", "deployment/longshore", "--replicas=0")
	return err
}
