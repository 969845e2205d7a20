package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// peopleManager is the field manager of what people say through these commands. It is not one of kubectl's: those that Argo CD and others take for their own drift.
const peopleManager = "longshore-cli"

// peopleOptions are the flags of the commands by which people control a rollout. What they say are annotations: nothing that lives in Git.
type peopleOptions struct {
	connection
	dryRun bool
	reason string
	to     string
}

func (o *peopleOptions) command(env *environment, cmd *cobra.Command, do func(*person, context.Context) error) *cobra.Command {
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "have the API server check it, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kube, err := o.client(cmd.Context(), nil)
		if err != nil {
			return err
		}
		snap, err := o.once(cmd.Context(), kube)
		if err != nil {
			return err
		}
		p, err := newPerson(o, kube, lookAt(snap), args, env.stdout)
		if err != nil {
			return err
		}
		return do(p, cmd.Context())
	}
	return cmd
}

func pauseCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	cmd := &cobra.Command{
		Use:   "pause RUNTIME",
		Short: "Let no further node begin",
		Long: `Let no further node begin with anything for a runtime. Nodes under way finish. The pause is an annotation on the spec, outlives that under whatever name, and ends
only with longshore resume. It holds no uninstall up whose spec was deleted.`,
		Example: `  longshore pause kata --reason "INC-4711"`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for whoever looks at the nodes that wait")
	return o.command(env, cmd, (*person).pause)
}

func resumeCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	return o.command(env, &cobra.Command{Use: "resume RUNTIME", Short: "End a pause", Args: cobra.ExactArgs(1)}, (*person).resume)
}

func retryCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	return o.command(env, &cobra.Command{
		Use:   "retry RUNTIME [NODE…]",
		Short: "Try again what failed",
		Long: `Try again what failed: the nodes that are named, or all nodes that failed and a revision that was given up. A node that failed holds its place in the budget, and needs
no second one.`,
		Example: `  longshore retry kata              # all that failed
  longshore retry kata worker-3     # this node only`,
		Args: cobra.MinimumNArgs(1),
	}, (*person).retry)
}

func rollbackCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	cmd := &cobra.Command{
		Use:   "rollback RUNTIME",
		Short: "Take nodes back to an earlier revision",
		Long: `Take nodes back to an earlier revision, within the budget. The revision that the spec asks for is given up until its data changes or longshore retry has it tried again; the
spec in Git stays as it is.`,
		Example: `  longshore history kata
  longshore rollback kata --to a1b2c3d4e5`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.to, "to", "", "the revision; by default the newest one before that is not bad itself")
	return o.command(env, cmd, (*person).rollback)
}

// person is somebody who says something about one runtime.
type person struct {
	*peopleOptions
	kube  kubernetes.Interface
	view  *view
	r     *desired.Runtime
	nodes []string
	out   io.Writer
}

func newPerson(o *peopleOptions, kube kubernetes.Interface, v *view, args []string, out io.Writer) (*person, error) {
	p := &person{peopleOptions: o, kube: kube, view: v, nodes: args[1:], out: out}
	i := slices.IndexFunc(v.plan.Runtimes, func(r desired.Runtime) bool { return r.Name == args[0] })
	if i < 0 {
		return nil, fmt.Errorf("runtime %q: no spec, no snapshot and no node of that name is in the cluster", args[0])
	}
	p.r = &v.plan.Runtimes[i]
	for _, name := range p.nodes {
		if !v.hasNode(name) {
			return nil, fmt.Errorf("node %q: the cluster has no node of that name", name)
		}
	}
	return p, nil
}

// spec is the ConfigMap that speaks for the runtime.
func (p *person) spec() (*observed.Spec, error) {
	if p.r.Source == nil {
		return nil, fmt.Errorf("runtime %q has no spec to say that on: its ConfigMap is gone", p.r.Name)
	}
	return p.r.Source, nil
}

func (p *person) pause(ctx context.Context) error {
	s, err := p.spec()
	if err != nil {
		return err
	}
	if p.reason == observed.Resumed {
		return usageError{fmt.Errorf("--reason: %q is how a pause is ended; say it in other words", p.reason)}
	}
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationPause: p.reason}); err != nil {
		return err
	}
	return p.say("runtime %q is paused: no further node begins, nodes under way finish. To go on: longshore resume %s", p.r.Name, p.r.Name)
}

func (p *person) resume(ctx context.Context) error {
	s, err := p.spec()
	if err != nil {
		return err
	}
	_, said := s.People[observed.AnnotationPause]
	if !said && p.r.Pause == nil {
		if p.r.Spec != nil && p.r.Spec.Paused {
			return fmt.Errorf("runtime %q is paused by its spec: take data.paused out of ConfigMap %q, or out of what it is made from", p.r.Name, s.Name)
		}
		return p.say("runtime %q is not paused", p.r.Name)
	}
	// What was said on an earlier ConfigMap is ended by a word on this one; what was said on this one is taken back.
	var word any
	if p.r.Pause != nil && p.r.Pause.On != string(s.UID) {
		word = observed.Resumed
	}
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationPause: word}); err != nil {
		return err
	}
	return p.say("runtime %q goes on", p.r.Name)
}

