package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// waitOptions are the flags of `longshore wait`.
type waitOptions struct {
	connection
	what       string
	files      []string
	allowEmpty bool
	timeout    time.Duration
}

func waitCommand(env *environment) *cobra.Command {
	o := &waitOptions{}
	cmd := &cobra.Command{
		Use:   "wait RUNTIME… | -f FILE",
		Short: "Wait until runtimes are installed, or gone",
		Long: `Wait, for pipelines, until every node of the runtimes is done, until one of their waves is, or until nothing is left of them on any node.

With -f the specs in the files have to be in force: the wait goes on until the cluster has them with the same data, and fails if a newer ConfigMap of the runtime supersedes them.

The wait fails at once, with exit code 1, when only people can help: the spec is Invalid, Conflict, Superseded or Halted, its rollout is taken back, or its selector matches no
node (--allow-empty accepts that). It fails after the timeout as well. A runtime that is not there yet is waited for.`,
		Example: `  longshore wait kata --timeout 30m
  kustomize build . > specs.yaml; kubectl apply -f specs.yaml; longshore wait -f specs.yaml --timeout 30m
  longshore wait kata --for=wave=canary
  longshore wait kata --for=uninstalled`,
		RunE: func(cmd *cobra.Command, args []string) error {
			goal, err := o.goal()
			if err != nil {
				return usageError{err}
			}
			targets, err := o.targets(args, env.stdin)
			if err != nil {
				return usageError{err}
			}
			kube, err := o.client(cmd.Context(), nil)
			if err != nil {
				return err
			}
			changed := make(chan struct{}, 1)
			look := func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
			return o.observe(cmd.Context(), kube, look, func(ctx context.Context, cluster *informers.Cluster) error {
				w := &waiter{waitOptions: o, eyes: cluster, changed: changed, goal: goal, said: map[string]string{}, out: env.stdout}
				return w.run(ctx, targets)
			})
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().StringVar(&o.what, "for", "ready", "ready, uninstalled, or wave=NAME: that wave and all before it are over")
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file or directory with specs that have to be in force; - for standard input")
	cmd.Flags().BoolVar(&o.allowEmpty, "allow-empty", false, "a selector that matches no node is no failure")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this time; 0 is never")
	return cmd
}

// goal tells of a runtime whether it is where it is waited for, how it stands in words, and whether it never will be without people. Of a runtime that is not there r is nil.
type goal func(r *desired.Runtime, report *status.RuntimeReport, wave string) (done bool, stands string, never bool)

func (o *waitOptions) goal() (goal, error) {
	wave, isWave := strings.CutPrefix(o.what, "wave=")
	switch {
	case o.what == "ready":
		return o.ready, nil
	case o.what == "uninstalled":
		return uninstalled, nil
	case isWave && wave != "":
		return o.waveOver(wave), nil
	}
	return nil, fmt.Errorf("--for: %q is not one of ready, uninstalled, wave=NAME", o.what)
}

func (o *waitOptions) ready(r *desired.Runtime, report *status.RuntimeReport, _ string) (done bool, stands string, never bool) {
	if r == nil || r.Source == nil {
		return false, "there is no spec", false
	}
	if message, refused := refusedByCluster(r); refused {
		return false, string(status.Invalid) + ": " + message, true
	}
	switch report.Phase {
	case status.Ready:
		if report.Total == 0 && !o.allowEmpty {
			return false, report.Message + "; --allow-empty accepts that", true
		}
		return true, report.Message, false
	case status.Invalid, status.Conflict, status.Halted, status.RollingBack:
		return false, string(report.Phase) + ": " + report.Message, true
	default:
		return false, string(report.Phase) + ": " + report.Message, false
	}
}

// refusedByCluster tells what the API server, or the controller's policy, has against a spec that can be read: only the controller knows, and says so on the spec.
func refusedByCluster(r *desired.Runtime) (string, bool) {
	if r.Source == nil || r.Prepare == nil {
		return "", false
	}
	said := r.Source.Annotations
	refused := said[observed.SpecPhase] == string(status.Invalid) && said[observed.SpecObservedData] == status.ObservedData(r.Source)
	return said[observed.SpecMessage], refused
}

func uninstalled(r *desired.Runtime, report *status.RuntimeReport, _ string) (done bool, stands string, never bool) {
	switch {
	case r == nil || (r.Source == nil && r.Carrying == 0):
		return true, "nothing is left on any node", false
	case r.Source != nil:
		return false, fmt.Sprintf("there is a spec, ConfigMap %q", r.Source.Name), false
	}
	return false, string(report.Phase) + ": " + report.Message, report.Phase == status.Halted || r.Orphaned
}

// waveOver is for a wave: it is over when the runtime is ready, or at a later one.
func (o *waitOptions) waveOver(name string) goal {
	return func(r *desired.Runtime, report *status.RuntimeReport, wave string) (done bool, stands string, never bool) {
		done, stands, never = o.ready(r, report, wave)
		if done || never || r == nil || r.Source == nil || r.Spec == nil || r.Prepare != nil || r.Surviving {
			return done, stands, never
		}
		var names []string
		for i := range r.Spec.Waves {
			names = append(names, r.Spec.Waves[i].Name)
		}
		at := slices.Index(names, name)
		if at < 0 {
			return false, fmt.Sprintf("the spec has no wave %q, only %s", name, dash(strings.Join(names, ", "))), true
		}
		now := slices.Index(names, wave)
		return now < 0 || now > at, stands, false
	}
}

// waiter looks whenever something changed, and every second, for what time brings about. It tells how things stand when that is in other words than before.
type waiter struct {
	*waitOptions
	eyes    eyes
	changed <-chan struct{}
	goal    goal
	said    map[string]string
	out     io.Writer
}

func (w *waiter) run(ctx context.Context, targets []target) error {
	late := make(<-chan time.Time)
	if w.timeout > 0 {
		timer := time.NewTimer(w.timeout)
		defer timer.Stop()
		late = timer.C
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		left, err := w.look(lookAt(w.eyes.Snapshot(time.Now())), targets)
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("not %s after %s: %s", w.what, w.timeout, strings.Join(left, ", "))
		case <-ticker.C:
		case <-w.changed:
			if !waited(ctx, settle) {
				return ctx.Err()
			}
		}
	}
}

// look returns what is still waited for.
func (w *waiter) look(v *view, targets []target) ([]string, error) {
	var left []string
	var errs []error
	for _, t := range targets {
		done, stands, never := w.stands(v, t)
		if text := plain(t.String() + ": " + stands); w.said[t.String()] != text {
			w.said[t.String()] = text
			if _, err := fmt.Fprintln(w.out, text); err != nil {
				return nil, err
			}
		}
		switch {
		case never:
			errs = append(errs, fmt.Errorf("%s will not be %s without people: %s", t, w.what, stands))
		case !done:
			left = append(left, t.String())
		}
	}
	return left, errors.Join(errs...)
}

// stands says how one target stands, as a [goal] does.
func (w *waiter) stands(v *view, t target) (done bool, stands string, never bool) {
	if t.pool != "" {
		return t.poolStands(v)
	}
	var r *desired.Runtime
	report, wave := &status.RuntimeReport{}, ""
	for i := range v.plan.Runtimes {
		if v.plan.Runtimes[i].Name == t.runtime {
			r, wave = &v.plan.Runtimes[i], v.decision.Runtimes[i].Wave
		}
	}
	for i := range v.report.Runtimes {
		if v.report.Runtimes[i].Name == t.runtime {
			report = &v.report.Runtimes[i]
		}
	}
	if t.file != nil && w.what != "uninstalled" {
		if stands, never, speaks := t.speaks(r); !speaks {
			return false, stands, never
		}
	}
	return w.goal(r, report, wave)
}
