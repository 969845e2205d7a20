package status_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// world is a snapshot that is being made, with the revisions of its runtimes: the older one first.
type world struct {
	snap      *observed.Snapshot
	revisions map[string][]string
}

func newWorld() *world {
	return &world{
		snap:      &observed.Snapshot{Time: now, Turns: observed.Turns{Exists: true}, Mismatch: map[observed.NodeRuntime]time.Time{}},
		revisions: map[string][]string{},
	}
}

// data is that of a valid spec, with keys and values put over it.
func data(runtime, image string, over ...string) map[string]string {
	d := map[string]string{
		"payloadImage": "registry.example/" + image + ":1", "installCmd": `["/install"]`, "uninstallCmd": `["/uninstall"]`,
		"nodeSelector": "!skip-" + runtime, "runtimeClasses": `[{name: ` + runtime + `, handler: ` + runtime + `}]`,
	}
	for i := 0; i < len(over); i += 2 {
		d[over[i]] = over[i+1]
	}
	return d
}

// fataler is a test or a property under test.
type fataler interface{ Fatal(args ...any) }

// addRuntime makes a runtime with two revisions, of which the newer one is in force, and all its installers.
func (w *world) addRuntime(t fataler, name string, over ...string) {
	for number, image := range []string{name + "-old", name + "-new"} {
		d := data(name, image, over...)
		parsed, errs := spec.Parse(name, d, nil)
		if len(errs) > 0 {
			t.Fatal(errs.ToAggregate())
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		hash := parsed.Revision()
		w.revisions[name] = append(w.revisions[name], hash)
		w.snap.Revisions = append(w.snap.Revisions, observed.Revision{
			Name: observed.RevisionName(name, hash), UID: types.UID("rev-" + hash), Runtime: name, Revision: hash, Number: int64(number + 1),
			Annotations: map[string]string{observed.AnnotationSpec: string(text), observed.AnnotationSource: `{"name":"` + name + `","uid":"spec-` + name + `"}`},
			Content: &observed.RevisionContent{
				Format: 1, Classes: []observed.Class{{Name: name, Handler: name}}, DaemonSets: map[string]*appsv1.DaemonSet{"install": {}, "uninstall": {}},
			},
		})
		for _, step := range []string{"install", "uninstall"} {
			w.snap.DaemonSets = append(w.snap.DaemonSets, observed.DaemonSet{
				Name: observed.DaemonSetName(name, step, hash), Runtime: name, Revision: hash, Step: step,
			})
		}
	}
	w.snap.Specs = append(w.snap.Specs, observed.Spec{Name: name, UID: types.UID("spec-" + name), Runtime: name, Data: data(name, name+"-new", over...)})
}

// addNode makes a node that is Ready; change puts on it what the test is about.
func (w *world) addNode(name string, change func(*observed.Node)) {
	n := observed.Node{
		Name: name, UID: types.UID("uid-" + name), Ready: true, ReadySince: now.Add(-time.Hour), MachineID: "m", BootID: "b", HasAnnotations: true,
		Labels: observed.LabelsOf(map[string]string{"kubernetes.io/os": "linux"}), Annotations: map[string]string{},
	}
	if change != nil {
		change(&n)
	}
	n.Index()
	w.snap.Nodes = append(w.snap.Nodes, n)
}

// write puts on a node what belongs to a progress.
func write(n *observed.Node, runtime string, p *observed.Progress) {
	n.Annotations[observed.ProgressKey(runtime)] = p.String()
	n.Labels = n.Labels.With(observed.PhaseKey(runtime), string(p.Phase))
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling:
		n.Labels = n.Labels.With(observed.GateKey(runtime), observed.GateValue(p.Revision, string(p.Operation)))
	case observed.PhaseReady:
		n.Labels = n.Labels.With(observed.ReadyKey(runtime), "true")
	default:
	}
}

