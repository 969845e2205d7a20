package tests

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestACanaryGoesFirstAndSoaks has one node go before two others, in an install and in an upgrade whose canary fails.
func TestACanaryGoesFirstAndSoaks(t *testing.T) {
	s := start(t, "waves")
	const soak = 6
	scripts := map[string]string{
		"/install.sh":   "#!/bin/sh\nset -eu\n[ \"$VERSION\" != bad ] || { echo 'bad version' >&2; exit 1; }\necho \"$VERSION $(date +%s)\" >> /host/opt/waves.log\n",
		"/uninstall.sh": "#!/bin/sh\nset -eu\nrm -f /host/opt/waves.log\n",
	}
	image := s.payload("waves:1", scripts)
	spec := func(version string) string {
		return fmt.Sprintf(specText, "waves", image, "'*'") + fmt.Sprintf(`  environmentVariables: '[{name: VERSION, value: %q}]'
  maxUnavailable: "2"
  attempts: "1"
  waves: |
    - {name: canary, nodeSelector: containerd=1.6, soak: %ds}
`, version, soak)
	}
	s.apply(spec("1"))
	s.wait(t.Context(), "the others wait for the canary to soak", func(context.Context) (bool, string) {
		out, words, _ := s.longshore(s.c.Kubeconfig(), "status", nodeA)
		return strings.Contains(out, "waiting for wave canary to soak until "), out + words
	})
	s.ready("waves", 3)
	canary := s.installedAt(nodeC, "1")
	for _, n := range []string{nodeA, nodeB} {
		if at := s.installedAt(n, "1"); at < canary+soak {
			t.Errorf("node %s was installed %d s after the canary, which soaks for %d s", n, at-canary, soak)
		}
	}

	s.apply(spec("bad"))
	st := s.phase("waves", "Halted")
	if st.progress != "0/3" {
		t.Errorf("the spec says %+v, expected none of three nodes done", st)
	}
	for _, n := range []string{nodeA, nodeB} {
		if p := s.progress(t.Context(), n); p.Phase != "Ready" || p.Reason == "InstallFailed" {
			t.Errorf("node %s was touched although the canary failed: %+v", n, p)
		}
	}
	s.apply(spec("2"))
	s.ready("waves", 3)
	canary = s.installedAt(nodeC, "2")
	for _, n := range []string{nodeA, nodeB} {
		if at := s.installedAt(n, "2"); at < canary+soak {
			t.Errorf("node %s was upgraded %d s after the canary, which soaks for %d s", n, at-canary, soak)
		}
	}
}

// installedAt is when a version was installed on a node, in seconds of the machine's clock.
func (s *suite) installedAt(node, version string) int {
	s.t.Helper()
	for line := range strings.Lines(s.log(node)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), version+" "); ok {
			seconds, err := strconv.Atoi(text)
			if err != nil {
				s.t.Fatal(err)
			}
			return seconds
		}
	}
	s.t.Fatalf("version %s was never installed on node %s: %s", version, node, s.log(node))
	return 0
}
