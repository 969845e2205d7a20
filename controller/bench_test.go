package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	specs "longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// The size of the cluster that the loop is measured in.
const (
	benchNodes    = 5000
	benchRuntimes = 5
	benchLabels   = 60
)

// stage is where in a rollout the cluster of a benchmark is.
type stage int

const (
	// settled: every node is Ready with every runtime, nothing is left to do.
	settled stage = iota
	// halfway: every runtime is half way through an upgrade, a tenth of the nodes under way with a running installer pod.
	halfway
	// untouched: no node has been touched, everything waits for its first turn.
	untouched
)

var stages = map[string]stage{"settled": settled, "halfway": halfway, "untouched": untouched}

// benchTime is the time of every snapshot: an hour after anything happened.
var benchTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// bench is a cluster that stands still, as the loop sees it.
type bench struct {
	cluster *informers.Cluster
	api     *simulation.API
	snap    *observed.Snapshot
	plan    *desired.Plan
	parse   desired.Parser
}

// benches are made once for all benchmarks: making one takes longer than measuring it.
var benches = map[stage]*bench{}

// newBench makes a cluster of [benchNodes] nodes and [benchRuntimes] runtimes at a stage, listed by real informers that stand still then.
func newBench(b *testing.B, at stage) *bench {
	b.Helper()
	if benches[at] != nil {
		return benches[at]
	}
	builder := &builder{b: b, at: at, known: map[string]*specs.Runtime{}}
	for r := range benchRuntimes {
		builder.runtime(r)
	}
	for n := range benchNodes {
		builder.node(n)
	}
	builder.turns()
	out := &bench{parse: builder.parse, api: simulation.NewAPI(builder.objects...)}
	ctx, cancel := context.WithCancel(b.Context())
	cluster, err := informers.New(out.api.Kube, "longshore", "longshore-system", func() {})
	if err != nil {
		b.Fatal(err)
	}
	cluster.Start(ctx)
	defer cluster.Stop()
	defer cancel()
	if err := cluster.Synced(ctx); err != nil {
		b.Fatal(err)
	}
	out.cluster = cluster
	out.snap = cluster.Snapshot(benchTime)
	out.plan = desired.Of(out.snap, out.parse, desired.DefaultOptions())
	benches[at] = out
	return out
}

// builder collects the objects of a cluster.
type builder struct {
	b       *testing.B
	at      stage
	objects []runtime.Object
	// revisions are the old and the new revision of each runtime.
	revisions [][2]string
	booked    []observed.Turn
	known     map[string]*specs.Runtime
}

// parse is a parser that has read everything before, as the controller's has.
func (u *builder) parse(name string, data map[string]string, _ map[string][]byte) (*specs.Runtime, field.ErrorList) {
	key := name + data["payloadImage"]
	if u.known[key] == nil {
		parsed, errs := specs.Parse(name, data, nil)
		if len(errs) > 0 {
			u.b.Fatal(errs.ToAggregate())
		}
		u.known[key] = parsed
	}
	return u.known[key], nil
}

func runtimeName(r int) string { return fmt.Sprintf("runtime-%d", r) }

func (u *builder) data(r, version int) map[string]string {
	return map[string]string{
		"payloadImage": fmt.Sprintf("registry.example.com/payload:%d", version), "installCmd": "[/install]", "uninstallCmd": "[/uninstall]",
		"nodeSelector": "use in (runtimes, everything),!never", "soak": "0s", "maxUnavailable": "10%",
		"runtimeClasses": fmt.Sprintf("[{name: class-%d, handler: handler-%d}]", r, r),
	}
}

