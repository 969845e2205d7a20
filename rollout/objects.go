package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// KeptRevisions is how many ControllerRevisions are kept beyond those that a node's progress names.
const KeptRevisions = 10

// objects says which installers, classes and snapshots should be there.
func (d *decider) objects() {
	known := map[string]bool{}
	for i := range d.plan.Runtimes {
		r := &d.plan.Runtimes[i]
		known[r.Name] = true
		if _, alone := d.alone[r.Name]; alone {
			continue
		}
		d.at = r.Name
		d.warnRefused(r)
		if r.Goal != nil && !r.Removing && !r.GivenUp() && r.Spec != nil && r.Selected > 0 {
			d.need(&visit{r: r}, r.Goal.Revision, observed.Install)
		}
		if r.Unheard != "" {
			d.warn(r, "NotObeyed", r.Unheard)
		}
		d.classes(r, d.kinds[i])
		d.revisions(r, d.kinds[i])
	}
	d.at = ""
	d.doneLabels()
	d.installers()
	d.outdated()
	for i := range d.snap.RuntimeClasses {
		c := &d.snap.RuntimeClasses[i]
		if owner := c.Owner(); owner != "" && !known[owner] && !c.Deleting {
			d.remove(ObjectRef{Kind: "RuntimeClass", Name: c.Name, UID: c.UID, Runtime: owner})
		}
	}
}

// doneLabels lists the labels that payloads of any known revision may change on their nodes.
func (d *decider) doneLabels() {
	keys := map[string]bool{}
	for i := range d.plan.Runtimes {
		for _, h := range d.plan.Runtimes[i].History {
			if h.Content == nil {
				continue
			}
			for _, text := range h.Content.DoneLabels {
				if label, err := spec.ParseDoneLabel(text); err == nil {
					keys[label.Key] = true
				}
			}
		}
	}
	d.out.Objects.DoneLabels = slices.Sorted(maps.Keys(keys))
}

func (d *decider) remove(ref ObjectRef) { d.out.Objects.Delete = append(d.out.Objects.Delete, ref) }

// installers lists the DaemonSets that a goal, a gate or a booking names, and removes those that nothing names and that have no
// pod left.
func (d *decider) installers() {
	d.out.Objects.Installers = slices.SortedFunc(maps.Keys(d.needed), func(a, b Installer) int { return cmp.Compare(a.Name(), b.Name()) })
	used := map[string]bool{}
	for i := range d.snap.Pods {
		used[d.snap.Pods[i].DaemonSet] = true
	}
	for i := range d.kinds {
		for _, s := range d.kinds[i] {
			if revision, step, ok := observed.ParseGate(s.Gate); ok {
				used[observed.DaemonSetName(s.Runtime, step, revision)] = true
			}
		}
	}
	for i := range d.snap.DaemonSets {
		s := &d.snap.DaemonSets[i]
		if _, alone := d.alone[s.Runtime]; alone || s.Runtime == "" || s.Deleting || used[s.Name] || d.needed[Installer{Runtime: s.Runtime, Revision: s.Revision, Step: s.Step}] {
			continue
		}
		d.remove(ObjectRef{Kind: "DaemonSet", Name: s.Name, UID: s.UID, Runtime: s.Runtime})
	}
}

// outdated removes pods whose command has not started and whose template is not of today: a DaemonSet that is OnDelete leaves them
// waiting with the pull secrets of yesterday.
func (d *decider) outdated() {
	templates := map[string]string{}
	for i := range d.snap.DaemonSets {
		if s := &d.snap.DaemonSets[i]; !s.Deleting {
			templates[s.Name] = s.Annotations[observed.AnnotationTemplate]
		}
	}
	for i := range d.snap.Pods {
		pod := &d.snap.Pods[i]
		if _, alone := d.alone[pod.Runtime]; alone {
			continue
		}
		if template := templates[pod.DaemonSet]; template != "" && template != pod.Template && !pod.Deleting && !started(pod) {
			d.remove(ObjectRef{Kind: "Pod", Name: pod.Name, UID: pod.UID, Runtime: pod.Runtime})
		}
	}
}

// classes follows the RuntimeClasses of a runtime:
//
//	in the spec, not there        create when every ready node offers the handler
//	in the spec, ours             keep right
//	in the spec, somebody else's  leave alone and say so, unless it is handed over
//	ours, not in the spec         delete when no ready node is at another revision that has it
//	what verification runs with   keep while an installer of that is needed
//	ours, runtime being removed   delete when no node carries the runtime; so where its only revision is bad and no node offers it
func (d *decider) classes(r *desired.Runtime, states []*observed.State) {
	offers := offered(r, states)
	asked := map[string]bool{}
	offering := slices.ContainsFunc(states, func(s *observed.State) bool { return s.Ready != "" })
	if r.Spec != nil && !r.Removing && (!r.GivenUp() || offering) {
		for _, c := range r.Spec.RuntimeClasses {
			asked[c.Name] = true
			d.class(r, c, offers)
		}
	}
	if name := d.verifyClass(r); name != "" {
		asked[name] = true
		d.out.Objects.Classes = append(d.out.Objects.Classes, ClassRef{Runtime: r.Name, Name: name})
	}
	for i := range d.snap.RuntimeClasses {
		c := &d.snap.RuntimeClasses[i]
		if c.Owner() != r.Name || asked[c.Name] || c.Deleting {
			continue
		}
		if r.Spec == nil && !r.Removing {
			// Nobody knows what is asked for.
			continue
		}
		removing := r.Removing || r.GivenUp()
		if (removing && r.Carrying == 0) || (!removing && !hasClass(offers, c.Name)) {
			d.remove(ObjectRef{Kind: "RuntimeClass", Name: c.Name, UID: c.UID, Runtime: r.Name})
		}
	}
}

