// Package rules_test answers: do the alerts of kustomize/components/monitoring fire when they should, and only then?
//
// It loads the rules and evaluates them with Prometheus' own engine, a minute at a time, as `promtool test rules` does. It is a module of its own
// because Prometheus brings half of all clouds along.
package rules_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

var folder = filepath.Join("..", "..", "kustomize", "components", "monitoring")

// firing are the alerts that fire at a time, a line each: name, labels, value of the summary. Series are in promtool's notation, a value a minute
// from the beginning of time on.
func firing(t *testing.T, series string, at time.Duration) []string {
	t.Helper()
	storage := promqltest.LoadedStorage(t, load(series))
	t.Cleanup(func() {
		if err := storage.Close(); err != nil {
			t.Error(err)
		}
	})
	engine := promqltest.NewTestEngine(t, false, 0, 100000)
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{}, QueryFunc: rules.EngineQueryFunc(engine, storage), Appendable: storage, Queryable: storage, Context: t.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: slog.New(slog.DiscardHandler),
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, filepath.Join(folder, "rules.yaml"))
	for _, err := range errs {
		t.Fatal(err)
	}
	for now := time.Unix(0, 0); !now.After(time.Unix(0, 0).Add(at)); now = now.Add(time.Minute) {
		for _, g := range groups {
			g.Eval(t.Context(), now)
			for _, r := range g.Rules() {
				if r.LastError() != nil {
					t.Fatalf("rule %s: %v", r.Name(), r.LastError())
				}
			}
		}
	}
	var lines []string
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			for _, a := range r.ActiveAlerts() {
				if a.State == rules.StateFiring {
					lines = append(lines, a.Labels.Get("severity")+" "+r.Name()+": "+a.Annotations.Get("summary"))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// load is the command that loads series; an empty line would end it.
func load(series string) string {
	text := "load 1m\n"
	for line := range strings.Lines(series) {
		if strings.TrimSpace(line) != "" {
			text += "  " + strings.TrimSpace(line) + "\n"
		}
	}
	return text
}

// alive is a controller that works; it has nothing to do with what a case is about.
const alive = `
  longshore_passes_total{result="ok", instance="a"} 0+3x200
  longshore_passes_total{result="error", instance="a"} 0x200
`

func TestAlertsFireWhenTheyShould(t *testing.T) {
	cases := map[string]struct {
		series string
		at     time.Duration
		want   []string
	}{
		"nothing is wrong": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Ready", instance="a"} 1x200
  longshore_nodes{runtime="kata", phase="Ready", instance="a"} 5x200
  longshore_nodes_done{runtime="kata", instance="a"} 5x200
  longshore_turns{runtime="kata", state="used", instance="a"} 0x200
  longshore_turns{runtime="kata", state="allowed", instance="a"} 1x200`, time.Hour, nil},
		"an idle controller is not a dead one": {`
  longshore_passes_total{result="ok"} 7x200`, time.Hour, nil},
		"no controller, but not for long": {`
  longshore_passes_total{result="ok"} 0x2 stale`, 11 * time.Minute, nil},
		"no controller": {`
  longshore_passes_total{result="ok"} 0x2 stale`, 14 * time.Minute, []string{"critical LongshoreAbsent: No controller of Longshore is seen."}},
		"every pass fails": {`
  longshore_passes_total{result="error"} 0+2x200`, 21 * time.Minute, []string{"critical LongshorePassesFail: The controller of Longshore has made no complete pass for 20 minutes."}},
		"every pass fails that went well before": {`
  longshore_passes_total{result="ok"} 0+2x20 40x200
  longshore_passes_total{result="error"} 0x20 0+2x200`, 42 * time.Minute, []string{"critical LongshorePassesFail: The controller of Longshore has made no complete pass for 20 minutes."}},
		"some passes fail": {`
  longshore_passes_total{result="ok"} 0+1x200
  longshore_passes_total{result="error"} 0+2x200`, time.Hour, nil},
		"a rollout is halted": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Halted", instance="a"} 1x200
  longshore_nodes{runtime="kata", phase="Failed", instance="a"} 2x200`, 10 * time.Minute, []string{
			"warning LongshoreHalted: The rollout of runtime kata is halted.", "warning LongshoreNodesFailed: 2 nodes failed with runtime kata.",
		}},
		"a node failed and was mended at once": {alive + `
  longshore_nodes{runtime="kata", phase="Failed", instance="a"} 1x3 stale`, 10 * time.Minute, nil},
		"nothing ends": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Progressing", instance="a"} 1x200
  longshore_operations_total{runtime="kata", operation="install", result="done", instance="a"} 3x200`, 46 * time.Minute, []string{
			"warning LongshoreNothingEnds: Runtime kata has nodes left to do, and for 45 minutes none was done or failed.",
		}},
		"a rollout that began half an hour ago": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Progressing", instance="a"} 1x200
  longshore_operations_total{runtime="kata", operation="install", result="done", instance="a"} 0x200`, 30 * time.Minute, nil},
		"a slow rollout goes on": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Progressing", instance="a"} 1x200
  longshore_operations_total{runtime="kata", operation="install", result="done", instance="a"} 0x30 1x30 2x30 3x30`, 100 * time.Minute, nil},
		"one runtime goes on, another does not": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Progressing", instance="a"} 1x200
  longshore_runtime_phase{runtime="crun", phase="Uninstalling", instance="a"} 1x200
  longshore_operations_total{runtime="kata", operation="install", result="failed", instance="a"} 0+1x200
  longshore_operations_total{runtime="crun", operation="uninstall", result="done", instance="a"} 4x200`, 50 * time.Minute, []string{
			"warning LongshoreNothingEnds: Runtime crun has nodes left to do, and for 45 minutes none was done or failed.",
		}},
		"a paused rollout may rest": {alive + `
  longshore_runtime_phase{runtime="kata", phase="Paused", instance="a"} 1x200`, 2 * time.Hour, nil},
		"a spec is refused for long": {alive + `
  longshore_stale_since_timestamp_seconds{kind="spec", name="kata", instance="a"} 60x200`, 20 * time.Minute, []string{
			"warning LongshoreStaleConfiguration: The spec kata is not in force as it stands, for 19m 0s.",
		}},
		"the site is refused on both replicas": {alive + `
  longshore_stale_since_timestamp_seconds{kind="site", name="longshore-site", instance="a"} 60x200
  longshore_stale_since_timestamp_seconds{kind="site", name="longshore-site", instance="b"} 120x200`, 20 * time.Minute, []string{
			"warning LongshoreStaleConfiguration: The site longshore-site is not in force as it stands, for 19m 0s.",
		}},
		"a spec was refused and mended": {alive + `
  longshore_stale_since_timestamp_seconds{kind="spec", name="kata", instance="a"} 60x10 stale`, 20 * time.Minute, nil},
		"a budget is overrun": {alive + `
  longshore_turns{runtime="kata", state="used", instance="a"} 3x200
  longshore_turns{runtime="kata", state="allowed", instance="a"} 2x200`, 16 * time.Minute, []string{
			"info LongshoreBudgetOverrun: More nodes are out of service for runtime kata than its budget allows now.",
		}},
		"an uninstall without a spec has one place": {alive + `
  longshore_turns{runtime="kata", state="used", instance="a"} 1x200
  longshore_turns{runtime="kata", state="allowed", instance="a"} 0x200`, time.Hour, nil},
		"a payload for development is tried": {alive + `
  longshore_runtime_tainted{runtime="kata", instance="a"} 1x200
  longshore_runtime_tainted{runtime="crun", instance="a"} 0x200`, time.Hour, nil},
		"a payload for development was forgotten": {`
  longshore_passes_total{result="ok", instance="a"} 0+3x1600
  longshore_runtime_tainted{runtime="kata", instance="a"} 1x1600
  longshore_runtime_tainted{runtime="crun", instance="a"} 0x1600`, 25 * time.Hour, []string{
			"info LongshorePayloadReplaced: Runtime kata runs on a payload for development.",
		}},
		"passes are slow": {alive + `
  longshore_pass_duration_seconds_bucket{le="2", instance="a"} 0x200
  longshore_pass_duration_seconds_bucket{le="8.192", instance="a"} 0+3x200
  longshore_pass_duration_seconds_bucket{le="+Inf", instance="a"} 0+3x200`, 20 * time.Minute, []string{
			"info LongshoreSlow: One pass in a hundred of Longshore's controller takes more than 8.13s.",
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := firing(t, c.series, c.at); !slices.Equal(got, c.want) {
				t.Errorf("after %s these fire:\n%s\nexpected:\n%s", c.at, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	manager := rules.NewManager(&rules.ManagerOptions{ExternalURL: &url.URL{}, Logger: slog.New(slog.DiscardHandler)})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, filepath.Join(folder, "rules.yaml"))
	for _, err := range errs {
		t.Fatal(err)
	}
	count := 0
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			count++
			if severity := r.Labels().Get("severity"); !slices.Contains([]string{"critical", "warning", "info"}, severity) {
				t.Errorf("%s has severity %q", r.Name(), severity)
			}
			if r.Annotations().Get("summary") == "" || r.Annotations().Get("description") == "" {
				t.Errorf("%s says nothing", r.Name())
			}
		}
	}
	if count < 5 {
		t.Errorf("there are %d alerts", count)
	}
}

// dashboard is as much of a dashboard as is tested.
type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		ID      int    `json:"id"`
		Title   string `json:"title"`
		GridPos struct{ X, Y, W, H int }
		Targets []struct {
			Expr  string `json:"expr"`
			RefID string `json:"refId"`
		}
	}
}

