package simulation

import (
	"encoding/json"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// watch answers a watch with what its selectors select: an object that leaves them is reported as deleted.
func (a *API) watch(action clienttesting.Action) (bool, watch.Interface, error) {
	asked, ok := action.(clienttesting.WatchActionImpl)
	if !ok {
		return false, nil, nil
	}
	byLabel, err := labels.Parse(asked.ListOptions.LabelSelector)
	if err != nil {
		return true, nil, err
	}
	byField, err := fields.ParseSelector(asked.ListOptions.FieldSelector)
	if err != nil {
		return true, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := a.tracker.Watch(action.GetResource(), action.GetNamespace(), asked.ListOptions)
	if err != nil {
		return true, nil, err
	}
	if byLabel.Empty() && byField.Empty() {
		return true, all, nil
	}
	selects := func(m metav1.Object) bool {
		of := fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}
		if pod, ok := m.(*corev1.Pod); ok {
			of["spec.nodeName"] = pod.Spec.NodeName
		}
		return byLabel.Matches(labels.Set(m.GetLabels())) && byField.Matches(of)
	}
	in, err := a.selected(action, selects)
	if err != nil {
		return true, nil, err
	}
	return true, filter(all, func(event watch.Event) (watch.Event, bool) {
		m := accessor(event.Object)
		name := m.GetNamespace() + "/" + m.GetName()
		was := in[name]
		in[name] = selects(m) && event.Type != watch.Deleted
		if !in[name] {
			event.Type = watch.Deleted
		}
		return event, was || in[name]
	}), nil
}

// filtered is a watch that passes on what a function chooses. Unlike that of apimachinery it ends when nobody reads any more: watches of single nodes end
// in the middle of everything.
type filtered struct {
	in   watch.Interface
	out  chan watch.Event
	done chan struct{}
	once sync.Once
}

func filter(in watch.Interface, choose func(watch.Event) (watch.Event, bool)) watch.Interface {
	f := &filtered{in: in, out: make(chan watch.Event), done: make(chan struct{})}
	go func() {
		defer close(f.out)
		for event := range in.ResultChan() {
			event, chosen := choose(event)
			if !chosen {
				continue
			}
			select {
			case f.out <- event:
			case <-f.done:
				return
			}
		}
	}()
	return f
}

// ResultChan has the events.
func (f *filtered) ResultChan() <-chan watch.Event { return f.out }

// Stop ends the watch.
func (f *filtered) Stop() {
	f.once.Do(func() {
		close(f.done)
		f.in.Stop()
	})
}

// selected are the objects that a watch selects when it begins.
func (a *API) selected(action clienttesting.Action, selects func(metav1.Object) bool) (map[string]bool, error) {
	in := map[string]bool{}
	list, err := a.tracker.List(action.GetResource(), kindOf(action.GetResource()), action.GetNamespace())
	if err != nil {
		return nil, err
	}
	return in, meta.EachListItem(list, func(object runtime.Object) error {
		m := accessor(object)
		in[m.GetNamespace()+"/"+m.GetName()] = selects(m)
		return nil
	})
}

// kindOf finds the kind of a resource.
func kindOf(resource schema.GroupVersionResource) schema.GroupVersionKind {
	for kind := range scheme.Scheme.KnownTypes(resource.GroupVersion()) {
		if plural, _ := meta.UnsafeGuessKindToResource(resource.GroupVersion().WithKind(kind)); plural == resource {
			return plural.GroupVersion().WithKind(kind)
		}
	}
	panic(resource.String() + " is not of a known kind")
}

// decodeInto reads JSON into an object of which nothing else stays.
func decodeInto(text []byte, object runtime.Object) error {
	value := reflect.ValueOf(object).Elem()
	value.SetZero()
	return json.Unmarshal(text, object)
}

func unstructuredOf(body map[string]any) *unstructured.Unstructured {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		panic(err)
	}
	return object
}
