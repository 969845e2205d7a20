package controller

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// How long a write that was refused is left alone: twice as long each time.
const (
	firstRefusal = 2 * time.Second
	lastRefusal  = 5 * time.Minute
)

// A write that meets an object which is not as it was seen is tried again at once. One that meets it so again and again, although nobody changes the object, is refused in
// truth: a webhook may answer as a failed compare-and-swap does.
const (
	outrunTimes = 4
	outrunFor   = 2 * time.Second
)

// refusals remember which writes the API server refused. Several goroutines of a pass write.
type refusals struct {
	mu    sync.Mutex
	known map[observed.ObjectRef]observed.Refusal
	// outrun are writes that were outrun, and what they would have written.
	outrun map[observed.ObjectRef]outrunBefore
	// said is when people were last told of a refusal, by runtime and kind; told are the objects that they were told of.
	said map[observed.ObjectRef]time.Time
	told map[observed.ObjectRef]bool
	// fresh is true where a write was refused since it was last asked: what is decided next is another thing.
	fresh bool
}

type outrunBefore struct {
	content string
	first   time.Time
	times   int
}

func newRefusals() *refusals {
	return &refusals{known: map[observed.ObjectRef]observed.Refusal{}, outrun: map[observed.ObjectRef]outrunBefore{}, said: map[observed.ObjectRef]time.Time{}, told: map[observed.ObjectRef]bool{}}
}

// now are all refusals that are known, nil for none.
func (r *refusals) now() map[observed.ObjectRef]observed.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) == 0 {
		return nil
	}
	return maps.Clone(r.known)
}

// waits reports whether a write is left alone for now.
func (r *refusals) waits(ref observed.ObjectRef, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[ref]
	return ok && now.Before(known.Until)
}

// succeeded forgets what was known of an object.
func (r *refusals) succeeded(ref observed.ObjectRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, ref)
	delete(r.outrun, ref)
	delete(r.told, ref)
}

// wereFresh reports whether a write was refused since it was last asked.
func (r *refusals) wereFresh() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.fresh
	r.fresh = false
	return fresh
}

// again notes that a write was outrun, and reports whether that can't be the reason any more.
func (r *refusals) again(ref observed.ObjectRef, content string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.outrun[ref]
	if before.content != content || before.times == 0 {
		before = outrunBefore{content: content, first: now}
	}
	before.times++
	r.outrun[ref] = before
	return before.times >= outrunTimes && now.Sub(before.first) >= outrunFor
}

// refused notes a refusal, and reports whether people are to be told: of one runtime and kind at most once a minute.
func (r *refusals) refused(ref observed.ObjectRef, err error, words string, now time.Time) (observed.Refusal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[ref]
	if !ok {
		known.Since = now
	}
	wait := firstRefusal << min(known.Times, 10)
	known.Panic = errors.Is(err, errPanic)
	known.Words, known.Until = observed.Shorten(words, observed.MaxMessage/2), now.Add(min(wait, lastRefusal))
	known.Times++
	r.known[ref], r.fresh = known, true
	delete(r.outrun, ref)
	kind := observed.ObjectRef{Kind: ref.Kind, Runtime: ref.Runtime}
	if r.told[ref] || now.Before(r.said[kind].Add(time.Minute)) {
		return known, false
	}
	r.said[kind], r.told[ref] = now, true
	return known, true
}

// forget drops what is known of objects that are not there any more.
func (r *refusals) forget(there func(ref observed.ObjectRef, last time.Time) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.known, func(ref observed.ObjectRef, known observed.Refusal) bool { return !there(ref, known.Until) })
	maps.DeleteFunc(r.outrun, func(ref observed.ObjectRef, before outrunBefore) bool { return !there(ref, before.first) })
}

// gaveBack is the content of a write by which a node only gives its turn back.
const gaveBack = "the turn is given back"

// attempt makes a write unless it was refused a short while ago. A refusal is remembered, told to people, and nobody's error: everything else goes on. content is what would be
// written, and what it would be written over. Errors that come back are those after which everything is worth trying again.
func (c *Controller) attempt(ref observed.ObjectRef, content string, write func() error) (did bool, err error) {
	now := c.Clock.Now()
	if c.refusals.waits(ref, now) {
		return false, nil
	}
	err = c.guarded(ref.Runtime, "write "+ref.String(), write)
	words := apply.Refused(err)
	if errors.Is(err, errPanic) {
		// It would most likely fail again.
		words = err.Error()
	}
	switch {
	case err == nil && content == gaveBack:
		// That says nothing of the write that was refused.
		return true, nil
	case err == nil:
		c.refusals.succeeded(ref)
		return true, nil
	case apply.Outrun(err) && !c.refusals.again(ref, content, now):
		c.outrunBy(err)
		return false, nil
	case words == "":
		return false, err
	}
	refusal, tell := c.refusals.refused(ref, err, words, now)
	c.Metrics.writeRefused(ref)
	c.Log.Warn("write is refused", zap.String("kind", ref.Kind), zap.String("name", ref.Name), zap.String("runtime", ref.Runtime), zap.Int("times", refusal.Times), zap.Error(err))
	if r := runtimeOf(c.plan, ref.Runtime); tell && r != nil && r.Source != nil {
		c.Events.Spec(r.Source, corev1.EventTypeWarning, "WriteRefused", fmt.Sprintf("%s: %s", ref, refusal.Words))
	}
	return false, nil
}

// forgetRefusals drops what is known of nodes and runtimes that are gone, and of writes that nobody wants any more.
func (c *Controller) forgetRefusals(snap *observed.Snapshot, plan *desired.Plan) {
	if len(snap.Refused) == 0 {
		return
	}
	nodes := map[string]bool{}
	for i := range snap.Nodes {
		nodes[snap.Nodes[i].Name] = true
	}
	c.refusals.forget(func(ref observed.ObjectRef, last time.Time) bool {
		// What nobody has tried to write for long nobody wants any more.
		wanted := snap.Time.Sub(last) < 2*lastRefusal
		return wanted && (ref.Kind != "Node" || nodes[ref.Name]) && (ref.Runtime == "" || runtimeOf(plan, ref.Runtime) != nil)
	})
}