// look is what the controller and the commands make of the world.
func (w *world) look() (*desired.Plan, *rollout.Decision, *status.Report) {
	slices.SortFunc(w.snap.Nodes, func(a, b observed.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(w.snap.DaemonSets, func(a, b observed.DaemonSet) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(w.snap.Turns.Booked, observed.Turn.Compare)
	plan := desired.Of(w.snap, spec.Parse, desired.DefaultOptions())
	decision := rollout.Decide(w.snap, plan)
	return plan, decision, status.Of(w.snap, plan, decision)
}

// report is that of a runtime.
func report(t *testing.T, r *status.Report, name string) *status.RuntimeReport {
	t.Helper()
	for i := range r.Runtimes {
		if r.Runtimes[i].Name == name {
			return &r.Runtimes[i]
		}
	}
	t.Fatalf("the report has no runtime %q", name)
	return nil
}

// anyWorld draws a cluster in any state, sane or not: what people, crashes and older versions may leave behind.
func anyWorld(t *rapid.T) *world {
	w := newWorld()
	names := []string{"kata", "crun"}[:rapid.IntRange(1, 2).Draw(t, "runtimes")]
	for _, name := range names {
		w.addRuntime(t, name, anySettings(t)...)
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
		w.addNode("node-"+strconv.Itoa(i), func(n *observed.Node) { w.anyNode(t, n, names) })
	}
	w.snap.Turns.Exists = rapid.IntRange(0, 9).Draw(t, "turns") > 0
	w.snap.DaemonSets = slices.DeleteFunc(w.snap.DaemonSets, func(observed.DaemonSet) bool { return rapid.IntRange(0, 9).Draw(t, "missing") == 0 })
	if rapid.IntRange(0, 4).Draw(t, "bad") == 0 {
		to := rapid.SampledFrom([]string{"", "gone", w.revisions[names[0]][0]}).Draw(t, "to")
		w.snap.Revisions[1].Annotations[observed.AnnotationBad] = observed.Bad{To: to, Reason: "2 nodes failed", Time: now}.Text()
	}
	if rapid.IntRange(0, 4).Draw(t, "stopped") == 0 {
		w.snap.Revisions[1].Annotations[observed.AnnotationPause] = observed.Pause{On: "elsewhere"}.Text()
	}
	if rapid.IntRange(0, 3).Draw(t, "pooled") == 0 {
		key, value, _ := strings.Cut(rapid.SampledFrom([]string{
			"paused=true", "paused=no", "maxUnavailable=1", "maintenanceWindow={schedule: 0 * * * *, duration: 30m}", "maintenanceWindow={schedule: 0 0 1 1 *, duration: 1h}",
		}).Draw(t, "pool"), "=")
		w.snap.Pools = append(w.snap.Pools, observed.Spec{Name: "blue", Pool: "blue", Data: map[string]string{"nodeSelector": "kubernetes.io/os", key: value}})
	}
	if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
		w.snap.Specs = w.snap.Specs[1:]
		if rapid.Bool().Draw(t, "marked") {
			// The newest revision of the first runtime.
			w.snap.Revisions[1].Annotations[observed.AnnotationVanished] = now.Add(-rapid.SampledFrom([]time.Duration{time.Second, time.Hour}).Draw(t, "vanished")).Format(time.RFC3339)
		}
	}
	return w
}

func anySettings(t *rapid.T) []string {
	return []string{
		"paused", strconv.FormatBool(rapid.IntRange(0, 4).Draw(t, "paused") == 0),
		"maxUnavailable", rapid.SampledFrom([]string{"1", "2", "50%"}).Draw(t, "maxUnavailable"),
		"onFailure", rapid.SampledFrom([]string{"Halt", "Continue", "Rollback"}).Draw(t, "onFailure"),
		"deletionPolicy", rapid.SampledFrom([]string{"Background", "Orphan"}).Draw(t, "deletionPolicy"),
		"soak", rapid.SampledFrom([]string{"0s", "1m"}).Draw(t, "soak"),
	}
}

func (w *world) anyNode(t *rapid.T, n *observed.Node, runtimes []string) {
	if n.Ready = rapid.IntRange(0, 4).Draw(t, "ready") > 0; !n.Ready {
		n.ReadySince = now.Add(-rapid.SampledFrom([]time.Duration{time.Second, time.Hour}).Draw(t, "notReady"))
	}
	n.Deleting = rapid.IntRange(0, 9).Draw(t, "deleting") == 0
	n.Unschedulable = rapid.IntRange(0, 9).Draw(t, "cordoned") == 0
	n.Handlers = rapid.SampledFrom([][]string{nil, {"", "runc"}, {"", "crun", "kata", "runc"}}).Draw(t, "handlers")
	for _, runtime := range runtimes {
		if rapid.IntRange(0, 5).Draw(t, "unlabelled") == 0 {
			n.Labels = n.Labels.With("skip-"+runtime, "yes")
		}
		if rapid.IntRange(0, 5).Draw(t, "held") == 0 {
			n.Annotations[observed.HoldKey(runtime)] = rapid.SampledFrom([]string{"", "disk swap"}).Draw(t, "hold")
		}
		if rapid.IntRange(0, 3).Draw(t, "retried") == 0 {
			n.Annotations[observed.RetryKey(runtime)] = "1"
		}
		revision := rapid.SampledFrom(append([]string{"", "gone"}, w.revisions[runtime]...)).Draw(t, "revision")
		operation := rapid.SampledFrom([]observed.Operation{observed.Install, observed.Uninstall}).Draw(t, "operation")
		if rapid.IntRange(0, 2).Draw(t, "booked") == 0 {
			w.snap.Turns.Booked = append(w.snap.Turns.Booked, observed.Turn{Node: n.UID, Runtime: runtime, Revision: cmp.Or(revision, "x"), Operation: operation})
		}
		w.anyProgress(t, n, runtime, &observed.Progress{Revision: revision, Operation: operation})
	}
}

func (w *world) anyProgress(t *rapid.T, n *observed.Node, runtime string, p *observed.Progress) {
	switch rapid.IntRange(0, 7).Draw(t, "progress") {
	case 0, 1:
		return
	case 2:
		n.Annotations[observed.ProgressKey(runtime)] = rapid.SampledFrom([]string{"", "{", `{"phase":"Later"}`}).Draw(t, "unreadable")
		return
	}
	p.Phase = rapid.SampledFrom([]observed.Phase{
		observed.PhasePending, observed.PhaseInstalling, observed.PhaseReady, observed.PhaseFailed, observed.PhaseUninstalling,
	}).Draw(t, "phase")
	p.Since = now.Add(-rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Minute, time.Hour}).Draw(t, "since"))
	p.Attempt = rapid.IntRange(0, 3).Draw(t, "attempt")
	p.Previous = rapid.SampledFrom(append([]string{""}, w.revisions[runtime]...)).Draw(t, "previous")
	p.MachineID = rapid.SampledFrom([]string{"", "m", "other"}).Draw(t, "machine")
	p.Reason = rapid.SampledFrom([]string{"", "TurnReturned", "InstallFailed", "NotReadyInSoak", "HandlerLost"}).Draw(t, "reason")
	write(n, runtime, p)
	for _, key := range []string{observed.GateKey(runtime), observed.ReadyKey(runtime), observed.PhaseKey(runtime)} {
		if rapid.IntRange(0, 5).Draw(t, "wiped") == 0 {
			n.Labels = n.Labels.Without(key)
		}
	}
	if rapid.Bool().Draw(t, "pod") {
		w.anyPod(t, n, runtime, p)
	}
}

