package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/cluster/pki"
	"longshore.dev/longshore/e2e/parts"
)

// Nodes lists the names of the real nodes.
func (c *Cluster) Nodes() ([]string, error) {
	slots, err := c.layout.readSlots()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range slots {
		names = append(names, s.name)
	}
	return names, nil
}

// Node finds a real node.
func (c *Cluster) Node(name string) (*node.Node, error) {
	names, err := c.Nodes()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("cluster %q has no real node %q; it has %q", c.plan.Name, name, names)
	}
	return node.Attach(c.layout.node(name))
}

// AddNode starts a real node and returns when it is Ready.
func (c *Cluster) AddNode(ctx context.Context, opts NodeOptions) (*node.Node, error) {
	if c.plan.Loopback {
		return nil, fmt.Errorf("node %q: cluster %q is on loopback and cannot have real nodes", opts.Name, c.plan.Name)
	}
	if err := c.addNodes(ctx, []NodeOptions{opts}); err != nil {
		return nil, err
	}
	return c.Node(opts.Name)
}

// RemoveNode ends a real node as if its machine had gone, and deletes its Node object.
func (c *Cluster) RemoveNode(ctx context.Context, name string) error {
	slots, err := c.layout.readSlots()
	if err != nil {
		return err
	}
	index := slices.IndexFunc(slots, func(s slot) bool { return s.name == name })
	if index < 0 {
		return fmt.Errorf("cluster %q has no real node %q", c.plan.Name, name)
	}
	if err := stopNode(ctx, c.layout.node(name)); err != nil {
		return err
	}
	if err := c.layout.freeSlot(slots[index]); err != nil {
		return err
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %q: %w", name, err)
	}
	return nil
}

// addNodes starts those that are not there, all at once, and waits for all to be Ready.
func (c *Cluster) addNodes(ctx context.Context, wanted []NodeOptions) error {
	if len(wanted) == 0 {
		return nil
	}
	started := time.Now()
	bins, err := nodeBins(ctx, c.progress, wanted)
	if err != nil {
		return err
	}
	if err := holdSysctls(ctx, filepath.Dir(c.layout.dir), c.plan.Name); err != nil {
		return err
	}
	var (
		wait sync.WaitGroup
		errs = make([]error, len(wanted))
	)
	for i, opts := range wanted {
		wait.Go(func() { errs[i] = c.startNode(ctx, opts, bins) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, opts := range wanted {
		if err := c.awaitNode(ctx, opts.Name); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.progress, "%d real nodes Ready after %s\n", len(wanted), since(started))
	return nil
}

// startNode leaves nothing of a node that did not start.
func (c *Cluster) startNode(ctx context.Context, opts NodeOptions, bins map[string]string) error {
	s, err := c.layout.takeSlot(opts.Name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	config, err := c.nodeConfig(s, opts, bins)
	if err == nil {
		_, err = node.Start(ctx, config)
	}
	if err != nil {
		clean := context.WithoutCancel(ctx)
		return errors.Join(fmt.Errorf("starting node %q: %w", opts.Name, err), stopNode(clean, config.Dir), c.layout.freeSlot(s))
	}
	return nil
}

func (c *Cluster) nodeConfig(s slot, opts NodeOptions, bins map[string]string) (node.Config, error) {
	config := node.Config{
		Name: s.name, Dir: c.layout.node(s.name), Bins: bins, Flavor: opts.Flavor,
		NetNS: c.plan.NetNS, Bridge: bridge, IP: c.plan.node(s.number), Gateway: c.plan.gateway(), PodCIDR: c.plan.pods(s.number),
		APIServer: c.plan.url(), Registries: c.plan.plainRegistries(), Labels: opts.Labels, Taints: opts.Taints, Disk: opts.Disk,
	}
	if config.Flavor == "" {
		config.Flavor = node.Containerd2
	}
	credentials := c.layout.credentials()
	authority, err := credentials.authority("ca")
	if err != nil {
		return config, err
	}
	serving, err := authority.Server(pki.Server{Name: s.name, Hosts: []string{s.name}, Addresses: []netip.Addr{c.plan.node(s.number).Addr()}})
	if err != nil {
		return config, err
	}
	config.CA, config.KubeletCert, config.KubeletKey = authority.Cert, serving.Cert, serving.Key
	if config.KubeletKubeconfig, err = newKubeconfig(c.plan, authority, "system:node:"+s.name, "system:nodes"); err != nil {
		return config, err
	}
	config.ProxyKubeconfig, err = os.ReadFile(credentials.kubeconfig("kube-proxy"))
	return config, err
}

// nodeBins builds what real nodes of these flavors run.
func nodeBins(ctx context.Context, progress io.Writer, wanted []NodeOptions) (map[string]string, error) {
	var flavors []node.Flavor
	for _, opts := range wanted {
		flavors = append(flavors, opts.Flavor)
	}
	bins, err := node.Bins(ctx, progress, flavors...)
	if err != nil {
		return nil, err
	}
	kubernetes, err := parts.Build(ctx, progress, "kubernetes")
	if err != nil {
		return nil, err
	}
	bins["kubernetes"] = kubernetes["kubernetes"]
	return bins, nil
}

// awaitNode waits until the node is Ready and nothing keeps pods from it.
func (c *Cluster) awaitNode(ctx context.Context, name string) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	err = c.await(ctx, goal{what: fmt.Sprintf("node %q", name)}, func(ctx context.Context) (string, error) {
		object, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "it has not registered", nil
		}
		if err != nil {
			return "", err
		}
		return notReady(object), nil
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	n, attachErr := c.Node(name)
	if attachErr != nil {
		return errors.Join(err, attachErr)
	}
	return fmt.Errorf("%w; its kubelet's last words:\n%s", err, lastLines(n.Logs("kubelet"), 15))
}

// notReady says what keeps the node from being Ready, and nothing when it is.
func notReady(object *corev1.Node) string {
	for _, taint := range object.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady {
			return "taint " + taint.Key
		}
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			return ""
		}
		return fmt.Sprintf("Ready is %s: %s", condition.Status, condition.Message)
	}
	return "it has no condition Ready"
}
