package docs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestTheDocsHaveEveryAlertWithItsSeverity(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "kustomize", "components", "monitoring", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert  string
				Labels map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	alerts, documented := map[string]string{}, map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts[r.Alert] = r.Labels["severity"]
			}
		}
	}
	for _, row := range table(t, "monitoring.md", "Alerts", "alert") {
		documented[backquoted(row[0])[0]] = row[1]
	}
	if diff := cmp.Diff(alerts, documented); diff != "" {
		t.Errorf("alerts of the rules (-) and of docs/monitoring.md (+):\n%s", diff)
	}
}
