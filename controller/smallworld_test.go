package controller_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	specs "longshore.dev/longshore/spec"
)

// A small world is a cluster as a value: two nodes, two runtimes, and two who believe to lead. It is small enough to be copied, compared, and played in every order in which things can
// happen. What decides is the shipped code, from what a leader saw when it looked last; what is written are the shipped patches, tested against the nodes as they are. Only
// what is not Longshore's is a model: the DaemonSet controller, the kubelets, the commands, and people.
type small struct {
	now   time.Time
	next  int
	nodes []*corev1.Node
	turns observed.Turns
	pods  []smallPod
	// bare has a pod on a node that nobody would make anew.
	bare map[string]bool
	// wiped is true once somebody took progress off a node: a turn whose end only that told may be used once more by a second leader, and nobody can know. From then on the
	// budget is not Longshore's to keep (see docs/decisions/0018).
	wiped bool
	// wants are what the specs ask for.
	wants [2]want
	// views are what the two leaders saw when they looked last, nil before that.
	views [2]*view
}

// view is what a leader saw, what it decides from that, and what tells it from others.
type view struct {
	*observed.Snapshot
	decision *rollout.Decision
	text     string
}

// want is one spec: which of two payloads it asks for, or that it is gone.
type want struct {
	payload string
	gone    bool
	paused  bool
	drained bool
}

// words are what a want is known by.
func (w want) words(runtime string) string {
	return fmt.Sprintf("registry.example.com/%s:%s %t %t", runtime, w.payload, w.paused, w.drained)
}

// smallPod is an installer pod.
type smallPod struct {
	id, node, runtime, revision, step string
	state                             podState
	exits                             int
	leaving                           bool
}

type podState string

// What a pod's one command does.
const (
	podCreated podState = "created"
	podRunning podState = "running"
	podFailed  podState = "failed"
	podDone    podState = "done"
)

var smallRuntimes = []string{"one", "two"}

// smallData is the spec of a runtime with a payload.
func smallData(runtime string, w want) map[string]string {
	drain := "None"
	if w.drained {
		drain = "Drain"
	}
	return map[string]string{
		"drain":        drain,
		"payloadImage": "registry.example.com/" + runtime + ":" + w.payload, "installCmd": "[/install]", "uninstallCmd": "[/uninstall]", "nodeSelector": "!skip", "soak": "0s",
		"runtimeClasses": "[{name: " + runtime + ", handler: " + runtime + "}]", "inUsePolicy": "Ignore", "attempts": "1", "paused": strconv.FormatBool(w.paused),
	}
}

// smallParser remembers what it has read: few specs are played millions of times.
var smallParser = func() desired.Parser {
	known := map[string]*specs.Runtime{}
	for _, runtime := range smallRuntimes {
		for _, payload := range []string{"old", "new"} {
			for _, flags := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
				w := want{payload: payload, paused: flags[0], drained: flags[1]}
				parsed, errs := specs.Parse(runtime, smallData(runtime, w), nil)
				if len(errs) > 0 {
					panic(errs.ToAggregate())
				}
				known[w.words(runtime)] = parsed
			}
		}
	}
	return func(_ string, data map[string]string, _ map[string][]byte) (*specs.Runtime, errorList) {
		return known[data["payloadImage"]+" "+data["paused"]+" "+strconv.FormatBool(data["drain"] == "Drain")], nil
	}
}()

// smallRevision is the revision of a payload: none of the other wishes is part of it.
func smallRevision(runtime, payload string) string { return smallRevisions[runtime+payload] }

var smallRevisions = func() map[string]string {
	revisions := map[string]string{}
	for _, runtime := range smallRuntimes {
		for _, payload := range []string{"old", "new"} {
			parsed, _ := smallParser(runtime, smallData(runtime, want{payload: payload}), nil)
			revisions[runtime+payload] = parsed.Revision()
		}
	}
	return revisions
}()

// smallNoon is when small worlds begin.
var smallNoon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newSmall() *small {
	w := &small{now: smallNoon, turns: observed.Turns{Exists: true, ResourceVersion: mark + "0"}, wants: [2]want{{payload: "new"}, {payload: "new"}}}
	for _, name := range []string{"a", "b"} {
		node := simulation.ReadyNode(name, nil)
		node.UID, node.ResourceVersion = types.UID("uid-"+name), mark+"0"
		node.Status.Conditions[0].LastTransitionTime = metav1.NewTime(smallNoon.Add(-time.Hour))
		w.nodes = append(w.nodes, node)
	}
	return w
}

