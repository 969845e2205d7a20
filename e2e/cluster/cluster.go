// Package cluster answers: what does a real Kubernetes for tests consist of, and how does it come and go without a trace?
//
// A cluster is a control plane (etcd, API server, controller manager, scheduler, a registry) in a network namespace of its own, real nodes
// (package node) on its bridge, and simulated nodes that kwok plays. All its files are in one state directory; the plan in there names
// everything outside of it, and is written first, so that what any crash leaves can be found and removed. A keeper (package keeper) is the
// parent of the control plane's processes and takes the cluster down when the program that made it dies.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"longshore.dev/longshore/e2e/cluster/keeper"
	"longshore.dev/longshore/e2e/parts"
)

// Cluster is a running cluster.
type Cluster struct {
	plan     plan
	layout   layout
	keeper   *keeper.Client
	progress io.Writer
}

// ErrNotRunning says that there is no such cluster, or only what a crash left of it.
var ErrNotRunning = errors.New("not running")

// Attach finds a running cluster, whichever process made it.
func Attach(name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	base, err := baseDir()
	if err != nil {
		return nil, err
	}
	return attach(filepath.Join(base, name), io.Discard)
}

func attach(dir string, progress io.Writer) (*Cluster, error) {
	p, err := loadPlan(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q is %w", filepath.Base(dir), ErrNotRunning)
	}
	if err != nil {
		return nil, err
	}
	client, err := keeper.Dial(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q is %w any more", p.Name, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", p.Name, err)
	}
	return &Cluster{plan: p, layout: layout{dir}, keeper: client, progress: progress}, nil
}

// Close ends the conversation with the cluster; the cluster goes on.
func (c *Cluster) Close() error { return c.keeper.Close() }

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.plan.Name }

// Loopback tells whether the cluster has no network of its own, and therefore no real nodes.
func (c *Cluster) Loopback() bool { return c.plan.Loopback }

// SayIgnored tells who has exported a KUBECONFIG, by its path, that it is not used: nothing here ever touches a cluster of the user's.
func SayIgnored(out io.Writer, path string) {
	if path != "" {
		fmt.Fprintf(out, "KUBECONFIG=%s is ignored: only the test cluster's own kubeconfig is used\n", path)
	}
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.layout.kubeconfig("admin") }

// RESTConfig is the administrator's access, without a limit on the rate of requests.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// Client is the administrator's client.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// APIServer is the address of the API server, the same for the machine and the nodes.
func (c *Cluster) APIServer() netip.AddrPort { return c.plan.APIServer }

// Registry is the host:port of the registry that anybody may push to and pull from, the same for the machine and the nodes.
func (c *Cluster) Registry() string { return c.plan.Registry.String() }

// Credentials is a user of the private registry.
type Credentials struct{ Username, Password string }

const registryUser = "longshore"

// unitPatience is how long a unit that is asked to end may take. The API server would wait for its watches for a minute.
const unitPatience = 5 * time.Second

// PrivateRegistry is the host:port of the registry that wants basic auth, and the user it knows.
func (c *Cluster) PrivateRegistry() (string, Credentials) {
	return c.plan.PrivateRegistry.String(), Credentials{registryUser, c.plan.RegistryPassword}
}

// Listen opens a socket where the nodes reach it, at one of a few addresses that they take for registries of plain HTTP: for what a test
// serves itself. It lives as long as the calling process.
func (c *Cluster) Listen(ctx context.Context) (net.Listener, error) {
	if c.plan.Loopback {
		return listenIn(ctx, "", "127.0.0.1:0")
	}
	var errs []error
	for n := range freePorts {
		listener, err := listenIn(ctx, c.plan.netnsPath(), c.plan.freePort(n).String())
		if err == nil {
			return listener, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("listening where nodes reach it: %w", errors.Join(errs...))
}

// AuditLog is the path of the API server's audit log, one JSON event a line.
func (c *Cluster) AuditLog() string { return c.layout.auditLog() }

// Log is the path of a control plane unit's log: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok.
func (c *Cluster) Log(unit string) string { return c.layout.log(unit) }

// KubectlCommand is kubectl for this cluster and no other: not the user's configuration, plugins or cache.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	bins, err := parts.Build(ctx, c.progress, "kubernetes")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, bins["kubectl"], args...)
	cmd.Env = []string{"KUBECONFIG=" + c.Kubeconfig(), "HOME=" + c.layout.file("home"), "KUBERC=off", "PATH=" + os.Getenv("PATH"), "TERM=" + os.Getenv("TERM")}
	return cmd, nil
}

// Kubectl runs kubectl and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd, err := c.KubectlCommand(ctx, args...)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Units reports on the processes of the control plane.
func (c *Cluster) Units() (map[string]keeper.Status, error) { return c.keeper.Status() }

// StopUnit ends one process of the control plane: SIGTERM asks for an orderly end, SIGKILL is a crash.
func (c *Cluster) StopUnit(name string, signal unix.Signal) error {
	return c.keeper.Stop(name, signal, unitPatience)
}

// StartUnit starts a stopped unit again, as it was and with its data, and returns when the API server is ready.
func (c *Cluster) StartUnit(ctx context.Context, name string) error {
	if err := c.keeper.Restart(name); err != nil {
		return err
	}
	return c.awaitAPIServer(ctx)
}
