package history

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// start is when every history begins: at an hour, so that windows open.
var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// Fixtures are what all histories of a test have in common: what is slow to make, and the same every time.
type Fixtures struct {
	Context  context.Context
	Renderer controller.Renderer
	Metrics  *controller.Metrics
	contents map[string]*observed.RevisionContent
}

// NewFixtures makes them, with the real renderer behind a cache.
func NewFixtures(ctx context.Context) Fixtures {
	return Fixtures{
		Context: ctx, Metrics: controller.NewMetrics(prometheus.NewRegistry()), contents: map[string]*observed.RevisionContent{},
		Renderer: &once{renderer: manifests.NewRenderer(manifests.Options{PauseImage: "registry.example.com/longshore:1"}), known: map[string]*manifests.Objects{}},
	}
}

// content decodes the data of a snapshot once.
func (f Fixtures) content(object *appsv1.ControllerRevision) *observed.RevisionContent {
	key := string(object.Data.Raw)
	if f.contents[key] == nil {
		content, err := observed.DecodeContent(object.Data.Raw)
		if err != nil {
			panic(err)
		}
		f.contents[key] = content
	}
	return f.contents[key]
}

// once renders each spec of the scenes once, by all that differs between them.
type once struct {
	renderer *manifests.Renderer
	known    map[string]*manifests.Objects
}

// Render is that of the real renderer.
func (o *once) Render(ctx context.Context, rt *spec.Runtime) (*manifests.Objects, field.ErrorList) {
	key := fmt.Sprint(rt.Name, " ", rt.PayloadImage, " ", rt.Completion, " ", rt.Verify != nil, " ", len(rt.RuntimeClasses))
	if known := o.known[key]; known != nil {
		return known, nil
	}
	objects, errs := o.renderer.Render(ctx, rt)
	if len(errs) == 0 {
		o.known[key] = objects
	}
	return objects, errs
}

// Scene is what a history is about. It stays the same from its beginning to its end, but for what people do to it.
type Scene struct {
	Runtimes []string
	Nodes    int
	// Budget is maxUnavailable of every runtime.
	Budget    int
	OnFailure string
	MaxFailed int
	// Waves are one node first, then the rest.
	Waves bool
	// Window is a pool of the nodes in zone 1, one at a time, within ten minutes only the first six.
	Window bool
	Drain  string
	InUse  string
	// Resident payloads are daemons that stay.
	Resident bool
	Verify   bool
	Policy   string
	// Luck is of how many commands four go wrong.
	Luck int
	// Steps is how long the disorder lasts.
	Steps int
	// Tame leaves out clocks that jump and old leaders that go on.
	Tame bool
	// Warm scenes begin with everything installed.
	Warm bool
	// Selector is what the specs select by: every node, or those without the label never.
	Selector string
	// Attempts and Soak are those of small worlds, where they are another.
	Attempts int
	Soak     string
}

// installTimeout is that of every runtime; the window leaves room for it.
const installTimeout = 2 * time.Minute

// NewScene draws a scene.
func NewScene(dice *rand.Rand) Scene {
	pick := func(of ...string) string { return of[dice.IntN(len(of))] }
	s := Scene{
		Runtimes: []string{"kata", "gvisor"}[:1+dice.IntN(2)], Nodes: 2 + dice.IntN(3), Budget: 1 + dice.IntN(2), OnFailure: pick("Halt", "Halt", "Continue", "Rollback"),
		MaxFailed: dice.IntN(2), Waves: dice.IntN(4) == 0, Window: dice.IntN(4) == 0, Drain: pick("None", "None", "Cordon", "Drain"), InUse: pick("Ignore", "Wait", "Wait", "Evict"),
		Resident: dice.IntN(4) == 0, Verify: dice.IntN(5) == 0, Policy: pick("Background", "Background", "Foreground"), Luck: 8 + dice.IntN(30), Steps: 80 + dice.IntN(160),
		Tame: dice.IntN(3) == 0, Warm: dice.IntN(2) == 0, Selector: pick("*", "!never", "!never"),
	}
	s.Verify = s.Verify && !s.Resident
	return s
}

