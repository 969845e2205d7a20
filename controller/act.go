package controller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// workers is how many node patches are under way at once: enough to hide the answer times, few enough to leave the API server
// its priority-and-fairness seats.
const workers = 10

// applied is what was last applied to an object and what the API server made of it. An object whose version moved since was
// changed by somebody else and is applied again.
type applied struct {
	digest  [sha256.Size]byte
	version string
}

// act carries a decision out. It tells whether something was written that makes another pass worth while at once. One thing that
// fails keeps nothing else from being done.
func (c *Controller) act(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, decision *rollout.Decision) (bool, error) {
	if decision.Rebuild {
		return c.rebuild(ctx, snap)
	}
	var errs []error
	wrote := false
	for _, part := range []struct {
		name string
		do   func() (bool, error)
	}{
		{"finalizers", func() (bool, error) { return false, c.finalize(ctx, plan) }},
		{"watch pods", func() (bool, error) { return false, c.Sight.Look(ctx, decision.Looks) }},
		{"evictions", func() (bool, error) { return false, c.evict(ctx, snap, decision.Evictions) }},
		{"bad revisions", func() (bool, error) { return c.giveUp(ctx, plan, decision) }},
		{"proven revisions", func() (bool, error) { return false, c.prove(ctx, plan, decision) }},
		// No gate opens before it is seen that its payload may set its label.
		{"done labels", func() (bool, error) { return false, c.doneLabels(ctx, snap, decision) }},
		// Before any pod is made that pulls with it.
		{"pull secret", func() (bool, error) { return false, c.pullSecret(ctx, snap, plan) }},
		{"installers", func() (bool, error) { return c.installers(ctx, snap, plan, decision) }},
		{"nodes", func() (bool, error) { return c.move(ctx, snap, plan, decision.Moves) }},
		{"turns", func() (bool, error) { return c.turns(ctx, snap, decision) }},
		{"classes", func() (bool, error) { return c.classes(ctx, snap, plan, decision) }},
		{"deletions", func() (bool, error) { return c.remove(ctx, decision) }},
	} {
		errs = append(errs, c.guarded("", part.name, func() error {
			did, err := part.do()
			wrote = wrote || did
			return err
		}))
	}
	c.forgetApplied(decision)
	return wrote, errors.Join(errs...)
}

// giveUp writes down which revisions are bad. Nobody acts on that before it is read again.
func (c *Controller) giveUp(ctx context.Context, plan *desired.Plan, decision *rollout.Decision) (bool, error) {
	var errs []error
	wrote := false
	for _, bad := range decision.Bad {
		r := runtimeOf(plan, bad.Runtime)
		rev := r.Revision(bad.Revision)
		mark := observed.Bad{To: bad.To, Reason: bad.Reason, Time: c.Clock.Now().UTC().Truncate(time.Second)}
		did, err := c.markRevision(ctx, rev, rev.Number, map[string]string{observed.AnnotationBad: mark.Text()})
		errs = append(errs, err)
		if !did {
			continue
		}
		wrote = true
		c.Log.Warn("revision is given up", zap.String("runtime", bad.Runtime), zap.String("revision", bad.Revision), zap.String("to", bad.To), zap.String("why", bad.Reason))
		c.Events.Spec(r.Source, corev1.EventTypeWarning, "RevisionGivenUp", status.GivenUpWords(bad.Revision, &mark))
	}
	return wrote, errors.Join(errs...)
}

// markRevision changes the number and the marks of a ControllerRevision, unless that was refused a short while ago.
func (c *Controller) markRevision(ctx context.Context, rev *observed.Revision, number int64, annotations map[string]string) (bool, error) {
	ref := observed.ObjectRef{Kind: "ControllerRevision", Name: rev.Name, Runtime: rev.Runtime}
	return c.attempt(ref, rev.ResourceVersion, func() error { return c.Revisions.MarkRevision(ctx, rev, number, annotations) })
}

// prove writes down which revisions are proven.
func (c *Controller) prove(ctx context.Context, plan *desired.Plan, decision *rollout.Decision) error {
	var errs []error
	for _, proven := range decision.Proven {
		rev := runtimeOf(plan, proven.Runtime).Revision(proven.Revision)
		did, err := c.markRevision(ctx, rev, rev.Number, map[string]string{observed.AnnotationProven: c.Clock.Now().UTC().Format(time.RFC3339)})
		errs = append(errs, err)
		if did {
			c.Log.Info("revision is proven", zap.String("runtime", proven.Runtime), zap.String("revision", proven.Revision))
		}
	}
	return errors.Join(errs...)
}

