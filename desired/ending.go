package desired

import (
	"fmt"
	"slices"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// staleAfter is how long a spec may have been superseded by another one and still take its place when that one goes: a prune that hit the wrong one is noticed
// within minutes, and nobody remembers what an older one was for.
const staleAfter = 10 * time.Minute

// stale says why the spec that is left does not count, "" if it does: it is older than the one that was in force, and was superseded by that for too long.
func (r *Runtime) stale(now time.Time) string {
	if len(r.History) == 0 {
		return ""
	}
	newest := r.History[0]
	before := sourceOf(newest)
	if before.UID == string(r.Source.UID) || before.Created.IsZero() || !before.Created.After(r.Source.Created) || now.Before(before.Created.Add(staleAfter)) {
		return ""
	}
	if retry := r.Source.People[observed.AnnotationRetry]; retry != "" && retry != newest.Annotations[observed.AnnotationRetry] {
		return ""
	}
	return fmt.Sprintf("ConfigMap %q, which was in force, is gone, and %q had been superseded by it since %s: nodes stay as they are; create it anew to have it in force, or say: longshore retry %s; or delete it as well",
		before.Name, r.Source.Name, before.Created.UTC().Format(time.RFC3339), r.Name)
}

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
		lasts := s.Deleting && r.Source == nil && foreground && !r.Orphaned && r.Carrying > 0
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
	case len(r.Errors) > 0, r.Conflict != "", r.Prepare != nil:
	default:
		set(s, foreground, "")
	}
}