func (p *person) retry(ctx context.Context) error {
	value := p.view.snap.Time.UTC().Format(time.RFC3339Nano)
	all := len(p.nodes) == 0
	if all {
		for i := range p.view.snap.Nodes {
			n := &p.view.snap.Nodes[i]
			if progress := n.Progress(p.r.Name); progress != nil && progress.Phase == observed.PhaseFailed {
				p.nodes = append(p.nodes, n.Name)
			}
		}
	}
	if all && p.r.Stale {
		s, err := p.spec()
		if err != nil {
			return err
		}
		if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationRetry: value}); err != nil {
			return err
		}
		return p.say("ConfigMap %q speaks for runtime %q from now on", s.Name, p.r.Name)
	}
	if all && p.r.Bad != nil {
		s, err := p.spec()
		if err != nil {
			return err
		}
		if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationRetry: value, observed.AnnotationRollback: nil}); err != nil {
			return err
		}
		if err := p.say("revision %s of runtime %q is tried again", p.r.BadRevision, p.r.Name); err != nil {
			return err
		}
	} else if len(p.nodes) == 0 {
		return p.say("no node failed with runtime %q, and its revision is not given up", p.r.Name)
	}
	var errs []error
	for _, name := range p.nodes {
		if err := p.annotateNode(ctx, name, map[string]any{observed.RetryKey(p.r.Name): value}); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, p.say("runtime %q is tried again on node %s", p.r.Name, name))
	}
	return errors.Join(errs...)
}

func (p *person) rollback(ctx context.Context) error {
	s, err := p.spec()
	if err != nil {
		return err
	}
	if len(p.r.History) == 0 || p.r.Prepare != nil {
		return fmt.Errorf("runtime %q: the controller has not prepared what the spec asks for yet; look again in a moment, or at longshore status %s", p.r.Name, p.r.Name)
	}
	from := p.r.History[0]
	to, err := p.before(from)
	if err != nil {
		return err
	}
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationRollback: from.Revision + " " + to}); err != nil {
		return err
	}
	return p.say("runtime %q goes back from revision %s to %s, within its budget. To have %s tried again: longshore retry %s", p.r.Name, from.Revision, to, from.Revision, p.r.Name)
}

// before is the revision to go back to.
func (p *person) before(from *observed.Revision) (string, error) {
	if p.to == "" {
		for _, rev := range p.r.History[1:] {
			if rev.Content != nil && rev.Bad() == nil {
				return rev.Revision, nil
			}
		}
		return "", fmt.Errorf("runtime %q has no revision before %s to go back to", p.r.Name, from.Revision)
	}
	switch rev := p.r.Revision(p.to); {
	case p.to == from.Revision:
		return "", fmt.Errorf("--to: revision %s is the one that the spec asks for", p.to)
	case rev == nil:
		return "", fmt.Errorf("--to: runtime %q has no revision %q; longshore history %s lists those that there are", p.r.Name, p.to, p.r.Name)
	case rev.Content == nil:
		return "", fmt.Errorf("--to: the snapshot of revision %s cannot be read: %s", p.to, rev.Problem)
	}
	return p.to, nil
}

func (p *person) annotateSpec(ctx context.Context, s *observed.Spec, annotations map[string]any) error {
	_, err := p.kube.CoreV1().ConfigMaps(p.namespace).Patch(ctx, s.Name, types.MergePatchType, annotationsPatch(s.UID, annotations), p.patchOptions())
	if err != nil {
		return fmt.Errorf("annotate ConfigMap %s/%s: %w", p.namespace, s.Name, err)
	}
	return nil
}

func (p *person) annotateNode(ctx context.Context, name string, annotations map[string]any) error {
	i := slices.IndexFunc(p.view.snap.Nodes, func(n observed.Node) bool { return n.Name == name })
	_, err := p.kube.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, annotationsPatch(p.view.snap.Nodes[i].UID, annotations), p.patchOptions())
	if err != nil {
		return fmt.Errorf("annotate node %s: %w", name, err)
	}
	return nil
}

// annotationsPatch is a merge patch; nil takes an annotation off. The uid keeps it from an object that has taken the place of the one that was seen.
func annotationsPatch(uid types.UID, annotations map[string]any) []byte {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid, "annotations": annotations}})
	if err != nil {
		// Texts and nil always have a text.
		panic(err)
	}
	return body
}

func (o *peopleOptions) patchOptions() metav1.PatchOptions {
	options := metav1.PatchOptions{FieldManager: peopleManager}
	if o.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return options
}

// say tells what was done, or what would have been.
func (p *person) say(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if p.dryRun {
		text += " (dry run: nothing was changed)"
	}
	_, err := fmt.Fprintln(p.out, plain(text))
	return err
}
