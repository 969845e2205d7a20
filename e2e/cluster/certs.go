package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"longshore.dev/longshore/e2e/cluster/pki"
)

// users are the clients of the API server that live as long as the cluster, with their groups.
var users = map[string][]string{
	"admin":                   {"system:masters"},
	"kwok":                    {"system:masters"},
	"kube-controller-manager": nil,
	"kube-scheduler":          nil,
	"kube-proxy":              nil,
}

// credentials finds the files of a cluster's certificates, keys and kubeconfigs.
type credentials struct{ dir string }

func (c credentials) cert(name string) string { return filepath.Join(c.dir, name+".crt") }
func (c credentials) key(name string) string  { return filepath.Join(c.dir, name+".key") }
func (c credentials) kubeconfig(name string) string {
	return filepath.Join(c.dir, name+".kubeconfig")
}

func (c credentials) save(name string, pair pki.Pair) error {
	return errors.Join(os.WriteFile(c.cert(name), pair.Cert, 0o600), os.WriteFile(c.key(name), pair.Key, 0o600))
}

func (c credentials) authority(name string) (*pki.Authority, error) {
	cert, err := os.ReadFile(c.cert(name))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(c.key(name))
	if err != nil {
		return nil, err
	}
	return pki.Parse(pki.Pair{Cert: cert, Key: key})
}

// makeCredentials makes everything but the nodes' certificates. Three authorities, as in a real cluster: whoever is a user of the API server is
// not for that reason one of etcd, or trusted to speak for other users.
func makeCredentials(p plan, c credentials) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	authorities := map[string]*pki.Authority{}
	for _, name := range []string{"ca", "etcd-ca", "front-proxy-ca"} {
		authority, err := pki.NewAuthority("longshore-" + p.Name + "-" + name)
		if err != nil {
			return err
		}
		if err := c.save(name, authority.Pair); err != nil {
			return err
		}
		authorities[name] = authority
	}
	tokens, err := pki.NewSigningKey()
	if err != nil {
		return err
	}
	if err := errors.Join(c.save("service-account", tokens), makeServers(p, c, authorities), makeClients(c, authorities)); err != nil {
		return err
	}
	return makeUsers(p, c, authorities["ca"])
}

func makeServers(p plan, c credentials, authorities map[string]*pki.Authority) error {
	local := netip.MustParseAddr("127.0.0.1")
	apiserver, err := authorities["ca"].Server(pki.Server{
		Name:      "kube-apiserver",
		Hosts:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		Addresses: []netip.Addr{local, p.gateway(), p.firstService()},
	})
	if err != nil {
		return err
	}
	etcd, err := authorities["etcd-ca"].Server(pki.Server{Name: "etcd", Hosts: []string{"localhost"}, Addresses: []netip.Addr{local}})
	if err != nil {
		return err
	}
	return errors.Join(c.save("kube-apiserver", apiserver), c.save("etcd", etcd))
}

func makeClients(c credentials, authorities map[string]*pki.Authority) error {
	for name, authority := range map[string]string{"apiserver-etcd-client": "etcd-ca", "front-proxy-client": "front-proxy-ca"} {
		pair, err := authorities[authority].Client(name)
		if err != nil {
			return err
		}
		if err := c.save(name, pair); err != nil {
			return err
		}
	}
	pair, err := authorities["ca"].Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	return c.save("apiserver-kubelet-client", pair)
}

func makeUsers(p plan, c credentials, authority *pki.Authority) error {
	for name, groups := range users {
		user := name
		if len(groups) == 0 {
			user = "system:" + name
		}
		config, err := newKubeconfig(p, authority, user, groups...)
		if err != nil {
			return fmt.Errorf("kubeconfig of %q: %w", name, err)
		}
		if err := os.WriteFile(c.kubeconfig(name), config, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// newKubeconfig is complete in itself: certificates are inside, so that the file can be copied anywhere.
func newKubeconfig(p plan, authority *pki.Authority, user string, groups ...string) ([]byte, error) {
	pair, err := authority.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	name := "longshore-" + p.Name
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: p.url(), CertificateAuthorityData: authority.Cert}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.Cert, ClientKeyData: pair.Key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	return clientcmd.Write(*config)
}
