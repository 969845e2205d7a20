package tests

import (
	"strings"
	"testing"
)

func TestANodeWithContainerd16InstallsAndSaysThatNoHandlersAreReported(t *testing.T) {
	s := start(t, "crun")
	before := s.footprint(nodeC)
	s.apply(s.crun("1.0", "containerd=1.6"))
	s.ready("crun", 1)
	p := s.progress(t.Context(), nodeC)
	if p.Reason != "HandlersUnreported" || !strings.Contains(p.Message, "reports no handlers") {
		t.Errorf("node %s tells %+v, expected that it reports no handlers", nodeC, p)
	}
	pod := s.pod("crun-on-"+nodeC, nodeC, "crun", s.shell())
	if !s.prove(pod.Name) {
		t.Errorf("pod %s does not run under crun", pod.Name)
	}
	s.deletePod(pod.Name)
	s.remove()
	s.same(nodeC, before)
}
