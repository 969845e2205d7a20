package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// planOptions are the flags of `longshore plan`.
type planOptions struct {
	statusOptions
	rendering rendering
	files     []string
	limit     int
}

func planCommand(env *environment) *cobra.Command {
	o := &planOptions{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what would happen next, to which node, in which order",
		Long: `Say what would happen next, to which node, in which order, for the cluster as it is or with changed specs and pools, without touching anything. The controller's own decisions
are played through: every command is taken to end well at once, and nobody does anything meanwhile. Times are the earliest ones: after soaks, and inside of maintenance windows.

Exit code 1 if what a file asks for would be refused.`,
		Example: `  longshore plan                          # as things are
  longshore plan -f kata.yaml             # if this were applied
  kustomize build . | longshore plan -f -
  longshore plan --from bug.json          # for a cluster that was saved`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.plan(cmd.Context(), env) },
	}
	f := cmd.Flags()
	o.flags(f)
	o.rendering.flags(f)
	f.StringVarP(&o.output, "output", "o", "table", "table, json or yaml")
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file or directory with specs and pools that take the place of those of the cluster; - for standard input")
	f.StringVar(&o.from, "from", "", "plan for a file that longshore status --save wrote, not for a cluster")
	f.IntVar(&o.limit, "limit", 50, "stop after so many operations")
	return cmd
}

func (o *planOptions) plan(ctx context.Context, env *environment) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	if o.limit < 1 {
		return usageError{fmt.Errorf("--limit: %d is not a number of operations", o.limit)}
	}
	var documents []document
	if len(o.files) > 0 {
		var err error
		if documents, err = readSpecs(o.files, env.stdin); err != nil {
			return err
		}
	}
	if err := o.sound(ctx, documents); err != nil {
		return err
	}
	snap, err := o.snapshot(ctx, env)
	if err != nil {
		return err
	}
	for i := range documents {
		replace(snap, &documents[i])
	}
	forecast := status.ForecastOf(snap, spec.Parse, o.limit)
	if err := printForecast(env.stdout, o.output, forecast, snap.Time); err != nil {
		return err
	}
	if len(documents) > 0 && len(forecast.Refused) > 0 {
		return errors.New("not everything would be in force")
	}
	return nil
}

// sound says all that is wrong with the files.
func (o *planOptions) sound(ctx context.Context, documents []document) error {
	renderer := o.rendering.renderer(o.namespace)
	var errs []error
	for i := range documents {
		if _, _, wrong := documents[i].objects(ctx, renderer); len(wrong) > 0 {
			errs = append(errs, documents[i].wrong(wrong))
		}
	}
	return errors.Join(errs...)
}

// replace puts what a file says into a snapshot, as applying it would.
func replace(snap *observed.Snapshot, d *document) {
	s := observed.Spec{
		Name: d.spec.Name, UID: types.UID("file " + d.spec.Name), Runtime: d.spec.Labels[observed.LabelRuntime], Pool: d.spec.Labels[observed.LabelPool],
		Created: snap.Time, Data: d.spec.Data, BinaryData: d.spec.BinaryData,
	}
	snap.Specs, snap.Pools = replaced(snap.Specs, s, s.Runtime != ""), replaced(snap.Pools, s, s.Pool != "")
}

// replaced is a list in which s has taken the place of the one with its name. An object that is changed stays the same one.
func replaced(list []observed.Spec, s observed.Spec, belongs bool) []observed.Spec {
	i, found := slices.BinarySearchFunc(list, s.Name, func(have observed.Spec, name string) int {
		if have.Name < name {
			return -1
		} else if have.Name > name {
			return 1
		}
		return 0
	})
	switch {
	case found && belongs:
		s.UID, s.Created, s.Annotations, s.People = list[i].UID, list[i].Created, list[i].Annotations, list[i].People
		list = slices.Clone(list)
		list[i] = s
		return list
	case found:
		return slices.Delete(slices.Clone(list), i, i+1)
	case belongs:
		return slices.Insert(slices.Clone(list), i, s)
	}
	return list
}

func printForecast(out io.Writer, output string, f *status.Forecast, now time.Time) error {
	if output != "table" {
		return printData(out, output, f)
	}
	for _, text := range f.Refused {
		fmt.Fprintln(out, "not in force: "+plain(text))
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(f.Begins) == 0 {
		fmt.Fprintln(w, "Nothing would be done to any node.")
	} else {
		fmt.Fprintln(w, "EARLIEST\tNODE\tRUNTIME\tOPERATION\tREVISION\tWAVE")
	}
	for i := range f.Begins {
		b := &f.Begins[i]
		at := "now"
		if b.At.After(now) {
			at = moment(b.At)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", at, b.Node, plain(b.Runtime), b.Operation, b.Revision, dash(b.Wave))
	}
	if f.Cut {
		fmt.Fprintf(w, "and more; --limit says how many are listed\n")
	}
	if len(f.Waiting) > 0 {
		fmt.Fprintln(w, "\nIn the end these would still wait:")
		fmt.Fprintln(w, "NODE\tRUNTIME\tREASON\tMESSAGE")
	}
	for _, h := range f.Waiting {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", h.Node, plain(h.Runtime), h.Reason, plain(h.Message))
	}
	return w.Flush()
}
