package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// refusal is why a spec cannot be in force, remembered so that the API server is not asked again and again.
type refusal struct {
	content string
	errs    field.ErrorList
	until   time.Time
}

// refusalTime is how long a refusal is believed: an admission policy may have been changed meanwhile.
const refusalTime = time.Minute

// prepareOne writes what one runtime has to have written. What is wrong with its spec goes into the plan; what is wrong with the world
// comes back as an error.
func (c *Controller) prepareOne(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, r *desired.Runtime) (bool, error) {
	asked := cmp.Or(r.Prepare.New, r.Prepare.Asked)
	if asked == nil {
		return c.mark(ctx, r)
	}
	objects, refused, err := c.judge(ctx, snap, r, asked)
	switch {
	case err != nil:
		return false, fmt.Errorf("prepare runtime %q: %w", r.Name, err)
	case refused != nil:
		r.Refuse(refused.errs)
		plan.Again = earliest(plan.Again, refused.until)
		if r.Prepare == nil {
			return false, nil
		}
		return c.mark(ctx, r)
	case r.Prepare.New == nil:
		return c.mark(ctx, r)
	}
	annotations := maps.Clone(r.Prepare.Annotations)
	maps.DeleteFunc(annotations, func(_, value string) bool { return value == "" })
	revision, err := manifests.ControllerRevision(objects, asked, r.Prepare.Number, annotations)
	if err != nil {
		return false, err
	}
	if err := c.Revisions.CreateRevision(ctx, revision); err != nil {
		if errs := c.unstored(snap.Time, r, revision.Name, err); len(errs) > 0 {
			refused := c.refuse(snap, r, asked, errs)
			plan.Again = earliest(plan.Again, refused.until)
			r.Refuse(refused.errs)
			return false, nil
		}
		return false, fmt.Errorf("prepare runtime %q: %w", r.Name, err)
	}
	c.Log.Info("revision was made", zap.String("runtime", r.Name), zap.String("revision", asked.Revision()), zap.Int64("number", r.Prepare.Number))
	return true, nil
}

// mark changes the number and the marks of a revision that is there.
func (c *Controller) mark(ctx context.Context, r *desired.Runtime) (bool, error) {
	p := r.Prepare
	if did, err := c.markRevision(ctx, p.Revision, p.Number, p.Annotations); !did {
		return false, err
	}
	c.Log.Info("spec is remembered", zap.String("runtime", r.Name), zap.String("revision", p.Revision.Revision), zap.Bool("gone", r.Source == nil))
	return true, nil
}

// judge renders what a spec asks for and has the API server check it: all of a new revision, and of one that is there the classes.
// A refusal is remembered by all that the spec says: classes are no part of a revision.
func (c *Controller) judge(ctx context.Context, snap *observed.Snapshot, r *desired.Runtime, asked *spec.Runtime) (*manifests.Objects, *refusal, error) {
	content := r.Prepare.Annotations[observed.AnnotationSpec]
	c.mu.Lock()
	known, ok := c.refused[r.Name]
	c.mu.Unlock()
	if ok && known.content == content && snap.Time.Before(known.until) {
		return nil, &known, nil
	}
	objects, errs := c.Renderer.Render(ctx, asked)
	if len(errs) == 0 {
		checked := objects
		if r.Prepare.New == nil {
			checked = &manifests.Objects{Runtime: objects.Runtime, Revision: objects.Revision, RuntimeClasses: objects.RuntimeClasses}
		}
		var err error
		if errs, err = c.check(ctx, snap, checked); err != nil {
			if errs = c.stubbornly(snap.Time, checks, r, err); len(errs) == 0 {
				return nil, nil, err
			}
		}
	}
	if len(errs) == 0 {
		delete(c.stubborn, checks+" "+r.Name)
		return objects, nil, nil
	}
	return nil, c.refuse(snap, r, asked, errs), nil
}

// refuse remembers why what a spec asks for cannot be in force.
func (c *Controller) refuse(snap *observed.Snapshot, r *desired.Runtime, asked *spec.Runtime, errs field.ErrorList) *refusal {
	known := refusal{content: r.Prepare.Annotations[observed.AnnotationSpec], errs: errs, until: snap.Time.Add(refusalTime)}
	c.mu.Lock()
	c.refused[r.Name] = known
	c.mu.Unlock()
	c.Log.Warn("spec was refused", zap.String("runtime", r.Name), zap.String("revision", asked.Revision()), zap.Error(errs.ToAggregate()))
	return &known
}

