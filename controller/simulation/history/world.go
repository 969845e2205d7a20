// Package history answers: what may happen to a rollout?
//
// It plays the shipped pass of the controller against a world in plain memory: single-threaded, in virtual time, one thing after the
// other, and the same for the same seed. It models only the world: what an API server stores and refuses, the DaemonSet controller, the kubelets and
// the payloads, people, and whatever goes wrong. After every single step a table of invariants is looked at.
//
// A step is one thing that happens:
//
//	a leader looks, or one of its writes is stored, fails, or is stored while the answer gets lost
//	a watch delivers an event late, a leader dies, an old leader goes on beside the new one
//	the DaemonSet controller makes or takes away a pod, a kubelet begins or ends a command
//	people and accidents: see the table of events
//	time passes, up to the next moment at which something is due
package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// node is a stored Node, as the API server has it and as Longshore sees it.
type node struct {
	object *corev1.Node
	text   []byte
	seen   observed.Node
}

// set is a stored DaemonSet.
type set struct {
	object *appsv1.DaemonSet
	seen   observed.DaemonSet
}

// pod is an installer pod as the API server has it; what really goes on is in [process].
type pod struct {
	seen observed.Pod
	set  types.UID
	step string
}

// World is everything that is not Longshore.
type World struct {
	dice    *rand.Rand
	now     time.Time
	version int
	born    int

	specs     *shelf[observed.Spec]
	nodes     *shelf[*node]
	pods      *shelf[*pod]
	sets      *shelf[*set]
	revisions *shelf[observed.Revision]
	classes   *shelf[observed.RuntimeClass]
	turns     *shelf[observed.Turns]
	memory    *shelf[observed.PoolMemory]
	// workloads are pods of others, by node.
	workloads  *shelf[observed.Workload]
	doneLabels string

	scene     Scene
	machines  map[string]*machine
	processes map[types.UID]*process
	leaders   []*leader
	calm      bool
	// budgeted is true while disruption budgets forbid every eviction.
	budgeted bool
	story    []line
	coverage *Coverage
	// broken is the first invariant that did not hold.
	broken *Broken
	// last is what the step under way has changed on nodes by a leader's write.
	last  []change
	ports Fixtures
	// fastest is by how much the fastest clock of any leader was ahead.
	fastest time.Duration
	// sent counts what leaders wrote, installers and classes left out: who starts anew applies those once.
	sent int
	// idle is true when nothing is left to happen.
	idle bool
	// nextChange is when something of the world's own is due.
	nextChange time.Time
	// uncordoned and wrongUndo say what was done that must not be done.
	uncordoned, wrongUndo string
	// proven are revisions that were once marked so, as `runtime revision`; said is what people asked for, by runtime.
	proven map[string]bool
	said   map[string]asked
	// wiped are nodes of which people took off what was known.
	wiped map[string]bool
}

// change is a write of a leader that was stored.
type change struct {
	by            *leader
	before, after *node
	turnsBefore   *observed.Turns
	turnsAfter    *observed.Turns
	// marked is a ControllerRevision as it is after its marks were changed, and wasGood tells whether it was not bad before.
	marked  *observed.Revision
	wasGood bool
	// deleted is the object that was deleted, evicted the pod of others that is to leave.
	deleted, evicted string
}

// machine is what really is on a node, whatever anybody wrote about it.
type machine struct {
	// installed is the revision whose install ended well last, begun the one whose command began last, by runtime.
	installed, begun map[string]string
	// maybe is the revision whose installer was last there, whether its command began or not; late tells whether one began whose gate was closed already.
	maybe map[string]string
	late  map[string]bool
	// cleared is the version of the world in which everything was last taken off the node, by runtime.
	cleared map[string]int
	// handlers are what the container runtime has been told of.
	handlers map[string]bool
	// down is true while the kubelet does not report.
	down bool
	// cordoner is who closed the node to new pods: a runtime for Longshore, "people", or nobody.
	cordoner string
}

