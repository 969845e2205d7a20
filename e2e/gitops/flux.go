package gitops

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/parts"
)

var (
	kustomizations = schema.GroupVersionResource{
		Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations",
	}
	gitRepositories = schema.GroupVersionResource{
		Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories",
	}
)

// fluxNamespace is where the shipped Kustomizations are.
const fluxNamespace = "flux-system"

// flux is a running Flux: source-controller and kustomize-controller.
type flux struct {
	c         *cluster.Cluster
	objects   dynamic.Interface
	shipped   *shipped
	processes []*process
	// asked has the last request to reconcile, by application.
	asked map[string]string
}

// startFlux brings Flux's custom resource definitions into the cluster and starts its processes.
func startFlux(ctx context.Context, c *cluster.Cluster, dir string, progress io.Writer) (*flux, error) {
	bins, err := parts.Build(ctx, progress, "flux")
	if err != nil {
		return nil, err
	}
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	f := &flux{c: c, asked: map[string]string{}}
	if f.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if f.shipped, err = readShipped("flux"); err != nil {
		return nil, err
	}
	// The namespace is there already if Flux ran in this cluster before.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fluxNamespace}}
	kube, err := c.Client()
	if err != nil {
		return nil, err
	}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "--filename", bins["flux-crds"], "--filename", bins["flux-source-crds"]},
		{
			"wait", "--for=condition=Established", "--timeout=1m",
			"crd/kustomizations.kustomize.toolkit.fluxcd.io", "crd/gitrepositories.source.toolkit.fluxcd.io",
		},
	} {
		if _, err := c.Kubectl(ctx, args...); err != nil {
			return nil, err
		}
	}
	if err := f.run(dir, bins); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// run starts the programs with the arguments of their Deployments, but for ports, leader election, and how soon a
// Kustomization looks again at one that it depends on.
func (f *flux) run(dir string, bins map[string]string) error {
	for _, name := range []string{"data", "tmp", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	env := []string{
		"KUBECONFIG=" + f.c.Kubeconfig(), "RUNTIME_NAMESPACE=" + fluxNamespace, "PATH=" + os.Getenv("PATH"),
		"HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp"),
	}
	storage := "127.0.0.1:" + ports[4]
	for _, p := range []struct {
		name  string
		ports []string
		args  []string
	}{
		{"source-controller", ports[:2], []string{
			"--storage-path=" + filepath.Join(dir, "data"), "--storage-addr=" + storage, "--storage-adv-addr=" + storage,
		}},
		{"kustomize-controller", ports[2:4], []string{"--requeue-dependency=2s"}},
	} {
		args := append([]string{
			"--watch-all-namespaces=true", "--enable-leader-election=false", "--log-level=info", "--log-encoding=json",
			"--metrics-addr=127.0.0.1:" + p.ports[0], "--health-addr=127.0.0.1:" + p.ports[1],
		}, p.args...)
		running, err := start(dir, p.name, env, bins[p.name], args...)
		if err != nil {
			return err
		}
		f.processes = append(f.processes, running)
	}
	return nil
}

func (f *flux) stop() {
	for _, p := range f.processes {
		p.stop()
	}
}

// words are the last lines of each process.
func (f *flux) words() string {
	var words []string
	for _, p := range f.processes {
		words = append(words, p.words(15))
	}
	return strings.Join(words, "\n")
}

func (f *flux) name() string { return "Flux" }

func (f *flux) waves() bool { return false }

func (f *flux) repeats() bool { return false }

// follow makes the shipped Kustomization one of this repository.
func (f *flux) follow(ctx context.Context, a *app) error {
	source := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
		"metadata": map[string]any{"name": a.repo.name, "namespace": fluxNamespace},
		"spec":     map[string]any{"url": a.repo.url, "interval": "1m", "ref": map[string]any{"branch": branch}},
	}}
	if err := apply(ctx, f.c, source); err != nil {
		return err
	}
	object, err := f.shipped.find("Kustomization", a.like)
	if err != nil {
		return err
	}
	object.SetName(a.name)
	fields := []struct {
		value any
		path  []string
	}{
		{a.repo.name, []string{"spec", "sourceRef", "name"}},
		{"./" + a.path, []string{"spec", "path"}},
		{!a.keep, []string{"spec", "prune"}},
	}
	for _, field := range fields {
		if err := set(object, field.value, field.path...); err != nil {
			return err
		}
	}
	if a.after != "" {
		before, _, err := unstructured.NestedSlice(object.Object, "spec", "dependsOn")
		if err != nil {
			return err
		}
		if err := set(object, append(before, map[string]any{"name": a.after}), "spec", "dependsOn"); err != nil {
			return err
		}
	}
	return apply(ctx, f.c, object)
}

