package desired

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// staleAfter is how long a spec may have been superseded and still take its place again when the newer one goes. A prune that hit the wrong
// spec is noticed within minutes. Nobody remembers what an older one was for.
const staleAfter = 10 * time.Minute

// survives reports whether the spec that is left is older than the one that was in force, which is gone.
func (r *Runtime) survives() bool {
	if r.Source == nil || len(r.History) == 0 {
		return false
	}
	before := sourceOf(r.History[0])
	if before.UID == string(r.Source.UID) || before.Created.IsZero() {
		return false
	}
	return newer(&observed.Spec{Name: before.Name, Created: before.Created}, r.Source)
}

// survive decides what becomes of a survivor, and reports whether it is not in force. A tool that prunes before it creates leaves one for a
// moment, so it has to wait like an uninstall does:
//
//	people said `longshore retry`                           in force
//	nobody remembers yet when the newer spec went           to be remembered
//	the grace is not over                                   not in force
//	it was superseded for less than staleAfter              in force
//	nodes carry more than one revision                      in force: a rollout that nobody wants any more is not left half done
//	otherwise                                               Conflict: nodes stay as they are, and they are alike
func (r *Runtime) survive(snap *observed.Snapshot, opts Options) bool {
	if !r.survives() {
		return false
	}
	newest := r.History[0]
	retry := r.Source.People[observed.AnnotationRetry]
	if retry != "" && retry != newest.Annotations[observed.AnnotationRetry] {
		return false
	}
	since := r.survivesSince()
	if since.IsZero() {
		r.InForceAt = snap.Time.Add(r.deletionGrace(opts))
		r.Prepare = &Prepare{
			Runtime: r.Name, Revision: newest, Number: newest.Number,
			Annotations: map[string]string{observed.AnnotationSurvivor: string(r.Source.UID) + " " + snap.Time.UTC().Format(time.RFC3339), observed.AnnotationVanished: ""},
		}
		return true
	}
	if due := since.Add(r.deletionGrace(opts)); snap.Time.Before(due) {
		r.InForceAt = due
		return true
	}
	before := sourceOf(newest)
	if since.Before(before.Created.Add(staleAfter)) || r.mixed(snap) {
		return false
	}
	r.Stale = true
	r.Conflict = fmt.Sprintf(
		"ConfigMap %q, which was in force, is gone, and %q had been superseded by it since %s: nodes stay as they are; to have %[2]q in force, say: longshore retry %[4]s; else delete it as well",
		before.Name, r.Source.Name, before.Created.UTC().Format(time.RFC3339), r.Name)
	return true
}

// survivesSince is when the spec that is left was first seen to be a survivor, zero where nobody has seen that yet.
func (r *Runtime) survivesSince() time.Time {
	uid, text, _ := strings.Cut(r.heard(observed.AnnotationSurvivor), " ")
	since, err := time.Parse(time.RFC3339, text)
	if uid != string(r.Source.UID) || err != nil {
		return time.Time{}
	}
	return since
}

// mixed reports whether nodes carry more than one revision.
func (r *Runtime) mixed(snap *observed.Snapshot) bool {
	first := ""
	for i := range snap.Nodes {
		p := snap.Nodes[i].Progress(r.Name)
		if p == nil || p.Revision == "" {
			continue
		}
		revision := p.Revision
		if r.Current(revision) {
			revision = r.Goal.Revision
		}
		if first == "" {
			first = revision
		}
		if revision != first {
			return true
		}
	}
	return false
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
	case len(r.Errors) > 0, r.Conflict != "", r.Prepare != nil, !r.InForceAt.IsZero():
	default:
		set(s, foreground, "")
	}
}
