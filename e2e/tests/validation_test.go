package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/e2e/deploy"
)

// specPolicy is the name of the policy of kustomize/components/validation, and of its binding.
const specPolicy = "longshore-specs"

// TestValidationByTheAPIServer shows the corpus of spec/testdata to the real API server with the component for
// validation. With failurePolicy Ignore nobody sees an error inside the policy, so the corpus is shown to the same policy
// with Fail as well.
func TestValidationByTheAPIServer(t *testing.T) {
	s := start(t, "validation")
	cases := validationCases(t)
	s.refusedByTheController()
	s.validate()
	for _, onError := range []string{"Ignore", "Fail"} {
		s.onPolicyError(onError)
		for _, c := range cases {
			s.judge(c)
		}
	}
	s.takesWhatTheParserTakes()
	s.policyTypes()
	s.onlyPeopleCount()
}

// judge creates the object of a case as a dry run.
func (s *suite) judge(c validationCase) {
	s.t.Helper()
	err := s.kube.CoreV1().RESTClient().Post().Namespace(c.namespace).Resource("configmaps").
		SetHeader("Content-Type", "application/json").Param("dryRun", metav1.DryRunAll).Param("fieldValidation", "Strict").
		Body(c.object).Do(s.t.Context()).Error()
	switch wanted := slices.Contains(c.Accepts, "policy"); {
	case (err == nil) != wanted:
		s.t.Errorf("%s: the API server says %v; the case says accepts: %v", c.name, err, c.Accepts)
	case err == nil:
	case strings.Contains(err.Error(), "cannot unmarshal"): // a value that is no text comes as far as no policy
	case !strings.Contains(err.Error(), "'"+specPolicy+"'") || !strings.Contains(err.Error(), "denied request: "):
		s.t.Errorf("%s: the API server says %v, expected a refusal by the policy %s", c.name, err, specPolicy)
	case strings.Contains(err.Error(), "failed expression"):
		s.t.Errorf("%s: the message of the policy has an error of its own: %v", c.name, err)
	}
}

// takesWhatTheParserTakes shows the policy, while it fails on errors, the samples and every value that the cases of the
// parser accept.
func (s *suite) takesWhatTheParserTakes() {
	s.t.Helper()
	source, err := deploy.Source()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sample := range kustomizations(s.t, filepath.Join(source, "kustomize", "samples")) {
		s.wouldTake(s.file(s.built(sample, "")))
	}
	files, err := filepath.Glob(filepath.Join(source, "spec", "testdata", "keys", "*.txt"))
	if err != nil {
		s.t.Fatal(err)
	}
	accepted := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		for written := range strings.SplitSeq(string(raw), "\n\n") {
			if strings.Contains("\n"+written, "\ndata[") {
				continue // the parser refuses it
			}
			accepted++
			if err := s.tryData(s.t.Context(), dataOf(strings.TrimSuffix(filepath.Base(file), ".txt"), written)); err != nil {
				s.t.Errorf("%s: the parser accepts it and the API server says %v:\n%s", file, err, written)
			}
		}
	}
	if accepted < 60 {
		s.t.Errorf("only %d values were accepted by the parser and shown to the policy", accepted)
	}
}

// dataOf is the data of a case of the parser: lines with > are the value of the key, and lines with + other keys.
func dataOf(key, written string) map[string]string {
	data := map[string]string{"payloadImage": "a", "installCmd": "[a]", "uninstallCmd": "[a]", "nodeSelector": "*"}
	var value []string
	for line := range strings.SplitSeq(written, "\n") {
		if text, ok := strings.CutPrefix(line, ">"); ok {
			value = append(value, strings.TrimPrefix(text, " "))
		} else if text, ok := strings.CutPrefix(line, "+"); ok {
			other, text, _ := strings.Cut(text, ": ")
			data[other] = text
		}
	}
	data[key] = strings.Join(value, "\n")
	return data
}

// validate applies the component, and takes it away after the test.
func (s *suite) validate() {
	s.t.Helper()
	source, err := deploy.Source()
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ncomponents: [" +
		s.relative(dir, filepath.Join(source, "kustomize", "components", "validation")) + "]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.c.Kubectl(ctx, "delete", "--ignore-not-found", "--kustomize", dir); err != nil {
			s.t.Error(err)
		}
	})
	if _, err := s.c.Kubectl(s.t.Context(), "apply", "--kustomize", dir); err != nil {
		s.t.Fatal(err)
	}
	s.wait(s.t.Context(), "the policy is in force", func(ctx context.Context) (bool, string) {
		err := s.tryData(ctx, map[string]string{"unheard-of": "1"})
		return err != nil && strings.Contains(err.Error(), specPolicy), fmt.Sprint(err)
	})
}

