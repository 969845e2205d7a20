package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// TestEveryStepWithAGateOfItsOwnIsMeasured goes through the moves of payloads that say by a label of the node that a step is done.
func TestEveryStepWithAGateOfItsOwnIsMeasured(t *testing.T) {
	start := time.Unix(1000, 0)
	// The time that is remembered is that of the operation.
	at := func(phase observed.Phase, operation observed.Operation, step string) *observed.Progress {
		return &observed.Progress{Phase: phase, Operation: operation, Step: step, Revision: "one", Attempt: 1, Since: start}
	}
	installing := func(step string) *observed.Progress { return at(observed.PhaseInstalling, observed.Install, step) }
	uninstalling := func(step string) *observed.Progress { return at(observed.PhaseUninstalling, observed.Uninstall, step) }
	type moment struct {
		kind          rollout.MoveKind
		before, after *observed.Progress
		second        int
	}
	for name, c := range map[string]struct {
		moments []moment
		want    map[string]float64
	}{
		"an install with a hook": {[]moment{
			{rollout.OpenGate, nil, installing("pre"), 0},
			{rollout.CloseGate, installing("pre"), installing("install"), 10},
			{rollout.NextStep, installing("install"), installing("install"), 13},
			{rollout.Succeed, installing("install"), at(observed.PhaseReady, observed.Install, ""), 33},
		}, map[string]float64{"pre done": 10, "install done": 20}},
		"an uninstall in three steps": {[]moment{
			{rollout.CloseGate, uninstalling("uninstall"), uninstalling("cleanup"), 5},
			{rollout.NextStep, uninstalling("cleanup"), uninstalling("cleanup"), 6},
			{rollout.CloseGate, uninstalling("cleanup"), uninstalling("post"), 8},
			{rollout.NextStep, uninstalling("post"), uninstalling("post"), 9},
			{rollout.RemoveKeys, uninstalling("post"), nil, 13},
		}, map[string]float64{"uninstall done": 5, "cleanup done": 2, "post done": 4}},
		"a step that fails": {[]moment{
			{rollout.CloseGate, installing("pre"), installing("install"), 10},
			{rollout.NextStep, installing("install"), installing("install"), 13},
			{rollout.Fail, installing("install"), at(observed.PhaseFailed, observed.Install, "install"), 20},
		}, map[string]float64{"pre done": 10, "install failed": 7}},
		"the time is up between two steps": {[]moment{
			{rollout.CloseGate, installing("pre"), installing("install"), 10}, {rollout.Fail, installing("install"), at(observed.PhaseFailed, observed.Install, "install"), 900},
		}, map[string]float64{"pre done": 10}},
		"all steps in one pod": {[]moment{
			{rollout.OpenGate, nil, installing("install"), 0}, {rollout.Succeed, installing("install"), at(observed.PhaseReady, observed.Install, ""), 12},
		}, map[string]float64{"install done": 12}},
		"a hook that fails in one pod": {[]moment{
			{rollout.OpenGate, nil, installing("install"), 0}, {rollout.Fail, installing("install"), at(observed.PhaseFailed, observed.Install, "pre"), 12},
		}, map[string]float64{"pre failed": 12}},
		"the payload of a Ready node leaves": {[]moment{
			{rollout.CloseGate, at(observed.PhaseReady, observed.Install, ""), at(observed.PhasePending, "", ""), 12},
		}, map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			m := NewMetrics(registry)
			for _, o := range c.moments {
				move := rollout.Move{Kind: o.kind}
				move.Runtime, move.Node, move.After = "kata", "a", o.after
				if o.before != nil {
					move.Before = o.before.String()
				}
				m.moved(&move, start.Add(time.Duration(o.second)*time.Second))
			}
			if diff := cmp.Diff(c.want, seconds(t, registry)); diff != "" {
				t.Errorf("seconds of the steps, want (-) and got (+):\n%s", diff)
			}
			// A node that has gone is forgotten.
			m.report(&status.Report{})
			if len(m.opened) > 0 {
				t.Errorf("still remembered: %v", m.opened)
			}
		})
	}
}

// seconds are those of all steps by step and result.
func seconds(t *testing.T, gatherer prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "longshore_step_duration_seconds" {
			continue
		}
		for _, metric := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			sums[labels["step"]+" "+labels["result"]] = metric.GetHistogram().GetSampleSum()
		}
	}
	return sums
}
