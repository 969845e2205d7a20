package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"longshore.dev/longshore/status"
)

// printPools prints the pools there are above all else: a refused one holds every runtime.
func printPools(out io.Writer, pools []status.PoolReport) error {
	if len(pools) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "POOL\tPHASE\tCONFIGMAP\tMESSAGE")
	for _, p := range pools {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", dash(p.Name), p.Phase, plain(p.ConfigMap), plain(p.Message))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}
