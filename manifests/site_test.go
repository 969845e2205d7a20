package manifests

import (
	"maps"
	"strings"
	"testing"
)

const componentHead = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"

func component(rest string) map[string][]byte {
	return map[string][]byte{"kustomization.yaml": []byte(componentHead + rest)}
}

// What a component may not do, and the words that say so.
func TestAComponentThatIsNotSoundIsRefused(t *testing.T) {
	withFile := func(files map[string][]byte, name, text string) map[string][]byte {
		files = maps.Clone(files)
		files[name] = []byte(text)
		return files
	}
	tests := map[string]struct {
		files map[string][]byte
		want  string
	}{
		"no kustomization":     {map[string][]byte{"patch.yaml": []byte("a: b")}, "expected exactly one"},
		"two kustomizations":   {withFile(component(""), "Kustomization", componentHead), "found 2 of the files"},
		"no YAML":              {map[string][]byte{"kustomization.yaml": []byte("a: [")}, "kustomization.yaml is not YAML"},
		"a list":               {map[string][]byte{"kustomization.yaml": []byte("[a]")}, "kustomization.yaml is not a YAML object"},
		"two documents":        {component("---\n" + componentHead), "more than one YAML document"},
		"a kustomization":      {map[string][]byte{"kustomization.yaml": []byte("kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1")}, "expected kustomize.config.k8s.io/v1alpha1 Component"},
		"an unknown field":     {component("patch: []"), "kustomization.yaml: patch: not allowed here"},
		"a misspelled field":   {component("patches: [{target: {kinds: DaemonSet}, patch: '[]'}]"), "kinds"},
		"a field given twice":  {component("commonAnnotations: {a: b}\ncommonAnnotations: {a: b}"), "commonAnnotations"},
		"resources":            {component("resources: [more.yaml]"), "resources: not allowed here"},
		"a remote resource":    {component("resources: ['https://example.com/x.yaml']"), "resources: not allowed here"},
		"bases":                {component("bases: [x]"), "bases: not allowed here"},
		"another component":    {component("components: [x]"), "components: not allowed here"},
		"crds":                 {component("crds: [x]"), "crds: not allowed here"},
		"a ConfigMap":          {component("configMapGenerator: [{name: x, literals: [a=b]}]"), "configMapGenerator: not allowed here"},
		"a Secret":             {component("secretGenerator: [{name: x, literals: [a=b]}]"), "secretGenerator: not allowed here"},
		"a generator":          {component("generators: [x.yaml]"), "generators: not allowed here"},
		"a transformer":        {component("transformers: [x.yaml]"), "transformers: not allowed here"},
		"a validator":          {component("validators: [x.yaml]"), "validators: not allowed here"},
		"a chart":              {component("helmCharts: [{name: x}]"), "helmCharts: not allowed here"},
		"a configuration":      {component("configurations: [x.yaml]"), "configurations: not allowed here"},
		"an openapi schema":    {component("openapi: {path: x.json}"), "openapi: not allowed here"},
		"a namespace":          {component("namespace: kube-system"), "namespace: not allowed here"},
		"a name prefix":        {component("namePrefix: x-"), "namePrefix: not allowed here"},
		"replacements":         {component("replacements: [{path: x.yaml}]"), "replacements: not allowed here"},
		"vars":                 {component("vars: [{name: x}]"), "vars: not allowed here"},
		"labels of selectors":  {component("labels: [{pairs: {a: b}, includeSelectors: true}]"), "labels[0]: includeSelectors"},
		"labels of fields":     {component("labels: [{pairs: {a: b}, fields: [{path: spec/x, create: true}]}]"), "labels[0]: includeSelectors and fields"},
		"all errors at once":   {component("namePrefix: x\nvars: []"), "vars: not allowed here"},
		"our label":            {component("labels: [{pairs: {longshore.dev/runtime-of: x}}]"), "metadata.labels[longshore.dev/runtime-of]"},
		"our domain":           {component("commonAnnotations: {longshore.dev/phase: x}"), "metadata.annotations[longshore.dev/phase]: Forbidden"},
		"our image":            {component("images: [{name: registry.example.com/longshore, newTag: x}]"), "containers[0]: Forbidden"},
		"a file that is gone":  {component("patches: [{path: x.yaml}]"), `patches[0].path: Invalid value: "x.yaml"`},
		"a file from outside":  {component("patches: [{path: ../x.yaml}]"), `patches[0].path: Invalid value: "../x.yaml"`},
		"a file from the net":  {component("patches: [{path: 'https://example.com/x.yaml'}]"), "patches[0].path: Invalid value"},
		"a file and a patch":   {withFile(component("patches: [{path: x.yaml, patch: '[]'}]"), "x.yaml", "[]"), "stands beside a patch"},
		"a file nobody wants":  {withFile(component(""), "x.yaml", "a: b"), "x.yaml: nothing in kustomization.yaml refers to this file"},
		"a patch with renames": {component("patches: [{patch: 'kind: DaemonSet', target: {kind: DaemonSet}, options: {allowNameChange: true}}]"), "patches[0].options: Forbidden"},
		"a patch of a Secret":  {component("patches: [{patch: '{kind: Secret, metadata: {name: x}}'}]"), `patches[0].patch.kind: Unsupported value: "Secret"`},
		"a patch of no object": {component("patches: [{patch: '[{op: add, path: /x, value: 1}]', target: {kind: Deployment}}]"), "patches[0].target: selects neither"},
		"a patch of no step":   {component("patches: [{patch: '{kind: DaemonSet, metadata: {name: installer}}'}]"), "patches[0].target: selects neither"},
		"a patch that fails":   {component("patches: [{patch: '[{op: remove, path: /x}]', target: {kind: DaemonSet}}]"), "objects: Invalid value"},
		"a patch that breaks":  {component("patches: [{patch: '[{op: add, path: /spec/template/spec/nodeName, value: x}]', target: {kind: DaemonSet}}]"), "spec.template.spec.nodeName"},
		"a path not allowed": {
			component("patches: [{patch: '[{op: add, path: /spec/template/spec/volumes, value: [{name: v, hostPath: {path: /root}}]}]', target: {kind: DaemonSet}}]"),
			`hostPath.path: Forbidden: "/root" is not in or below`,
		},
		"an alias bomb": {component("patches: &a [{patch: x}, {patch: x}, {patch: x}, {patch: x}]\nlabels: " + strings.Repeat("[*a, *a, *a, *a, ", 8) + strings.Repeat("]", 8)), "kustomization.yaml"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewRenderer(Options{PauseImage: pauseImage, Policy: Policy{AllowedHostPaths: []string{"/opt", "/etc"}}})
			checkErrors(t, r.SetSite(test.files), test.want)
		})
	}
}

