package gitops

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
)

// nodes is the number of simulated nodes.
const nodes = 3

// tableFile names the environment variable with the file that the table of results is written to.
const tableFile = "GITOPS_TABLE"

var (
	// shared is the cluster of the package, made by the first test that needs it.
	shared  *world
	results table
)

func TestMain(m *testing.M) {
	cluster.Main()
	// A test that is interrupted leaves nothing either.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ended
		if shared != nil {
			_ = shared.down()
		}
		os.Exit(1)
	}()
	code := m.Run()
	if shared != nil {
		if err := shared.down(); err != nil {
			fmt.Println("taking the world down:", err)
			code = 1
		}
		text := results.markdown()
		fmt.Print("\n", text)
		if file := os.Getenv(tableFile); file != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				fmt.Println(err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// world is a cluster with Longshore in it, a git server, and a directory for what the tools keep.
type world struct {
	ctx       context.Context
	stop      context.CancelFunc
	dir       string
	c         *cluster.Cluster
	kube      kubernetes.Interface
	longshore *longshore
	git       *gitServer
	touches   touches
	// own is the application of Longshore itself, in the tool that is tested.
	own *app

	mu sync.Mutex
	// handlers are what the simulated nodes report.
	handlers []string
}

// need brings the world about, or skips the test.
func need(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster takes too long for -short")
	}
	if shared == nil {
		shared = &world{}
		if err := shared.up(); err != nil {
			t.Fatalf("bringing the world up: %v", err)
		}
	}
	if shared.longshore == nil {
		t.Fatal("the world did not come up, as an earlier test says")
	}
	return shared
}

func (w *world) up() error {
	var err error
	w.ctx, w.stop = context.WithCancel(context.Background())
	if w.dir, err = os.MkdirTemp("", "longshore-gitops-"); err != nil {
		return err
	}
	options := cluster.Options{Name: "gitops", Loopback: true, Simulated: nodes, Progress: os.Stdout}
	if w.c, err = cluster.Up(w.ctx, options); err != nil {
		return err
	}
	if w.kube, err = w.c.Client(); err != nil {
		return err
	}
	program, err := deploy.Program(w.ctx)
	if err != nil {
		return err
	}
	l := &longshore{c: w.c, kube: w.kube, program: filepath.Join(w.dir, "longshore"), dir: w.dir}
	// Others build the same file at other times.
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.program, text, 0o755); err != nil {
		return err
	}
	if err := l.install(w.ctx); err != nil {
		return err
	}
	if w.git, err = startGit(filepath.Join(w.dir, "git")); err != nil {
		return err
	}
	if err := w.touches.follow(w.ctx, w.kube); err != nil {
		return err
	}
	w.longshore = l
	return nil
}

func (w *world) down() error {
	if w.longshore != nil && w.longshore.process != nil {
		w.longshore.process.stop()
	}
	w.stop()
	var errs []string
	if w.git != nil {
		if err := w.git.stop(); err != nil {
			errs = append(errs, err.Error())
		}
	}
	if w.c != nil {
		if err := w.c.Down(context.Background()); err != nil {
			errs = append(errs, err.Error())
		}
	}
	if err := os.RemoveAll(w.dir); err != nil {
		errs = append(errs, err.Error())
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	}
	return nil
}

// configMaps are those in the namespace of specs.
func (w *world) configMaps() typedcorev1.ConfigMapInterface {
	return w.kube.CoreV1().ConfigMaps(installers)
}

// offer makes the simulated nodes report a further handler, and returns when they do.
func (w *world) offer(t *testing.T, handler string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers = append(w.handlers, handler)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"sim.test/handlers":%q}}}`, strings.Join(w.handlers, ","))
	// Right after an installation the admission policy refuses every write to nodes, until the API server knows its
	// parameter.
	eventually(t, "nodes may be written", time.Minute, func(ctx context.Context) (bool, string) {
		for n := range nodes {
			name := cluster.SimulatedName(n + 1)
			_, err := w.kube.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
	eventually(t, "nodes report the handler "+handler, time.Minute, func(ctx context.Context) (bool, string) {
		list, err := w.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		count := 0
		for i := range list.Items {
			count += reports(&list.Items[i], handler)
		}
		return count == nodes, fmt.Sprintf("%d of %d nodes", count, nodes)
	})
}

func reports(node *corev1.Node, handler string) int {
	for _, h := range node.Status.RuntimeHandlers {
		if h.Name == handler {
			return 1
		}
	}
	return 0
}

// eventually waits until the condition holds, for that long at most; the text says how things stand.
func eventually(t *testing.T, what string, patience time.Duration, condition func(context.Context) (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("not so after %s", patience))
	defer cancel()
	if err := poll(ctx, condition); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}