// verifyClass is the class that verification runs with, "" where nothing is verified.
func (d *decider) verifyClass(r *desired.Runtime) string {
	if r.Spec == nil || r.Spec.Verify == nil {
		return ""
	}
	for i := range d.needed {
		if i.Runtime == r.Name && i.Step == observed.StepVerify {
			return r.Spec.VerifyClass()
		}
	}
	return ""
}

func (d *decider) class(r *desired.Runtime, c spec.RuntimeClass, offers []*observed.RevisionContent) {
	ref := ClassRef{Runtime: r.Name, Name: c.Name}
	i := slices.IndexFunc(d.snap.RuntimeClasses, func(have observed.RuntimeClass) bool { return have.Name == c.Name })
	if i < 0 {
		if d.allHave(offers, c.Handler) {
			d.out.Objects.Classes = append(d.out.Objects.Classes, ref)
		}
		return
	}
	have := &d.snap.RuntimeClasses[i]
	switch {
	case have.Deleting:
	case have.Owner() == r.Name:
		d.out.Objects.Classes = append(d.out.Objects.Classes, ref)
	case have.Annotations[observed.AnnotationAdopt] == r.Name && have.Handler == c.Handler:
		d.out.Objects.Classes = append(d.out.Objects.Classes, ref)
	case have.Annotations[observed.AnnotationAdopt] == r.Name:
		d.warn(r, "HandlerDiffers", fmt.Sprintf("RuntimeClass %q is handed over, but has handler %q and not %q; delete it, a handler cannot be changed", c.Name, have.Handler, c.Handler))
	default:
		d.warn(r, "ForeignRuntimeClass", fmt.Sprintf("RuntimeClass %q was not made by Longshore and is left alone; annotate it with %s=%s to hand it over",
			c.Name, observed.AnnotationAdopt, r.Name))
	}
}

func (d *decider) warn(r *desired.Runtime, reason, message string) {
	d.out.Objects.Warnings = append(d.out.Objects.Warnings, Warning{Runtime: r.Name, Reason: reason, Message: message})
}

// offered are the revisions that ready nodes are at, given a state of every kind, as far as they are known, but for the goal: what that one offers the spec says, for
// a class may get another name without a new revision.
func offered(r *desired.Runtime, states []*observed.State) []*observed.RevisionContent {
	var offers []*observed.RevisionContent
	last := ""
	for _, s := range states {
		if s.Ready == "" || s.Progress == nil {
			continue
		}
		revision := installed(s.Progress)
		if revision == last {
			continue
		}
		last = revision
		if r.Current(revision) {
			continue
		}
		if rev := r.Revision(revision); rev != nil && rev.Content != nil && !slices.Contains(offers, rev.Content) {
			offers = append(offers, rev.Content)
		}
	}
	return offers
}

// allHave tells whether every revision has the handler.
func (d *decider) allHave(offers []*observed.RevisionContent, handler string) bool {
	return !slices.ContainsFunc(offers, func(c *observed.RevisionContent) bool { return !slices.Contains(d.handlersOf(c), handler) })
}

// hasClass tells whether a revision has the class.
func hasClass(offers []*observed.RevisionContent, class string) bool {
	return slices.ContainsFunc(offers, func(content *observed.RevisionContent) bool {
		return slices.ContainsFunc(content.Classes, func(c observed.Class) bool { return c.Name == class })
	})
}

// revisions prunes snapshots: kept are those that a node's progress or a booking names, the newest, and ten more. When the
// runtime is gone from everywhere they all go, the newest last: it alone says that the spec is gone, and an older one in its
// place would bring back the spec that was in force then.
func (d *decider) revisions(r *desired.Runtime, states []*observed.State) {
	named := map[string]bool{}
	last := &observed.Progress{}
	for _, s := range states {
		if s.Progress == nil || (s.Progress.Revision == last.Revision && s.Progress.Previous == last.Previous && s.Progress.Attempted == last.Attempted) {
			continue
		}
		last = s.Progress
		named[last.Revision], named[last.Previous], named[last.Attempted] = true, true, true
	}
	for key, t := range d.booked {
		if key.Runtime == r.Name {
			named[t.Revision] = true
		}
	}
	gone := r.Removing && r.Carrying == 0 && !d.leftovers(r)
	spare := KeptRevisions
	for i, h := range r.History {
		if (!gone && (i == 0 || named[h.Revision])) || (gone && i == 0 && len(r.History) > 1) {
			continue
		}
		if !gone && spare > 0 {
			spare--
			continue
		}
		d.remove(ObjectRef{Kind: "ControllerRevision", Name: h.Name, UID: h.UID, Runtime: r.Name})
	}
}

// leftovers tells whether a removed runtime still has bookings or objects, which go before the snapshots.
func (d *decider) leftovers(r *desired.Runtime) bool {
	return d.used(r.Name) > 0 ||
		slices.ContainsFunc(d.snap.DaemonSets, func(s observed.DaemonSet) bool { return s.Runtime == r.Name }) ||
		slices.ContainsFunc(d.snap.RuntimeClasses, func(c observed.RuntimeClass) bool { return c.Owner() == r.Name })
}

// sum finishes the summaries.
func (d *decider) sum() {
	for i := range d.sums {
		d.sums[i].Used = d.used(d.sums[i].Runtime)
	}
	d.out.Runtimes = d.sums
	d.sortHolds()
}
