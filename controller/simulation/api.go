// Package simulation answers: what would a cluster do?
//
// It is a cluster in memory, for tests: an API server with the rules that Longshore relies on, and a world that plays the
// DaemonSet controller, the kubelets and the payloads. It runs in virtual time, inside a testing/synctest bubble.
package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// API is an API server in memory. It puts what client-go's fake clientset leaves out in front of it: resource versions and
// conflicts, uids and preconditions, generations, dry runs, immutable fields, 422 for a JSON Patch whose test fails, writes
// that change nothing, and watches that obey selectors.
type API struct {
	// Kube is what clients talk to.
	Kube *fake.Clientset

	mu      sync.Mutex
	tracker clienttesting.ObjectTracker
	version int
	writes  []Write
	fault   func(Write) error
	lose    func(Write) error
	forbid  func(*authorizationv1.ResourceAttributes) bool
	refuse  func(*corev1.Pod) error
	last    map[string]lastApply
}

// Write is a write of a client that was stored. Dry runs and writes that change nothing are not among them.
type Write struct {
	At       time.Time
	Verb     string
	Resource string
	Name     string
	// DryRun is true for a write that is only to be checked; such a write may meet a fault, but is never stored.
	DryRun bool
	// Body is the patch, the created or the updated object, as JSON.
	Body string
}

// String is the verb, the resource and the name.
func (w Write) String() string { return w.Verb + " " + w.Resource + "/" + w.Name }

// NewAPI returns an API server with these objects in it.
func NewAPI(objects ...runtime.Object) *API {
	kube := fake.NewClientset()
	a := &API{Kube: kube, tracker: kube.Tracker(), last: map[string]lastApply{}}
	kube.PrependReactor("*", "*", a.react)
	kube.PrependReactor("create", "selfsubjectaccessreviews", a.review)
	kube.PrependWatchReactor("*", a.watch)
	for _, o := range objects {
		a.Create(o)
	}
	return a
}

// Fault sets what a client's write may meet before it is stored: an error is answered instead. Nil is no fault.
func (a *API) Fault(fault func(Write) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = fault
}

// Lose sets which answers get lost: the write is stored, and the client is told the error instead. Nil loses none.
func (a *API) Lose(lose func(Write) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lose = lose
}

// Writes are the clients' writes so far.
func (a *API) Writes() []Write {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.writes)
}

// react answers clients' writes; reads go on to the clientset's own tracker.
func (a *API) react(action clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch action := action.(type) {
	case clienttesting.CreateActionImpl:
		if eviction, ok := action.GetObject().(*policyv1.Eviction); ok {
			w := write(action, eviction.Name, eviction)
			_, err := a.do(w, nil, func() (runtime.Object, error) { return nil, a.evict(eviction) })
			return true, nil, err
		}
		object := action.GetObject().DeepCopyObject()
		w := write(action, accessor(object).GetName(), object)
		out, err := a.do(w, action.CreateOptions.DryRun, func() (runtime.Object, error) {
			return a.create(action.GetResource(), action.GetNamespace(), object, action.CreateOptions)
		})
		return true, out, err
	case clienttesting.UpdateActionImpl:
		object := action.GetObject().DeepCopyObject()
		w := write(action, accessor(object).GetName(), object)
		out, err := a.do(w, action.UpdateOptions.DryRun, func() (runtime.Object, error) {
			return a.update(action.GetResource(), action.GetNamespace(), object, action.UpdateOptions)
		})
		return true, out, err
	case clienttesting.PatchActionImpl:
		w := write(action, action.GetName(), json.RawMessage(action.GetPatch()))
		out, err := a.do(w, action.PatchOptions.DryRun, func() (runtime.Object, error) {
			if action.GetPatchType() == types.ApplyPatchType {
				return a.apply(action)
			}
			return a.patch(action)
		})
		return true, out, err
	case clienttesting.DeleteActionImpl:
		w := write(action, action.GetName(), nil)
		_, err := a.do(w, action.DeleteOptions.DryRun, func() (runtime.Object, error) {
			return nil, a.remove(action.GetResource(), action.GetNamespace(), action.GetName(), action.DeleteOptions)
		})
		return true, nil, err
	}
	return false, nil, nil
}

func write(action clienttesting.Action, name string, body any) Write {
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte(err.Error())
	}
	return Write{At: time.Now(), Verb: action.GetVerb(), Resource: action.GetResource().Resource, Name: name, Body: string(text)}
}

