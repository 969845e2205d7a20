package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/footprint"
	"longshore.dev/longshore/e2e/payloads"
)

// nodes are the demo's nodes.
var nodes = []string{"node-1", "node-2"}

// demo is one run.
type demo struct {
	name string
	keep bool
	out  io.Writer

	cluster *cluster.Cluster
	kube    kubernetes.Interface
	before  map[string]footprint.Footprint
	// config is the digest of containerd's configuration on a node, as the node prints it.
	config map[string]string
}

func (d *demo) title(text string) { fmt.Fprintf(d.out, "\n== %s\n", text) }

// run is the demo, a line a step.
func (d *demo) run(ctx context.Context) (err error) {
	if err := d.up(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.down(context.WithoutCancel(ctx), err)) }()
	steps := []func(context.Context) error{d.deploy, d.remember, d.install, d.prove, d.upgrade, d.uninstall, d.compare}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.next()
	return nil
}

func (d *demo) up(ctx context.Context) error {
	d.title("A real Kubernetes: control plane, and two nodes with kubelet and containerd")
	opts := cluster.Options{Name: d.name, Keep: d.keep, Progress: d.out}
	for _, n := range nodes {
		opts.Nodes = append(opts.Nodes, cluster.NodeOptions{Name: n})
	}
	c, err := cluster.Up(ctx, opts)
	if err != nil {
		return err
	}
	d.cluster = c
	d.kube, err = c.Client()
	return err
}

func (d *demo) down(ctx context.Context, failed error) error {
	if d.keep && failed == nil {
		return d.cluster.Close()
	}
	d.title("Taking the cluster down")
	return d.cluster.Down(ctx)
}

func (d *demo) deploy(ctx context.Context) error {
	d.title("Longshore goes into the cluster: kustomize build kustomize/default | kubectl apply -f -")
	_, err := deploy.Longshore(ctx, d.cluster, d.out)
	return err
}

// remember notes how the nodes are before anything is installed.
func (d *demo) remember(ctx context.Context) error {
	d.before, d.config = map[string]footprint.Footprint{}, map[string]string{}
	for _, name := range nodes {
		config, err := d.digest(ctx, name)
		if err != nil {
			return err
		}
		d.config[name] = config
		f, err := d.footprint(ctx, name)
		if err != nil {
			return err
		}
		d.before[name] = f
	}
	return nil
}

// digest is what sha256sum says about containerd's configuration on a node.
func (d *demo) digest(ctx context.Context, name string) (string, error) {
	n, err := d.cluster.Node(name)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = n.Exec(ctx, []string{"sh", "-c", "cd /etc/containerd && find config.toml conf.d -type f | sort | xargs sha256sum"}, nil, &out, d.out)
	return strings.TrimSpace(out.String()), err
}

func (d *demo) footprint(ctx context.Context, name string) (footprint.Footprint, error) {
	n, err := d.cluster.Node(name)
	if err != nil {
		return nil, err
	}
	return footprint.Of(ctx, d.kube, n, name)
}

// apply pushes a version of the payload and applies the spec with it.
func (d *demo) apply(ctx context.Context, version string) error {
	image, err := payloads.Crun(ctx, d.out, version)
	if err != nil {
		return err
	}
	ref, err := deploy.Payload(ctx, d.cluster, "crun:"+version, image)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.out, "payload", ref)
	file, err := os.CreateTemp("", "longshore-demo-*.yaml")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := file.WriteString(payloads.CrunSpec(ref)); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	out, err := d.cluster.Kubectl(ctx, "apply", "--server-side", "--filename", file.Name())
	fmt.Fprint(d.out, out)
	return err
}

func (d *demo) install(ctx context.Context) error {
	d.title("A spec is applied: a plain ConfigMap. One node at a time, each watched for 5 s")
	fmt.Fprintln(d.out, indent(payloads.CrunSpec("…/payloads/crun@sha256:…")))
	if err := d.apply(ctx, "1.0"); err != nil {
		return err
	}
	return d.follow(ctx, func(s standing) bool {
		return s.phase == "Ready" && s.progress == fmt.Sprintf("%d/%d", len(nodes), len(nodes))
	})
}

func (d *demo) upgrade(ctx context.Context) error {
	d.title("The payload's version changes: a rolling upgrade, one node at a time")
	before, err := d.standing(ctx)
	if err != nil {
		return err
	}
	if err := d.apply(ctx, "1.1"); err != nil {
		return err
	}
	return d.follow(ctx, func(s standing) bool {
		return s.revision != before.revision && s.phase == "Ready" && s.progress == fmt.Sprintf("%d/%d", len(nodes), len(nodes))
	})
}

func (d *demo) uninstall(ctx context.Context) error {
	d.title("The spec is deleted: after a minute's grace the nodes are uninstalled, as they were installed")
	if _, err := d.cluster.Kubectl(ctx, "--namespace=longshore", "delete", "configmap", "crun"); err != nil {
		return err
	}
	return d.follow(ctx, func(s standing) bool { return !s.carried && s.revisions == 0 })
}

// compare shows that the nodes are as they were.
func (d *demo) compare(ctx context.Context) error {
	d.title("The nodes are as they were: every file by path, mode and digest, mounts, labels, annotations, taints, handlers")
	for _, name := range nodes {
		diff, facts, err := d.settle(ctx, name)
		if err != nil {
			return err
		}
		config, err := d.digest(ctx, name)
		if err != nil {
			return err
		}
		if config != d.config[name] {
			return fmt.Errorf("containerd's configuration on node %s is not as it was: %s, before %s", name, config, d.config[name])
		}
		if len(diff) > 0 {
			return fmt.Errorf("node %s is not as it was:\n%s", name, strings.Join(diff, "\n"))
		}
		fmt.Fprintf(d.out, "%s: %d facts compared, no difference; containerd's configuration byte for byte:\n%s\n", name, facts, indent(config))
	}
	return nil
}

// settle compares until nothing differs or the time is up: the kubelet reports handlers some seconds after the restart.
func (d *demo) settle(ctx context.Context, name string) (diff []string, facts int, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		f, err := d.footprint(ctx, name)
		if err != nil {
			return nil, 0, err
		}
		if diff = footprint.Diff(d.before[name], f); len(diff) == 0 {
			return nil, len(f), nil
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-timeout.C:
			return diff, len(f), nil
		case <-tick.C:
		}
	}
}

func (d *demo) next() {
	d.title("What next")
	if !d.keep {
		fmt.Fprintln(d.out, "make demo KEEP=1 keeps the cluster, to play with it. Then:")
	}
	fmt.Fprintf(d.out, `  cd e2e
  go run ./cmd/cluster --name %[1]s kubectl get nodes -L crun.longshore.dev/phase
  go run ./cmd/cluster --name %[1]s exec node-1 -- cat /etc/containerd/config.toml
  go run ./cmd/cluster --name %[1]s logs
  ../bin/longshore status --kubeconfig "$(go run ./cmd/cluster --name %[1]s kubeconfig)"
  go run ./cmd/cluster --name %[1]s down
`, d.name)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