// runtime adds the spec of a runtime and the snapshots of two of its revisions, the newest in force.
func (u *builder) runtime(r int) {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "longshore", Name: runtimeName(r), UID: types.UID("spec-" + runtimeName(r)), CreationTimestamp: metav1.NewTime(benchTime.Add(-2 * time.Hour)),
			Labels: map[string]string{observed.LabelRuntime: runtimeName(r)},
		},
		Data: u.data(r, 2),
	}
	u.objects = append(u.objects, cm)
	renderer := manifests.NewRenderer(manifests.Options{PauseImage: "registry.example.com/longshore:1"})
	var pair [2]string
	for version := 1; version <= 2; version++ {
		parsed, _ := u.parse(runtimeName(r), u.data(r, version), nil)
		objects, errs := renderer.Render(u.b.Context(), parsed)
		if len(errs) > 0 {
			u.b.Fatal(errs.ToAggregate())
		}
		text, err := json.Marshal(u.data(r, version))
		if err != nil {
			u.b.Fatal(err)
		}
		source, err := json.Marshal(desired.Source{Name: cm.Name, UID: string(cm.UID)})
		if err != nil {
			u.b.Fatal(err)
		}
		annotations := map[string]string{observed.AnnotationSpec: string(text), observed.AnnotationSource: string(source)}
		revision, err := manifests.ControllerRevision(objects, parsed, int64(version), annotations)
		if err != nil {
			u.b.Fatal(err)
		}
		u.objects = append(u.objects, revision)
		set := objects.DaemonSets[manifests.StepInstall].DeepCopy()
		set.Namespace = "longshore"
		u.objects = append(u.objects, set)
		pair[version-1] = parsed.Revision()
	}
	u.revisions = append(u.revisions, pair)
}

// node adds a node as large as those of clouds, with what stands on it for every runtime.
func (u *builder) node(n int) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("node-%04d", n), UID: types.UID(fmt.Sprintf("0b7c9d3e-node-%04d", n)),
			Labels:      map[string]string{"kubernetes.io/os": "linux", "use": "runtimes"},
			Annotations: map[string]string{"node.alpha.kubernetes.io/ttl": "0"},
		},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{BootID: fmt.Sprintf("boot-%d", n), MachineID: fmt.Sprintf("machine-%d", n)},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(benchTime.Add(-time.Hour)),
			}},
			RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}},
		},
	}
	for l := range benchLabels {
		node.Labels[fmt.Sprintf("label-%d.example.com/some-fact-of-the-machine", l)] = "value"
	}
	for r := range benchRuntimes {
		node.Status.RuntimeHandlers = append(node.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: fmt.Sprintf("handler-%d", r)})
		u.stand(node, n, r)
	}
	u.objects = append(u.objects, node)
}

// stand writes on a node how it stands with a runtime. No node is under way with two runtimes.
func (u *builder) stand(node *corev1.Node, n, r int) {
	name, before, after := runtimeName(r), u.revisions[r][0], u.revisions[r][1]
	p := observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: after, Attempt: 1, Since: benchTime.Add(-time.Hour),
		Reason: string(rollout.HandlersReported), Message: fmt.Sprintf("the node reports handler handler-%d", r), PodUID: fmt.Sprintf("pod-%d-%d", n, r),
		MachineID: node.Status.NodeInfo.MachineID, BootID: node.Status.NodeInfo.BootID,
	}
	switch {
	case u.at == untouched:
		return
	case u.at == settled || n%10 < 5:
	case n%10-5 == r && n%50 < 25:
		p.Phase, p.Previous, p.Reason, p.Message = observed.PhaseInstalling, before, "", ""
		p.Since = benchTime.Add(-time.Minute)
		node.Labels[observed.GateKey(name)] = observed.GateValue(after, string(observed.Install))
		u.booked = append(u.booked, observed.Turn{Node: node.UID, Runtime: name, Revision: after, Operation: observed.Install})
		u.pod(node, name, after)
	default:
		p.Revision = before
	}
	node.Labels[observed.ReadyKey(name)] = "true"
	node.Labels[observed.PhaseKey(name)] = string(p.Phase)
	node.Annotations[observed.ProgressKey(name)] = p.String()
}