func TestABadComponentLeavesTheLastGoodOneInForce(t *testing.T) {
	r := newTestRenderer()
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	if err := r.SetSite(component("commonAnnotations: {example.com/a: first}")); err != nil {
		t.Fatal(err)
	}
	if err := r.SetSite(component("namePrefix: x-")); err == nil {
		t.Fatal("a bad component was taken")
	}
	if got := mustRender(t, r, rt).DaemonSets[StepInstall].Annotations["example.com/a"]; got != "first" {
		t.Errorf("the annotation is %q, expected that of the last good component", got)
	}
	if err := r.SetSite(component("commonAnnotations: {example.com/a: second}")); err != nil {
		t.Fatal(err)
	}
	if got := mustRender(t, r, rt).DaemonSets[StepInstall].Annotations["example.com/a"]; got != "second" {
		t.Errorf("the annotation is %q, expected that of the new component", got)
	}
	if err := r.SetSite(nil); err != nil {
		t.Fatal(err)
	}
	if got, ok := mustRender(t, r, rt).DaemonSets[StepInstall].Annotations["example.com/a"]; ok {
		t.Errorf("the annotation is %q, expected none without a component", got)
	}
}

func TestNothingIsRenderedWhileTheFirstComponentIsBad(t *testing.T) {
	r, rt := newTestRenderer(), readSpec(t, "testdata/minimal/spec.yaml")
	if err := r.SetSite(component("namePrefix: x-")); err == nil {
		t.Fatal("the component was not refused")
	}
	_, errs := r.Render(t.Context(), rt)
	checkErrors(t, errs.ToAggregate(), "nothing is rendered before there is a sound one: site component")
	if err := r.SetSite(nil); err != nil {
		t.Fatal(err)
	}
	if _, errs := r.Render(t.Context(), rt); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}

func TestTheComponentDoesNotChangeTheRevision(t *testing.T) {
	r := newTestRenderer()
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	before := mustRender(t, r, rt)
	if err := r.SetSite(component("commonAnnotations: {example.com/a: b}")); err != nil {
		t.Fatal(err)
	}
	after := mustRender(t, r, rt)
	if before.Revision != after.Revision || before.DaemonSets[StepInstall].Name != after.DaemonSets[StepInstall].Name {
		t.Errorf("the revision went from %s to %s", before.Revision, after.Revision)
	}
}

// The policy on images is held against what is rendered, so a mirror makes allowed what was not.
func TestAMirrorOfTheSiteCounts(t *testing.T) {
	r := NewRenderer(Options{PauseImage: pauseImage, Policy: Policy{AllowedRegistries: []string{"mirror.example.com"}}})
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	_, errs := r.Render(t.Context(), rt)
	checkErrors(t, errs.ToAggregate(), `"ghcr.io/acme/runc" is not from one of the allowed registries`)
	if err := r.SetSite(component("images: [{name: ghcr.io/acme/runc, newName: mirror.example.com/runc}]")); err != nil {
		t.Fatal(err)
	}
	if got := mustRender(t, r, rt).DaemonSets[StepInstall].Spec.Template.Spec.InitContainers[0].Image; got != "mirror.example.com/runc:1.3.1" {
		t.Errorf("the image is %s", got)
	}
}
