package faulttests

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"longshore.dev/longshore/e2e/faults"
)

// moments are those of an install, an upgrade and an uninstall.
var moments = [][]faults.Moment{
	{faults.Remember, faults.Installer, faults.Booking, faults.Gate, faults.Result, faults.Class, faults.Freeing, faults.Status},
	{faults.Remember, faults.Installer, faults.Booking, faults.Gate, faults.Result, faults.Class, faults.Freeing, faults.Status},
	{
		faults.Remember, faults.Installer, faults.Booking, faults.Gate, faults.Keys, faults.Freeing, faults.ClassGone, faults.InstallerGone, faults.SnapshotGone,
	},
}

// cell is one row of the table that the matrix prints.
type cell struct {
	operation int
	moment    string
	when      faults.When
	took      time.Duration
}

// TestAControllerThatIsKilledAtAnyMomentGoesOnWhereItWas kills the controller at every moment of an install, an upgrade and an uninstall: before
// the request, when the API server has done it and nobody knows, and after the answer. Whatever happens, the command runs once an operation.
func TestAControllerThatIsKilledAtAnyMomentGoesOnWhereItWas(t *testing.T) {
	s := start(t)
	image := s.payload("matrix:1", "")
	s.run()
	var table []cell
	for i := range moments[len(moments)-1] {
		for j, when := range []faults.When{faults.Before, faults.During, faults.After} {
			y := &story{suite: s, image: image, runtime: fmt.Sprintf("kill-%d-%s", i, when), nodes: []string{[]string{nodeA, nodeB, nodeC}[(i+j)%3]}}
			table = append(table, y.killed(i, when)...)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	slices.SortStableFunc(table, func(a, b cell) int { return cmp.Compare(a.operation, b.operation) })
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "OPERATION\tMOMENT\tKILLED\tRUNS\tTOOK")
	for _, c := range table {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t1\t%.1fs\n", []string{"install", "upgrade", "uninstall"}[c.operation], c.moment, c.when, c.took.Seconds())
	}
	_ = w.Flush()
}

// killed goes through the three operations, the controller killed at the ith moment of each that has so many.
func (y *story) killed(i int, when faults.When) []cell {
	y.t.Helper()
	var cells []cell
	for n := range operations {
		if i >= len(moments[n]) {
			y.do(n)
			y.done(n)
			continue
		}
		began := time.Now()
		moment := moments[n][i]
		trap := y.proxy.Trap(moment, when, y.ctl.Kill)
		y.do(n)
		y.await(fmt.Sprintf("%s of %q", moment.Name, operations[n]), trap.Struck())
		y.run()
		y.done(n)
		if y.t.Failed() {
			y.t.Errorf("killed %s %s of %q", when, moment.Name, operations[n])
		}
		cells = append(cells, cell{n, moment.Name, when, time.Since(began)})
	}
	return cells
}
