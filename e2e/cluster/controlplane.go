package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"longshore.dev/longshore/e2e/cluster/keeper"
)

// auditPolicy records who asked for what, without the contents.
//
//go:embed audit-policy.yaml
var auditPolicy []byte

const (
	auditPolicyFile = "audit-policy.yaml"
	auditLogFile    = "audit.log"
)

// layout finds the files in a cluster's state directory.
type layout struct{ dir string }

func (l layout) credentials() credentials      { return credentials{dir: filepath.Join(l.dir, "pki")} }
func (l layout) log(unit string) string        { return filepath.Join(l.dir, "logs", unit+".log") }
func (l layout) auditLog() string              { return filepath.Join(l.dir, "logs", auditLogFile) }
func (l layout) nodes() string                 { return filepath.Join(l.dir, "nodes") }
func (l layout) node(name string) string       { return filepath.Join(l.nodes(), name) }
func (l layout) slots() string                 { return filepath.Join(l.dir, "slots") }
func (l layout) registry(name string) string   { return filepath.Join(l.dir, "registry", name) }
func (l layout) file(name string) string       { return filepath.Join(l.dir, name) }
func (l layout) kubeconfig(user string) string { return l.credentials().kubeconfig(user) }

// prepare writes the files that the control plane reads.
func (l layout) prepare(p plan) error {
	for _, dir := range []string{"logs", "nodes", "slots", "registry"} {
		if err := os.MkdirAll(l.file(dir), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(l.file(auditPolicyFile), auditPolicy, 0o600); err != nil {
		return err
	}
	return makeCredentials(p, l.credentials())
}

func etcdUnit(p plan, l layout) keeper.Unit {
	c := l.credentials()
	return keeper.Unit{Name: "etcd", Args: []string{
		"--data-dir=" + l.file("etcd"),
		"--listen-client-urls=https://" + p.Etcd.String(),
		"--listen-peer-urls=http://" + p.EtcdPeer.String(),
		"--cert-file=" + c.cert("etcd"), "--key-file=" + c.key("etcd"), "--trusted-ca-file=" + c.cert("etcd-ca"),
	}}
}

func apiserverUnit(p plan, l layout) keeper.Unit {
	c := l.credentials()
	args := []string{
		"--bind-address=" + p.APIServer.Addr().String(), fmt.Sprintf("--secure-port=%d", p.APIServer.Port()),
		"--advertise-address=" + p.gateway().String(),
		"--etcd-servers=https://" + p.Etcd.String(), "--etcd-cafile=" + c.cert("etcd-ca"),
		"--etcd-certfile=" + c.cert("apiserver-etcd-client"), "--etcd-keyfile=" + c.key("apiserver-etcd-client"),
		"--tls-cert-file=" + c.cert("kube-apiserver"), "--tls-private-key-file=" + c.key("kube-apiserver"), "--client-ca-file=" + c.cert("ca"),
		"--service-cluster-ip-range=" + p.services().String(),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.cert("service-account"), "--service-account-signing-key-file=" + c.key("service-account"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=true",
		"--kubelet-client-certificate=" + c.cert("apiserver-kubelet-client"), "--kubelet-client-key=" + c.key("apiserver-kubelet-client"),
		"--kubelet-certificate-authority=" + c.cert("ca"), "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + c.cert("front-proxy-ca"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + c.cert("front-proxy-client"), "--proxy-client-key-file=" + c.key("front-proxy-client"),
		"--audit-policy-file=" + l.file(auditPolicyFile), "--audit-log-path=" + l.auditLog(), "--audit-log-maxsize=1024",
	}
	if p.Loopback {
		// Nothing reaches the API server as a Service here, and it refuses to name a loopback address as its endpoint.
		args = append(args, "--endpoint-reconciler-type=none")
	}
	return keeper.Unit{Name: "kube-apiserver", Args: args}
}

func controllerManagerUnit(p plan, l layout) keeper.Unit {
	c, kubeconfig := l.credentials(), l.kubeconfig("kube-controller-manager")
	args := []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--bind-address=127.0.0.1", "--use-service-account-credentials=true",
		"--root-ca-file=" + c.cert("ca"), "--service-account-private-key-file=" + c.key("service-account"),
		"--cluster-signing-cert-file=" + c.cert("ca"), "--cluster-signing-key-file=" + c.key("ca"),
		"--requestheader-client-ca-file=" + c.cert("front-proxy-ca"),
		"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-daemonset-syncs=10",
	}
	if p.SlowHeartbeats {
		args = append(args, "--node-monitor-grace-period=2400s")
	}
	return keeper.Unit{Name: "kube-controller-manager", Args: args}
}

func schedulerUnit(l layout) keeper.Unit {
	kubeconfig := l.kubeconfig("kube-scheduler")
	return keeper.Unit{Name: "kube-scheduler", Args: []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--bind-address=127.0.0.1", "--kube-api-qps=500", "--kube-api-burst=1000",
	}}
}

// startControlPlane keeps the order that the parts need: the controller manager ends when the API server has no RBAC rules yet.
func (c *Cluster) startControlPlane(ctx context.Context, bins map[string]string, progress io.Writer) error {
	started := time.Now()
	for _, unit := range []keeper.Unit{etcdUnit(c.plan, c.layout), apiserverUnit(c.plan, c.layout)} {
		if err := c.startUnit(unit, bins[unit.Name]); err != nil {
			return err
		}
	}
	if err := c.awaitAPIServer(ctx); err != nil {
		return err
	}
	fmt.Fprintf(progress, "API server ready after %s\n", since(started))
	for _, unit := range []keeper.Unit{controllerManagerUnit(c.plan, c.layout), schedulerUnit(c.layout)} {
		if err := c.startUnit(unit, bins[unit.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startUnit(unit keeper.Unit, path string) error {
	unit.Path, unit.Log, unit.NetNS = path, c.layout.log(unit.Name), c.plan.netnsPath()
	return c.keeper.Start(unit)
}

// awaitAPIServer asks with a client of its own: connections that failed must not linger in one that is kept.
func (c *Cluster) awaitAPIServer(ctx context.Context) error {
	config, err := c.tlsConfig()
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	return c.await(ctx, goal{what: "the API server"}, func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.plan.url()+"/readyz", http.NoBody)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return err.Error(), nil
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return response.Status, nil
		}
		return "", nil
	})
}

func (c *Cluster) tlsConfig() (*tls.Config, error) {
	rest, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(rest.CAData)
	pair, err := tls.X509KeyPair(rest.CertData, rest.KeyData)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

func since(start time.Time) time.Duration { return time.Since(start).Round(100 * time.Millisecond) }