// installed has every node offer one payload of both runtimes already.
func (w *small) installed(payload string) *small {
	for _, node := range w.nodes {
		node.Annotations = map[string]string{}
		for _, runtime := range smallRuntimes {
			p := observed.Progress{
				Phase: observed.PhaseReady, Operation: observed.Install, Revision: smallRevision(runtime, payload), Attempt: 1, Since: smallNoon.Add(-time.Hour), Reason: "HandlersReported",
				Message: "the node reports handler " + runtime, PodUID: "p0", MachineID: node.Status.NodeInfo.MachineID, BootID: node.Status.NodeInfo.BootID, Turn: "before",
			}
			node.Annotations[observed.ProgressKey(runtime)] = p.String()
			node.Labels[observed.PhaseKey(runtime)], node.Labels[observed.ReadyKey(runtime)] = "Ready", "true"
			node.Status.RuntimeHandlers = append(node.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: runtime})
		}
	}
	return w
}

func (w *small) clone() *small {
	c := *w
	// Nodes and views are replaced, never changed.
	c.nodes, c.pods = slices.Clone(w.nodes), slices.Clone(w.pods)
	return &c
}

// mark begins the names of pods and versions: worlds that are the same but for these are the same.
const mark = "¤"

func (w *small) id() string {
	w.next++
	return mark + strconv.Itoa(w.next)
}

// looks has a leader see the world as it is.
func (w *small) looks(leader int) { w.sees(leader, w.snapshot()) }

func (w *small) sees(leader int, s *observed.Snapshot) { w.views[leader] = &view{Snapshot: s} }

// decides is what a leader would do, from what it saw; nil before it looked.
func (v *view) decides() *rollout.Decision {
	if v == nil {
		return nil
	}
	if v.decision == nil {
		v.decision = rollout.Decide(v.Snapshot, desired.Of(v.Snapshot, smallParser, desired.DefaultOptions()))
	}
	return v.decision
}

// snapshot is what somebody sees who looks now.
func (w *small) snapshot() *observed.Snapshot {
	s := &observed.Snapshot{Time: w.now, Turns: w.turns, Namespace: "longshore"}
	for _, node := range w.nodes {
		s.Nodes = append(s.Nodes, informers.Node(node))
		look := observed.Look{Node: node.Name}
		if w.bare[node.Name] {
			look.Pods = append(look.Pods, observed.Workload{Namespace: "default", Name: "bare", UID: "bare", Bare: true})
		}
		s.Looks = append(s.Looks, look)
	}
	for i, runtime := range smallRuntimes {
		s.Specs = append(s.Specs, w.specOf(i, runtime)...)
		for _, payload := range []string{"old", "new"} {
			s.Revisions = append(s.Revisions, w.revisionOf(i, runtime, payload))
		}
	}
	s.DaemonSets = smallSets
	for i := range w.pods {
		s.Pods = append(s.Pods, w.pods[i].observed())
	}
	return s
}

// smallSets are the installers of all revisions.
var smallSets = func() []observed.DaemonSet {
	var sets []observed.DaemonSet
	for _, runtime := range smallRuntimes {
		for _, payload := range []string{"old", "new"} {
			for _, step := range []string{"install", "uninstall"} {
				revision := smallRevision(runtime, payload)
				sets = append(sets, observed.DaemonSet{Name: observed.DaemonSetName(runtime, step, revision), Runtime: runtime, Revision: revision, Step: step})
			}
		}
	}
	slices.SortFunc(sets, func(a, b observed.DaemonSet) int { return strings.Compare(a.Name, b.Name) })
	return sets
}()

func (w *small) specOf(i int, runtime string) []observed.Spec {
	if w.wants[i].gone {
		return nil
	}
	return []observed.Spec{{Name: runtime, UID: types.UID("spec-" + runtime), Runtime: runtime, Data: smallData(runtime, w.wants[i])}}
}

// revisionOf is a snapshot; what the spec asks for is in force at once, for how that comes about is played elsewhere.
func (w *small) revisionOf(i int, runtime, payload string) observed.Revision {
	key := wanted{runtime: runtime, payload: payload, want: w.wants[i]}
	if known, ok := smallSnapshots.Load(key); ok {
		return known.(observed.Revision)
	}
	rev := key.revision()
	smallSnapshots.Store(key, rev)
	return rev
}

// wanted is a revision of a runtime, and what the spec asks for. smallSnapshots are those that were made: they are the same over and over.
type wanted struct {
	runtime, payload string
	want             want
}

