package faulttests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/footprint"
	"longshore.dev/longshore/e2e/payloads"
)

// loops is how often a runtime is installed and uninstalled again.
const loops = 10

// TestTenLoopsLeaveNothingBehind installs and uninstalls a real runtime ten times on a node of each containerd, and compares after every time what
// stands on the nodes and in the cluster with the time before the first. The controller's process does not grow; times are printed.
func TestTenLoopsLeaveNothingBehind(t *testing.T) {
	s := start(t)
	image, err := payloads.Crun(t.Context(), os.Stdout, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := deploy.Payload(t.Context(), s.c, "faults/crun", image)
	if err != nil {
		t.Fatal(err)
	}
	spec := strings.NewReplacer("nodeSelector: kubernetes.io/os=linux", "nodeSelector: "+on(nodeA, nodeB), "soak: 5s", "soak: 0s", `maxUnavailable: "1"`, `maxUnavailable: "2"`).Replace(payloads.CrunSpec(ref))
	nodes := []string{nodeA, nodeB}
	s.run()
	before := map[string]footprint.Footprint{}
	for _, name := range nodes {
		before[name] = s.footprint(name)
	}
	var rows []usage
	for range loops {
		began := time.Now()
		s.apply(spec)
		s.ready("crun", len(nodes))
		installed := time.Now()
		s.remove("crun")
		s.gone(t.Context())
		u := s.usage()
		u.install, u.uninstall = installed.Sub(began), time.Since(installed)
		rows = append(rows, u)
		for _, name := range nodes {
			s.same(name, before[name])
		}
		if t.Failed() {
			break
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "LOOP\tINSTALL\tUNINSTALL\tRESIDENT\tTHREADS\tFILES\t")
	for i, u := range rows {
		_, _ = fmt.Fprintf(w, "%d\t%.1fs\t%.1fs\t%d MiB\t%d\t%d\t\n", i+1, u.install.Seconds(), u.uninstall.Seconds(), u.resident>>10, u.threads, u.files)
	}
	_ = w.Flush()
	if len(rows) == loops {
		s.steady(rows)
	}
}

// steady asserts that nothing grows. The first loop does what is done once: it opens connections and watches, and reads schemas.
func (s *suite) steady(rows []usage) {
	s.t.Helper()
	early, last := rows[1], rows[len(rows)-1]
	if last.resident > early.resident+8<<10 {
		s.t.Errorf("the controller has %d KiB resident after the last loop, %d after the second", last.resident, early.resident)
	}
	if last.threads > early.threads+2 {
		s.t.Errorf("the controller has %d threads after the last loop, %d after the second", last.threads, early.threads)
	}
	if last.files > early.files {
		s.t.Errorf("the controller has %d files open after the last loop, %d after the second", last.files, early.files)
	}
}

// usage is what a loop cost, and what the controller's process has at its end; memory in KiB.
type usage struct {
	install, uninstall       time.Duration
	resident, threads, files int
}

func (s *suite) usage() usage {
	s.t.Helper()
	proc := fmt.Sprintf("/proc/%d", s.ctl.PID())
	text, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		s.t.Fatal(err)
	}
	u := usage{files: len(files)}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		number, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			u.resident = number
		case "Threads:":
			u.threads = number
		}
	}
	return u
}

func (s *suite) footprint(name string) footprint.Footprint {
	s.t.Helper()
	f, err := footprint.Of(s.t.Context(), s.kube, s.machine(name), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// same waits until a node is as it was: the kubelet takes the last pod's volumes down a moment after the pod is gone.
func (s *suite) same(name string, before footprint.Footprint) {
	s.t.Helper()
	s.wait(s.t.Context(), "node "+name+" is as it was", func(context.Context) (bool, string) {
		differences := footprint.Diff(before, s.footprint(name))
		return len(differences) == 0, strings.Join(differences, "\n")
	})
}
