package status_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

func TestARefusedPoolSaysWhatToDoAndRuntimesCountWhoWaitsForThat(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.addNode("a", nil)
	w.addNode("b", nil)
	w.snap.Pools = []observed.Spec{{Name: "blue", Pool: "databases", Data: map[string]string{"nodeSelector": "*", "soak": "1m"}}}
	_, _, got := w.look()
	want := []status.PoolReport{{
		Name: "databases", ConfigMap: "blue", Phase: status.Invalid,
		Message: "data[soak]: Forbidden: unknown key, expected one of: nodeSelector, maxUnavailable, maintenanceWindow, paused; " +
			"nothing starts on any node while this pool is refused; mend it, or delete it: kubectl delete configmap blue",
	}}
	if diff := cmp.Diff(want, got.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	annotations := map[string]string{
		observed.SpecPhase: "Invalid", observed.SpecMessage: want[0].Message, observed.SpecObservedData: "keys=2\nnodeSelector=*\n--nodeSelector\nsoak=1m\n--soak\npool=databases binaryData=0\n",
	}
	if diff := cmp.Diff(annotations, got.Pools[0].Annotations(&w.snap.Pools[0])); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if r := report(t, got, "kata"); r.Phase != status.Progressing || r.Message != "0 of 2 nodes done; PoolInvalid 2" {
		t.Errorf("kata is %s: %s", r.Phase, r.Message)
	}
}

func TestAPoolSaysWhatItAsksForAndHowItsNodesStand(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.addNode("a", nil)
	w.addNode("b", nil)
	_, _, got := w.look()
	w.snap.Turns.Booked = []observed.Turn{{Node: w.snap.Nodes[0].UID, Runtime: "kata", Revision: report(t, got, "kata").Revision, Operation: observed.Install, ID: "t1"}}
	asks := map[string]string{"nodeSelector": "*", "maxUnavailable": "100%", "maintenanceWindow": "{schedule: 0 2 * * 6, duration: 4h}"}
	for name, c := range map[string]struct {
		data, annotations map[string]string
		want              status.PoolReport
	}{
		"valid": {asks, nil, status.PoolReport{Phase: status.Ready, Nodes: 2, Used: 1, Allowed: 2, Message: "2 nodes; at most 100% out of service at once; window 0 2 * * 6 UTC for 4h0m0s"}},
		"paused": {
			map[string]string{"nodeSelector": "*", "paused": "true"},
			nil,
			status.PoolReport{Phase: status.Paused, Nodes: 2, Used: 1, Message: "2 nodes; nothing begins while the pool is paused"},
		},
		"without nodes": {map[string]string{"nodeSelector": "tier=db"}, nil, status.PoolReport{Phase: status.Ready, Message: `no node matches "tier=db"`}},
		"refused, with a last good version": {
			map[string]string{"nodeSelector": "*", "paused": "no"},
			map[string]string{observed.PoolLastGood: `{"nodeSelector":"*"}`},
			status.PoolReport{
				Phase: status.Invalid, Nodes: 2, Used: 1,
				Message: `data[paused]: Unsupported value: "no": supported values: "true", "false"; the last good version stays in force: 2 nodes`,
			},
		},
	} {
		w.snap.Pools = []observed.Spec{{Name: "blue", Pool: "databases", Data: c.data, Annotations: c.annotations}}
		_, _, got := w.look()
		c.want.Name, c.want.ConfigMap = "databases", "blue"
		if diff := cmp.Diff([]status.PoolReport{c.want}, got.Pools, cmpopts.IgnoreFields(status.PoolReport{}, "LastGood")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Pools[0].Annotations(&w.snap.Pools[0])[observed.PoolLastGood] == "" {
			t.Errorf("%s: no good version is written down", name)
		}
	}
}

func TestALongListOfErrorsKeepsWhatToDo(t *testing.T) {
	w := newWorld()
	w.snap.Pools = []observed.Spec{{Name: "blue", Pool: "blue", Data: map[string]string{}}}
	for i := range 50 {
		w.snap.Pools[0].Data["unknown-"+strings.Repeat("x", i)] = ""
	}
	_, _, got := w.look()
	message := got.Pools[0].Annotations(&w.snap.Pools[0])[observed.SpecMessage]
	if len(message) > observed.MaxMessage || !strings.Contains(message, "kubectl delete configmap blue") {
		t.Errorf("the message has %d bytes: %s", len(message), message)
	}
}

func TestASpecThatIsAPoolAsWellIsInvalidAsBothAndNobodyIsToldToDeleteIt(t *testing.T) {
	w := newWorld()
	w.addRuntime(t, "kata")
	w.snap.Specs[0].Pool = "kata"
	w.snap.Pools = []observed.Spec{w.snap.Specs[0]}
	_, _, got := w.look()
	wrong := "metadata.labels[longshore.dev/pool]: Forbidden: the ConfigMap also has the label longshore.dev/runtime: it is the spec of a runtime or a pool, not both"
	r := report(t, got, "kata")
	if want := wrong + "; revision " + r.Revision + " stays in force"; r.Phase != status.Invalid || r.Message != want {
		t.Errorf("kata is %s: %s", r.Phase, r.Message)
	}
	end := "; nothing starts on any node while this pool is refused; take the pool label off: kubectl label configmap kata longshore.dev/pool-"
	if got := got.Pools[0].Message; !strings.HasPrefix(got, wrong) || !strings.HasSuffix(got, end) || strings.Contains(got, "delete") {
		t.Errorf("the pool says %s", got)
	}
}
