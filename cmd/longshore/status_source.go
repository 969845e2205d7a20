package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/transport"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// saved is the file of `longshore status --save`.
type saved struct {
	// Version is that of the program that wrote it.
	Version string `json:"longshore"`
	observed.Snapshot
}

// snapshot is what the report is computed from: the cluster as it is now, or a saved one.
func (o *statusOptions) snapshot(ctx context.Context, env *environment) (*observed.Snapshot, error) {
	if o.from != "" {
		return load(o.from, env)
	}
	kube, err := o.client(ctx, nil)
	if err != nil {
		return nil, err
	}
	return o.once(ctx, kube)
}

// once is the cluster as it is now.
func (c *connection) once(ctx context.Context, kube kubernetes.Interface) (*observed.Snapshot, error) {
	var snap *observed.Snapshot
	err := c.observe(ctx, kube, func() {}, func(_ context.Context, cluster *informers.Cluster) error {
		snap = cluster.Snapshot(time.Now())
		return nil
	})
	return snap, err
}

// client returns a client of a cluster that answers. wrap may be nil.
func (c *connection) client(ctx context.Context, wrap transport.WrapperFunc) (kubernetes.Interface, error) {
	config, kube, err := c.connect(50)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		config.Wrap(wrap)
		if kube, err = kubernetes.NewForConfig(config); err != nil {
			return nil, fmt.Errorf("set up a client for %s: %w", config.Host, err)
		}
	}
	return kube, reach(ctx, kube)
}

// observe looks at the cluster with the controller's own eyes while use runs. changed is called when something is not as it was.
func (c *connection) observe(ctx context.Context, kube kubernetes.Interface, changed func(), use func(context.Context, *informers.Cluster) error) error {
	cluster, err := informers.New(kube, c.namespace, c.system, changed)
	if err != nil {
		return err
	}
	if err := cluster.MayRead(ctx); err != nil {
		return err
	}
	// Whoever may not read that sees a pool that is refused as one that never was valid.
	if err := cluster.WatchPoolMemory(ctx); err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cluster.Stop()
	defer cancel()
	cluster.Start(ctx)
	synced, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if err := cluster.Synced(synced); err != nil {
		return err
	}
	return use(ctx, cluster)
}

// save writes a snapshot to a file, or to the standard output where the name is "-".
func save(name string, snap *observed.Snapshot, env *environment) error {
	text, err := json.MarshalIndent(saved{Version: version, Snapshot: *snap}, "", " ")
	if err != nil {
		return fmt.Errorf("encode the snapshot: %w", err)
	}
	text = append(harmless(text), '\n')
	if name == "-" {
		_, err := env.stdout.Write(text)
		return err
	}
	// Specs may say more than everybody on the machine has to know.
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	fmt.Fprintf(env.stderr, "saved to %s: %d nodes, %d specs; read it before you hand it on, for it has node names, labels and specs in it, but no Secrets\n", name, len(snap.Nodes), len(snap.Specs))
	return nil
}

// load reads what save wrote.
func load(name string, env *environment) (*observed.Snapshot, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(env.stdin)
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	var file saved
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("--from: %s is not a file that `longshore status --save` wrote: %w", name, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--from: %s: something follows the snapshot", name)
	}
	if file.Time.IsZero() {
		return nil, fmt.Errorf("--from: %s is not a file that `longshore status --save` wrote: it has no time", name)
	}
	return &file.Snapshot, nil
}