// fluxStatus is what the tests read of both kinds.
type fluxStatus struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration     int64  `json:"observedGeneration"`
		LastAppliedRevision    string `json:"lastAppliedRevision"`
		LastAttemptedRevision  string `json:"lastAttemptedRevision"`
		LastHandledReconcileAt string `json:"lastHandledReconcileAt"`
		Artifact               struct {
			Revision string `json:"revision"`
		} `json:"artifact"`
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// look does what `flux reconcile kustomization --with-source` does.
func (f *flux) look(ctx context.Context, a *app) error {
	if err := f.request(ctx, gitRepositories, a.repo.name); err != nil {
		return err
	}
	late := fmt.Errorf("source-controller has not come to commit %s", a.repo.head)
	waiting, cancel := context.WithTimeoutCause(ctx, time.Minute, late)
	defer cancel()
	err := poll(waiting, func(ctx context.Context) (bool, string) {
		found := &fluxStatus{}
		if err := read(ctx, f.objects.Resource(gitRepositories).Namespace(fluxNamespace), a.repo.name, found); err != nil {
			return false, err.Error()
		}
		return strings.HasSuffix(found.Status.Artifact.Revision, a.repo.head), fmt.Sprint(found.Status.Conditions)
	})
	if err != nil {
		return err
	}
	return f.request(ctx, kustomizations, a.name)
}

func (f *flux) request(ctx context.Context, kind schema.GroupVersionResource, name string) error {
	f.asked[name] = time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, f.asked[name])
	return merge(ctx, f.objects.Resource(kind).Namespace(fluxNamespace), name, patch)
}

func (f *flux) says(ctx context.Context, a *app, commit string) (verdict, error) {
	found := &fluxStatus{}
	if err := read(ctx, f.objects.Resource(kustomizations).Namespace(fluxNamespace), a.name, found); err != nil {
		return verdict{}, err
	}
	s := &found.Status
	v := verdict{kind: busy, words: "no condition Ready yet"}
	for _, c := range s.Conditions {
		if c.Type != "Ready" {
			continue
		}
		v.words = fmt.Sprintf("Ready=%s, %s: %s", c.Status, c.Reason, c.Message)
		handled := s.LastHandledReconcileAt == f.asked[a.name]
		switch {
		case found.Metadata.Generation != s.ObservedGeneration && c.Status == metav1.ConditionTrue:
		case c.Status == metav1.ConditionTrue && strings.HasSuffix(s.LastAppliedRevision, commit) && handled:
			v.kind = good
		case c.Status == metav1.ConditionFalse && strings.HasSuffix(s.LastAttemptedRevision, commit) && handled:
			v.kind = bad
		}
	}
	return v, nil
}

// forget deletes the Kustomization, and waits until Flux has deleted what it brought.
func (f *flux) forget(ctx context.Context, a *app) error {
	for _, kind := range []struct{ resource, name string }{
		{"kustomizations.kustomize.toolkit.fluxcd.io", a.name}, {"gitrepositories.source.toolkit.fluxcd.io", a.repo.name},
	} {
		if err := remove(ctx, f.c, fluxNamespace, kind.resource, kind.name); err != nil {
			return err
		}
	}
	return nil
}

func (f *flux) leave(ctx context.Context, a *app) error {
	const patch = `{"spec":{"deletionPolicy":"Orphan"}}`
	if err := merge(ctx, f.objects.Resource(kustomizations).Namespace(fluxNamespace), a.name, patch); err != nil {
		return err
	}
	return f.forget(ctx, a)
}