// do carries a write out, unless it meets a fault, and records it if it changed anything.
func (a *API) do(w Write, dryRun []string, carryOut func() (runtime.Object, error)) (runtime.Object, error) {
	w.DryRun = len(dryRun) > 0
	if a.fault != nil {
		if err := a.fault(w); err != nil {
			return nil, err
		}
	}
	if w.DryRun {
		return nil, nil
	}
	before := a.version
	out, err := carryOut()
	if err == nil && a.version != before {
		a.writes = append(a.writes, w)
	}
	if err == nil && a.lose != nil {
		if err := a.lose(w); err != nil {
			return nil, err
		}
	}
	return out, err
}

func (a *API) next() string {
	a.version++
	return strconv.Itoa(a.version)
}

func (a *API) create(gvr schema.GroupVersionResource, namespace string, object runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	m := accessor(object)
	if _, err := a.tracker.Get(gvr, namespace, m.GetName()); err == nil {
		return nil, apierrors.NewAlreadyExists(gvr.GroupResource(), m.GetName())
	}
	m.SetResourceVersion(a.next())
	m.SetUID(types.UID(fmt.Sprintf("%s-%d", m.GetName(), a.version)))
	m.SetCreationTimestamp(metav1.NewTime(time.Now().UTC().Truncate(time.Second)))
	m.SetGeneration(1)
	if err := a.tracker.Create(gvr, object, namespace, opts); err != nil {
		return nil, err
	}
	return a.tracker.Get(gvr, namespace, m.GetName())
}

func (a *API) update(gvr schema.GroupVersionResource, namespace string, object runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	m := accessor(object)
	before, err := a.tracker.Get(gvr, namespace, m.GetName())
	if err != nil {
		return nil, err
	}
	if err := precondition(gvr, before, m.GetUID(), m.GetResourceVersion()); err != nil {
		return nil, err
	}
	return a.store(gvr, namespace, before, object, opts.FieldManager)
}

// precondition tells whether an object is the one that a client has in mind; what it leaves out does not count.
func precondition(gvr schema.GroupVersionResource, have runtime.Object, uid types.UID, version string) error {
	m := accessor(have)
	switch {
	case uid != "" && uid != m.GetUID():
		return apierrors.NewConflict(gvr.GroupResource(), m.GetName(), fmt.Errorf("precondition failed: the uid is %s, not %s", m.GetUID(), uid))
	case version != "" && version != m.GetResourceVersion():
		return apierrors.NewConflict(gvr.GroupResource(), m.GetName(), fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again"))
	}
	return nil
}

// store replaces an object, unless nothing about it changed.
func (a *API) store(gvr schema.GroupVersionResource, namespace string, before, after runtime.Object, manager string) (runtime.Object, error) {
	// What is stored is what was sent: an empty map is none.
	text, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	if err := decodeInto(text, after); err != nil {
		return nil, err
	}
	old, m := accessor(before), accessor(after)
	after.GetObjectKind().SetGroupVersionKind(before.GetObjectKind().GroupVersionKind())
	m.SetUID(old.GetUID())
	m.SetCreationTimestamp(old.GetCreationTimestamp())
	m.SetResourceVersion(old.GetResourceVersion())
	m.SetGeneration(old.GetGeneration())
	m.SetManagedFields(old.GetManagedFields())
	if equality.Semantic.DeepEqual(before, after) {
		return before, nil
	}
	if err := immutable(gvr, before, after); err != nil {
		return nil, err
	}
	if set, ok := after.(*appsv1.DaemonSet); ok {
		if had, ok := before.(*appsv1.DaemonSet); ok && !equality.Semantic.DeepEqual(had.Spec, set.Spec) {
			set.Generation++
		}
	}
	m.SetResourceVersion(a.next())
	if m.GetDeletionTimestamp() != nil && len(old.GetFinalizers()) > 0 && len(m.GetFinalizers()) == 0 {
		// Nothing holds it any more.
		return after, a.tracker.Delete(gvr, namespace, m.GetName(), metav1.DeleteOptions{})
	}
	if err := a.tracker.Update(gvr, after, namespace, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return nil, err
	}
	return a.tracker.Get(gvr, namespace, m.GetName())
}

func (a *API) patch(action clienttesting.PatchActionImpl) (runtime.Object, error) {
	gvr, namespace := action.GetResource(), action.GetNamespace()
	before, err := a.tracker.Get(gvr, namespace, action.GetName())
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	switch action.GetPatchType() {
	case types.JSONPatchType:
		decoded, err := jsonpatch.DecodePatch(action.GetPatch())
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if text, err = decoded.Apply(text); err != nil {
			return nil, apierrors.NewGenericServerResponse(422, "patch", gvr.GroupResource(), action.GetName(), err.Error(), 0, false)
		}
	case types.MergePatchType:
		if text, err = jsonpatch.MergePatch(text, action.GetPatch()); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	default:
		return nil, apierrors.NewBadRequest("patch type " + string(action.GetPatchType()) + " is not played here")
	}
	after := before.DeepCopyObject()
	if err := decodeInto(text, after); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if err := precondition(gvr, before, accessor(after).GetUID(), accessor(after).GetResourceVersion()); err != nil {
		return nil, err
	}
	return a.store(gvr, namespace, before, after, action.PatchOptions.FieldManager)
}

func (a *API) remove(gvr schema.GroupVersionResource, namespace, name string, opts metav1.DeleteOptions) error {
	before, err := a.tracker.Get(gvr, namespace, name)
	if err != nil {
		return err
	}
	if p := opts.Preconditions; p != nil && p.UID != nil {
		if err := precondition(gvr, before, *p.UID, ""); err != nil {
			return err
		}
	}
	if m := accessor(before); len(m.GetFinalizers()) > 0 {
		if m.GetDeletionTimestamp() != nil {
			return nil
		}
		held := before.DeepCopyObject()
		accessor(held).SetDeletionTimestamp(&metav1.Time{Time: time.Now().UTC().Truncate(time.Second)})
		_, err := a.store(gvr, namespace, before, held, "")
		return err
	}
	a.next()
	return a.tracker.Delete(gvr, namespace, name, opts)
}

// immutable refuses what Kubernetes has as unchangeable.
func immutable(gvr schema.GroupVersionResource, before, after runtime.Object) error {
	fields := map[string]string{"controllerrevisions": "data", "runtimeclasses": "handler"}
	field := fields[gvr.Resource]
	if field == "" || fmt.Sprint(fieldOf(before, field)) == fmt.Sprint(fieldOf(after, field)) {
		return nil
	}
	return apierrors.NewInvalid(before.GetObjectKind().GroupVersionKind().GroupKind(), accessor(before).GetName(), nil)
}

func fieldOf(object runtime.Object, field string) any {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil
	}
	return content[field]
}

