// Package controller answers: when do we act?
//
// One loop: observe, decide, act. Everything that happens in the cluster only says "look again"; a pass looks at the whole
// snapshot. It is the only place that reads the clock and logs decisions.
package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// Reader says what is there.
type Reader interface {
	Snapshot(now time.Time) *observed.Snapshot
	ConsistentNodes(ctx context.Context) ([]observed.Node, error)
	CatchUp(ctx context.Context) error
}

// Rollout writes turns and nodes.
type Rollout interface {
	Turns(ctx context.Context, before observed.Turns, booked []observed.Turn) error
	Node(ctx context.Context, node *observed.Node, t observed.Transition) error
}

// Objects writes what Longshore keeps in the cluster.
type Objects interface {
	DaemonSet(ctx context.Context, object *appsv1.DaemonSet, opts metav1.PatchOptions) error
	RuntimeClass(ctx context.Context, object *nodev1.RuntimeClass, opts metav1.PatchOptions) error
	Delete(ctx context.Context, kind, name string, uid types.UID) error
}

// Sight sees the pods of single nodes, in snapshots, for as long as they are asked for.
type Sight interface {
	Look(ctx context.Context, nodes []string) error
}

// Evictions has pods leave. Why the API server refuses one comes back in words, where asking again may help.
type Evictions interface {
	Evict(ctx context.Context, pod *observed.Workload) (refused string, err error)
}

// NodeAccess says which labels payloads may change on their own nodes.
type NodeAccess interface {
	DoneLabels(ctx context.Context, keys string) error
}

// PullSecret hands credentials to the kubelets, for registries as a pull secret names them; none takes them away.
type PullSecret interface {
	PullSecret(ctx context.Context, registries []string, username, password observed.Hidden) error
}

// Finalizers holds deleted specs, and lets them go.
type Finalizers interface {
	Finalizers(ctx context.Context, s *observed.Spec, want []string) error
}

// Revisions writes snapshots.
type Revisions interface {
	CreateRevision(ctx context.Context, object *appsv1.ControllerRevision) error
	MarkRevision(ctx context.Context, before *observed.Revision, number int64, annotations map[string]string) error
}

// Status writes the status annotations of specs.
type Status interface {
	Status(ctx context.Context, s *observed.Spec, annotations map[string]string) error
}

// Events says what people should see in `kubectl describe`.
type Events interface {
	Spec(s *observed.Spec, kind, reason, message string)
	Node(node *observed.Node, kind, reason, message string)
}

// Renderer makes objects of a runtime.
type Renderer interface {
	Render(ctx context.Context, rt *spec.Runtime) (*manifests.Objects, field.ErrorList)
}

// Ports are the controller's ways out into the world.
type Ports struct {
	Reader    Reader
	Sight     Sight
	Evictions Evictions
	Finalizer Finalizers
	Rollout   Rollout
	Objects   Objects
	Access    NodeAccess
	Pull      PullSecret
	Revisions Revisions
	Status    Status
	Memory    PoolMemory
	Events    Events
	Renderer  Renderer
	Clock     clock.WithTicker
	Log       *zap.Logger
	Metrics   *Metrics
	// PauseImage is the image of this controller, which waits in installer pods of every revision: the image that a revision was
	// made with may be gone from the registry. Empty keeps that one.
	PauseImage string
}

// key is the queue's only key.
const key = "pass"

// patience is how many passes in a row may be outrun before that is worth a warning: a second or so.
const patience = 5

// breath is how long the loop rests at most after a pass in which nothing was to be done.
const breath = 50 * time.Millisecond

// StatusInterval is the least time between two writes of a spec's status.
const StatusInterval = 2 * time.Second