func (w *world) anyPod(t *rapid.T, n *observed.Node, runtime string, p *observed.Progress) {
	set := observed.DaemonSetName(runtime, string(p.Operation), p.Revision)
	pod := observed.Pod{
		Name: set + "-" + n.Name, UID: types.UID("pod-" + n.Name), Node: n.Name, Runtime: runtime, DaemonSet: set, Created: now.Add(-time.Minute),
		Deleting: rapid.IntRange(0, 4).Draw(t, "podDeleting") == 0, Steps: []observed.Container{{Name: "prepare", Done: true}, {Name: string(p.Operation)}},
	}
	step := &pod.Steps[1]
	switch rapid.IntRange(0, 4).Draw(t, "podState") {
	case 0:
		step.Running, step.Started = true, now.Add(-30*time.Second)
	case 1:
		step.Done, pod.Main.Running = true, true
	case 2:
		step.Done = true
		pod.Main.Waiting = "CreateContainerError"
	case 3:
		step.Waiting = "ImagePullBackOff"
	case 4:
		step.Exit = &observed.Exit{Code: rapid.SampledFrom([]int{1, 137}).Draw(t, "code"), Message: "no space left", At: now.Add(-time.Second)}
	}
	w.snap.Pods = append(w.snap.Pods, pod)
}

// describe is what the snapshot and the decision were, for a property that does not hold.
func (w *world) describe(d *rollout.Decision) string {
	text, err := json.MarshalIndent(w.snap.Nodes, "", " ")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s\nturns %+v\nholds %+v\nmoves %+v", text, w.snap.Turns, d.Holds, d.Moves)
}