func read(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func TestEveryQueryOfTheDashboardIsAnsweredByAnEngine(t *testing.T) {
	storage := promqltest.LoadedStorage(t, load(alive))
	defer func() {
		if err := storage.Close(); err != nil {
			t.Error(err)
		}
	}()
	engine := promqltest.NewTestEngine(t, false, 0, 100000)
	count := 0
	for _, p := range read(t).Panels {
		for _, target := range p.Targets {
			count++
			expr := strings.ReplaceAll(target.Expr, "$runtime", ".*")
			if _, err := parser.ParseExpr(expr); err != nil {
				t.Errorf("panel %q, query %s: %v", p.Title, target.RefID, err)
				continue
			}
			query, err := engine.NewInstantQuery(t.Context(), storage, promql.NewPrometheusQueryOpts(false, 0), expr, time.Unix(3600, 0))
			if err != nil {
				t.Fatal(err)
			}
			if result := query.Exec(t.Context()); result.Err != nil {
				t.Errorf("panel %q, query %s: %v", p.Title, target.RefID, result.Err)
			}
			query.Close()
		}
	}
	if count < 10 {
		t.Errorf("there are %d queries", count)
	}
}

func TestThePanelsOfTheDashboardDoNotLieOnEachOther(t *testing.T) {
	taken, ids := map[string]string{}, map[int]bool{}
	for _, p := range read(t).Panels {
		if ids[p.ID] {
			t.Errorf("panel %q has the id %d of another one", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				place := fmt.Sprintf("%d/%d", p.GridPos.X+x, p.GridPos.Y+y)
				if taken[place] != "" || p.GridPos.X+x >= 24 {
					t.Fatalf("panel %q lies on %q, or beyond the edge, at %s", p.Title, taken[place], place)
				}
				taken[place] = p.Title
			}
		}
	}
}
