package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// statusOptions are the flags of `longshore status`.
type statusOptions struct {
	connection
	output string
	save   string
	from   string
	follow bool
}

func statusCommand(env *environment) *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status [RUNTIME|NODE…]",
		Short: "Show runtimes and nodes, and why nodes wait",
		Long: `Show how the runtimes of the cluster stand, and every node that a runtime selects or that carries it, with the reason why it waits.
The reasons are computed by the controller's own function from the cluster as it is now, or from one that was saved before.

An argument is a runtime or a node; where both have the name, write runtime/NAME or node/NAME. A node tells its whole story, over all runtimes
or over those that are given too.`,
		Example: `  longshore status                      # every runtime, every node
  longshore status kata                 # one runtime
  longshore status node/worker-3        # one node's story
  longshore status -w                   # what happens, until Ctrl-C
  longshore status --save bug.json      # what the controller sees, for a bug report
  longshore status --from bug.json      # the same report, without the cluster`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args, env) },
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVarP(&o.output, "output", "o", "table", "table, json or yaml")
	f.BoolVarP(&o.follow, "watch", "w", false, "go on until interrupted: redraw on a terminal, print a line for each change elsewhere")
	f.StringVar(&o.save, "save", "", "also write all that the report is computed from to a file, for a bug report; - for standard output and no report")
	f.StringVar(&o.from, "from", "", "report on a file that --save wrote, not on a cluster; - for standard input")
	return cmd
}

func (o *statusOptions) run(ctx context.Context, args []string, env *environment) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	if o.follow {
		return o.watch(ctx, args, env)
	}
	snap, err := o.snapshot(ctx, env)
	if err != nil {
		return err
	}
	if o.save != "" {
		if err := save(o.save, snap, env); err != nil || o.save == "-" {
			return err
		}
	}
	v := lookAt(snap)
	wanted, err := v.choose(args)
	if err != nil {
		return err
	}
	if len(wanted.nodes) > 0 {
		return printStories(env.stdout, o.output, told{Time: snap.Time, Nodes: v.stories(wanted)})
	}
	v.report.Runtimes = v.runtimes(wanted)
	return printReport(env.stdout, o.output, v.report)
}

func (o *statusOptions) check() error {
	switch o.output {
	case "table", "json", "yaml":
	default:
		return fmt.Errorf("--output: %q is not one of table, json, yaml", o.output)
	}
	if o.save != "" && o.from != "" {
		return errors.New("--save and --from do not go together: the file is there already")
	}
	if o.follow && (o.save != "" || o.from != "" || o.output != "table") {
		return errors.New("--watch goes with a cluster and a terminal or a log, not with --save, --from or --output")
	}
	return nil
}

// view is a snapshot and what the controller makes of it at the snapshot's time.
type view struct {
	snap     *observed.Snapshot
	plan     *desired.Plan
	decision *rollout.Decision
	report   *status.Report
}

func lookAt(snap *observed.Snapshot) *view {
	snap.LabelsUnwatched = snap.Mismatch == nil
	if snap.Refused == nil {
		snap.Refused = status.Refusals(snap)
	}
	plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
	decision := rollout.Decide(snap, plan)
	return &view{snap: snap, plan: plan, decision: decision, report: status.Of(snap, plan, decision)}
}
