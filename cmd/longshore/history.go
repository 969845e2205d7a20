package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// historyEntry is one revision of a runtime, as longshore history tells it.
type historyEntry struct {
	Revision string    `json:"revision"`
	Number   int64     `json:"number"`
	Created  time.Time `json:"created"`
	// Payload is the image, "" where the snapshot does not tell.
	Payload string `json:"payload,omitempty"`
	// Nodes carry the revision.
	Nodes int `json:"nodes"`
	// Goal is true for the revision that nodes should carry.
	Goal bool `json:"goal,omitempty"`
	// Proven is true where the spec was once Ready at the revision.
	Proven bool `json:"proven,omitempty"`
	// Bad says why the revision is given up, Problem why its snapshot cannot be read.
	Bad     string `json:"bad,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func historyCommand(env *environment) *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "history RUNTIME",
		Short: "List the revisions of a runtime",
		Long: `List the revisions of a runtime that the cluster still knows, the newest first: what each was made from, how many nodes carry it, which are given up, and which are proven.
The spec was once Ready at a proven revision.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return usageError{err}
			}
			snap, err := o.snapshot(cmd.Context(), env)
			if err != nil {
				return err
			}
			entries, err := history(lookAt(snap), args[0])
			if err != nil {
				return err
			}
			return printHistory(env.stdout, o.output, entries, snap.Time)
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&o.from, "from", "", "read a file that longshore status --save wrote, not a cluster; - for standard input")
	return cmd
}

func history(v *view, name string) ([]historyEntry, error) {
	var r *desired.Runtime
	for i := range v.plan.Runtimes {
		if v.plan.Runtimes[i].Name == name {
			r = &v.plan.Runtimes[i]
		}
	}
	if r == nil {
		return nil, fmt.Errorf("runtime %q: no spec, no snapshot and no node of that name is in the cluster", name)
	}
	carry := map[string]int{}
	for i := range v.snap.Nodes {
		if p := v.snap.Nodes[i].Progress(name); p != nil {
			carry[p.Revision]++
		}
	}
	entries := make([]historyEntry, 0, len(r.History))
	for _, rev := range r.History {
		e := historyEntry{
			Revision: rev.Revision, Number: rev.Number, Created: rev.Created, Payload: rev.Annotations[observed.AnnotationPayload],
			Nodes: carry[rev.Revision], Goal: r.Goal == rev && !r.GivenUp(), Proven: rev.Proven(), Problem: rev.Problem,
		}
		var data map[string]string
		if e.Payload == "" && json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &data) == nil {
			e.Payload = data["payloadImage"]
		}
		if bad := rev.Bad(); bad != nil {
			e.Bad = bad.Reason
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func printHistory(out io.Writer, output string, entries []historyEntry, now time.Time) error {
	if output != "table" {
		return printData(out, output, entries)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tNUMBER\tAGE\tNODES\tPAYLOAD\tREMARKS")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\n", plain(e.Revision), e.Number, dash(age(e.Created, now)), e.Nodes, dash(e.Payload), dash(e.remarks()))
	}
	return w.Flush()
}

func (e *historyEntry) remarks() string {
	var remarks []string
	switch {
	case e.Problem != "":
		remarks = append(remarks, "its snapshot cannot be read: "+e.Problem)
	case e.Bad != "":
		remarks = append(remarks, "given up: "+e.Bad)
	case e.Goal:
		remarks = append(remarks, "what nodes should carry")
	}
	if e.Proven {
		remarks = append(remarks, "proven")
	}
	return strings.Join(remarks, "; ")
}