// finalize puts finalizers on specs, and takes them off.
func (c *Controller) finalize(ctx context.Context, plan *desired.Plan) error {
	var errs []error
	for i := range plan.Runtimes {
		for _, f := range plan.Runtimes[i].Finalize {
			did, err := c.attempt(observed.ObjectRef{Kind: "finalizers of ConfigMap", Name: f.Spec.Name, Runtime: f.Spec.Runtime}, f.Spec.ResourceVersion, func() error {
				return c.Finalizer.Finalizers(ctx, f.Spec, f.Finalizers)
			})
			errs = append(errs, err)
			if !did {
				continue
			}
			c.Log.Info("finalizer", zap.String("spec", f.Spec.Name), zap.String("runtime", f.Spec.Runtime), zap.Strings("finalizers", f.Finalizers))
			if f.Warn != "" {
				c.Log.Warn("spec is let go before its nodes are done", zap.String("spec", f.Spec.Name), zap.String("runtime", f.Spec.Runtime), zap.String("why", f.Warn))
				c.Events.Spec(f.Spec, corev1.EventTypeWarning, "FinalizerReleased", f.Warn)
			}
		}
	}
	return errors.Join(errs...)
}

// doneLabels writes which labels payloads may change. Where none ever said anything by a label, nothing has to be there.
func (c *Controller) doneLabels(ctx context.Context, snap *observed.Snapshot, decision *rollout.Decision) error {
	keys := strings.Join(decision.Objects.DoneLabels, "\n")
	if have := snap.DoneLabels; (have == nil && keys == "") || (have != nil && *have == keys) {
		return nil
	}
	did, err := c.attempt(observed.ObjectRef{Kind: "ConfigMap", Name: observed.DoneLabelsName}, keys, func() error { return c.Access.DoneLabels(ctx, keys) })
	if !did {
		return err
	}
	c.Log.Info("labels that payloads may change", zap.Strings("labels", decision.Objects.DoneLabels))
	return nil
}

// rebuild makes the ConfigMap of turns anew, from nodes read past every cache.
func (c *Controller) rebuild(ctx context.Context, snap *observed.Snapshot) (bool, error) {
	nodes, err := c.Reader.ConsistentNodes(ctx)
	if err != nil {
		return false, fmt.Errorf("rebuild the turns: %w", err)
	}
	turns := rollout.Rebuild(nodes)
	if err := c.Rollout.Turns(ctx, snap.Turns, turns); err != nil {
		if apierrors.IsAlreadyExists(err) {
			c.outrunBy(err)
			return false, nil
		}
		return false, fmt.Errorf("rebuild the turns: %w", err)
	}
	c.Log.Info("turns were rebuilt from the nodes", zap.Int("turns", len(turns)))
	return true, nil
}

// move carries transitions out, several at a time.
func (c *Controller) move(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, moves []rollout.Move) (bool, error) {
	if len(moves) == 0 {
		return false, nil
	}
	nodes := map[string]*observed.Node{}
	for i := range snap.Nodes {
		nodes[snap.Nodes[i].Name] = &snap.Nodes[i]
	}
	var wg sync.WaitGroup
	var moved atomic.Bool
	todo := make(chan rollout.Move)
	errs := make([][]error, min(workers, len(moves)))
	for w := range errs {
		wg.Go(func() {
			for m := range todo {
				errs[w] = append(errs[w], c.guarded(m.Runtime, "node "+m.Node, func() error {
					did, err := c.step(ctx, nodes[m.Node], plan, m)
					if did {
						moved.Store(true)
					}
					return err
				}))
			}
		})
	}
	for _, m := range moves {
		todo <- m
	}
	close(todo)
	wg.Wait()
	return moved.Load(), errors.Join(slices.Concat(errs...)...)
}

// step carries one transition out and says so.
func (c *Controller) step(ctx context.Context, node *observed.Node, plan *desired.Plan, m rollout.Move) (bool, error) {
	var failed error
	content := fmt.Sprint(m.Before, " ", m.HadBefore, " ", node.Unschedulable, " ", node.Taints)
	if m.Kind == rollout.ReturnTurn {
		content = gaveBack
	}
	did, err := c.attempt(observed.ObjectRef{Kind: "Node", Name: m.Node, Runtime: m.Runtime}, content, func() error {
		failed = c.Rollout.Node(ctx, node, m.Transition)
		return failed
	})
	switch {
	case err != nil:
		c.Metrics.move(m.Kind, "error")
		return false, err
	case !did && apply.Outrun(failed):
		c.Metrics.move(m.Kind, "outrun")
		c.Log.Debug("node was changed by somebody else; looking again", zap.String("node", m.Node), zap.String("runtime", m.Runtime), zap.Error(failed))
		return false, nil
	case !did:
		c.Metrics.move(m.Kind, "refused")
		return false, nil
	}
	c.Metrics.moved(&m, c.Clock.Now())
	fields := []zap.Field{zap.String("runtime", m.Runtime), zap.String("node", m.Node), zap.String("move", string(m.Kind))}
	if m.After != nil {
		fields = append(fields, zap.String("phase", string(m.After.Phase)), zap.String("revision", m.After.Revision),
			zap.Int("attempt", m.After.Attempt), zap.String("reason", m.After.Reason), zap.String("message", m.After.Message))
	}
	c.Log.Info("node moved", fields...)
	c.announce(node, plan, m)
	return true, nil
}

