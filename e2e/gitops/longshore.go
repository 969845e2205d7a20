package gitops

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
)

// The namespaces: specs and installers, and the controller.
const (
	installers = "longshore"
	system     = "longshore-system"
	// elsewhere is a namespace that Longshore does not look at.
	elsewhere = "elsewhere"
)

// The labels and annotations that the tests read.
const (
	domain    = "longshore.dev/"
	runtimeOf = domain + "runtime-of"
	installer = domain + "installer"
)

// controllerImage is what the Deployment of the controller names. Its pods run on simulated nodes, so nobody pulls
// it.
var controllerImage = "gitops.test/longshore@sha256:" + strings.Repeat("0", 64)

// longshore is the product in the cluster: the shipped objects, and the controller as a process with the rights of
// its own account.
type longshore struct {
	c       *cluster.Cluster
	kube    kubernetes.Interface
	program string
	dir     string
	process *process
}

// install applies kustomize/default and starts the controller.
func (l *longshore) install(ctx context.Context) error {
	if err := deploy.Apply(ctx, l.c, controllerImage); err != nil {
		return err
	}
	return l.start(ctx)
}

// start starts the controller with a fresh token. The pods of its Deployment are only played.
func (l *longshore) start(ctx context.Context) error {
	seconds := int64((2 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := l.kube.CoreV1().ServiceAccounts(system).CreateToken(ctx, "longshore", request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("token for the controller: %w", err)
	}
	admin, err := l.c.RESTConfig()
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["gitops"] = &clientcmdapi.Cluster{
		Server: admin.Host, CertificateAuthorityData: admin.CAData, CertificateAuthority: admin.CAFile,
	}
	config.AuthInfos["longshore"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["gitops"] = &clientcmdapi.Context{Cluster: "gitops", AuthInfo: "longshore"}
	config.CurrentContext = "gitops"
	kubeconfig, site := filepath.Join(l.dir, "controller.kubeconfig"), filepath.Join(l.dir, "site")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return err
	}
	if err := os.MkdirAll(site, 0o700); err != nil {
		return err
	}
	l.process, err = start(l.dir, "controller", []string{"HOME=/nonexistent"}, l.program,
		"controller", "--kubeconfig="+kubeconfig, "--site-dir="+site, "--pause-image="+controllerImage,
		"--metrics-address=", "--health-address=", "--leader-elect=false")
	return err
}

// endWithDeployment ends the controller when its Deployment is gone, as the garbage collector ends its pods. The
// returned channel is closed when the controller has ended.
func (l *longshore) endWithDeployment(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = poll(ctx, func(ctx context.Context) (bool, string) {
			_, err := l.kube.AppsV1().Deployments(system).Get(ctx, "longshore", metav1.GetOptions{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		})
		l.process.stop()
	}()
	return ended
}

// productFiles is a repository with Longshore in it, as users have it: what is shipped, and an overlay in the
// folder controller.
func productFiles() (map[string]string, error) {
	source, err := deploy.Source()
	if err != nil {
		return nil, err
	}
	image, digest, _ := strings.Cut(controllerImage, "@")
	overlay := fmt.Sprintf(`resources: [../kustomize/default]
components: [../kustomize/components/workloads]
images: [{name: longshore, newName: %s, digest: %s}]
`, image, digest)
	files := map[string]string{"controller/kustomization.yaml": overlay}
	shipped := os.DirFS(source)
	return files, fs.WalkDir(shipped, "kustomize", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(shipped, path)
		files[path] = string(text)
		return err
	})
}

// poll asks until the condition holds. When the context ends first, the error says how things stand.
func poll(ctx context.Context, condition func(context.Context) (bool, string)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	stand := "not asked yet"
	for {
		done, now := condition(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil {
			stand = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; it stands: %s", context.Cause(ctx), stand)
		case <-tick.C:
		}
	}
}
