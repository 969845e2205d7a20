package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"longshore.dev/longshore/status"
)

// printPools prints the pools above all else: one of which no version is in force holds every runtime.
func printPools(out io.Writer, pools []status.PoolReport) error {
	if len(pools) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "POOL\tPHASE\tNODES\tOUT\tCONFIGMAP\tMESSAGE")
	for _, p := range pools {
		out := strconv.Itoa(p.Used)
		if p.Allowed > 0 {
			out += fmt.Sprintf("/%d", p.Allowed)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", dash(p.Name), p.Phase, p.Nodes, out, plain(p.ConfigMap), plain(p.Message))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}