func accessor(object runtime.Object) metav1.Object {
	m, err := meta.Accessor(object)
	if err != nil {
		panic(fmt.Sprintf("%T has no metadata: %v", object, err))
	}
	return m
}

// resource finds the resource of a typed object by its kind.
func resource(object runtime.Object) schema.GroupVersionResource {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		panic(fmt.Sprintf("%T is not of a known kind: %v", object, err))
	}
	plural, _ := meta.UnsafeGuessKindToResource(kinds[0])
	return plural
}

// Create puts an object in, as somebody else than Longshore.
func (a *API) Create(object runtime.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object = object.DeepCopyObject()
	if _, err := a.create(resource(object), accessor(object).GetNamespace(), object, metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
		panic(err)
	}
}

// Delete takes an object away, as somebody else than Longshore. One that is not there is no error.
func (a *API) Delete(object runtime.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := accessor(object)
	if err := a.remove(resource(object), m.GetNamespace(), m.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		panic(err)
	}
}

// Get reads an object into the one given, which has its name; it tells whether it is there.
func Get[T runtime.Object](a *API, object T) (T, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := accessor(object)
	found, err := a.tracker.Get(resource(object), m.GetNamespace(), m.GetName())
	if err != nil {
		return object, false
	}
	return found.(T), true
}

// Change changes an object that is there, as somebody else than Longshore.
func Change[T runtime.Object](a *API, object T, change func(T)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := accessor(object)
	before, err := a.tracker.Get(resource(object), m.GetNamespace(), m.GetName())
	if err != nil {
		panic(err)
	}
	after := before.DeepCopyObject().(T)
	change(after)
	if _, err := a.store(resource(object), m.GetNamespace(), before, after, "somebody"); err != nil {
		panic(err)
	}
}

// List lists the objects of the kind of the one given, in its namespace, by name.
func List[T runtime.Object](a *API, like T) []T {
	a.mu.Lock()
	defer a.mu.Unlock()
	gvr := resource(like)
	kinds, _, err := scheme.Scheme.ObjectKinds(like)
	if err != nil {
		panic(err)
	}
	list, err := a.tracker.List(gvr, kinds[0], accessor(like).GetNamespace())
	if err != nil {
		panic(err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		panic(err)
	}
	byName := map[string]T{}
	for _, item := range items {
		byName[accessor(item).GetName()] = item.(T)
	}
	out := make([]T, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}

// Node returns the node of that name, to be read; nil if there is none.
func (a *API) Node(name string) *corev1.Node {
	node, ok := Get(a, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if !ok {
		return nil
	}
	return node
}
