package kustomize_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/controller"
)

// monitored is the default with the component for monitoring.
func monitored(t *testing.T) []object {
	t.Helper()
	overlay := t.TempDir()
	for _, dir := range []string{"default", filepath.Join("components", "monitoring")} {
		if err := os.CopyFS(filepath.Join(overlay, dir), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	text := "resources: [default]\ncomponents: [components/monitoring]\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, overlay)
}

func TestMonitoringAddsThreeObjectsAndNoRights(t *testing.T) {
	before := map[string]bool{}
	for _, o := range build(t, "default") {
		before[o.Kind+" "+o.Namespace+"/"+o.Name] = true
	}
	added := map[string]bool{}
	for _, o := range monitored(t) {
		if name := o.Kind + " " + o.Namespace + "/" + o.Name; !before[name] {
			added[name] = true
		}
	}
	want := map[string]bool{
		"ConfigMap longshore-system/longshore-dashboard": true, "ConfigMap longshore-system/longshore-rules": true, "Service longshore-system/longshore-metrics": true,
	}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Errorf("objects that monitoring adds, want (-) and got (+):\n%s", diff)
	}
}

func TestTheMetricsServiceFindsTheControllersPort(t *testing.T) {
	objects := monitored(t)
	pod := deployment(t, objects).Spec.Template
	for _, o := range objects {
		if o.Kind != "Service" {
			continue
		}
		var service corev1.Service
		o.into(t, &service)
		for key, value := range service.Spec.Selector {
			if pod.Labels[key] != value {
				t.Errorf("the service selects %s=%s, and the pod has %q", key, value, pod.Labels[key])
			}
		}
		found := false
		for _, port := range pod.Spec.Containers[0].Ports {
			found = found || (port.Name == service.Spec.Ports[0].TargetPort.StrVal && port.ContainerPort == service.Spec.Ports[0].Port)
		}
		if !found {
			t.Errorf("no port of %v is the one of the service, %v", pod.Spec.Containers[0].Ports, service.Spec.Ports)
		}
	}
}

var (
	metricName = regexp.MustCompile(`\blongshore_[a-z_]+`)
	fullName   = regexp.MustCompile(`fqName: "([^"]+)"`)
)

func TestRulesAndDashboardNameOnlyMetricsThatThereAre(t *testing.T) {
	known := map[string]bool{}
	for _, name := range registered() {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			known[name+suffix] = true
		}
	}
	used := map[string]bool{}
	for _, o := range monitored(t) {
		if o.Kind != "ConfigMap" || !strings.HasPrefix(o.Name, "longshore-") {
			continue
		}
		for _, name := range metricName.FindAllString(string(o.text), -1) {
			used[name] = true
			if !known[name] {
				t.Errorf("%s: there is no metric %s", o.Name, name)
			}
		}
	}
	for _, name := range registered() {
		if !used[name] && !used[name+"_bucket"] {
			t.Errorf("metric %s is in no rule and in no panel", name)
		}
	}
}

// names collects the metrics that are registered.
type names struct{ found *[]string }

func (n names) Register(c prometheus.Collector) error { n.MustRegister(c); return nil }

func (n names) Unregister(prometheus.Collector) bool { return false }

func (n names) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 10)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			*n.found = append(*n.found, fullName.FindStringSubmatch(d.String())[1])
		}
	}
}

func registered() []string {
	var found []string
	controller.NewMetrics(names{&found})
	return found
}
