package faulttests

import (
	"fmt"
	"maps"
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

// whens are the places in a moment where a controller is killed: before the request, when the API server has done it and nobody knows, and after
// the answer.
var whens = []faults.When{faults.Before, faults.During, faults.After}

// TestAControllerThatIsKilledAtAnyMomentGoesOnWhereItWas kills the controller at every moment of an install, an upgrade and an uninstall, one after the
// other: each one that is started after a kill comes to the next moment and no further. Whatever happens, the command runs once an operation.
func TestAControllerThatIsKilledAtAnyMomentGoesOnWhereItWas(t *testing.T) {
	s := start(t)
	image := s.payload("matrix:1", "")
	s.run()
	var deaths []death
	for i, when := range whens {
		y := &story{suite: s, image: image, runtime: fmt.Sprintf("kill-%s", when), nodes: []string{[]string{nodeA, nodeB, nodeC}[i]}}
		for n, operation := range operations {
			for _, d := range y.killed(moments[n], when, func() { y.do(n) }) {
				d.operation = operation
				deaths = append(deaths, d)
			}
			y.done(n)
			if t.Failed() {
				t.Fatalf("killed %s every moment of %q: %v", when, operation, deaths)
			}
		}
	}
	printDeaths(deaths)
}

// TestAControllerThatIsKilledWhileAFailureIsNotedCountsItOnce has a command fail once before it works, and another one fail for good: each failure is
// one, whatever the controller died of.
func TestAControllerThatIsKilledWhileAFailureIsNotedCountsItOnce(t *testing.T) {
	s := start(t)
	once, ever := s.payload("once:1", "[ $(wc -l < $home/runs) -ge 2 ] || exit 7"), s.payload("ever:1", "echo no more >&2; exit 8")
	s.run()
	var deaths []death
	for _, when := range whens {
		works := &story{suite: s, image: once, runtime: fmt.Sprintf("once-%s", when), nodes: []string{nodeB}}
		fails := &story{suite: s, image: ever, runtime: fmt.Sprintf("ever-%s", when), nodes: []string{nodeC}}
		deaths = append(deaths, works.killed([]faults.Moment{faults.Noted, faults.Result, faults.Result}, when, func() {
			for y, attempts := range map[*story]string{works: "2", fails: "1"} {
				s.apply(manifest(y.runtime, y.runtime, map[string]string{
					"payloadImage": y.image, "nodeSelector": on(y.nodes...), "runtimeClasses": "", "attempts": attempts,
				}))
			}
		})...)
		s.ready(works.runtime, 1)
		works.ran("install 1", "install 1")
		if st := s.standing(t.Context(), nodeB, works.runtime); st.Attempt != 2 {
			t.Errorf("killed %s: node %s shows %+v, expected Ready at the second attempt", when, nodeB, st)
		}
		if st := s.shows(nodeC, fails.runtime, "Failed"); st.Attempt != 1 || st.Reason != "InstallFailed" {
			t.Errorf("killed %s: node %s shows %+v, expected Failed (InstallFailed) at the first attempt", when, nodeC, st)
		}
		for _, y := range []*story{works, fails} {
			s.remove(y.runtime)
		}
		s.gone(t.Context())
	}
	printDeaths(deaths)
}

// death is one row of the tables that are printed.
type death struct {
	operation, moment string
	when              faults.When
	after             time.Duration
}

// killed has people ask for something, and kills the controller at each of the moments that come of it, in whatever order they come. A moment that is
// named several times is one several times. It returns when all of them have come.
func (y *story) killed(moments []faults.Moment, when faults.When, do func()) []death {
	y.t.Helper()
	began, struck := time.Now(), make(chan string, len(moments))
	missing := map[string]int{}
	for _, moment := range moments {
		missing[moment.Name]++
		y.proxy.Trap(moment, when, func() {
			y.ctl.Kill()
			struck <- moment.Name
		})
	}
	do()
	var deaths []death
	late := time.NewTimer(patience)
	defer late.Stop()
	for range moments {
		select {
		case name := <-struck:
			missing[name]--
			if missing[name] == 0 {
				delete(missing, name)
			}
			deaths = append(deaths, death{operation: "install", moment: name, when: when, after: time.Since(began)})
			// Two requests may have been on their way when it died.
			if !y.ctl.Running() {
				y.run()
			}
		case <-late.C:
			y.t.Fatalf("to be killed %s: %q did not come within %s", when, slices.Sorted(maps.Keys(missing)), patience)
		}
	}
	return deaths
}

func printDeaths(deaths []death) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "OPERATION\tMOMENT\tKILLED\tAFTER")
	for _, d := range deaths {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%.1fs\n", d.operation, d.moment, d.when, d.after.Seconds())
	}
	_ = w.Flush()
}