// Controller runs passes.
type Controller struct {
	Ports
	options desired.Options
	queue   workqueue.TypedRateLimitingInterface[string]

	parser   parser
	mismatch map[observed.NodeRuntime]time.Time
	labelled map[observed.NodeRuntime]time.Time
	halts    map[string]observed.Deselection
	evicted  map[types.UID]observed.Eviction
	refused  map[string]refusal
	applied  map[string]applied
	told     map[types.UID]told
	// untold is the version of each ConfigMap without a label that the status was last taken off from.
	untold map[types.UID]string

	// turnsProblem is what was last said about turns that cannot be read.
	turnsProblem string
	// pulled is what the pull secret was last made from, and when.
	pulled   string
	pulledAt time.Time
	// warned is what was last said about payloads.
	warned warned
	// refusals are writes that the API server refused; stubborn are checks of specs that it could not answer.
	refusals *refusals
	stubborn map[string]unanswered
	// plan is that of the pass under way.
	plan *desired.Plan
	// gone are nodes of turns that are known to be gone, and listAt is when it is tried again to find out.
	gone   map[types.UID]bool
	listAt time.Time
	listed int
	// written is what the last pass wrote of turns, nodes and revisions.
	written string
	// shownPanics are the panics that people were told of, by runtime.
	shownPanics map[string]string

	// mu guards what several goroutines of a pass write, and what Forget clears.
	mu     sync.Mutex
	outrun error
	// panics are those of this pass, by runtime.
	panics map[string]string
}

// outrunBy remembers that a write of this pass met an object that is not as it was seen. Nearly always a watch event is on its way
// that leads to the next pass; a write that is refused for another reason, by an admission policy for one, has none, and must
// neither be forgotten nor repeated in a tight loop.
func (c *Controller) outrunBy(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outrun = err
}

// wasOutrun returns the last write that was outrun since it was last asked, nil if there was none.
func (c *Controller) wasOutrun() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.outrun
	c.outrun = nil
	return err
}

// New returns a controller. Nothing runs until [Controller.Run].
func New(ports Ports, options desired.Options) *Controller {
	return &Controller{
		Ports: ports, options: options,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 30*time.Second),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: "longshore", Clock: ports.Clock}),
		mismatch: map[observed.NodeRuntime]time.Time{}, refused: map[string]refusal{}, applied: map[string]applied{}, told: map[types.UID]told{},
		refusals: newRefusals(), stubborn: map[string]unanswered{}, gone: map[types.UID]bool{},
	}
}

// Look asks for a pass. It may be called from anywhere, at any time, as often as one likes.
func (c *Controller) Look() { c.queue.Add(key) }

// Forget drops what was refused, for a retry under other circumstances: a new site component, for one.
func (c *Controller) Forget() {
	c.mu.Lock()
	clear(c.refused)
	c.mu.Unlock()
	c.Look()
}

// Run makes passes until the context ends; a pass under way is finished first. The first one sees all that was written until now:
// somebody else may have acted a moment ago.
func (c *Controller) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, c.queue.ShutDown)
	defer stop()
	if !c.catchUp(ctx) {
		return
	}
	c.Look()
	for {
		item, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		c.once(ctx, item)
		c.queue.Done(item)
	}
}

// catchUp reads past the caches, as often as it takes. It tells whether it could before the context ended.
func (c *Controller) catchUp(ctx context.Context) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := c.Reader.CatchUp(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.Log.Warn("cannot read what was written until now; nothing is done before that", zap.Error(err))
		select {
		case <-ctx.Done():
			return false
		case <-c.Clock.After(wait):
		}
	}
}

// once makes one pass and sees to the next.
func (c *Controller) once(ctx context.Context, item string) {
	start := c.Clock.Now()
	again, err := c.Pass(ctx)
	took := c.Clock.Since(start)
	c.Metrics.pass(took, err)
	outrun := c.wasOutrun()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.Log.Warn("pass was not complete; it is tried again", zap.Error(err))
		c.queue.AddRateLimited(item)
	case outrun != nil:
		if c.queue.NumRequeues(item) >= patience {
			c.Log.Warn("a write is refused again and again; it is tried again", zap.Error(outrun))
		}
		c.queue.AddRateLimited(item)
	default:
		c.queue.Forget(item)
	}
	if !again.IsZero() {
		c.queue.AddAfter(item, max(again.Sub(c.Clock.Now()), 0))
	}
	if again.IsZero() || again.After(c.Clock.Now()) {
		c.rest(ctx, min(took, breath))
	}
}

// rest keeps passes that have nothing to do from taking more than half of a core: where events come faster than passes are made, as when the pods of a thousand nodes leave,
// several are looked at at once.
func (c *Controller) rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-c.Clock.After(d):
	}
}

