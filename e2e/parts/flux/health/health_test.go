package health

import (
	"context"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The verdicts in the corpus.
const (
	inProgress = "inProgress"
	failed     = "failed"
	current    = "current"
)

// verdicts maps what Flux's evaluator says to the words of the corpus.
var verdicts = map[string]string{"InProgress": inProgress, "Failed": failed, "Current": current}

func newEvaluator(t *testing.T) *cel.StatusEvaluator {
	t.Helper()
	var specs kustomizev1.Kustomization
	readYAML(t, gitops+"/flux/specs.yaml", &specs)
	for _, check := range specs.Spec.HealthCheckExprs {
		if check.APIVersion == "v1" && check.Kind == "ConfigMap" {
			evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
			if err != nil {
				t.Fatal(err)
			}
			return evaluator
		}
	}
	t.Fatal("specs.yaml has no health check for ConfigMaps")
	return nil
}

func verdict(t *testing.T, evaluator *cel.StatusEvaluator, u *unstructured.Unstructured) string {
	t.Helper()
	got, err := evaluator.Evaluate(t.Context(), u)
	if err != nil {
		t.Fatalf("judging ConfigMap %s/%s: %v", u.GetNamespace(), u.GetName(), err)
	}
	return verdicts[got.Status.String()]
}

func TestFluxSaysWhatTheCorpusSays(t *testing.T) {
	evaluator := newEvaluator(t)
	for _, c := range loadCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			if got := verdict(t, evaluator, c.configMap(t)); got != c.Flux {
				t.Errorf("got %s, expected %s", got, c.Flux)
			}
		})
	}
}

// An object whose status fits is in progress after every edit.
func TestFluxSeesEveryEdit(t *testing.T) {
	evaluator, edited := newEvaluator(t), 0
	for _, c := range loadCases(t) {
		s := standingOf(c.configMap(t))
		if !s.ours || s.elsewhere || s.unobserved || verdict(t, evaluator, c.configMap(t)) == inProgress {
			continue
		}
		for sentence, u := range edits(t, c.configMap(t)) {
			edited++
			if got := verdict(t, evaluator, u); got != inProgress {
				t.Errorf("%s, then %s: got %s, expected %s", c.Name, sentence, got, inProgress)
			}
		}
	}
	if edited < 500 {
		t.Errorf("only %d edits were judged, expected at least 500", edited)
	}
}

func TestFluxJudgesThousandsOfKeysInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := newEvaluator(t).Evaluate(ctx, manyKeys())
	if err != nil {
		t.Fatal(err)
	}
	if verdicts[got.Status.String()] != failed {
		t.Errorf("got %s, expected %s", got.Status, failed)
	}
}

// expected is the contract for an object of a rollout.
func expected(s standing, stale bool) string {
	switch {
	case !s.ours:
		return current
	case s.elsewhere:
		return failed
	case s.deleted:
		return inProgress
	case s.phase == "Invalid" && s.unobserved:
		return failed
	case stale || s.unobserved:
		return inProgress
	}
	switch s.phase {
	case "Ready":
		return current
	case "Halted", "Invalid", "Conflict", "Superseded", "RollingBack":
		return failed
	case "Paused":
		if s.pool {
			return current
		}
	}
	return inProgress
}

func TestFluxNeverContradictsThePhaseInWholeRollouts(t *testing.T) {
	evaluator := newEvaluator(t)
	forEachState(t, func(line int, state state) {
		u := &unstructured.Unstructured{Object: state.Object}
		s := standingOf(u)
		got, err := evaluator.Evaluate(t.Context(), u)
		// Flux waits on an error. It is one here if data is absent and no managed field says so, which no API server does.
		if err != nil {
			unsaid := u.GetManagedFields() == nil && u.Object["data"] == nil
			if !unsaid || !strings.Contains(err.Error(), "no such attribute") {
				t.Errorf("line %d: %v", line, err)
			}
			return
		}
		if want := expected(s, state.Stale); verdicts[got.Status.String()] != want {
			t.Errorf("line %d: phase %q, stale %t: got %s, expected %s", line, s.phase, state.Stale, got.Status, want)
		}
	})
}
