package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"longshore.dev/longshore/observed"
)

// staleAfter is how long a spec may have been superseded and still take its place again when the newer one goes. A prune that hit the wrong
// spec is noticed within minutes. Nobody remembers what an older one was for.
const staleAfter = 10 * time.Minute

// survives reports whether the spec that is left is older than the one that was in force, which is gone. Specs of the same second are a rename.
func (r *Runtime) survives() bool {
	if r.Source == nil || len(r.History) == 0 {
		return false
	}
	newest := r.History[0]
	return sourceOf(newest).UID != string(r.Source.UID) && sourceCreated(newest).After(r.Source.Created)
}

// sourceCreated is when the spec was made that a revision came from. An early version did not write that down: the revision is younger then.
func sourceCreated(rev *observed.Revision) time.Time {
	if created := sourceOf(rev).Created; !created.IsZero() {
		return created
	}
	return rev.Created
}

// survive decides what becomes of a survivor, and reports whether it waits. A tool that prunes before it creates leaves one for a moment, so it
// waits like an uninstall does. What comes after the grace is decided when the newer spec is seen to be gone:
//
//	nobody has written down yet that the newer spec is gone   to be written down
//	people said `longshore retry` since then                  it comes into force
//	the grace is not over                                     it waits
//	it was superseded for less than staleAfter                it comes into force
//	it has the same data as what is in force                  it comes into force
//	it has a revision that a half done rollout came from      it comes into force: nobody wants the other half any more
//	otherwise                                                 Conflict: nodes stay as they are
func (r *Runtime) survive(snap *observed.Snapshot, parse Parser, opts Options) bool {
	if r.Surviving = r.survives(); len(r.History) == 0 || r.Source == nil {
		return false
	}
	newest := r.History[0]
	if known := newest.Survivor(); known != nil && known.UID == r.Source.UID && !known.Since.After(snap.Time) {
		r.survivor = known
	}
	if !r.Surviving {
		return false
	}
	if r.survivor == nil {
		since := snap.Time.UTC().Truncate(time.Second)
		mark := observed.Survivor{
			UID: r.Source.UID, Since: since, Due: since.Add(r.deletionGrace(opts)), People: r.Source.People,
			InForce: since.Before(r.supersededSince().Add(staleAfter)) || r.saysTheSame() || r.halfDone(snap, parse),
		}
		r.Waiting = true
		r.Prepare = &Prepare{Runtime: r.Name, Revision: newest, Number: newest.Number, Annotations: map[string]string{observed.AnnotationSurvivor: mark.Text(), observed.AnnotationVanished: ""}}
		return true
	}
	word, _ := r.said(observed.AnnotationRetry)
	switch {
	case word != "":
		return false
	case snap.Time.Before(r.survivor.Due):
		r.Waiting, r.InForceAt = true, r.survivor.Due
		return true
	case r.survivor.InForce:
		return false
	}
	r.Stale = true
	r.Conflict = fmt.Sprintf(
		"ConfigMap %q, which was in force, is gone, and %q had been superseded since %s: nodes stay as they are; to have %[2]q in force, say: longshore retry %[4]s; else delete it as well",
		sourceOf(newest).Name, r.Source.Name, r.supersededSince().UTC().Format(time.RFC3339), r.Name)
	return true
}

// supersededSince is when the first spec was made that was in force and is newer than the survivor.
func (r *Runtime) supersededSince() time.Time {
	since := sourceCreated(r.History[0])
	for _, h := range r.History {
		if created := sourceCreated(h); created.After(r.Source.Created) && created.Before(since) {
			since = created
		}
	}
	return since
}

// saysTheSame reports whether the survivor has the data of what is in force.
func (r *Runtime) saysTheSame() bool {
	data, err := json.Marshal(r.Source.Data)
	return err == nil && string(data) == r.heard(observed.AnnotationSpec)
}

// halfDone reports whether the rollout of the newest revision never came to its end, and nodes still have the revision that the survivor asks for.
func (r *Runtime) halfDone(snap *observed.Snapshot, parse Parser) bool {
	if r.History[0].Proven() {
		return false
	}
	asked, errs := parse(r.Name, r.Source.Data, r.Source.BinaryData)
	if len(errs) > 0 {
		return false
	}
	revisions := asked.Revisions()
	for i := range snap.Nodes {
		if p := snap.Nodes[i].Progress(r.Name); p != nil && p.Phase == observed.PhaseReady && slices.Contains(revisions, p.Revision) {
			return true
		}
	}
	return false
}

// survivorText is what stays remembered of the survivor that the spec is or was, "" for nothing.
func (r *Runtime) survivorText() string {
	if r.survivor == nil {
		return ""
	}
	return r.survivor.Text()
}

// said is what people say by an annotation on the spec. What stood on a survivor when its time came again was said long ago.
func (r *Runtime) said(annotation string) (string, bool) {
	value, said := r.Source.People[annotation]
	if r.survivor != nil {
		if old, was := r.survivor.People[annotation]; was && old == value {
			return "", false
		}
	}
	return value, said
}