// announce writes Events for what people have to know about a node.
func (c *Controller) announce(node *observed.Node, plan *desired.Plan, m rollout.Move) {
	if m.Kind != rollout.Fail || m.After == nil {
		return
	}
	message := fmt.Sprintf("runtime %s, revision %s: %s", m.Runtime, m.After.Revision, m.After.Message)
	c.Events.Node(node, corev1.EventTypeWarning, m.After.Reason, message)
	for i := range plan.Runtimes {
		if r := &plan.Runtimes[i]; r.Name == m.Runtime && r.Source != nil {
			c.Events.Spec(r.Source, corev1.EventTypeWarning, "NodeFailed", fmt.Sprintf("node %s: %s", m.Node, m.After.Message))
		}
	}
}

// installers sees to it that every needed DaemonSet is there and is what its snapshot says.
func (c *Controller) installers(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, decision *rollout.Decision) (bool, error) {
	var errs []error
	wrote := false
	for _, want := range decision.Objects.Installers {
		errs = append(errs, c.guarded(want.Runtime, "installers", func() error {
			did, err := c.installOne(ctx, snap, plan, want)
			wrote = wrote || did
			return err
		}))
	}
	return wrote, errors.Join(errs...)
}

// installOne sees to one installer. It reports whether that was not there before.
func (c *Controller) installOne(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, want rollout.Installer) (bool, error) {
	r := runtimeOf(plan, want.Runtime)
	if r == nil {
		return false, nil
	}
	rev := r.Revision(want.Revision)
	if rev == nil || rev.Content == nil {
		return false, nil
	}
	set, err := c.installer(ctx, want, rev, r, c.current(snap, plan, r, rev))
	if err != nil {
		return false, fmt.Errorf("restore DaemonSet %q: %w", want.Name(), err)
	}
	if set == nil {
		return false, nil
	}
	i := slices.IndexFunc(snap.DaemonSets, func(s observed.DaemonSet) bool { return s.Name == set.Name })
	version := ""
	if i >= 0 {
		if snap.DaemonSets[i].Deleting {
			return false, nil
		}
		// The generation does not count labels and owners.
		have := &snap.DaemonSets[i]
		version = fmt.Sprintf("%s/%d/%v/%v", have.UID, have.Generation, have.Labels, have.Owners)
	}
	ref := observed.ObjectRef{Kind: "DaemonSet", Name: set.Name, Runtime: r.Name}
	did, err := c.ensure(ref, version, set, func() error { return c.Objects.DaemonSet(ctx, set, metav1.PatchOptions{}) })
	return did && i < 0, err
}

// installer is the DaemonSet of a step: from the snapshot, or as the spec says where it verifies. It is nil where the spec does not verify any more; what is there stays then for as long as
// somebody needs it.
func (c *Controller) installer(ctx context.Context, want rollout.Installer, rev *observed.Revision, r *desired.Runtime, current manifests.Current) (*appsv1.DaemonSet, error) {
	if want.Step != observed.StepVerify {
		return manifests.Installer(rev.Content, want.Step, current)
	}
	if r.Spec == nil || r.Spec.Verify == nil || !r.Current(want.Revision) {
		return nil, nil
	}
	objects, refused := c.Renderer.Render(ctx, r.Spec)
	if len(refused) > 0 {
		return nil, refused.ToAggregate()
	}
	set := manifests.Restore(objects.DaemonSets[want.Step], current)
	set.Name = want.Name()
	return set, nil
}

// ensure applies an object unless it was applied just so before and nobody has changed it since.
func (c *Controller) ensure(ref observed.ObjectRef, version string, object any, write func() error) (bool, error) {
	name := ref.Kind + "/" + ref.Name
	text, err := json.Marshal(object)
	if err != nil {
		return false, fmt.Errorf("encode %s: %w", name, err)
	}
	digest := sha256.Sum256(text)
	known, ok := c.applied[name]
	if ok && known.digest == digest && known.version == version && version != "" {
		return false, nil
	}
	if ok && known.digest == digest && known.version == "" && version != "" {
		// The version that our own write led to is first seen now.
		c.applied[name] = applied{digest: digest, version: version}
		return false, nil
	}
	if did, err := c.attempt(ref, string(digest[:]), write); !did {
		delete(c.applied, name)
		return false, err
	}
	c.Log.Info("object applied", zap.String("object", name))
	c.applied[name] = applied{digest: digest}
	return true, nil
}