// data is the data of a spec.
func (s *Scene) data(runtime, tag string) map[string]string {
	data := map[string]string{
		"payloadImage": "registry.example.com/" + runtime + ":" + tag, "installCmd": "[/install]", "uninstallCmd": "[/uninstall]", "nodeSelector": cmp.Or(s.Selector, "*"),
		"runtimeClasses": fmt.Sprintf("[{name: %s, handler: %s}]", runtime, runtime), "soak": "10s", "maxUnavailable": strconv.Itoa(s.Budget),
		"onFailure": s.OnFailure, "maxFailed": strconv.Itoa(s.MaxFailed), "installTimeout": "2m", "drain": s.Drain, "inUsePolicy": s.InUse, "deletionPolicy": s.Policy,
	}
	if s.Attempts > 0 {
		data["attempts"], data["soak"] = strconv.Itoa(s.Attempts), s.Soak
	}
	if s.Waves {
		data["waves"] = "[{name: one, nodes: 1, soak: 20s}, {name: few, nodeSelector: 'topology.kubernetes.io/zone=1', maxUnavailable: 1}]"
	}
	if s.Resident {
		data["completion"] = "Ready"
	}
	if s.Verify {
		data["verify"] = "{image: registry.example.com/verify:1, cmd: [/verify]}"
	}
	return data
}

// String tells what it is about.
func (s *Scene) String() string {
	return fmt.Sprintf("%d nodes, runtimes %s, maxUnavailable %d, onFailure %s, maxFailed %d, waves %t, window %t, drain %s, inUsePolicy %s, resident %t, verify %t, deletionPolicy %s, nodeSelector %s",
		s.Nodes, strings.Join(s.Runtimes, " and "), s.Budget, s.OnFailure, s.MaxFailed, s.Waves, s.Window, s.Drain, s.InUse, s.Resident, s.Verify, s.Policy, s.Selector)
}

// NewWorld builds a scene.
func NewWorld(scene Scene, dice *rand.Rand, fixtures Fixtures, coverage *Coverage) *World {
	w := newWorld(scene, dice, fixtures, coverage)
	w.leaders = []*leader{w.newLeader()}
	return w
}

// newWorld is a scene that nobody leads yet.
func newWorld(scene Scene, dice *rand.Rand, fixtures Fixtures, coverage *Coverage) *World {
	w := &World{
		dice: dice, now: start, scene: scene, ports: fixtures, coverage: coverage,
		specs: newShelf[observed.Spec](), nodes: newShelf[*node](), pods: newShelf[*pod](), sets: newShelf[*set](), revisions: newShelf[observed.Revision](),
		classes: newShelf[observed.RuntimeClass](), turns: newShelf[observed.Turns](), memory: newShelf[observed.PoolMemory](), workloads: newShelf[observed.Workload](),
		machines: map[string]*machine{}, processes: map[types.UID]*process{}, wiped: map[string]bool{}, proven: map[string]bool{}, said: map[string]asked{},
	}
	w.tell("scene", "%s", scene.String())
	for i := range scene.Nodes {
		w.addNode(fmt.Sprintf("node-%d", i))
	}
	for _, rt := range scene.Runtimes {
		w.addSpec(rt, "one")
	}
	if scene.Window {
		w.born++
		w.storeSpec(observed.Spec{
			Name: "zone-1", UID: w.uid("pool"), Pool: "zone-1", Created: w.now.Truncate(time.Second),
			Data: map[string]string{"nodeSelector": "topology.kubernetes.io/zone=1", "maxUnavailable": "1", "maintenanceWindow": "{schedule: '*/10 * * * *', duration: 6m}"},
		})
	}
	return w
}

// addNode adds a node, in one of two zones.
func (w *World) addNode(name string) {
	uid := w.uid("node")
	m := &machine{}
	m.reset()
	w.machines[name] = m
	w.storeNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid, Labels: map[string]string{"kubernetes.io/os": "linux", "topology.kubernetes.io/zone": strconv.Itoa(int(name[len(name)-1]) & 1)}},
		Status: corev1.NodeStatus{
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(w.now.Truncate(time.Second))}},
			NodeInfo:        corev1.NodeSystemInfo{MachineID: "machine-of-" + string(uid), BootID: "boot-of-" + string(uid)},
			RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}},
		},
	})
}

// addSpec creates a spec of a runtime.
func (w *World) addSpec(runtime, tag string) {
	w.born++
	w.storeSpec(observed.Spec{
		Name: runtime + "-" + w.number(w.born), UID: w.uid("spec"), Runtime: runtime, Created: w.now.Truncate(time.Second), Data: w.scene.data(runtime, tag),
	})
}

// specOf is the newest spec of a runtime that is not being deleted, nil if there is none.
func (w *World) specOf(runtime string) *observed.Spec {
	var found *observed.Spec
	for _, e := range w.specs.now() {
		s := e.value
		if s.Runtime != runtime || s.Deleting {
			continue
		}
		if found == nil || s.Created.After(found.Created) || (s.Created.Equal(found.Created) && s.Name > found.Name) {
			found = &s
		}
	}
	return found
}
