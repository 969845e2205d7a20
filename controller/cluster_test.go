package controller_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a simulated cluster with a real controller in it: real informers, real writes, real rendering.
type cluster struct {
	t     *testing.T
	api   *simulation.API
	world *simulation.World
	log   *logLines

	mu     sync.Mutex
	events []string
	// tags are the payload tags by revision, to read what stands on nodes.
	tags map[string]string

	// eyes wraps what the controller sees with, nil for nothing.
	eyes func(controller.Reader) controller.Reader
	// ports changes the controller's ways out into the world, nil for nothing.
	ports func(*controller.Ports)
	// registry has the metrics of the controller that runs now.
	registry *prometheus.Registry

	stop func()
}

// wellBehaved is a payload whose commands exit 0 after two seconds; install offers the handler named like the runtime.
func wellBehaved(run simulation.Run) simulation.Result {
	result := simulation.Result{Takes: 2 * time.Second}
	switch run.Operation {
	case "install":
		result.Offers = []string{run.Runtime}
	case "uninstall":
		result.Withdraws = []string{run.Runtime}
	}
	return result
}

// run calls a test in a bubble of virtual time with a cluster of these nodes and objects, and sees to it that everything ends.
func run(t *testing.T, payload func(simulation.Run) simulation.Result, objects []runtime.Object, body func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, log: &logLines{}, tags: map[string]string{}}
		c.api = simulation.NewAPI(objects...)
		c.world = simulation.NewWorld(c.api, func(r simulation.Run) simulation.Result {
			if r.Operation != observed.StepVerify {
				c.mu.Lock()
				_, tag, _ := strings.Cut(r.Image, ":")
				c.tags[r.Revision] = tag
				c.mu.Unlock()
			}
			return payload(r)
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.world.Live(ctx) })
		wg.Go(func() { c.saveStates(ctx) })
		c.start()
		defer func() {
			c.stop()
			cancel()
			wg.Wait()
			if t.Failed() {
				t.Logf("log of the controller:\n%s", strings.Join(c.log.all(), "\n"))
			}
		}()
		body(c)
	})
}

// start starts the controller; stop ends it.
func (c *cluster) start() { c.stop = c.launch() }

// launch starts one more controller and returns what ends it.
func (c *cluster) launch() func() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	var loop *controller.Controller
	cluster, err := informers.New(c.api.Kube, "longshore", "longshore-system", func() { loop.Look() })
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cluster.WatchPayloadSecret(ctx); err != nil {
		c.t.Fatal(err)
	}
	if err := cluster.WatchPoolMemory(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.registry = prometheus.NewRegistry()
	writer := apply.New(c.api.Kube, cluster, "longshore", "longshore-system")
	var eyes controller.Reader = cluster
	if c.eyes != nil {
		eyes = c.eyes(cluster)
	}
	ports := controller.Ports{
		Reader: eyes, Sight: cluster, Evictions: writer, Finalizer: writer, Rollout: writer, Objects: writer, Access: writer, Pull: writer, Revisions: writer, Status: writer, Memory: writer, Events: c,
		Renderer: manifests.NewRenderer(manifests.Options{PauseImage: "registry.example.com/longshore:1"}),
		Clock:    clock.RealClock{}, Log: zap.New(c.log), Metrics: controller.NewMetrics(c.registry),
	}
	if c.ports != nil {
		c.ports(&ports)
	}
	loop = controller.New(ports, desired.DefaultOptions())
	if err := cluster.WatchOwn(ctx, "longshore"); err != nil {
		c.t.Fatal(err)
	}
	cluster.WatchRights(ctx, clock.RealClock{})
	cluster.Start(ctx)
	if err := cluster.Synced(ctx); err != nil {
		c.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx) })
	return sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		cluster.Stop()
	})
}

// Spec takes an event down.
func (c *cluster) Spec(s *observed.Spec, kind, reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf("%s spec/%s %s: %s", kind, s.Name, reason, message))
}

// Node takes an event down.
func (c *cluster) Node(n *observed.Node, kind, reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf("%s node/%s %s: %s", kind, n.Name, reason, message))
}

func (c *cluster) eventsLike(part string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.events), func(e string) bool { return !strings.Contains(e, part) })
}

// within lets virtual time pass until the condition holds, and fails the test when it does not hold in time.
func (c *cluster) within(d time.Duration, what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		if holds() {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("after %s it is not so that %s\n%s", d, what, strings.Join(c.nodes(), "\n"))
		}
	}
}

// pass lets virtual time pass.
func (c *cluster) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// nodes tells what stands on every node for kata: name, phase, payload, labels.
func (c *cluster) nodes() []string {
	var lines []string
	for _, n := range simulation.List(c.api, &corev1.Node{}) {
		lines = append(lines, c.node(n))
	}
	return lines
}

