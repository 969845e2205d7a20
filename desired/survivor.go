package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// staleAfter is how long a spec may have been superseded and still take its place again when the newer one goes. A prune that hit the wrong
// spec is noticed within minutes. Nobody remembers what an older one was for.
const staleAfter = 10 * time.Minute

// survives reports whether the spec that is left is older than the one that was in force, which is gone. One of the same second is a rename if it
// says the same.
func (r *Runtime) survives() bool {
	if r.Source == nil || len(r.History) == 0 || sourceOf(r.History[0]).UID == string(r.Source.UID) {
		return false
	}
	before := sourceCreated(r.History[0])
	return before.After(r.Source.Created) || (before.Equal(r.Source.Created) && !r.saysTheSame())
}

// recall reads what is remembered of a survivor.
func (r *Runtime) recall(snap *observed.Snapshot) {
	r.Surviving = r.survives()
	if r.Source == nil || len(r.History) == 0 {
		return
	}
	if known := r.History[0].Survivor(); known != nil && known.UID == r.Source.UID && !known.Since.After(snap.Time) {
		r.survivor = known
	}
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
func (r *Runtime) survive(snap *observed.Snapshot, parse Parser, payloads spec.Payloads, opts Options) bool {
	if !r.Surviving {
		return false
	}
	newest := r.History[0]
	if r.survivor == nil || r.survivor.Since.IsZero() {
		since := snap.Time.UTC().Truncate(time.Second)
		mark := observed.Survivor{
			UID: r.Source.UID, Since: since, Due: since.Add(r.deletionGrace(opts)), People: r.Source.People,
			InForce: since.Before(r.supersededSince().Add(staleAfter)) || r.saysTheSame() || r.halfDone(snap, parse, payloads),
		}
		if r.survivor != nil {
			mark.People = r.survivor.People
		}
		r.Waiting = true
		r.Prepare = &Prepare{Runtime: r.Name, Revision: newest, Number: newest.Number, Annotations: map[string]string{observed.AnnotationSurvivor: mark.Text(), observed.AnnotationVanished: ""}}
		return true
	}
	word, _ := r.said(observed.AnnotationRetry)
	waits := snap.Time.Before(r.survivor.Due)
	switch {
	case word != "", !waits && r.survivor.InForce:
		return false
	case waits:
		r.Waiting, r.InForceAt = true, r.survivor.Due
	default:
		r.Stale = true
		r.Conflict = fmt.Sprintf(
			"ConfigMap %q, which was in force, is gone, and %q had been superseded since %s: nodes stay as they are; to have %[2]q in force, say: longshore retry %[4]s; else delete it as well",
			sourceOf(newest).Name, r.Source.Name, r.supersededSince().UTC().Format(time.RFC3339), r.Name)
	}
	r.comeBack()
	return true
}

// ComesIntoForce reports whether the survivor does so when its grace is over; otherwise it is a Conflict then.
func (r *Runtime) ComesIntoForce() bool { return r.survivor != nil && r.survivor.InForce }

// supersededSince is since when there was something newer than the survivor: another spec, or a revision that was made from another one. A revision
// knows only the last spec that it came from.
func (r *Runtime) supersededSince() time.Time {
	since := sourceCreated(r.History[0])
	for _, h := range r.History {
		if sourceOf(h).UID == string(r.Source.UID) {
			continue
		}
		for _, made := range []time.Time{sourceCreated(h), h.Created} {
			if made.After(r.Source.Created) && made.Before(since) {
				since = made
			}
		}
	}
	return since
}

// saysTheSame reports whether the survivor has the data of what is in force.
func (r *Runtime) saysTheSame() bool {
	data, err := json.Marshal(r.Source.Data)
	return err == nil && string(data) == r.heard(observed.AnnotationSpec)
}

// halfDone reports whether the rollout of the newest revision never came to its end, and nodes that it was for still have the revision that the
// survivor asks for.
func (r *Runtime) halfDone(snap *observed.Snapshot, parse Parser, payloads spec.Payloads) bool {
	if r.History[0].Proven() || r.Spec == nil {
		return false
	}
	asked, errs := parse(r.Name, r.Source.Data, r.Source.BinaryData)
	if len(errs) > 0 {
		return false
	}
	if image := payloads.Images[r.Name]; image != "" {
		asked = asked.WithPayload(image)
	}
	revisions := asked.Revisions()
	for i := range snap.Nodes {
		node := &snap.Nodes[i]
		p := node.Progress(r.Name)
		if node.Ready && r.Spec.NodeSelector.Matches(&node.Labels) && p != nil && p.Phase == observed.PhaseReady && slices.Contains(revisions, p.Revision) {
			return true
		}
	}
	return false
}

// keptWords is what stays remembered of a survivor while a newer spec is there that is not in force: what people had written on it long ago.
func (r *Runtime) keptWords() string {
	if r.survivor != nil {
		return r.survivor.Text()
	}
	known := r.History[0].Survivor()
	if known == nil || !slices.ContainsFunc(r.Superseded, func(s *observed.Spec) bool { return s.UID == known.UID }) {
		return ""
	}
	return observed.Survivor{UID: known.UID, People: known.People}.Text()
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
