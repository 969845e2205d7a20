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
	what    string
	timeout time.Duration
}

func waitCommand(env *environment) *cobra.Command {
	o := &waitOptions{}
	cmd := &cobra.Command{
		Use:   "wait RUNTIME…",
		Short: "Wait until runtimes are installed, or gone",
		Long: `Wait, for pipelines: until every node of the runtimes is done, until one of their waves is, or until nothing is left of them on any node. What cannot come any more without
people (a spec that is Invalid, Conflict or Halted) ends the wait at once, with exit code 1; so does the timeout. A runtime that is not there yet is waited for.`,
		Example: `  longshore wait kata --timeout 30m
  longshore wait kata --for=wave=canary
  longshore wait kata --for=uninstalled`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			goal, err := o.goal()
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
				return w.run(ctx, args)
			})
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().StringVar(&o.what, "for", "ready", "ready, uninstalled, or wave=NAME: that wave and all before it are over")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this time; 0 is never")
	return cmd
}

// goal tells of a runtime whether it is where it is waited for, how it stands in words, and whether it never will be without people. Of a runtime that is not there r is nil.
type goal func(r *desired.Runtime, report *status.RuntimeReport, wave string) (done bool, stands string, never bool)

func (o *waitOptions) goal() (goal, error) {
	wave, isWave := strings.CutPrefix(o.what, "wave=")
	switch {
	case o.what == "ready":
		return ready, nil
	case o.what == "uninstalled":
		return uninstalled, nil
	case isWave && wave != "":
		return waveOver(wave), nil
	}
	return nil, fmt.Errorf("--for: %q is not one of ready, uninstalled, wave=NAME", o.what)
}

func ready(r *desired.Runtime, report *status.RuntimeReport, _ string) (done bool, stands string, never bool) {
	if r == nil || r.Source == nil {
		return false, "there is no spec", false
	}
	if message, refused := refusedByCluster(r); refused {
		return false, string(status.Invalid) + ": " + message, true
	}
	switch report.Phase {
	case status.Ready:
		return true, report.Message, false
	case status.Invalid, status.Conflict, status.Halted:
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
	refused := said[observed.SpecPhase] == string(status.Invalid) && said[observed.SpecObservedData] == status.ObservedData(r.Source.Data)
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
func waveOver(name string) goal {
	return func(r *desired.Runtime, report *status.RuntimeReport, wave string) (done bool, stands string, never bool) {
		done, stands, never = ready(r, report, wave)
		if done || never || r == nil || r.Source == nil || r.Spec == nil || r.Prepare != nil {
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

func (w *waiter) run(ctx context.Context, runtimes []string) error {
	late := make(<-chan time.Time)
	if w.timeout > 0 {
		timer := time.NewTimer(w.timeout)
		defer timer.Stop()
		late = timer.C
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		left, err := w.look(lookAt(w.eyes.Snapshot(time.Now())), runtimes)
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

// look returns the runtimes that are still waited for.
func (w *waiter) look(v *view, runtimes []string) ([]string, error) {
	var left []string
	var errs []error
	for _, name := range runtimes {
		var r *desired.Runtime
		report, wave := &status.RuntimeReport{}, ""
		for i := range v.plan.Runtimes {
			if v.plan.Runtimes[i].Name == name {
				r, wave = &v.plan.Runtimes[i], v.decision.Runtimes[i].Wave
			}
		}
		for i := range v.report.Runtimes {
			if v.report.Runtimes[i].Name == name {
				report = &v.report.Runtimes[i]
			}
		}
		done, stands, never := w.goal(r, report, wave)
		if text := plain(fmt.Sprintf("runtime %s: %s", name, stands)); w.said[name] != text {
			w.said[name] = text
			if _, err := fmt.Fprintln(w.out, text); err != nil {
				return nil, err
			}
		}
		switch {
		case never:
			errs = append(errs, fmt.Errorf("runtime %q will not be %s without people: %s", name, w.what, stands))
		case !done:
			left = append(left, name)
		}
	}
	return left, errors.Join(errs...)
}
