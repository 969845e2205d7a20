package informers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// overlay holds what our own writes returned until the watch has caught up: without it, a pass right after a write would decide
// from a view without that write, and learn from a failed test what it could have known.
type overlay[T metav1.Object] struct {
	fresh map[string]T
}

// fresher returns the newer of the stored object and what a write of ours returned, and forgets the latter when it is not newer.
func (o *overlay[T]) fresher(stored T) T {
	ours, ok := o.fresh[stored.GetName()]
	if !ok {
		return stored
	}
	if ours.GetUID() == stored.GetUID() && newer(ours.GetResourceVersion(), stored.GetResourceVersion()) {
		return ours
	}
	delete(o.fresh, stored.GetName())
	return stored
}

// created tells whether an object that the watch does not show was made so recently that the watch cannot know it; one that the
// watch has passed is gone, and forgotten.
func (o *overlay[T]) created(name, watched string) bool {
	if newer(o.fresh[name].GetResourceVersion(), watched) {
		return true
	}
	delete(o.fresh, name)
	return false
}

// newer compares resource versions, which are ordered since Kubernetes 1.35 says so (KEP-5504) and were before in practice.
// What cannot be compared is not newer.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}
