package observed

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIndexReadsWhatStandsOnANode(t *testing.T) {
	const installing = `{"phase":"Installing","operation":"install","revision":"a1","since":"2026-01-02T03:04:05Z"}`
	progress := &Progress{Phase: PhaseInstalling, Operation: Install, Revision: "a1", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	cases := map[string]struct {
		labels, annotations map[string]string
		want                []State
		carries             bool
	}{
		"nothing": {nil, nil, nil, false},
		"keys of others": {
			map[string]string{"kubernetes.io/os": "linux", "type": "x", "longshore.dev/runtime": "kata"},
			map[string]string{"a.example/progress": "{}"},
			nil, false,
		},
		"a node under way": {
			map[string]string{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"},
			map[string]string{"kata.longshore.dev/progress": installing},
			[]State{{Runtime: "kata", Raw: installing, HasRaw: true, Progress: progress, Gate: "a1-install", Phase: "Installing"}},
			true,
		},
		"labels without progress": {
			map[string]string{"kata.longshore.dev/ready": "true"},
			nil,
			[]State{{Runtime: "kata", Ready: "true"}},
			true,
		},
		"a gate alone":  {map[string]string{"kata.longshore.dev/gate": "a1-install"}, nil, []State{{Runtime: "kata", Gate: "a1-install"}}, true},
		"a phase alone": {map[string]string{"kata.longshore.dev/phase": "Ready"}, nil, []State{{Runtime: "kata", Phase: "Ready"}}, true},
		"held without a reason": {
			nil,
			map[string]string{"kata.longshore.dev/hold": ""},
			[]State{{Runtime: "kata", Held: true}},
			false,
		},
		"held with one, and asked for a retry": {
			nil,
			map[string]string{"kata.longshore.dev/hold": "disk is being swapped", "kata.longshore.dev/retry": "2"},
			[]State{{Runtime: "kata", Held: true, Hold: "disk is being swapped", Retry: "2"}},
			false,
		},
		"an unknown key of a runtime": {
			map[string]string{"kata.longshore.dev/other": "x"},
			nil,
			[]State{{Runtime: "kata"}},
			false,
		},
		"a label with an annotation's name is none": {
			map[string]string{"kata.longshore.dev/progress": "x", "kata.longshore.dev/hold": "x"},
			map[string]string{"kata.longshore.dev/gate": "x"},
			[]State{{Runtime: "kata"}},
			false,
		},
		"an unreadable progress": {
			nil,
			map[string]string{"kata.longshore.dev/progress": "{"},
			[]State{{Runtime: "kata", Raw: "{", HasRaw: true, Problem: "progress is not readable: unexpected end of JSON input"}},
			true,
		},
		"an empty progress": {
			nil,
			map[string]string{"kata.longshore.dev/progress": ""},
			[]State{{Runtime: "kata", HasRaw: true, Problem: "progress is not readable: unexpected end of JSON input"}},
			true,
		},
		"several runtimes, sorted": {
			map[string]string{"kata.longshore.dev/ready": "true", "crun.longshore.dev/gate": "a2-uninstall", "gvisor.longshore.dev/phase": "Failed"},
			map[string]string{"kata.longshore.dev/progress": installing},
			[]State{
				{Runtime: "crun", Gate: "a2-uninstall"},
				{Runtime: "gvisor", Phase: "Failed"},
				{Runtime: "kata", Ready: "true", Raw: installing, HasRaw: true, Progress: progress},
			},
			true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			n := Node{Labels: LabelsOf(c.labels), Annotations: c.annotations}
			n.Index()
			if diff := cmp.Diff(c.want, n.States(), cmp.AllowUnexported(Progress{})); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
			carries := false
			for i := range n.States() {
				carries = carries || n.States()[i].Carries()
			}
			if carries != c.carries {
				t.Errorf("carries something: %v", carries)
			}
			n.Index()
			if diff := cmp.Diff(c.want, n.States(), cmp.AllowUnexported(Progress{})); diff != "" {
				t.Errorf("the second index differs:\n%s", diff)
			}
		})
	}
}

func TestANodeTellsItsStateByRuntime(t *testing.T) {
	n := Node{
		Labels:      LabelsOf(map[string]string{"kata.longshore.dev/gate": "a1-install", "crun.longshore.dev/gate": "a2-install", "gvisor.longshore.dev/ready": "true"}),
		Annotations: map[string]string{"kata.longshore.dev/progress": `{"phase":"Ready","operation":"install","revision":"a1"}`},
	}
	n.Index()
	if s := n.State("gvisor"); s == nil || s.Ready != "true" {
		t.Errorf("gvisor: %+v", s)
	}
	if s := n.State("youki"); s != nil || s.Carries() {
		t.Errorf("youki: %+v", s)
	}
	if p := n.Progress("kata"); p == nil || p.Phase != PhaseReady {
		t.Errorf("kata: %+v", p)
	}
	if p := n.Progress("crun"); p != nil {
		t.Errorf("crun: %+v", p)
	}
	if got := n.Gates(); got != 2 {
		t.Errorf("%d gates are open, want 2", got)
	}
}
