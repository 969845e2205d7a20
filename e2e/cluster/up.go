package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster/keeper"
	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/parts"
)

// Options says what Up has to bring about.
type Options struct {
	// Name tells clusters of one machine apart.
	Name string
	// Nodes are the real nodes.
	Nodes []NodeOptions
	// Simulated is the number of simulated nodes.
	Simulated int
	// Loopback makes do without root and without a network of its own; there are no real nodes then.
	Loopback bool
	// Keep lets the cluster outlive the calling process. Otherwise it goes when the process ends, however that happens.
	Keep bool
	// Progress gets lines of text; nil for none.
	Progress io.Writer
}

// NodeOptions describes one real node.
type NodeOptions struct {
	Name   string
	Flavor node.Flavor
	Labels map[string]string
	Taints []corev1.Taint
	// Disk is the size of the node's disk in bytes, which is memory; 0 lets it grow with what is written.
	Disk int64
}

// Up brings the cluster about, or what is missing of it when it runs already. What else runs in it is left alone. A failure or the end of
// the context takes down what this call made.
func Up(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	bins, err := opts.build(ctx)
	if err != nil {
		return nil, err
	}
	base, err := makeBaseDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, opts.Name)
	unlock, err := lockCluster(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()

	c, err := attach(dir, opts.Progress)
	if err == nil {
		fmt.Fprintf(opts.Progress, "cluster %q runs already\n", opts.Name)
		return c, c.complete(ctx, opts, bins)
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	// What a crash may have left goes first.
	if err := remove(ctx, dir); err != nil {
		return nil, err
	}
	c, err = create(ctx, dir, opts, bins)
	if err != nil {
		fmt.Fprintf(opts.Progress, "taking down what was made so far\n")
		return nil, errors.Join(err, remove(context.WithoutCancel(ctx), dir))
	}
	return c, nil
}

// Build builds and downloads what Up with these options needs, and starts nothing.
func Build(ctx context.Context, opts Options) error {
	_, err := opts.build(ctx)
	return err
}

func (o Options) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	if len(o.Nodes) > 0 && o.Loopback {
		return errors.New("a cluster on loopback cannot have real nodes: they need a network of their own")
	}
	if o.Loopback {
		return nil
	}
	if err := CanRunNodes(); err != nil {
		return fmt.Errorf("real nodes cannot run here, only a control plane with simulated nodes on loopback: %w", err)
	}
	return nil
}

func (o Options) build(ctx context.Context) (map[string]string, error) {
	bins, err := parts.Build(ctx, o.Progress, "kubernetes", "kwok")
	if err != nil || len(o.Nodes) == 0 {
		return bins, err
	}
	_, err = nodeBins(ctx, o.Progress, o.Nodes)
	return bins, err
}

// create makes a cluster where there is none.
func create(ctx context.Context, dir string, opts Options, bins map[string]string) (*Cluster, error) {
	started := time.Now()
	p, err := settle(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	if err := makeNetwork(p); err != nil {
		return nil, err
	}
	if err := (layout{dir}).prepare(p); err != nil {
		return nil, err
	}
	client, err := keeper.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{plan: p, layout: layout{dir}, keeper: client, progress: opts.Progress}
	if err := c.startControlPlane(ctx, bins, opts.Progress); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.complete(ctx, opts, bins); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if opts.Keep {
		if err := c.keeper.Keep(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	fmt.Fprintf(opts.Progress, "cluster %q up after %s\n", opts.Name, since(started))
	return c, nil
}

// settle writes the plan before anything that it names exists.
func settle(ctx context.Context, dir string, opts Options) (plan, error) {
	base := filepath.Dir(dir)
	unlock, err := lockBase(ctx, base)
	if err != nil {
		return plan{}, err
	}
	defer unlock()
	taken, err := usedNetworks()
	if err != nil {
		return plan{}, err
	}
	others, err := otherPlans(base, opts.Name)
	if err != nil {
		return plan{}, err
	}
	for _, other := range others {
		taken = append(taken, other.Subnet)
	}
	p, err := newPlan(opts, taken)
	if err != nil {
		return plan{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return plan{}, err
	}
	return p, p.save(dir)
}

// complete adds what is missing: nodes, simulated nodes, and the account that every pod needs.
func (c *Cluster) complete(ctx context.Context, opts Options, bins map[string]string) error {
	if len(opts.Nodes) > 0 && c.plan.Loopback {
		return fmt.Errorf("cluster %q is on loopback and cannot have real nodes", c.plan.Name)
	}
	if err := c.startKwok(bins["kwok"]); err != nil {
		return err
	}
	if err := c.addNodes(ctx, opts.Nodes); err != nil {
		return err
	}
	if err := c.Simulate(ctx, opts.Simulated); err != nil {
		return err
	}
	return c.awaitDefaultAccount(ctx)
}

func (c *Cluster) awaitDefaultAccount(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return c.await(ctx, goal{what: "the default service account"}, func(ctx context.Context) (string, error) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "the controller manager has not made it yet", nil
		}
		return "", err
	})
}