func (m *machine) reset() {
	m.maybe, m.late, m.cleared = map[string]string{}, map[string]bool{}, map[string]int{}
	m.installed, m.begun, m.handlers = map[string]string{}, map[string]string{}, map[string]bool{}
}

func (w *World) uid(of string) types.UID {
	w.born++
	return types.UID(of + "-" + w.number(w.born))
}

// number is a number that an object or a version happens to have. In small worlds it is marked.
func (w *World) number(n int) string {
	if w.dice == nil {
		return "!" + strconv.Itoa(n) + "!"
	}
	return strconv.Itoa(n)
}

func (w *World) below(n int) int  { return w.dice.IntN(n) }
func (w *World) oneIn(n int) bool { return w.dice.IntN(n) == 0 }

// nodeResource and the others name what an error is about.
var nodeResource = schema.GroupResource{Resource: "nodes"}

func resource(kind string) schema.GroupResource { return schema.GroupResource{Resource: kind} }

// storeNode stores a node that the function has changed.
func (w *World) storeNode(object *corev1.Node) *entry[*node] {
	object.ResourceVersion = w.number(w.version + 1)
	if len(object.Annotations) == 0 {
		// An empty map is none once it was stored.
		object.Annotations = nil
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return w.nodes.put(w, object.Name, &node{object: object, text: text, seen: informers.Node(object)})
}

// changeNode is a write of somebody else.
func (w *World) changeNode(name string, change func(*corev1.Node)) {
	e := w.nodes.get(name)
	if e == nil {
		return
	}
	object := e.value.object.DeepCopy()
	change(object)
	w.storeNode(object)
}

// patchNode applies a JSON Patch as the API server does: whole, or not at all.
func (w *World) patchNode(name string, patch []byte) (*entry[*node], error) {
	e := w.nodes.get(name)
	if e == nil {
		return nil, apierrors.NewNotFound(nodeResource, name)
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	text, err := decoded.Apply(e.value.text)
	if err != nil {
		return nil, apierrors.NewGenericServerResponse(422, "patch", nodeResource, name, err.Error(), 0, false)
	}
	if string(text) == string(e.value.text) {
		return e, nil
	}
	object := &corev1.Node{}
	if err := json.Unmarshal(text, object); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return w.storeNode(object), nil
}

// storeTurns is a create or an update of the ConfigMap of turns.
func (w *World) storeTurns(before observed.Turns, booked []observed.Turn) (*entry[observed.Turns], error) {
	e := w.turns.get(observed.TurnsName)
	switch {
	case !before.Exists && e != nil:
		return nil, apierrors.NewAlreadyExists(resource("configmaps"), observed.TurnsName)
	case before.Exists && e == nil:
		return nil, apierrors.NewNotFound(resource("configmaps"), observed.TurnsName)
	case before.Exists && (e.value.UID != before.UID || e.value.ResourceVersion != before.ResourceVersion):
		return nil, apierrors.NewConflict(resource("configmaps"), observed.TurnsName, fmt.Errorf("it was changed"))
	}
	parsed, err := observed.ParseTurns(observed.FormatTurns(booked))
	after := observed.Turns{Exists: true, UID: before.UID, ResourceVersion: w.number(w.version + 1), Booked: parsed}
	if err != nil {
		after.Problem = err.Error()
	}
	if e == nil {
		after.UID = w.uid("turns")
	}
	return w.turns.put(w, observed.TurnsName, after), nil
}

// storeMemory is a create or an update of the ConfigMap that pools are remembered in.
func (w *World) storeMemory(before observed.PoolMemory, data map[string]string) (*entry[observed.PoolMemory], error) {
	e := w.memory.get(observed.PoolsName)
	switch {
	case !before.Exists && e != nil:
		return nil, apierrors.NewAlreadyExists(resource("configmaps"), observed.PoolsName)
	case before.Exists && e == nil:
		return nil, apierrors.NewNotFound(resource("configmaps"), observed.PoolsName)
	case before.Exists && (e.value.UID != before.UID || e.value.ResourceVersion != before.ResourceVersion):
		return nil, apierrors.NewConflict(resource("configmaps"), observed.PoolsName, fmt.Errorf("it was changed"))
	}
	after := observed.PoolMemory{Exists: true, UID: before.UID, ResourceVersion: w.number(w.version + 1), Data: maps.Clone(data)}
	if e == nil {
		after.UID = w.uid("pools")
	}
	return w.memory.put(w, observed.PoolsName, after), nil
}

// applySet is server-side apply of a DaemonSet: what changes nothing is no new version.
func (w *World) applySet(object *appsv1.DaemonSet) *entry[*set] {
	next := &set{object: object}
	seen := observed.DaemonSet{
		Name: object.Name, UID: w.uid("set"), Runtime: object.Labels[observed.LabelRuntimeOf], Revision: object.Labels[observed.LabelRevision],
		Step: object.Labels[observed.LabelStep], Labels: object.Labels, Annotations: object.Annotations, Generation: 1,
	}
	for _, o := range object.OwnerReferences {
		seen.Owners = append(seen.Owners, o.UID)
	}
	e := w.sets.get(object.Name)
	if e != nil {
		before := e.value
		seen.UID, seen.Generation = before.seen.UID, before.seen.Generation
		sameSpec := reflect.DeepEqual(before.object.Spec, object.Spec)
		if sameSpec && slices.Equal(before.seen.Owners, seen.Owners) && maps.Equal(before.seen.Annotations, seen.Annotations) && maps.Equal(before.seen.Labels, seen.Labels) {
			return e
		}
		if !sameSpec {
			seen.Generation++
		}
	}
	seen.ResourceVersion = w.number(w.version + 1)
	next.seen = seen
	return w.sets.put(w, object.Name, next)
}

// checkClass is a dry run of [World.applyClass].
func (w *World) checkClass(object *nodev1.RuntimeClass) error {
	if e := w.classes.get(object.Name); e != nil && e.value.Handler != object.Handler {
		return apierrors.NewGenericServerResponse(422, "patch", resource("runtimeclasses"), object.Name, "handler is immutable", 0, false)
	}
	return nil
}

// applyClass is server-side apply of a RuntimeClass.
func (w *World) applyClass(object *nodev1.RuntimeClass) (*entry[observed.RuntimeClass], error) {
	if err := w.checkClass(object); err != nil {
		return nil, err
	}
	seen := observed.RuntimeClass{Name: object.Name, UID: w.uid("class"), Handler: object.Handler, Labels: object.Labels, Annotations: object.Annotations}
	if e := w.classes.get(object.Name); e != nil {
		if maps.Equal(e.value.Labels, object.Labels) {
			return e, nil
		}
		seen.UID = e.value.UID
	}
	seen.ResourceVersion = w.number(w.version + 1)
	return w.classes.put(w, object.Name, seen), nil
}

// createRevision stores a snapshot; one that is there keeps its data and gets the marks.
func (w *World) createRevision(object *appsv1.ControllerRevision) *entry[observed.Revision] {
	runtime := object.Labels[observed.LabelRuntimeOf]
	next := observed.Revision{
		Name: object.Name, UID: w.uid("revision"), Runtime: runtime, Revision: object.Name[len(runtime)+1:], Number: object.Revision,
		Created: w.now.Truncate(time.Second), Annotations: maps.Clone(object.Annotations), Content: w.ports.content(object),
	}
	if e := w.revisions.get(object.Name); e != nil {
		next = e.value
		next.Number, next.Annotations = object.Revision, maps.Clone(e.value.Annotations)
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		maps.Copy(next.Annotations, object.Annotations)
	}
	next.ResourceVersion = w.number(w.version + 1)
	return w.revisions.put(w, object.Name, next)
}

func (w *World) markRevision(before *observed.Revision, number int64, annotations map[string]string) (*entry[observed.Revision], error) {
	e := w.revisions.get(before.Name)
	switch {
	case e == nil:
		return nil, apierrors.NewNotFound(resource("controllerrevisions"), before.Name)
	case e.value.UID != before.UID || e.value.ResourceVersion != before.ResourceVersion:
		return nil, apierrors.NewConflict(resource("controllerrevisions"), before.Name, fmt.Errorf("it was changed"))
	}
	next := e.value
	next.Number, next.Annotations = number, maps.Clone(e.value.Annotations)
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	for key, value := range annotations {
		next.Annotations[key] = value
		if value == "" {
			delete(next.Annotations, key)
		}
	}
	next.ResourceVersion = w.number(w.version + 1)
	return w.revisions.put(w, before.Name, next), nil
}

// deleteObject deletes with the uid as a precondition. That it is gone already is fine.
func (w *World) deleteObject(kind, name string, uid types.UID) error {
	conflict := apierrors.NewConflict(resource(kind), name, fmt.Errorf("the uid is another one"))
	switch kind {
	case "Pod":
		if e := w.pods.get(name); e != nil {
			if e.value.seen.UID != uid {
				return conflict
			}
			w.deletePod(e.value)
		}
	case "DaemonSet":
		if e := w.sets.get(name); e != nil {
			if e.value.seen.UID != uid {
				return conflict
			}
			w.sets.remove(w, name)
		}
	case "ControllerRevision":
		if e := w.revisions.get(name); e != nil {
			if e.value.UID != uid {
				return conflict
			}
			w.revisions.remove(w, name)
		}
	case "RuntimeClass":
		if e := w.classes.get(name); e != nil {
			if e.value.UID != uid {
				return conflict
			}
			w.classes.remove(w, name)
		}
	}
	return nil
}

// storeStatus is server-side apply of the status annotations.
func (w *World) storeStatus(s *observed.Spec, annotations map[string]string) (*entry[observed.Spec], error) {
	e := w.specs.get(s.Name)
	if e == nil || e.value.UID != s.UID {
		return nil, apierrors.NewConflict(resource("configmaps"), s.Name, fmt.Errorf("the uid is another one"))
	}
	if maps.Equal(e.value.Annotations, annotations) {
		return e, nil
	}
	next := e.value
	next.Annotations = maps.Clone(annotations)
	return w.storeSpec(next), nil
}

func (w *World) storeSpec(s observed.Spec) *entry[observed.Spec] {
	s.ResourceVersion = w.number(w.version + 1)
	return w.specs.put(w, s.Name, s)
}

func (w *World) storeFinalizers(s *observed.Spec, want []string) (*entry[observed.Spec], error) {
	e := w.specs.get(s.Name)
	switch {
	case e == nil:
		return nil, apierrors.NewNotFound(resource("configmaps"), s.Name)
	case e.value.UID != s.UID:
		return nil, apierrors.NewConflict(resource("configmaps"), s.Name, fmt.Errorf("the uid is another one"))
	case !slices.Equal(e.value.Finalizers, s.Finalizers):
		return nil, apierrors.NewGenericServerResponse(422, "patch", resource("configmaps"), s.Name, "test failed", 0, false)
	}
	next := e.value
	next.Finalizers = slices.Clone(want)
	if next.Deleting && len(want) == 0 {
		w.specs.remove(w, s.Name)
		return nil, nil
	}
	return w.storeSpec(next), nil
}

func (w *World) deletePod(p *pod) {
	if p.seen.Deleting {
		return
	}
	next := *p
	next.seen.Deleting = true
	w.pods.put(w, p.seen.Name, &next)
}

// collect is the garbage collector: a DaemonSet goes when none of its owners is left.
func (w *World) collect() {
	there := map[types.UID]bool{}
	for _, e := range w.revisions.now() {
		there[e.value.UID] = true
	}
	for _, e := range w.specs.now() {
		there[e.value.UID] = true
	}
	for _, e := range w.sets.now() {
		owned := func(o metav1.OwnerReference) bool { return there[o.UID] }
		if refs := e.value.object.OwnerReferences; len(refs) > 0 && !slices.ContainsFunc(refs, owned) {
			w.tell("garbage collector", "deletes DaemonSet %s", e.name)
			w.sets.remove(w, e.name)
		}
	}
}
