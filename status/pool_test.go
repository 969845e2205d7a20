package status_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		Message: "metadata.labels[longshore.dev/pool]: Forbidden: not supported yet: pools; " +
			"data[soak]: Forbidden: unknown key, expected one of: nodeSelector, maxUnavailable, maintenanceWindow, paused; " +
			"nothing starts on any node while this pool is refused; delete it: kubectl delete configmap blue",
	}}
	if diff := cmp.Diff(want, got.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	annotations := map[string]string{
		observed.SpecPhase: "Invalid", observed.SpecMessage: want[0].Message, observed.SpecObservedData: "keys=2\nnodeSelector=*\n--nodeSelector\nsoak=1m\n--soak\n",
	}
	if diff := cmp.Diff(annotations, got.Pools[0].Annotations(w.snap.Pools[0].Data)); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if r := report(t, got, "kata"); r.Phase != status.Progressing || r.Message != "0 of 2 nodes done; PoolInvalid 2" {
		t.Errorf("kata is %s: %s", r.Phase, r.Message)
	}
}

func TestALongListOfErrorsKeepsWhatToDo(t *testing.T) {
	w := newWorld()
	w.snap.Pools = []observed.Spec{{Name: "blue", Pool: "blue", Data: map[string]string{}}}
	for i := range 50 {
		w.snap.Pools[0].Data["unknown-"+strings.Repeat("x", i)] = ""
	}
	_, _, got := w.look()
	message := got.Pools[0].Annotations(nil)[observed.SpecMessage]
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
