package gitops

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/e2e/cluster"
)

// product hands Longshore itself over to the tool: an application of the shipped objects, named as the shipped
// files name it.
func (w *world) product(t *testing.T, with tool) {
	t.Helper()
	name := "product-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	repo, err := w.git.newRepo(t.Context(), name, filepath.Join(w.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	files, err := productFiles()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.commit(t.Context(), "product", files); err != nil {
		t.Fatal(err)
	}
	w.own = &app{name: "longshore-controller", like: "controller", repo: repo, path: "product/controller"}
	w.hand(t, with)
	t.Cleanup(func() {
		if err := with.leave(context.Background(), w.own); err != nil {
			t.Error(err)
		}
	})
}

// hand makes the application of Longshore, and waits until the tool is content with it.
func (w *world) hand(t *testing.T, with tool) {
	t.Helper()
	if err := with.follow(t.Context(), w.own); err != nil {
		t.Fatal(err)
	}
	if err := with.look(t.Context(), w.own); err != nil {
		t.Fatal(err)
	}
	eventually(t, with.name()+" has Longshore", patience, func(ctx context.Context) (bool, string) {
		v, err := with.says(ctx, w.own, w.own.repo.head)
		return err == nil && v.kind == good, fmt.Sprint(v, err)
	})
}

// deletionInOrder deletes the specs, and then Longshore, as the shipped files say. A spec that is deleted in the
// foreground waits for the uninstall on every node.
func deletionInOrder(s *scenario) {
	s.begin(fixed(s.app.path, spec(s.runtime, "deletionPolicy", "Foreground")))
	s.mark = time.Now()
	s.deletion(s.app)
	s.gone(s.runtime)
	s.ran(s.runtime, "uninstall")
	s.deletion(s.w.own)
}

// deletionAtOnce deletes both at the same time. The nodes may keep the runtime, but everything in the cluster goes.
func deletionAtOnce(s *scenario) {
	s.begin(fixed(s.app.path, spec(s.runtime, "deletionPolicy", "Foreground")))
	s.mark = time.Now()
	s.deletion(s.app, s.w.own)
	counts, err := s.w.touches.since(s.runtime, s.mark)
	if err != nil {
		s.Fatal(err)
	}
	s.runs = append(s.runs, runs(counts, s.runtime))
}

// deletion deletes applications at the same time, and waits until they are gone. With Longshore's own go its
// namespaces, after which Longshore is installed anew for the scenarios that follow.
func (s *scenario) deletion(apps ...*app) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*patience)
	defer cancel()
	if slices.Contains(apps, s.w.own) {
		s.alone()
	}
	began := time.Now()
	own := false
	var wait sync.WaitGroup
	errs := make([]error, len(apps))
	var ended <-chan struct{}
	for i, a := range apps {
		if a == s.w.own {
			own, ended = true, s.w.longshore.endWithDeployment(ctx)
		}
		wait.Go(func() { errs[i] = s.tool.forget(ctx, a) })
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			s.Errorf("deleting application %s: %v", apps[i].name, err)
		}
	}
	if own {
		s.noNamespaces()
		select {
		case <-ended:
		case <-ctx.Done():
			s.Errorf("the controller's Deployment is still there: %v", context.Cause(ctx))
		}
	}
	s.said = append(s.said, fmt.Sprintf("gone after %.0f s", time.Since(began).Seconds()))
	if own {
		s.again()
	}
}

// noNamespaces waits until Longshore's namespaces are gone, or says what holds them and lets them go, for the sake
// of what follows.
func (s *scenario) noNamespaces() {
	s.Helper()
	ctx, cancel := context.WithTimeoutCause(s.Context(), time.Minute, fmt.Errorf("not so after a minute"))
	defer cancel()
	err := poll(ctx, func(ctx context.Context) (bool, string) {
		list, err := s.w.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		var left []string
		for i := range list.Items {
			if name := list.Items[i].Name; name == installers || name == system {
				left = append(left, fmt.Sprintf("%s: %v", name, list.Items[i].Status.Conditions))
			}
		}
		return len(left) == 0, strings.Join(left, "; ")
	})
	if err == nil {
		return
	}
	s.Errorf("waiting until the namespaces are gone: %v", err)
	free, no := []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}
	for _, cm := range s.specs(s.runtime) {
		if _, err := s.w.configMaps().Patch(s.Context(), cm.Name, types.MergePatchType, free, no); err != nil {
			s.Error(err)
		}
	}
}

// again installs Longshore anew.
func (s *scenario) again() {
	s.Helper()
	eventually(s.T, "the namespaces are gone", time.Minute, func(ctx context.Context) (bool, string) {
		_, err := s.w.c.Kubectl(ctx, "wait", "--for=delete", "namespace/"+installers, "namespace/"+system, "--timeout=5s")
		return err == nil, fmt.Sprint(err)
	})
	s.w.longshore.process.stop()
	if err := s.w.longshore.install(s.w.ctx); err != nil {
		s.Fatal(err)
	}
	s.w.hand(s.T, s.tool)
	s.nodesMayBeWritten()
}

// nodesMayBeWritten expects that installing Longshore again leaves everybody their rights. If it does not, the API
// server is restarted, for the sake of what follows.
func (s *scenario) nodesMayBeWritten() {
	s.Helper()
	const settle = 10 * time.Second
	ctx, cancel := context.WithTimeoutCause(s.Context(), settle, fmt.Errorf("not so after %s", settle))
	defer cancel()
	patch := []byte(`{"metadata":{"annotations":{"gitops.test/written":"true"}}}`)
	err := poll(ctx, func(ctx context.Context) (bool, string) {
		name, no := cluster.SimulatedName(1), metav1.PatchOptions{}
		_, err := s.w.kube.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, no)
		return err == nil, fmt.Sprint(err)
	})
	if err == nil {
		return
	}
	s.Errorf("waiting until an administrator may write to nodes: %v", err)
	if err := s.w.c.StopUnit("kube-apiserver", unix.SIGTERM); err != nil {
		s.Fatal(err)
	}
	if err := s.w.c.StartUnit(s.Context(), "kube-apiserver"); err != nil {
		s.Fatal(err)
	}
}