// unstored says what the API server has against a revision: a quota, or a policy. The spec cannot be in force without it.
func (c *Controller) unstored(now time.Time, r *desired.Runtime, name string, err error) field.ErrorList {
	words := apply.Refused(err)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return nil
	case apierrors.IsInternalError(err):
		return c.stubbornly(now, stores, r, err)
	case words == "":
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("ControllerRevision").Key(name), "the API server refuses to store the revision: "+words)}
}

// unanswered are checks of one spec in a row that the API server answered with an error of its own.
type unanswered struct {
	content string
	times   int
	first   time.Time
}

// What was not answered.
const (
	checks = "check"
	stores = "store"
)

// What such an answer is about may pass. After so many of them in a row, over so long a time, the spec is refused.
const (
	mostUnanswered = 3
	unansweredFor  = 10 * time.Second
)

// stubbornly counts a check that the API server answered with an error of its own, and says what it has against the spec when that happens again and again.
func (c *Controller) stubbornly(now time.Time, what string, r *desired.Runtime, err error) field.ErrorList {
	words := apply.Refused(err)
	if words == "" {
		return nil
	}
	content := r.Prepare.Annotations[observed.AnnotationSpec]
	key := what + " " + r.Name
	before := c.stubborn[key]
	if before.content != content {
		before = unanswered{content: content, first: now}
	}
	before.times++
	c.stubborn[key] = before
	c.mu.Lock()
	again := c.refused[r.Name].content == content
	c.mu.Unlock()
	if !again && (before.times < mostUnanswered || now.Sub(before.first) < unansweredFor) {
		return nil
	}
	delete(c.stubborn, key)
	return field.ErrorList{field.Forbidden(field.NewPath("data"), "the API server cannot check the rendered objects: "+words)}
}

// check dry-runs the objects on the API server.
func (c *Controller) check(ctx context.Context, snap *observed.Snapshot, objects *manifests.Objects) (field.ErrorList, error) {
	var errs field.ErrorList
	for _, step := range slices.Sorted(maps.Keys(objects.DaemonSets)) {
		set := objects.DaemonSets[step]
		refused, err := refusedBy(c.Objects.DaemonSet(ctx, set, apply.DryRun()), "DaemonSet", set.Name)
		if err != nil {
			return nil, err
		}
		errs = append(errs, refused...)
	}
	for _, class := range objects.RuntimeClasses {
		foreign := slices.ContainsFunc(snap.RuntimeClasses, func(have observed.RuntimeClass) bool {
			return have.Name == class.Name && have.Owner() != objects.Runtime
		})
		if foreign {
			continue
		}
		refused, err := refusedBy(c.Objects.RuntimeClass(ctx, class, apply.DryRun()), "RuntimeClass", class.Name)
		if err != nil {
			return nil, err
		}
		errs = append(errs, refused...)
	}
	return errs, nil
}

// refusedBy tells what the API server has against an object from what keeps it from answering.
func refusedBy(err error, kind, name string) (field.ErrorList, error) {
	switch {
	case err == nil:
		return nil, nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsConflict(err):
		// Nothing conflicts with what is only checked, and forced: a conflict is about what the object says of itself.
		return field.ErrorList{field.Forbidden(field.NewPath(kind).Key(name), "the API server refuses the rendered object: "+err.Error())}, nil
	}
	return nil, fmt.Errorf("check %s %q by a dry run: %w", kind, name, err)
}

// parser remembers what it has read: between two passes nearly every spec is the same.
type parser struct {
	mu    sync.Mutex
	known map[string]parsed
}

type parsed struct {
	runtime *spec.Runtime
	errs    field.ErrorList
}

// parserLimit bounds the memory; the specs of a cluster are few.
const parserLimit = 64

func (p *parser) parse(name string, data map[string]string, binaryData map[string][]byte) (*spec.Runtime, field.ErrorList) {
	if len(binaryData) > 0 {
		return spec.Parse(name, data, binaryData)
	}
	var b strings.Builder
	b.WriteString(name)
	for _, k := range slices.Sorted(maps.Keys(data)) {
		b.WriteString("\x00" + k + "\x00" + data[k])
	}
	text := b.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.known[text]; ok {
		return known.runtime, known.errs
	}
	runtime, errs := spec.Parse(name, data, nil)
	if p.known == nil || len(p.known) >= parserLimit {
		p.known = map[string]parsed{}
	}
	p.known[text] = parsed{runtime: runtime, errs: errs}
	return runtime, errs
}
