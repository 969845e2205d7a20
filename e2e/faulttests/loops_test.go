package faulttests

import (
	"context"
	"fmt"
	"maps"
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

// byLabel and byReadiness are what specs of those completions have besides.
var (
	byLabel = map[string]string{
		"completion": "NodeLabel", "installDoneLabel": "test.example.com/by-label=yes", "uninstallDoneLabel": "test.example.com/by-label-",
	}
	byReadiness = map[string]string{
		"completion": "Ready",
		"patches": `[{target: {kind: DaemonSet, name: install}, patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/readinessProbe",
"value": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}}]'}]`,
	}
)

const waitsToBeTakenAway = "\ntrap 'exit 0' TERM\nwhile :; do sleep 0.2; done\n"

// TestTenLoopsLeaveNothingBehind installs and uninstalls a real runtime ten times on a node of each containerd, and payloads of the other completions
// on a third. What stands on the nodes and in the cluster is compared after every time with the time before the first. The controller's process
// does not grow; times are printed.
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
	specs := map[string]string{
		"crun": strings.NewReplacer("nodeSelector: kubernetes.io/os=linux", "nodeSelector: "+on(nodeA, nodeB), "soak: 5s", "soak: 0s", `maxUnavailable: "1"`, `maxUnavailable: "2"`).Replace(payloads.CrunSpec(ref)),
	}
	label := s.labelPayload("by-label:1", map[string]string{
		"/install.sh":   "#!/bin/sh\nset -eu\n/bin/node label test.example.com/by-label=yes" + waitsToBeTakenAway,
		"/uninstall.sh": "#!/bin/sh\nset -eu\n/bin/node label test.example.com/by-label-" + waitsToBeTakenAway,
	})
	readiness := s.payload("by-readiness:1", "touch /tmp/ready"+waitsToBeTakenAway)
	for name, more := range map[string]map[string]string{"by-label": byLabel, "by-readiness": byReadiness} {
		data := map[string]string{"payloadImage": map[string]string{"by-label": label, "by-readiness": readiness}[name], "nodeSelector": on(nodeC), "runtimeClasses": ""}
		maps.Copy(data, more)
		specs[name] = manifest(name, name, data)
	}
	nodes := map[string]int{"crun": 2, "by-label": 1, "by-readiness": 1}
	names := []string{nodeA, nodeB, nodeC}
	s.run()
	before := map[string]footprint.Footprint{}
	for _, name := range names {
		before[name] = s.footprint(name)
	}
	var rows []usage
	for range loops {
		began := time.Now()
		for _, spec := range specs {
			s.apply(spec)
		}
		for name, count := range nodes {
			s.ready(name, count)
		}
		installed := time.Now()
		if err := s.prune(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		s.gone(t.Context())
		u := s.usage()
		u.install, u.uninstall = installed.Sub(began), time.Since(installed)
		rows = append(rows, u)
		if out, err := s.sh(t.Context(), nodeC, "rm -r /opt/fault-by-readiness"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, name := range names {
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

// labelPayload pushes a payload whose scripts can change labels of their node.
func (s *suite) labelPayload(name string, scripts map[string]string) string {
	s.t.Helper()
	source, err := deploy.Source()
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := payloads.Workshop{Source: filepath.Join(source, "e2e"), Dir: s.t.TempDir()}.Label(s.t.Context(), scripts)
	if err != nil {
		s.t.Fatal(err)
	}
	ref, err := deploy.Payload(s.t.Context(), s.c, "faults/"+name, image)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
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
