package kustomize_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

const specPolicy = "longshore-specs"

// validated is what the component for validation adds.
func validated(t *testing.T) []object {
	t.Helper()
	overlay := t.TempDir()
	component := filepath.Join("components", "validation")
	if err := os.CopyFS(filepath.Join(overlay, component), os.DirFS(component)); err != nil {
		t.Fatal(err)
	}
	text := "components: [" + component + "]\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, overlay)
}

func TestValidationAddsAPolicyAndItsBindingAndNoRights(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := admissionv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var added []string
	for _, o := range validated(t) {
		added = append(added, o.Kind+" "+o.Name)
		if _, _, err := decoder.Decode(o.text, nil, nil); err != nil {
			t.Errorf("%s %s: %v", o.Kind, o.Name, err)
		}
	}
	want := []string{"ValidatingAdmissionPolicy " + specPolicy, "ValidatingAdmissionPolicyBinding " + specPolicy}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Errorf("objects that validation adds, want (-) and got (+):\n%s", diff)
	}
}

// The parser stands behind the policy, so an error of the policy itself must stop nobody, not even those who delete.
func TestThePolicyOfSpecsStopsNobodyByAnErrorOfItsOwn(t *testing.T) {
	var policy admissionv1.ValidatingAdmissionPolicy
	for _, o := range validated(t) {
		if o.Kind == "ValidatingAdmissionPolicy" {
			o.into(t, &policy)
		}
	}
	if on := policy.Spec.FailurePolicy; on == nil || *on != admissionv1.Ignore {
		t.Errorf("failurePolicy is %v, expected Ignore", on)
	}
	rules := policy.Spec.MatchConstraints.ResourceRules
	if len(rules) != 1 || !slices.Equal(rules[0].Resources, []string{"configmaps"}) ||
		slices.Contains(rules[0].Operations, admissionv1.Delete) {
		t.Errorf("the policy looks at %v, expected configmaps that are created or updated", rules)
	}
}

// editorLine names the schema of a file for editors.
var editorLine = regexp.MustCompile(`^# yaml-language-server: \$schema=(\S+)#/definitions/(\w+)\n`)

func TestSamplesPassTheSchemasForEditors(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	objects, err := compiler.Compile(filepath.Join("..", "spec", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join("samples", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("there are no samples: %v", err)
	}
	for _, dir := range folders {
		for _, o := range build(t, dir) {
			passes(t, objects, dir, o.text)
		}
		for key, file := range valueFiles(t, dir) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			line := editorLine.FindStringSubmatch(string(raw))
			if len(line) < 3 || line[2] != key {
				t.Errorf("%s: the first line does not name the schema of %s for editors", file, key)
				continue
			}
			values, err := compiler.Compile(filepath.Join(dir, line[1]) + "#/definitions/" + key)
			if err != nil {
				t.Fatal(err)
			}
			passes(t, values, file, raw)
		}
	}
}

// valueFiles are the files with YAML that a sample is generated from, by key.
func valueFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range regexp.MustCompile(`(?m)^ *- (\w+)=([\w.-]+[.]yaml)$`).FindAllStringSubmatch(string(raw), -1) {
		found[entry[1]] = filepath.Join(dir, entry[2])
	}
	if len(found) == 0 {
		t.Errorf("%s is generated from no file", dir)
	}
	return found
}

func passes(t *testing.T, schema *jsonschema.Schema, file string, text []byte) {
	t.Helper()
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}