var smallSnapshots sync.Map

func (k wanted) revision() observed.Revision {
	revision := smallRevision(k.runtime, k.payload)
	of := k.want
	of.payload = k.payload
	text, err := json.Marshal(smallData(k.runtime, of))
	if err != nil {
		panic(err)
	}
	rev := observed.Revision{
		Name: observed.RevisionName(k.runtime, revision), UID: types.UID("rev-" + revision), Runtime: k.runtime, Revision: revision, Number: 1,
		Annotations: map[string]string{observed.AnnotationSpec: string(text), observed.AnnotationSource: `{"name":"` + k.runtime + `","uid":"spec-` + k.runtime + `"}`},
		Content: &observed.RevisionContent{
			Format: 1, Classes: []observed.Class{{Name: k.runtime, Handler: k.runtime}}, DaemonSets: map[string]*appsv1.DaemonSet{"install": {}, "uninstall": {}},
		},
	}
	if k.payload == k.want.payload {
		rev.Number = 2
		if k.want.gone {
			rev.Annotations[observed.AnnotationVanished] = smallNoon.Add(-time.Hour).Format(time.RFC3339)
		}
	}
	return rev
}

func (p *smallPod) observed() observed.Pod {
	pod := observed.Pod{
		Name: "pod-" + p.id, UID: types.UID(p.id), Node: p.node, Runtime: p.runtime, DaemonSet: observed.DaemonSetName(p.runtime, p.step, p.revision), Created: smallNoon, Deleting: p.leaving,
		Steps: []observed.Container{{Name: p.step}},
	}
	c := &pod.Steps[0]
	switch p.state {
	case podRunning:
		c.Running, c.Restarts = true, p.exits
	case podDone:
		c.Done, c.Restarts, pod.Main.Running = true, p.exits, true
	case podFailed:
		c.Restarts = p.exits - 1
	case podCreated:
	}
	if p.exits > 0 {
		c.Exit = &observed.Exit{Code: 1, Message: "bad luck", At: smallNoon}
	}
	return pod
}

func (w *small) node(name string) (int, *corev1.Node) {
	i := slices.IndexFunc(w.nodes, func(n *corev1.Node) bool { return n.Name == name })
	return i, w.nodes[i]
}

// write carries one transition out as the API server would, and tells whether it did.
func (w *small) write(leader int, view *view, m *rollout.Move, answered bool) bool {
	i, node := w.node(m.Node)
	at := slices.IndexFunc(view.Nodes, func(n observed.Node) bool { return n.Name == m.Node })
	body, err := apply.NodePatch(&view.Nodes[at], m.Transition)
	if err != nil {
		panic(err)
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(node)
	if err != nil {
		panic(err)
	}
	if text, err = patch.Apply(text); err != nil {
		return false
	}
	after := &corev1.Node{}
	if err := json.Unmarshal(text, after); err != nil {
		panic(err)
	}
	stored(after)
	after.ResourceVersion = w.id()
	w.nodes[i] = after
	if answered {
		seen := *view.Snapshot
		seen.Nodes = slices.Clone(view.Nodes)
		seen.Nodes[at] = informers.Node(after)
		w.sees(leader, &seen)
	}
	return true
}

// stored makes a node what an API server answers with: it has no empty map.
func stored(node *corev1.Node) {
	if len(node.Annotations) == 0 {
		node.Annotations = nil
	}
}

// book writes the turns as the API server would.
func (w *small) book(leader int, view *view, turns []observed.Turn, answered bool) bool {
	if view.Turns.ResourceVersion != w.turns.ResourceVersion {
		return false
	}
	w.turns = observed.Turns{Exists: true, ResourceVersion: w.id(), Booked: turns}
	if answered {
		seen := *view.Snapshot
		seen.Turns = w.turns
		w.sees(leader, &seen)
	}
	return true
}

// gated tells whether a gate on its node is for the pod.
func (w *small) gated(p *smallPod) bool {
	_, node := w.node(p.node)
	return node.Labels[observed.GateKey(p.runtime)] == observed.GateValue(p.revision, p.step)
}

// broken says which promise the world breaks, "" if none.
func (w *small) broken() string {
	for _, runtime := range smallRuntimes {
		var out []string
		for _, node := range w.nodes {
			if w.out(node, runtime) {
				out = append(out, node.Name)
			}
		}
		if len(out) > 1 && !w.wiped {
			return fmt.Sprintf("Budget: nodes %s are out of service because of %s, and one may be", strings.Join(out, " and "), runtime)
		}
	}
	for _, node := range w.nodes {
		gates, running := 0, 0
		for _, runtime := range smallRuntimes {
			if node.Labels[observed.GateKey(runtime)] != "" {
				gates++
			}
		}
		for i := range w.pods {
			if w.pods[i].node == node.Name && w.pods[i].state == podRunning {
				running++
			}
		}
		if gates > 1 || running > 1 {
			return fmt.Sprintf("OneOperation: node %s has %d gates and %d commands that run", node.Name, gates, running)
		}
	}
	return ""
}

// out tells whether a node is out of service because of a runtime.
func (w *small) out(node *corev1.Node, runtime string) bool {
	for i := range w.pods {
		if p := &w.pods[i]; p.node == node.Name && p.runtime == runtime && p.state == podRunning {
			return true
		}
	}
	p := progressOf(node, runtime)
	if p == nil {
		return node.Labels[observed.GateKey(runtime)] != ""
	}
	switch p.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling, observed.PhaseFailed, observed.PhaseDraining, observed.PhaseBlocked:
		return true
	case observed.PhasePending, observed.PhaseReady:
	}
	return false
}

