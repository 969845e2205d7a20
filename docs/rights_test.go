package docs_test

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func TestTheInstallGuideHasEveryRight(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "kustomize", "default", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join("..", "kustomize", "components", "workloads", "rbac.yaml"))
	const forController, forOthersPods, forPayloads = "What the controller may do", "Rights for the pods of others", "What payloads may do"
	granted := map[string]map[string]string{forController: {}, forOthersPods: {}, forPayloads: {}}
	headings := map[string]string{"longshore-node-access": forPayloads, "longshore-workloads": forOthersPods}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
			var role rbacv1.Role // a ClusterRole has the same fields, and no namespace
			if err := yaml.Unmarshal(document, &role); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if role.Kind != "Role" && role.Kind != "ClusterRole" {
				continue
			}
			where := "cluster"
			if role.Namespace != "" {
				where = "`" + role.Namespace + "`"
			}
			for _, rule := range role.Rules {
				what := "`" + strings.Join(append(rule.Resources, rule.ResourceNames...), "` `") + "`"
				granted[cmp.Or(headings[role.Name], forController)][where+" "+what] = strings.Join(rule.Verbs, ", ")
			}
		}
	}
	for heading, rights := range granted {
		documented := map[string]string{}
		for _, row := range table(t, "install.md", heading, "where") {
			documented[row[0]+" "+row[1]] = row[2]
		}
		if diff := gocmp.Diff(rights, documented); diff != "" {
			t.Errorf("%s: rights in kustomize (-) and in docs/install.md (+):\n%s", heading, diff)
		}
	}
}