// Pass is the product in one function: observe, decide, act. It returns when time alone asks for another pass. A panic that concerns no single runtime ends the pass with an
// error, and not the controller.
func (c *Controller) Pass(ctx context.Context) (again time.Time, err error) {
	guard := c.guarded("", "pass", func() error {
		again, err = c.pass(ctx)
		return nil
	})
	return again, errors.Join(err, guard)
}

func (c *Controller) pass(ctx context.Context) (time.Time, error) {
	snap := c.Reader.Snapshot(c.Clock.Now())
	snap.Mismatch, snap.Labelled, snap.Evictions, snap.Halts = c.mismatch, c.labelled, c.evicted, c.halts
	if problem := snap.Turns.Problem; problem != c.turnsProblem {
		c.turnsProblem = problem
		if problem != "" {
			c.Log.Warn("somebody else wrote into the ConfigMap of turns; what cannot be read is left out", zap.String("problem", problem))
		}
	}
	snap.Refused, snap.MaybeThere = c.refusals.now(), c.maybeThere(ctx, snap)
	plan := desired.Of(snap, c.parser.parse, c.options)
	c.plan = plan
	c.mismatch, c.halts = plan.Mismatches(snap), plan.Halts()
	c.forgetRefusals(snap, plan)

	warnErr := c.guarded("", "warnings", func() error { c.warn(snap, plan); return nil })
	prepared, err := c.prepare(ctx, snap, plan)
	decision := rollout.Decide(snap, plan)
	c.leftAlone(decision.Panics)
	c.labelled = decision.Labelled
	memoryErr := c.guarded("", "memory of pools", func() error { return c.remember(ctx, snap, plan) })
	acted, actErr := c.act(ctx, snap, plan, decision)
	disownErr := c.guarded("", "ConfigMaps without a label", func() error { return c.disown(ctx, snap) })
	again := decision.Again
	var tellErr error
	// Before a rebuild of lost turns nothing was counted, so there is nothing to tell.
	if !decision.Rebuild {
		report := status.Of(snap, plan, decision)
		unremembered(plan, report)
		c.showPanics(plan, report)
		var later time.Time
		later, tellErr = c.tell(ctx, snap, plan, report)
		again = earliest(again, later)
		c.Metrics.report(report)
	}
	if c.refusals.wereFresh() {
		// What is decided next knows of it.
		again = earliest(again, snap.Time.Add(firstRefusal/20))
	}
	if prepared || acted {
		again = snap.Time
		if written := writtenText(plan, decision); written == c.written {
			// What was written came to nothing: somebody undoes it, or it cannot be read back.
			c.outrunBy(errors.New("the same was written twice in a row, and changed nothing"))
			again = decision.Again
		} else {
			c.written = written
		}
	} else {
		c.written = ""
	}
	return again, errors.Join(err, warnErr, memoryErr, actErr, disownErr, tellErr)
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// writtenText is what a pass writes of revisions, turns and nodes, as text.
func writtenText(plan *desired.Plan, decision *rollout.Decision) string {
	var b strings.Builder
	for i := range plan.Runtimes {
		if p := plan.Runtimes[i].Prepare; p != nil {
			fmt.Fprintln(&b, p.Runtime, p.Number, p.New != nil, p.Annotations)
		}
	}
	fmt.Fprintln(&b, decision.Bad, decision.Proven, decision.Turns)
	for i := range decision.Moves {
		m := &decision.Moves[i]
		fmt.Fprintln(&b, m.Node, m.Runtime, m.Kind, m.Before, m.Gate, m.Ready, m.Cordon, m.After)
	}
	return b.String()
}

// prepare writes what has to be known before it is acted on. It tells whether anything was written.
func (c *Controller) prepare(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan) (bool, error) {
	var errs []error
	wrote := false
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		if r.Prepare == nil {
			continue
		}
		errs = append(errs, c.guarded(r.Name, "prepare", func() error {
			did, err := c.prepareOne(ctx, snap, plan, r)
			wrote = wrote || did
			return err
		}))
	}
	return wrote, errors.Join(errs...)
}