// progressOf is what a node says of a runtime, nil where it says nothing.
func progressOf(node *corev1.Node, runtime string) *observed.Progress {
	text := node.Annotations[observed.ProgressKey(runtime)]
	if known, ok := smallProgress.Load(text); ok {
		return known.(*observed.Progress)
	}
	p, err := observed.ParseProgress(text)
	if err != nil {
		p = nil
	}
	smallProgress.Store(text, p)
	return p
}

// smallProgress is what was read already.
var smallProgress sync.Map

// key is the same for worlds that are the same but for the names of pods and versions.
func (w *small) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %v %v", w.now.Sub(smallNoon), w.wants, w.bare)
	tellTurns(&b, w.turns)
	for _, node := range w.nodes {
		fmt.Fprintf(&b, "\n%s %s %s %v %v %t", node.Name, node.UID, node.ResourceVersion, node.Labels, node.Annotations, node.Spec.Unschedulable)
		for _, h := range node.Status.RuntimeHandlers {
			b.WriteString(" " + h.Name)
		}
		b.WriteString(" " + string(node.Status.Conditions[0].Status) + node.Status.NodeInfo.BootID + node.Status.NodeInfo.MachineID)
	}
	for i := range w.pods {
		fmt.Fprintf(&b, "\n%v", w.pods[i])
	}
	for _, view := range w.views {
		b.WriteString("\nview")
		if view != nil {
			b.WriteString(view.tell())
		}
	}
	return unmarked(b.String())
}

// unmarked numbers what is marked in the order in which it is named.
func unmarked(text string) string {
	var b strings.Builder
	names := map[string]string{}
	for {
		before, rest, found := strings.Cut(text, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(rest)
		}
		if names[rest[:end]] == "" {
			names[rest[:end]] = "#" + strconv.Itoa(len(names))
		}
		b.WriteString(names[rest[:end]])
		text = rest[end:]
	}
}

// tell is all of a view that differs between two of them.
func (v *view) tell() string {
	if v.text != "" {
		return v.text
	}
	var b strings.Builder
	fmt.Fprintf(&b, " %d", v.Time.Sub(smallNoon))
	tellTurns(&b, v.Turns)
	for i := range v.Nodes {
		n := &v.Nodes[i]
		fmt.Fprintf(&b, "\n%s %s %v %v %v %t", n.UID, n.ResourceVersion, maps.Collect(n.Labels.All()), n.Annotations, n.Handlers, n.Ready)
	}
	for i := range v.Pods {
		p := &v.Pods[i]
		fmt.Fprintf(&b, "\n%s %s %v %t", p.UID, p.DaemonSet, p.Steps[0], p.Deleting)
	}
	for i := range v.Specs {
		b.WriteString(v.Specs[i].Data["payloadImage"] + v.Specs[i].Data["paused"])
	}
	for i := range v.Looks {
		fmt.Fprintf(&b, " %d", len(v.Looks[i].Pods))
	}
	v.text = b.String()
	return v.text
}

func tellTurns(b *strings.Builder, turns observed.Turns) {
	b.WriteString("\n" + turns.ResourceVersion)
	for _, t := range turns.Booked {
		fmt.Fprintf(b, " %s/%s/%s/%s/%s", t.Node, t.Runtime, t.Revision, t.Operation, t.ID)
	}
}
