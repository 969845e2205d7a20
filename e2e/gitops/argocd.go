package gitops

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/parts"
)

// redisPackages are Debian's redis and the libraries it needs, without the C library.
var redisPackages = []string{
	"redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1", "libssl3", "libsystemd0",
	"libgcrypt20", "liblzma5", "libzstd1",
	"liblz4-1", "libcap2", "libgpg-error0",
}

var applications = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}

// argocd is a running Argo CD: its application controller, its repo server and redis.
type argocd struct {
	c         *cluster.Cluster
	objects   dynamic.Interface
	shipped   *shipped
	processes []*process
}

// startArgoCD brings Argo CD's objects and Longshore's for it into the cluster, and starts its processes.
func startArgoCD(ctx context.Context, c *cluster.Cluster, dir string, progress io.Writer) (*argocd, error) {
	bins, err := parts.Build(ctx, progress, "argocd")
	if err != nil {
		return nil, err
	}
	redis, err := parts.Debian(ctx, progress, redisPackages...)
	if err != nil {
		return nil, err
	}
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	a := &argocd{c: c}
	if a.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if a.shipped, err = readShipped("argocd"); err != nil {
		return nil, err
	}
	if err := a.configure(ctx, filepath.Join(dir, "config"), bins); err != nil {
		return nil, err
	}
	if err := a.run(ctx, dir, bins, redis); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

// configure applies the custom resource definitions and the configuration that Argo CD ships, and then what
// Longshore ships for it.
func (a *argocd) configure(ctx context.Context, dir string, bins map[string]string) error {
	if err := os.CopyFS(filepath.Join(dir, "base"), os.DirFS(bins["argocd-config"])); err != nil {
		return err
	}
	const overlay = `namespace: argocd
resources: [base, namespace.yaml]
patches:
- patch: |
    {apiVersion: v1, kind: Secret, metadata: {name: argocd-secret}, stringData: {server.secretkey: for-tests-only}}
`
	files := map[string]string{
		"kustomization.yaml": overlay,
		"namespace.yaml":     "{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	fragment := filepath.Join(a.shipped.folder, "argocd-cm.yaml")
	for _, args := range [][]string{
		{"apply", "--server-side", "--kustomize", bins["argocd-crds"]},
		// By force, as Argo CD's own instructions say: the fragment below may be there from before.
		{"apply", "--server-side", "--force-conflicts", "--kustomize", dir},
		{"apply", "--server-side", "--field-manager=longshore-argocd", "--force-conflicts", "--filename", fragment},
		{
			"wait", "--for=condition=Established", "--timeout=1m",
			"crd/applications.argoproj.io", "crd/appprojects.argoproj.io",
		},
	} {
		if _, err := a.c.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return a.project(ctx)
}

// project applies the shipped AppProject.
func (a *argocd) project(ctx context.Context) error {
	project, err := a.shipped.find("AppProject", "longshore")
	if err != nil {
		return err
	}
	// The repositories are the test's own, and one scenario puts a spec where it does not belong.
	if err := set(project, []any{"*"}, "spec", "sourceRepos"); err != nil {
		return err
	}
	destinations, _, err := unstructured.NestedSlice(project.Object, "spec", "destinations")
	if err != nil {
		return err
	}
	const here = "https://kubernetes.default.svc"
	destinations = append(destinations, map[string]any{"server": here, "namespace": elsewhere})
	if err := set(project, destinations, "spec", "destinations"); err != nil {
		return err
	}
	return apply(ctx, a.c, project)
}

// environment is what both parts of Argo CD are given. Its folders are the test's own.
func (a *argocd) environment(dir string, bins map[string]string) ([]string, error) {
	folders := map[string]string{}
	for _, name := range []string{"tls", "ssh", "gnupg", "tmp", "home"} {
		folders[name] = filepath.Join(dir, name)
		if err := os.MkdirAll(folders[name], 0o700); err != nil {
			return nil, err
		}
	}
	return []string{
		"KUBECONFIG=" + a.c.Kubeconfig(), "HOME=" + folders["home"], "TMPDIR=" + folders["tmp"],
		"PATH=" + filepath.Dir(bins["argocd-repo-server"]) + ":" + os.Getenv("PATH"),
		"ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false", "ARGOCD_GNUPGHOME=" + folders["gnupg"],
		"ARGOCD_TLS_DATA_PATH=" + folders["tls"], "ARGOCD_SSH_DATA_PATH=" + folders["ssh"],
		"ARGOCD_RECONCILIATION_TIMEOUT=15s", "ARGOCD_RECONCILIATION_JITTER=0s",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}, nil
}

// libraryPath finds the libraries of unpacked Debian packages.
func libraryPath(dir string) (string, error) {
	var found []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		folders, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		found = append(found, folders...)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(found, ":"), nil
}

// run starts the programs, on ports of the test's own.
func (a *argocd) run(ctx context.Context, dir string, bins map[string]string, redis string) error {
	env, err := a.environment(dir, bins)
	if err != nil {
		return err
	}
	libraries, err := libraryPath(redis)
	if err != nil {
		return err
	}
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	store, repos := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	for _, p := range []struct {
		name, program, listens string
		env, args              []string
	}{
		{
			"redis", filepath.Join(redis, "usr/bin/redis-server"), store,
			[]string{libraries},
			[]string{"--bind", "127.0.0.1", "--port", ports[0], "--save", "", "--appendonly", "no", "--dir", dir},
		},
		{"argocd-repo-server", bins["argocd-repo-server"], repos, env, []string{
			"--address=127.0.0.1", "--port=" + ports[1], "--metrics-address=127.0.0.1", "--metrics-port=" + ports[2],
			"--disable-tls", "--client-ca-path=", "--redis=" + store,
		}},
		// The health of each resource stands in the Application for the tests to read; the rest is as shipped.
		{"argocd-application-controller", bins["argocd-application-controller"], "", env, []string{
			"--kubeconfig=" + a.c.Kubeconfig(), "--namespace=argocd", "--repo-server=" + repos, "--repo-server-plaintext",
			"--redis=" + store, "--metrics-port=" + ports[3], "--persist-resource-health",
		}},
	} {
		running, err := start(dir, p.name, p.env, p.program, p.args...)
		if err != nil {
			return err
		}
		a.processes = append(a.processes, running)
		if p.listens == "" {
			continue
		}
		if err := running.listening(ctx, p.listens); err != nil {
			return err
		}
	}
	return nil
}

func (a *argocd) stop() {
	for _, p := range a.processes {
		p.stop()
	}
}

// words are the last lines of each process.
func (a *argocd) words() string {
	var words []string
	for _, p := range a.processes {
		words = append(words, p.words(15))
	}
	return strings.Join(words, "\n")
}

func (a *argocd) name() string { return "Argo CD" }

func (a *argocd) waves() bool { return true }

func (a *argocd) repeats() bool { return true }

func (a *argocd) get(ctx context.Context, name string) (*application, error) {
	found := &application{}
	return found, read(ctx, a.objects.Resource(applications).Namespace("argocd"), name, found)
}

// follow makes the shipped Application one of this repository.
func (a *argocd) follow(ctx context.Context, app *app) error {
	object, err := a.shipped.find("Application", app.like)
	if err != nil {
		return err
	}
	object.SetName(app.name)
	fields := []struct {
		value any
		path  []string
	}{
		{app.repo.url, []string{"spec", "source", "repoURL"}},
		{app.path, []string{"spec", "source", "path"}},
		{branch, []string{"spec", "source", "targetRevision"}},
		{!app.keep, []string{"spec", "syncPolicy", "automated", "prune"}},
	}
	for _, f := range fields {
		if err := set(object, f.value, f.path...); err != nil {
			return err
		}
	}
	return apply(ctx, a.c, object)
}

func (a *argocd) look(ctx context.Context, app *app) error {
	const patch = `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`
	return merge(ctx, a.objects.Resource(applications).Namespace("argocd"), app.name, patch)
}

func (a *argocd) says(ctx context.Context, app *app, commit string) (verdict, error) {
	found, err := a.get(ctx, app.name)
	if err != nil {
		return verdict{}, err
	}
	return found.verdict(commit), nil
}

func (a *argocd) forget(ctx context.Context, app *app) error {
	return remove(ctx, a.c, "argocd", "applications.argoproj.io", app.name)
}

func (a *argocd) leave(ctx context.Context, app *app) error {
	const patch = `{"metadata":{"finalizers":null}}`
	if err := merge(ctx, a.objects.Resource(applications).Namespace("argocd"), app.name, patch); err != nil {
		return err
	}
	return a.forget(ctx, app)
}