// tryData asks whether the API server would take the data as a new spec.
func (s *suite) tryData(ctx context.Context, data map[string]string) error {
	return s.tryCreate(ctx, "validation-try", "longshore.dev/runtime", data)
}

func (s *suite) tryCreate(ctx context.Context, name, label string, data map[string]string) error {
	meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "try"}}
	object := &corev1.ConfigMap{ObjectMeta: meta, Data: data}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := s.kube.CoreV1().ConfigMaps("longshore").Create(ctx, object, dryRun)
	return err
}

// onPolicyError sets what happens when the policy fails, and waits until the API server has read it.
func (s *suite) onPolicyError(failurePolicy string) {
	s.t.Helper()
	// A validation of this test's own shows which version of the policy is in force.
	probe := "validation-probe-" + strings.ToLower(failurePolicy)
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/failurePolicy", "value": %q},
		{"op": "add", "path": "/spec/validations/-", "value": {"expression": "object.metadata.name != '%s'"}}]`,
		failurePolicy, probe)
	_, err := s.c.Kubectl(s.t.Context(), "patch", "validatingadmissionpolicy", specPolicy, "--type=json", "--patch", patch)
	if err != nil {
		s.t.Fatal(err)
	}
	s.wait(s.t.Context(), "the policy with "+failurePolicy+" is in force", func(ctx context.Context) (bool, string) {
		err := s.tryCreate(ctx, probe, "longshore.dev/pool", map[string]string{"nodeSelector": "*"})
		return err != nil && strings.Contains(err.Error(), specPolicy), fmt.Sprint(err)
	})
}

// policyTypes waits for what Kubernetes itself finds wrong with the expressions.
func (s *suite) policyTypes() {
	s.t.Helper()
	policies := s.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	s.wait(s.t.Context(), "the expressions are checked", func(ctx context.Context) (bool, string) {
		policy, err := policies.Get(ctx, specPolicy, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		if policy.Status.TypeChecking != nil {
			for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
				s.t.Errorf("%s: %s", warning.FieldRef, warning.Warning)
			}
		}
		return policy.Status.ObservedGeneration == policy.Generation, fmt.Sprintf("%+v", policy.Status)
	})
}

// refusedByTheController applies a spec that only the controller refuses while there is no policy.
func (s *suite) refusedByTheController() {
	s.t.Helper()
	s.apply(fmt.Sprintf(specText, "validation", "registry.example.com/none:1", "validation=none") + "  drain: Often\n")
	s.phase("validation", "Invalid")
}

// onlyPeopleCount has the controller and people write on a spec that was invalid before the policy came.
func (s *suite) onlyPeopleCount() {
	s.t.Helper()
	specs := s.kube.CoreV1().ConfigMaps("longshore")
	patch := func(body string, dryRun ...string) error {
		options := metav1.PatchOptions{DryRun: dryRun}
		_, err := specs.Patch(s.t.Context(), "validation", types.MergePatchType, []byte(body), options)
		return err
	}
	for _, allowed := range []string{
		`{"metadata": {"annotations": {"longshore.dev/message": "x", "example.com/note": "x"}}}`,
		`{"metadata": {"labels": {"example.com/team": "platform"}, "finalizers": ["example.com/held"]}}`,
		`{"data": {"drain": "Drain"}}`,
		`{"metadata": {"labels": {"longshore.dev/runtime": null}}}`,
	} {
		if err := patch(allowed, metav1.DryRunAll); err != nil {
			s.t.Errorf("%s: %v", allowed, err)
		}
	}
	for _, refused := range []string{
		`{"data": {"soak": "1m"}}`,
		`{"metadata": {"labels": {"longshore.dev/runtime": "another"}}}`,
		`{"binaryData": {"a": "AA=="}}`,
	} {
		if err := patch(refused, metav1.DryRunAll); err == nil || !strings.Contains(err.Error(), specPolicy) {
			s.t.Errorf("%s: %v, expected a refusal by the policy %s", refused, err, specPolicy)
		}
	}
	// The controller says it again when somebody wipes what it said.
	wipe := `{"metadata": {"annotations": {"longshore.dev/phase": null, "longshore.dev/message": null}}}`
	if err := patch(wipe); err != nil {
		s.t.Fatal(err)
	}
	if st := s.phase("validation", "Invalid"); !strings.Contains(st.message, "drain") {
		s.t.Errorf("the message is %q, expected one that names drain", st.message)
	}
}
