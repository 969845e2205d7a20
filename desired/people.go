package desired

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// paused is what has to be remembered of a pause, "" for none. A pause lasts until people say that it is over. That an annotation is not there says nothing: a tool that
// replaces the ConfigMap takes it off.
func (r *Runtime) paused() string {
	reason, said := r.said(observed.AnnotationPause)
	switch {
	case said && reason == observed.Resumed:
		return ""
	case said:
		return observed.Pause{Reason: reason, On: string(r.Source.UID)}.Text()
	case r.Pause != nil:
		return r.Pause.Text()
	}
	return ""
}

// judge says whether the asked revision is bad, and what was heard of people's wishes about that. What is bad stays so until the data changes or people
// have it tried again.
func (r *Runtime) judge(asked *spec.Runtime, data string, annotations map[string]string, now time.Time) {
	// What was obeyed once is remembered where the annotation is gone: a tool that puts it back later says nothing new.
	retry, _ := r.said(observed.AnnotationRetry)
	rollback, _ := r.said(observed.AnnotationRollback)
	retry, rollback = cmp.Or(retry, r.heard(observed.AnnotationRetry)), cmp.Or(rollback, r.heard(observed.AnnotationRollback))
	before := map[string]string{}
	if len(r.History) > 0 {
		before = r.History[0].Annotations
	}
	bad := ""
	if len(r.History) > 0 && slices.Contains(asked.Revisions(), r.History[0].Revision) && before[observed.AnnotationSpec] == data {
		bad = before[observed.AnnotationBad]
	}
	if r.Surviving {
		// It was bad for nodes before the newer spec came, and that it comes back is nobody's word.
		bad = r.knownBad(asked, data)
	}
	if retry != "" && retry != before[observed.AnnotationRetry] {
		bad = ""
	}
	to, err := r.askedBack(asked, rollback)
	switch {
	case err != nil:
		r.Unheard = err.Error()
	case to != "" && rollback != before[observed.AnnotationRollback]:
		bad = observed.Bad{To: to, Asked: true, Reason: "people asked for that", Time: now.UTC().Truncate(time.Second)}.Text()
	}
	annotations[observed.AnnotationBad] = bad
	annotations[observed.AnnotationRetry], annotations[observed.AnnotationRollback] = retry, rollback
}

// knownBad is what is remembered of a revision that was given up before, "" where it was not.
func (r *Runtime) knownBad(asked *spec.Runtime, data string) string {
	for _, name := range asked.Revisions() {
		if rev := r.Revision(name); rev != nil && rev.Annotations[observed.AnnotationSpec] == data {
			return rev.Annotations[observed.AnnotationBad]
		}
	}
	return ""
}

// askedBack is the revision that people want nodes to go back to, "" where what they want given up is not what the spec asks for any more.
func (r *Runtime) askedBack(asked *spec.Runtime, rollback string) (string, error) {
	if rollback == "" {
		return "", nil
	}
	// What follows, such as the time that a command writes, only tells one wish from the next.
	var from, to string
	words := strings.Fields(rollback)
	if len(words) > 0 {
		from = words[0]
	}
	if len(words) > 1 {
		to = words[1]
	}
	if !slices.Contains(asked.Revisions(), from) {
		return "", nil
	}
	switch rev := r.Revision(to); {
	case slices.Contains(asked.Revisions(), to):
		return "", fmt.Errorf("annotation %s: revision %q cannot be gone back to, it is the one that is given up", observed.AnnotationRollback, to)
	case rev == nil || rev.Content == nil:
		return "", fmt.Errorf("annotation %s: there is no revision %q to go back to; longshore history %s has those that there are", observed.AnnotationRollback, to, r.Name)
	}
	return to, nil
}

// offered reports whether a node offers the runtime, or did so before the operation that it is in.
func offered(p *observed.Progress) bool {
	return p != nil && (p.Phase == observed.PhaseReady || p.Previous != "")
}

// untouched reports whether a rollout that is taken back by itself did not change a node which works: it keeps the revision that it has, which is neither the bad one nor the goal.
func (r *Runtime) untouched(node *observed.Node) bool {
	p := node.Progress(r.Name)
	if r.Bad == nil || r.Bad.Asked || p == nil || p.Phase != observed.PhaseReady || p.Revision == r.BadRevision || r.Current(p.Revision) {
		return false
	}
	rev := r.Revision(p.Revision)
	if rev == nil || rev.Content == nil || node.Handlers == nil {
		return true
	}
	// One that has lost a handler does not work.
	return !slices.ContainsFunc(rev.Content.Handlers(), func(h string) bool { return !slices.Contains(node.Handlers, h) })
}

// pending says which wish of people waits for the spec to be mended, "" where none does.
func (r *Runtime) pending() string {
	rollback, _ := r.said(observed.AnnotationRollback)
	if rollback == "" || rollback == r.heard(observed.AnnotationRollback) {
		return ""
	}
	return fmt.Sprintf("annotation %s is not obeyed before the spec is valid again: %q", observed.AnnotationRollback, rollback)
}

// goBack makes the revision that nodes go back to the goal, where the newest one is bad.
func (r *Runtime) goBack(parse Parser) {
	bad := r.History[0].Bad()
	if bad == nil {
		return
	}
	r.Bad, r.BadRevision = bad, r.History[0].Revision
	if r.GivenUp() {
		return
	}
	to := r.Revision(bad.To)
	if to == nil || to.Content == nil {
		// Nobody knows what to go back to: nodes stay as they are.
		r.Goal, r.renamed = nil, nil
		return
	}
	r.Goal, r.renamed = to, []string{to.Revision}
	if before := remembers(to, parse); before != nil {
		r.Spec, r.renamed = before.WithRolloutOf(r.Spec), before.Revisions()
		return
	}
	// A spec that today's rules refuse: what is known of its classes is their handlers. Those that the bad revision does not have stay as they are.
	out := *r.Spec
	out.RuntimeClasses = slices.DeleteFunc(slices.Clone(out.RuntimeClasses), func(c spec.RuntimeClass) bool { return !slices.Contains(to.Content.Handlers(), c.Handler) })
	r.Spec = &out
}
