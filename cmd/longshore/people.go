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
	// deselected is for nodes that lost their labels, and not for a pause.
	deselected bool
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
		p, err := newPerson(o, kube, lookAt(snap), args, env)
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
		Long: `Let no further node begin with anything for a runtime. Nodes under way finish. The pause is an annotation on the spec. The controller remembers it: it outlives the ConfigMap
and the annotation, and ends only with longshore resume. A spec that is Invalid is paused as well. A pause holds no uninstall up whose spec was deleted.`,
		Example: `  longshore pause kata --reason "INC-4711"`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for whoever looks at the nodes that wait")
	return o.command(env, cmd, (*person).pause)
}

func resumeCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	cmd := &cobra.Command{
		Use:   "resume RUNTIME",
		Short: "End a pause, or let nodes be uninstalled that lost their labels",
		Long: `End a pause: longshore.dev/pause becomes "false" on the spec. Only that ends a pause; to take the annotation off does not.

With --deselected, let nodes be uninstalled that lost the labels of the selector. Where many nodes lose them at once, Longshore uninstalls none of them and waits for this word.
Look at the number of nodes with --dry-run first. This ends no pause.`,
		Example: `  longshore resume kata
  longshore resume --deselected kata --dry-run`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&o.deselected, "deselected", false, "uninstall the nodes that lost their labels, although they are many; a pause stays")
	return o.command(env, cmd, (*person).resume)
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

// person is somebody who says something about one runtime.
type person struct {
	*peopleOptions
	kube  kubernetes.Interface
	view  *view
	r     *desired.Runtime
	nodes []string
	out   io.Writer
	// warnings go elsewhere than what was done.
	warnings io.Writer
}

func newPerson(o *peopleOptions, kube kubernetes.Interface, v *view, args []string, env *environment) (*person, error) {
	p := &person{peopleOptions: o, kube: kube, view: v, nodes: args[1:], out: env.stdout, warnings: env.stderr}
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
	besides := ""
	if phase, why := p.notInForce(); phase != "" {
		besides = fmt.Sprintf(". ConfigMap %q is %s besides, and nothing new of it starts before that is mended: %s", s.Name, phase, why)
	}
	return p.say("runtime %q is paused: no further node begins, nodes under way finish. To go on: longshore resume %s%s", p.r.Name, p.r.Name, besides)
}

func (p *person) resume(ctx context.Context) error {
	s, err := p.spec()
	switch {
	case err != nil:
		return err
	case p.deselected:
		return p.uninstallDeselected(ctx, s)
	case p.r.Pause == nil && !p.pausedByPeople() && p.pausedBySpec():
		return fmt.Errorf("runtime %q is paused by its spec: take data.paused out of ConfigMap %q, or out of what it is made from", p.r.Name, s.Name)
	case p.r.Pause == nil && !p.pausedByPeople():
		return p.say("runtime %q is not paused%s", p.r.Name, p.lostLabels())
	}
	// An annotation that is not there says nothing: the pause is remembered elsewhere, and only a word ends it.
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationPause: observed.Resumed}); err != nil {
		return err
	}
	if p.pausedBySpec() {
		return p.say("people pause runtime %q no more, but its spec does: take data.paused out of ConfigMap %q, or out of what it is made from%s", p.r.Name, s.Name, p.lostLabels())
	}
	return p.say("runtime %q goes on%s", p.r.Name, p.lostLabels())
}

// pausedByPeople goes by the newest word, also where the controller has not heard it yet.
func (p *person) pausedByPeople() bool {
	if word, said := p.r.Source.People[observed.AnnotationPause]; said {
		return word != observed.Resumed
	}
	return p.r.Pause != nil
}

func (p *person) pausedBySpec() bool { return p.r.Spec != nil && p.r.Spec.Paused }

// whilePaused says that what people want waits for the end of a pause, "" where nothing is paused.
func (p *person) whilePaused() string {
	switch {
	case p.pausedByPeople():
		return "; the runtime is paused, and no node begins before: longshore resume " + p.r.Name
	case p.pausedBySpec():
		return fmt.Sprintf("; the runtime is paused by data.paused of ConfigMap %q, and no node begins before that is gone", p.r.Source.Name)
	}
	return ""
}

// lostLabels says that the end of a pause does not have nodes uninstalled that lost their labels, "" where there are none.
func (p *person) lostLabels() string {
	if p.r.Lost == nil || p.r.Lost.Halted == "" {
		return ""
	}
	return fmt.Sprintf("; it is halted all the same, because %d nodes lost their labels: longshore resume --deselected %s has them uninstalled", p.deselectedNodes(), p.r.Name)
}

// uninstallDeselected agrees to the uninstall of nodes that lost their labels.
func (p *person) uninstallDeselected(ctx context.Context, s *observed.Spec) error {
	switch lost := p.r.Lost; {
	case p.r.NothingSelected:
		return fmt.Errorf("runtime %q: the selector of ConfigMap %q was edited and matches no node, and nothing is uninstalled for that: edit the selector, or delete the spec to have the runtime uninstalled",
			p.r.Name, s.Name)
	case lost == nil:
		return fmt.Errorf("no node of runtime %q lost its labels, so that nothing waits for --deselected", p.r.Name)
	case lost.Halted == "":
		return fmt.Errorf("no uninstall of runtime %q waits for --deselected: that %d nodes lost their labels was agreed to at %s", p.r.Name, lost.Nodes, lost.Time.UTC().Format(time.RFC3339))
	}
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationUninstallDeselected: p.now()}); err != nil {
		return err
	}
	return p.say("runtime %q is uninstalled from %d of %d nodes that carry it, within its budget: their labels do not match the selector %q%s",
		p.r.Name, p.deselectedNodes(), p.r.Carrying, p.r.Spec.NodeSelectorText, p.whilePaused())
}

// deselectedNodes counts the nodes that carry the runtime and whose labels do not match.
func (p *person) deselectedNodes() int {
	count := 0
	for i := range p.view.snap.Nodes {
		n := &p.view.snap.Nodes[i]
		state := n.State(p.r.Name)
		if state.Carries() && !state.LabelsAlone() && !p.r.Spec.NodeSelector.Matches(&n.Labels) {
			count++
		}
	}
	return count
}

// now is a value that an annotation did not have before: a value that is repeated is not heard twice.
func (p *person) now() string { return p.view.snap.Time.UTC().Format(time.RFC3339Nano) }

func (p *person) retry(ctx context.Context) error {
	value := p.now()
	all := len(p.nodes) == 0
	if all {
		for i := range p.view.snap.Nodes {
			n := &p.view.snap.Nodes[i]
			if progress := n.Progress(p.r.Name); progress != nil && progress.Phase == observed.PhaseFailed {
				p.nodes = append(p.nodes, n.Name)
			}
		}
	}
	if all && p.r.Waiting && p.r.InForceAt.IsZero() {
		return fmt.Errorf("runtime %q: the controller has not seen yet that ConfigMap %q is the only one that is left; try again in a moment", p.r.Name, p.r.Source.Name)
	}
	if all && p.r.Surviving && len(p.r.Errors) == 0 {
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

// warn tells what people should think of before they rely on what was done.
func (p *person) warn(format string, args ...any) {
	fmt.Fprintln(p.warnings, plain("warning: "+fmt.Sprintf(format, args...)))
}
