package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/controller/simulation"
)

// metrics are the values of a family by the values of its labels; of a histogram it is the count.
func metrics(t *testing.T, gatherer prometheus.Gatherer, family string) map[string]float64 {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != family {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, " ")] = value(f.GetType(), m)
		}
	}
	return values
}

func value(kind dto.MetricType, m *dto.Metric) float64 {
	switch kind {
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	case dto.MetricType_HISTOGRAM:
		return float64(m.GetHistogram().GetSampleCount())
	default:
		return m.GetGauge().GetValue()
	}
}

func TestMetricsCountWhatHappensToNodes(t *testing.T) {
	// Node b fails, whatever the command tries.
	payload := func(r simulation.Run) simulation.Result {
		if r.Node == "b" && r.Operation == "install" {
			return simulation.Result{Takes: time.Second, Code: 1, Message: "no space left"}
		}
		return wellBehaved(r)
	}
	run(t, payload, threeNodes(spec("kata-1", "one", "onFailure", "Continue", "soak", "30s")), func(c *cluster) {
		c.within(10*time.Minute, "b has failed and the others are Ready", func() bool {
			return metrics(t, c.registry, "longshore_nodes_done")["kata"] == 2 && metrics(t, c.registry, "longshore_nodes")["Failed kata"] == 1
		})
		same := func(family string, want map[string]float64) {
			t.Helper()
			if diff := cmp.Diff(want, metrics(t, c.registry, family)); diff != "" {
				t.Errorf("%s, want (-) and got (+):\n%s", family, diff)
			}
		}
		same("longshore_operations_total", map[string]float64{"install done kata": 2, "install failed kata": 1, "uninstall done kata": 0, "uninstall failed kata": 0})
		same("longshore_step_duration_seconds", map[string]float64{"done kata install": 2, "failed kata install": 1, "done kata soak": 2})
		same("longshore_nodes", map[string]float64{"Failed kata": 1, "Ready kata": 2})
		same("longshore_stale_since_timestamp_seconds", map[string]float64{})
		sums := sumsOf(t, c.registry)
		if soak := sums["done kata soak"]; soak < 60 || soak > 62 {
			t.Errorf("two nodes were watched for %v s in all, expected 60", soak)
		}
		if install := sums["done kata install"]; install < 4 || install > 10 {
			t.Errorf("two installs took %v s in all, expected 4 and a little", install)
		}

		before := float64(time.Now().Unix())
		change(c, func(d map[string]string) { d["maxUnavailable"] = "many" })
		c.within(time.Minute, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		since := metrics(t, c.registry, "longshore_stale_since_timestamp_seconds")["spec kata"]
		if since < before || since > float64(time.Now().Unix()) {
			t.Errorf("the spec is stale since %v, changed at %v", since, before)
		}
		c.pass(time.Minute)
		if again := metrics(t, c.registry, "longshore_stale_since_timestamp_seconds")["spec kata"]; again != since {
			t.Errorf("the spec is stale since %v, and then since %v", since, again)
		}
		change(c, func(d map[string]string) { d["maxUnavailable"] = "1" })
		c.within(time.Minute, "the spec is not stale", func() bool { return len(metrics(t, c.registry, "longshore_stale_since_timestamp_seconds")) == 0 })

		c.api.Delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-1"}})
		c.within(10*time.Minute, "every node is uninstalled", func() bool { return metrics(t, c.registry, "longshore_operations_total")["uninstall done kata"] == 3 })
	})
}

// sumsOf are the seconds of all steps of a kind together.
func sumsOf(t *testing.T, gatherer prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "longshore_step_duration_seconds" })
	for _, m := range families[i].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		sums[strings.Join(labels, " ")] = m.GetHistogram().GetSampleSum()
	}
	return sums
}

func TestMetricsRememberSinceWhenTheSiteIsStale(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := controller.NewMetrics(registry)
	const family = "longshore_stale_since_timestamp_seconds"
	m.SiteRefused(time.Unix(1000, 0))
	m.SiteRefused(time.Unix(2000, 0))
	if diff := cmp.Diff(map[string]float64{"site longshore-site": 1000}, metrics(t, registry, family)); diff != "" {
		t.Error(diff)
	}
	m.SiteInForce()
	if got := metrics(t, registry, family); len(got) > 0 {
		t.Errorf("the site is in force, and stale: %v", got)
	}
	m.SiteRefused(time.Unix(3000, 0))
	if got := metrics(t, registry, family)["site longshore-site"]; got != 3000 {
		t.Errorf("stale since %v, expected since it was refused again", got)
	}
}
