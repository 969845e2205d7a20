package desired

import (
	"fmt"
	"slices"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Finalize is a finalizer that is to be put on a spec, or taken off.
type Finalize struct {
	Spec *observed.Spec
	// Finalizers are those that the spec should have.
	Finalizers []string
	// Warn is what people have to know about that, "" for nothing.
	Warn string
}

// finalize says which specs the finalizer should be on. It is on the spec that is in force while that asks for it, and on a deleted one until no node carries the runtime any more, or
// somebody else speaks for it:
//
//	Longshore itself, or a namespace of it, is being deleted   off, with a warning
//	in force, deletionPolicy Foreground                        on
//	refused, or not in force yet                               as it is
//	deleted, nobody else speaks, nodes carry the runtime       as it is
//	deleted, an older one waits for its grace                  as it is
//	any other                                                  off
func (r *Runtime) finalize(snap *observed.Snapshot) {
	foreground := r.Spec != nil && r.Spec.DeletionPolicy == spec.DeletionForeground
	set := func(s *observed.Spec, on bool, warn string) {
		if s.Held() == on {
			return
		}
		f := Finalize{Spec: s, Finalizers: slices.DeleteFunc(slices.Clone(s.Finalizers), func(name string) bool { return name == observed.Finalizer }), Warn: warn}
		if on {
			f.Finalizers = append(f.Finalizers, observed.Finalizer)
		}
		r.Finalize = append(r.Finalize, f)
	}
	for _, s := range slices.Concat(r.Superseded, r.Ending) {
		lasts := s.Deleting && (r.Source == nil || r.Waiting) && foreground && !r.Orphaned && r.Carrying > 0
		switch {
		case snap.Terminating == "":
			set(s, lasts, "")
		case lasts:
			set(s, false, fmt.Sprintf("%s is being deleted: the spec is let go, and %d nodes keep runtime %s", snap.Terminating, r.Carrying, r.Name))
		default:
			set(s, false, "")
		}
	}
	switch s := r.Source; {
	case s == nil:
	case snap.Terminating != "":
		set(s, false, fmt.Sprintf("%s is being deleted: nobody will uninstall runtime %s when the spec is deleted", snap.Terminating, r.Name))
	case len(r.Errors) > 0, r.Conflict != "", r.Prepare != nil, r.Surviving:
	default:
		set(s, foreground, "")
	}
}
