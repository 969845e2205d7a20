package health

import (
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// notLookedAt is part of the message about an object whose status is not about what is there now.
const notLookedAt = "has not looked at this version"

// judge runs the script in argocd-cm.yaml as Argo CD's application controller does: without the libraries that
// scripts of its own have.
type judge struct{ overrides lua.ResourceHealthOverrides }

func newJudge(t *testing.T) judge {
	t.Helper()
	script := argocdCM(t)["resource.customizations.health.ConfigMap"]
	if script == "" {
		t.Fatal("argocd-cm.yaml has no health check for ConfigMaps")
	}
	return judge{lua.ResourceHealthOverrides{"ConfigMap": v1alpha1.ResourceOverride{HealthLua: script}}}
}

func argocdCM(t *testing.T) map[string]string {
	t.Helper()
	var cm corev1.ConfigMap
	readYAML(t, gitops+"/argocd/argocd-cm.yaml", &cm)
	return cm.Data
}

func (j judge) verdict(t *testing.T, u *unstructured.Unstructured) health.HealthStatus {
	t.Helper()
	got, err := health.GetResourceHealth(u, j.overrides)
	if err != nil {
		t.Fatalf("judging ConfigMap %s/%s: %v", u.GetNamespace(), u.GetName(), err)
	}
	if got == nil || got.Status == "" {
		t.Fatalf("judging ConfigMap %s/%s: no verdict, and a sync would wait for ever", u.GetNamespace(), u.GetName())
	}
	return *got
}

func TestArgoCDSaysWhatTheCorpusSays(t *testing.T) {
	j := newJudge(t)
	for _, c := range loadCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			got := j.verdict(t, c.configMap(t))
			if string(got.Status) != c.Argocd.Status || !strings.Contains(got.Message, c.Argocd.Message) {
				t.Errorf("got %s %q, expected %s with %q", got.Status, got.Message, c.Argocd.Status, c.Argocd.Message)
			}
			if c.Argocd.Message == "" && got.Message != "" {
				t.Errorf("got message %q for a ConfigMap that is not Longshore's, expected none", got.Message)
			}
		})
	}
}

// An object whose status fits reads as not looked at after every edit.
func TestArgoCDSeesEveryEdit(t *testing.T) {
	j, edited := newJudge(t), 0
	for _, c := range loadCases(t) {
		s := standingOf(c.configMap(t))
		before := j.verdict(t, c.configMap(t)).Message
		if !s.ours || s.elsewhere || s.deleted || s.unobserved || strings.Contains(before, notLookedAt) {
			continue
		}
		for sentence, u := range edits(t, c.configMap(t)) {
			edited++
			got := j.verdict(t, u)
			if got.Status != health.HealthStatusProgressing || !strings.Contains(got.Message, notLookedAt) {
				t.Errorf("%s, then %s: got %s %q, expected a status that is old", c.Name, sentence, got.Status, got.Message)
			}
		}
	}
	if edited < 500 {
		t.Errorf("only %d edits were judged, expected at least 500", edited)
	}
}

// Argo CD stops a script after a second, and its sandbox has a small stack.
func TestArgoCDJudgesThousandsOfKeys(t *testing.T) {
	got := newJudge(t).verdict(t, manyKeys())
	if got.Status != health.HealthStatusDegraded || got.Message != "unknown keys" {
		t.Errorf("got %s %q, expected %s", got.Status, got.Message, health.HealthStatusDegraded)
	}
}

// phases is the contract: what each phase of a spec means to Argo CD.
var phases = map[string]health.HealthStatusCode{
	"Ready":        health.HealthStatusHealthy,
	"Progressing":  health.HealthStatusProgressing,
	"Uninstalling": health.HealthStatusProgressing,
	"Paused":       health.HealthStatusSuspended,
	"Halted":       health.HealthStatusDegraded,
	"Invalid":      health.HealthStatusDegraded,
	"Conflict":     health.HealthStatusDegraded,
	"Superseded":   health.HealthStatusDegraded,
	"RollingBack":  health.HealthStatusDegraded,
}

// expected is the contract for an object of a rollout.
func expected(s standing, stale bool) health.HealthStatusCode {
	status, known := phases[s.phase]
	switch {
	case s.deleted:
		return health.HealthStatusProgressing
	case !s.ours:
		return health.HealthStatusHealthy
	case s.elsewhere:
		return health.HealthStatusDegraded
	case s.phase == "Invalid" && s.unobserved:
		return health.HealthStatusDegraded
	case stale || s.unobserved || !known:
		return health.HealthStatusProgressing
	case s.pool && s.phase == "Paused":
		return health.HealthStatusHealthy
	}
	return status
}

func TestArgoCDNeverContradictsThePhaseInWholeRollouts(t *testing.T) {
	j := newJudge(t)
	forEachState(t, func(line int, state state) {
		u := &unstructured.Unstructured{Object: state.Object}
		s := standingOf(u)
		if got, want := j.verdict(t, u), expected(s, state.Stale); got.Status != want {
			t.Errorf("line %d: phase %q, stale %t: got %s %q, expected %s",
				line, s.phase, state.Stale, got.Status, got.Message, want)
		}
	})
}