// current is what an installer takes from the spec of today and not from its snapshot.
func (c *Controller) current(snap *observed.Snapshot, plan *desired.Plan, r *desired.Runtime, rev *observed.Revision) manifests.Current {
	no := false
	owners := []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ControllerRevision", Name: rev.Name, UID: rev.UID, Controller: &no, BlockOwnerDeletion: &no,
	}}
	if r.Source != nil {
		owners = append(owners, metav1.OwnerReference{
			APIVersion: "v1", Kind: "ConfigMap", Name: r.Source.Name, UID: r.Source.UID, Controller: &no, BlockOwnerDeletion: &no,
		})
	}
	now := manifests.Current{Owners: owners, PauseImage: c.PauseImage}
	if r.Spec != nil {
		now.PullPolicy, now.PullSecrets = r.Spec.ImagePullPolicy, r.Spec.ImagePullSecrets
	}
	if len(plan.Pull.Registries) > 0 {
		now.PullVersion = snap.PayloadSecret.ResourceVersion
		now.PullSecrets = append(slices.Clone(now.PullSecrets), corev1.LocalObjectReference{Name: observed.PullSecretName})
	}
	return now
}

// classes sees to it that the RuntimeClasses are there and are what the spec says.
func (c *Controller) classes(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, decision *rollout.Decision) (bool, error) {
	var errs []error
	for _, ref := range decision.Objects.Classes {
		errs = append(errs, c.guarded(ref.Runtime, "classes", func() error { return c.classOne(ctx, snap, plan, ref) }))
	}
	return false, errors.Join(errs...)
}

// classOne sees to one RuntimeClass.
func (c *Controller) classOne(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, ref rollout.ClassRef) error {
	r := runtimeOf(plan, ref.Runtime)
	if r == nil || r.Spec == nil {
		return nil
	}
	objects, refused := c.Renderer.Render(ctx, r.Spec)
	if len(refused) > 0 {
		return fmt.Errorf("render RuntimeClass %q: %w", ref.Name, refused.ToAggregate())
	}
	var errs []error
	for _, class := range objects.RuntimeClasses {
		if class.Name != ref.Name {
			continue
		}
		version := ""
		if i := slices.IndexFunc(snap.RuntimeClasses, func(have observed.RuntimeClass) bool { return have.Name == class.Name }); i >= 0 {
			version = string(snap.RuntimeClasses[i].UID) + "/" + snap.RuntimeClasses[i].ResourceVersion
		}
		_, err := c.ensure(observed.ObjectRef{Kind: "RuntimeClass", Name: class.Name, Runtime: r.Name}, version, class, func() error {
			return c.Objects.RuntimeClass(ctx, class, metav1.PatchOptions{})
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove deletes what nothing needs any more.
func (c *Controller) remove(ctx context.Context, decision *rollout.Decision) (bool, error) {
	var errs []error
	for _, ref := range decision.Objects.Delete {
		did, err := c.attempt(observed.ObjectRef{Kind: ref.Kind, Name: ref.Name, Runtime: ref.Runtime}, "delete "+string(ref.UID), func() error {
			return c.Objects.Delete(ctx, ref.Kind, ref.Name, ref.UID)
		})
		errs = append(errs, err)
		if !did {
			continue
		}
		delete(c.applied, ref.Kind+"/"+ref.Name)
		c.Log.Info("object deleted", zap.String("kind", ref.Kind), zap.String("name", ref.Name), zap.String("runtime", ref.Runtime))
	}
	return false, errors.Join(errs...)
}

// forgetApplied drops what is known of objects that nobody wants any more.
func (c *Controller) forgetApplied(decision *rollout.Decision) {
	if len(c.applied) <= len(decision.Objects.Installers)+len(decision.Objects.Classes) {
		return
	}
	wanted := map[string]bool{}
	for _, i := range decision.Objects.Installers {
		wanted["DaemonSet/"+i.Name()] = true
	}
	for _, class := range decision.Objects.Classes {
		wanted["RuntimeClass/"+class.Name] = true
	}
	maps.DeleteFunc(c.applied, func(name string, _ applied) bool { return !wanted[name] })
}

func runtimeOf(plan *desired.Plan, name string) *desired.Runtime {
	for i := range plan.Runtimes {
		if plan.Runtimes[i].Name == name {
			return &plan.Runtimes[i]
		}
	}
	return nil
}