// pod adds an installer pod whose command runs.
func (u *builder) pod(node *corev1.Node, name, revision string) {
	set := observed.DaemonSetName(name, string(observed.Install), revision)
	u.objects = append(u.objects, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "longshore", Name: set + "-" + node.Name, UID: types.UID("pod-" + node.Name),
			Labels: map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: name, observed.LabelInstaller: set},
		},
		Spec: corev1.PodSpec{NodeName: node.Name, InitContainers: []corev1.Container{{Name: "install"}}, Containers: []corev1.Container{{Name: "pause"}}},
		Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "install", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(benchTime.Add(-time.Minute))}},
		}}},
	})
}

func (u *builder) turns() {
	u.objects = append(u.objects, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore-system", Name: observed.TurnsName, UID: "turns"}, Data: observed.FormatTurns(u.booked),
	})
}

// spent is the CPU time of this process so far, garbage collection included. On a machine that does other things as well it says more than
// the time that passes.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// atEveryStage runs a benchmark at every stage of a rollout.
func atEveryStage(b *testing.B, body func(*testing.B, *bench)) {
	for _, name := range slices.Sorted(maps.Keys(stages)) {
		b.Run(name, func(b *testing.B) {
			bench := newBench(b, stages[name])
			b.ReportAllocs()
			before := spent(b)
			body(b, bench)
			b.ReportMetric(float64(spent(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	atEveryStage(b, func(b *testing.B, w *bench) {
		for b.Loop() {
			w.cluster.Snapshot(benchTime)
		}
	})
}

func BenchmarkDesired(b *testing.B) {
	atEveryStage(b, func(b *testing.B, w *bench) {
		for b.Loop() {
			desired.Of(w.snap, w.parse, desired.DefaultOptions())
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	atEveryStage(b, func(b *testing.B, w *bench) {
		var decision *rollout.Decision
		for b.Loop() {
			decision = rollout.Decide(w.snap, w.plan)
		}
		b.ReportMetric(float64(len(decision.Holds)), "holds")
		b.ReportMetric(float64(len(decision.Moves)), "moves")
		b.ReportMetric(float64(len(decision.Booked)), "booked")
	})
}

func BenchmarkStatus(b *testing.B) {
	atEveryStage(b, func(b *testing.B, w *bench) {
		decision := rollout.Decide(w.snap, w.plan)
		for b.Loop() {
			status.Of(w.snap, w.plan, decision)
		}
	})
}

// BenchmarkPass is a pass that has nothing to write: everything is settled, and the pass looks at all of it.
func BenchmarkPass(b *testing.B) {
	w := newBench(b, settled)
	writer := apply.New(w.api.Kube, w.cluster, "longshore", "longshore-system")
	events, clock := &cluster{}, clocktesting.NewFakeClock(benchTime)
	loop := controller.New(controller.Ports{
		Reader: w.cluster, Rollout: writer, Objects: writer, Access: writer, Revisions: writer, Status: writer, Events: events,
		Renderer: manifests.NewRenderer(manifests.Options{PauseImage: "registry.example.com/longshore:1"}),
		Clock:    clock, Log: zap.NewNop(), Metrics: controller.NewMetrics(prometheus.NewRegistry()),
	}, desired.DefaultOptions())
	b.Cleanup(func() {
		ended, end := context.WithCancel(context.Background())
		end()
		loop.Run(ended)
	})
	// The first passes write the classes, the DaemonSets' owners and the status.
	for range 5 {
		if _, err := loop.Pass(b.Context()); err != nil {
			b.Fatal(err)
		}
		clock.Step(controller.StatusInterval)
	}
	before := len(w.api.Writes())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := loop.Pass(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if after := len(w.api.Writes()); after != before {
		b.Fatalf("a pass with nothing to do wrote: %v", w.api.Writes()[before:])
	}
}