func (c *cluster) node(n *corev1.Node) string {
	words := []string{n.Name}
	look := informers.Node(n)
	for _, s := range look.States() {
		if !s.Carries() {
			continue
		}
		words = append(words, s.Runtime)
		if s.Progress != nil {
			words = append(words, string(s.Progress.Phase), c.tag(s.Progress.Revision), s.Progress.Reason)
		}
		if s.Problem != "" {
			words = append(words, "unreadable")
		}
		if s.Gate != "" {
			words = append(words, "gate")
		}
		if s.Ready != "" {
			words = append(words, "ready")
		}
	}
	return strings.Join(words, " ")
}

func (c *cluster) tag(revision string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tag, ok := c.tags[revision]; ok {
		return tag
	}
	return revision
}

// allAre tells whether every node is in the state given, but for its name.
func (c *cluster) allAre(state string) func() bool {
	return func() bool {
		for _, line := range c.nodes() {
			_, rest, _ := strings.Cut(line, " ")
			if rest != state {
				return false
			}
		}
		return true
	}
}

// status is an annotation of a spec.
func (c *cluster) status(name, key string) string {
	cm, ok := simulation.Get(c.api, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: name}})
	if !ok {
		return "no such spec"
	}
	return cm.Annotations["longshore.dev/"+key]
}

func (c *cluster) phaseIs(name, phase string) func() bool {
	return func() bool { return c.status(name, "phase") == phase }
}

// writes are the stored writes since a number of them, as "verb resource/name".
func (c *cluster) writes(since int) []string {
	var out []string
	for _, w := range c.api.Writes()[since:] {
		out = append(out, w.String())
	}
	return out
}

// count counts the stored writes that begin with the text.
func (c *cluster) count(begin string) int {
	n := 0
	for _, w := range c.writes(0) {
		if strings.HasPrefix(w, begin) {
			n++
		}
	}
	return n
}

// turns is the data of the ConfigMap of turns.
func (c *cluster) turns() map[string]string {
	cm, ok := simulation.Get(c.api, turnsObject())
	if !ok {
		return map[string]string{"there is": "none"}
	}
	return cm.Data
}

func turnsObject() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: observed.TurnsName}}
}

// calls are those to the API server, but for the question which rights there are: nothing tells of those, so that it is asked now and then.
func (c *cluster) calls() []string {
	var calls []string
	for _, a := range c.api.Kube.Actions() {
		if what := a.GetResource().Resource; what != "selfsubjectaccessreviews" {
			calls = append(calls, a.GetVerb()+" "+what)
		}
	}
	return calls
}

// ours lists every object of Longshore's that is left.
func (c *cluster) ours() []string {
	var out []string
	for _, o := range simulation.List(c.api, &appsv1.DaemonSet{}) {
		out = append(out, "DaemonSet "+o.Name)
	}
	for _, o := range simulation.List(c.api, &appsv1.ControllerRevision{}) {
		out = append(out, "ControllerRevision "+o.Name)
	}
	for _, o := range simulation.List(c.api, &nodev1.RuntimeClass{}) {
		out = append(out, "RuntimeClass "+o.Name)
	}
	for _, o := range simulation.List(c.api, &corev1.Pod{}) {
		out = append(out, "Pod "+o.Name)
	}
	return out
}

// spec is a spec of kata whose payload has the tag; more replaces and adds keys.
func spec(name, tag string, more ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "longshore", Labels: map[string]string{observed.LabelRuntime: "kata"}},
		Data: map[string]string{
			"payloadImage": "registry.example.com/kata:" + tag, "installCmd": "[/install]", "uninstallCmd": "[/uninstall]", "nodeSelector": "*",
			"runtimeClasses": "[{name: kata, handler: kata}]", "soak": "10s",
		},
	}
	for i := 0; i < len(more); i += 2 {
		cm.Data[more[i]] = more[i+1]
	}
	return cm
}

// threeNodes are the objects of a cluster with three nodes and more.
func threeNodes(more ...runtime.Object) []runtime.Object {
	objects := []runtime.Object{simulation.ReadyNode("a", nil), simulation.ReadyNode("b", nil), simulation.ReadyNode("c", nil)}
	return append(objects, more...)
}

// logLines is a logger's core that keeps what is logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
	with  []zapcore.Field
}

func (*logLines) Enabled(zapcore.Level) bool            { return true }
func (l *logLines) With(f []zapcore.Field) zapcore.Core { l.with = append(l.with, f...); return l }
func (*logLines) Sync() error                           { return nil }
func (l *logLines) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, l)
}

func (l *logLines) Write(e zapcore.Entry, f []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range f {
		field.AddTo(encoder)
	}
	words := []string{e.Time.Format("15:04:05.0"), e.Level.String(), e.Message}
	for _, key := range slices.Sorted(maps.Keys(encoder.Fields)) {
		words = append(words, fmt.Sprintf("%s=%v", key, encoder.Fields[key]))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.Join(words, " "))
	return nil
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// like are the lines with all of these words in them.
func (l *logLines) like(words ...string) []string {
	return slices.DeleteFunc(l.all(), func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}
