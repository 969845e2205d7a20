package manifests

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/spec"
)

// onBoth is a JSON 6902 patch on both DaemonSets, onInstall one on the installer, onClass one on all RuntimeClasses.
func onBoth(body string) spec.Patch {
	return spec.Patch{Patch: body, Target: &spec.PatchTarget{Kind: kindDaemonSet}}
}

func onInstall(body string) spec.Patch {
	return spec.Patch{Patch: body, Target: &spec.PatchTarget{Kind: kindDaemonSet, Name: StepInstall}}
}

func onClass(body string) spec.Patch {
	return spec.Patch{Patch: body, Target: &spec.PatchTarget{Kind: kindRuntimeClass}}
}

// Everything here would break a promise of Longshore, and is refused by an error that names the object and the path.
func TestAPatchThatBreaksAPromiseIsRefused(t *testing.T) {
	const install = "objects[DaemonSet/install]."
	const pod = install + "spec.template.spec."
	tests := map[string]struct {
		patch spec.Patch
		want  string
	}{
		"renames the DaemonSet":      {onInstall(`[{op: replace, path: /metadata/name, value: other}]`), "objects[DaemonSet/install]: Required value: is gone"},
		"renames by strategic merge": {spec.Patch{Patch: "kind: DaemonSet\nmetadata: {name: other}", Target: onInstall("").Target, Options: map[string]bool{"allowNameChange": true}}, "data[patches][0].options.allowNameChange: Forbidden"},
		"renames with kustomize's own annotation": {
			spec.Patch{Patch: "kind: DaemonSet\nmetadata: {name: other, annotations: {internal.config.kubernetes.io/allowNameChange: enabled}}", Target: onInstall("").Target},
			"objects[DaemonSet/install]: Required value: is gone",
		},
		"turns it into another kind":      {onInstall(`[{op: replace, path: /kind, value: Deployment}]`), "expected only DaemonSets and RuntimeClasses"},
		"turns it into another version":   {onInstall(`[{op: replace, path: /apiVersion, value: extensions/v1beta1}]`), "expected only DaemonSets and RuntimeClasses"},
		"moves it to another namespace":   {onInstall(`[{op: replace, path: /metadata/namespace, value: kube-system}]`), install + "metadata.namespace"},
		"deletes it":                      {spec.Patch{Patch: "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: install}\n$patch: delete"}, "objects[DaemonSet/install]: Required value: is gone"},
		"hides it":                        {onInstall(`[{op: add, path: /metadata/annotations, value: {config.kubernetes.io/local-config: "true"}}]`), "objects[DaemonSet/install]: Required value: is gone"},
		"gives it a hash suffix":          {onInstall(`[{op: add, path: /metadata/annotations, value: {internal.config.kubernetes.io/needsHashSuffix: enabled}}]`), "objects[DaemonSet/install]: Required value: is gone"},
		"deletes a RuntimeClass":          {spec.Patch{Patch: "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: kata-qemu}\n$patch: delete"}, "objects[RuntimeClass/kata-qemu]: Required value: is gone"},
		"changes the account":             {onInstall(`[{op: replace, path: /spec/template/spec/serviceAccountName, value: admin}]`), pod + "serviceAccountName"},
		"changes the account's old field": {onInstall(`[{op: add, path: /spec/template/spec/serviceAccount, value: admin}]`), pod + "serviceAccount"},
		"asks for a token":                {onInstall(`[{op: replace, path: /spec/template/spec/automountServiceAccountToken, value: true}]`), pod + "automountServiceAccountToken"},
		"asks for a token by a volume": {
			onInstall(`[{op: add, path: /spec/template/spec/volumes/-, value: {name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}}]`),
			pod + "volumes[2].projected.sources[0].serviceAccountToken",
		},
		"changes the selector":          {onInstall(`[{op: add, path: /spec/selector/matchLabels/a, value: b}]`), install + "spec.selector"},
		"widens the selector":           {onInstall(`[{op: add, path: /spec/selector/matchExpressions, value: [{key: a, operator: Exists}]}]`), install + "spec.selector"},
		"changes the pods' label":       {onInstall(`[{op: replace, path: /spec/template/metadata/labels/longshore.dev~1installer, value: x}]`), install + "spec.template.metadata.labels[longshore.dev/installer]"},
		"labels itself as an installer": {onInstall(`[{op: add, path: /metadata/labels/longshore.dev~1installer, value: x}]`), install + "metadata.labels[longshore.dev/installer]: Forbidden"},
		"labels itself as a spec":       {onInstall(`[{op: add, path: /metadata/labels/longshore.dev~1runtime, value: x}]`), install + "metadata.labels[longshore.dev/runtime]: Forbidden"},
		"removes the runtime's label":   {onInstall(`[{op: remove, path: /metadata/labels/longshore.dev~1runtime-of}]`), install + "metadata.labels[longshore.dev/runtime-of]"},
		"annotates like a node":         {onInstall(`[{op: add, path: /metadata/annotations, value: {kata.longshore.dev/hold: x}}]`), install + "metadata.annotations[kata.longshore.dev/hold]: Forbidden"},
		"goes round the gate":           {onInstall(`[{op: remove, path: /spec/template/spec/nodeSelector/kata.longshore.dev~1gate}]`), pod + "nodeSelector[kata.longshore.dev/gate]"},
		"needs another runtime's gate":  {onInstall(`[{op: add, path: /spec/template/spec/nodeSelector/other.longshore.dev~1ready, value: "true"}]`), pod + "nodeSelector[other.longshore.dev/ready]: Forbidden"},
		"goes to every system":          {onInstall(`[{op: remove, path: /spec/template/spec/nodeSelector/kubernetes.io~1os}]`), pod + "nodeSelector[kubernetes.io/os]"},
		"goes to one node":              {onInstall(`[{op: add, path: /spec/template/spec/nodeName, value: n1}]`), pod + "nodeName"},
		"updates by itself":             {onInstall(`[{op: replace, path: /spec/updateStrategy, value: {type: RollingUpdate}}]`), install + "spec.updateStrategy"},
		"has an owner":                  {onInstall(`[{op: add, path: /metadata/ownerReferences, value: [{apiVersion: v1, kind: Node, name: node, uid: u1}]}]`), install + "metadata.ownerReferences"},
		"has a finalizer":               {onInstall(`[{op: add, path: /metadata/finalizers, value: [example.com/x]}]`), install + "metadata.finalizers"},
		"adds a step":                   {onInstall(`[{op: add, path: /spec/template/spec/initContainers/-, value: {name: more, image: x}}]`), pod + "initContainers"},
		"removes the step":              {onInstall(`[{op: remove, path: /spec/template/spec/initContainers}]`), pod + "initContainers"},
		"adds a container":              {onInstall(`[{op: add, path: /spec/template/spec/containers/-, value: {name: more, image: x}}]`), pod + "containers"},
		"makes the step a sidecar":      {onInstall(`[{op: add, path: /spec/template/spec/initContainers/0/restartPolicy, value: Always}]`), pod + "initContainers[0].restartPolicy"},
		"hides the last words":          {onInstall(`[{op: replace, path: /spec/template/spec/initContainers/0/terminationMessagePolicy, value: File}]`), pod + "initContainers[0].terminationMessagePolicy"},
		"changes Longshore's env":       {onInstall(`[{op: replace, path: /spec/template/spec/initContainers/0/env/0, value: {name: NODE_NAME, value: other}}]`), pod + "initContainers[0].env[NODE_NAME]: Forbidden"},
		"removes Longshore's env":       {onInstall(`[{op: remove, path: /spec/template/spec/initContainers/0/env}]`), pod + "initContainers[0].env[DAEMONSET_NAME]: Required"},
		"changes the main container":    {onInstall(`[{op: replace, path: /spec/template/spec/containers/0/image, value: x}]`), pod + "containers[0]: Forbidden"},
		"empowers the main container":   {onInstall(`[{op: replace, path: /spec/template/spec/containers/0/securityContext, value: {privileged: true}}]`), pod + "containers[0]: Forbidden"},
		"misspells a field":             {onInstall(`[{op: add, path: /spec/template/spec/hostPid, value: true}]`), `unknown field "spec.template.spec.hostPid"`},
		"has a wrong type":              {onInstall(`[{op: replace, path: /spec/template/spec/hostPID, value: "yes"}]`), "objects[DaemonSet/install]: Invalid value"},
		"changes the handler":           {onClass(`[{op: replace, path: /handler, value: runc}]`), "objects[RuntimeClass/kata-qemu].handler"},
		"frees the class from the label": {
			spec.Patch{Patch: `[{op: remove, path: /scheduling}]`, Target: &spec.PatchTarget{Kind: kindRuntimeClass, Name: "kata-qemu"}},
			"objects[RuntimeClass/kata-qemu].scheduling.nodeSelector[kata.longshore.dev/ready]",
		},
		"gives the class away": {onClass(`[{op: replace, path: /metadata/labels/longshore.dev~1runtime-of, value: other}]`), "objects[RuntimeClass/kata-qemu].metadata.labels[longshore.dev/runtime-of]"},
		"points nowhere":       {spec.Patch{Patch: `[{op: test, path: /kind, value: DaemonSet}]`, Target: &spec.PatchTarget{Kind: "Deployment"}}, "data[patches][0].target: Invalid value: \"Deployment\": selects no object"},
		"names nothing":        {spec.Patch{Patch: "kind: DaemonSet\nmetadata: {name: installer}"}, "selects no object, expected at least one of: DaemonSet install, DaemonSet uninstall, RuntimeClass kata-qemu, RuntimeClass kata-clh"},
		"is of another kind":   {spec.Patch{Patch: "kind: Secret\nmetadata: {name: s}"}, `data[patches][0].patch.kind: Unsupported value: "Secret"`},
		"is a list":            {spec.Patch{Patch: "kind: List\nitems: []\nmetadata: {name: s}"}, `data[patches][0].patch.kind: Unsupported value: "List"`},
		"is two documents":     {spec.Patch{Patch: "kind: DaemonSet\n---\nkind: DaemonSet"}, "more than one YAML document"},
		"is a file":            {spec.Patch{Patch: "../../etc/passwd"}, "data[patches][0].patch: Invalid value: is neither"},
		"is an address":        {spec.Patch{Patch: "https://example.com/patch.yaml"}, "data[patches][0].patch: Invalid value: is neither"},
		"copies":               {onBoth(`[{op: copy, from: /spec, path: /metadata/annotations}]`), `data[patches][0].patch[0].op: Unsupported value: "copy"`},
		"fails":                {onBoth(`[{op: remove, path: /spec/nothing}]`), "data[patches][0]: Invalid value: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rt := readSpec(t, "testdata/plain/spec.yaml")
			rt.Patches = []spec.Patch{test.patch}
			_, errs := newTestRenderer().Render(t.Context(), rt)
			checkErrors(t, errs.ToAggregate(), test.want)
		})
	}
}

func TestThePatchThatFailsIsNamed(t *testing.T) {
	rt := readSpec(t, "testdata/plain/spec.yaml")
	fine := onBoth(`[{op: test, path: /kind, value: DaemonSet}]`)
	rt.Patches = []spec.Patch{fine, fine, onBoth(`[{op: remove, path: /spec/nothing}]`), fine}
	_, errs := newTestRenderer().Render(t.Context(), rt)
	if len(errs) != 1 || errs[0].Field != "data[patches][2]" {
		t.Errorf("found %v, expected one error of data[patches][2]", errs)
	}
}

func TestEveryViolationIsReported(t *testing.T) {
	rt := readSpec(t, "testdata/plain/spec.yaml")
	rt.Patches = []spec.Patch{
		onBoth(`[{op: replace, path: /spec/updateStrategy, value: {type: RollingUpdate}}]`),
		onBoth(`[{op: add, path: /spec/template/spec/nodeName, value: n1}]`),
	}
	_, errs := newTestRenderer().Render(t.Context(), rt)
	if len(errs) != 4 {
		t.Errorf("found %d errors, expected two for each DaemonSet: %v", len(errs), errs.ToAggregate())
	}
}

func TestATargetMaySelectByLabels(t *testing.T) {
	rt := readSpec(t, "testdata/plain/spec.yaml")
	rt.Patches = []spec.Patch{{
		Patch:  `[{op: add, path: /metadata/annotations, value: {a: b}}]`,
		Target: &spec.PatchTarget{LabelSelector: "longshore.dev/step=uninstall"},
	}}
	objects := mustRender(t, newTestRenderer(), rt)
	if got := objects.DaemonSets[StepUninstall].Annotations["a"]; got != "b" {
		t.Errorf("the annotation of the uninstaller is %q", got)
	}
	if got := objects.DaemonSets[StepInstall].Annotations; len(got) > 0 {
		t.Errorf("the installer has the annotations %v", got)
	}
	rt.Patches[0].Target.LabelSelector = "longshore.dev/step=cleanup"
	_, errs := newTestRenderer().Render(t.Context(), rt)
	checkErrors(t, errs.ToAggregate(), "data[patches][0].target: Invalid value")
}

func TestThePolicyOnImages(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	tests := map[string]struct {
		policy Policy
		image  string
		want   string
	}{
		"no policy":                      {Policy{}, "busybox", ""},
		"a registry":                     {Policy{AllowedRegistries: []string{"ghcr.io"}}, "ghcr.io/acme/kata:1", ""},
		"a registry with a port":         {Policy{AllowedRegistries: []string{"localhost:5000"}}, "localhost:5000/kata:1", ""},
		"a repository":                   {Policy{AllowedRegistries: []string{"quay.io", "ghcr.io/acme/"}}, "ghcr.io/acme/kata:1", ""},
		"one image":                      {Policy{AllowedRegistries: []string{"ghcr.io/acme/kata"}}, "ghcr.io/acme/kata:1", ""},
		"another registry":               {Policy{AllowedRegistries: []string{"ghcr.io"}}, "quay.io/acme/kata:1", `"quay.io/acme/kata" is not from one of the allowed registries [ghcr.io]`},
		"a registry that begins alike":   {Policy{AllowedRegistries: []string{"ghcr.io"}}, "ghcr.io.example.com/kata", "is not from one of the allowed"},
		"a repository that begins alike": {Policy{AllowedRegistries: []string{"ghcr.io/acme"}}, "ghcr.io/acme-evil/kata", "is not from one of the allowed"},
		"the registry that is not said":  {Policy{AllowedRegistries: []string{"docker.io/library"}}, "busybox", ""},
		"not the one that is not said":   {Policy{AllowedRegistries: []string{"ghcr.io"}}, "busybox", `"docker.io/library/busybox" is not`},
		"a digest":                       {Policy{RequireDigest: true}, "ghcr.io/acme/kata:1" + digest, ""},
		"no digest":                      {Policy{RequireDigest: true}, "ghcr.io/acme/kata:1", "has no digest"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rt := readSpec(t, "testdata/minimal/spec.yaml")
			rt.PayloadImage = test.image
			r := NewRenderer(Options{PauseImage: pauseImage, Policy: test.policy})
			_, errs := r.Render(t.Context(), rt)
			checkErrors(t, errs.ToAggregate(), test.want)
			if test.want == "" {
				return
			}
			if field := "objects[DaemonSet/install].spec.template.spec.initContainers[0].image"; errs[0].Field != field {
				t.Errorf("the error is about %s, expected %s", errs[0].Field, field)
			}
		})
	}
}

func TestThePolicyIsForPayloadsThatAnInstallerFetchesAsWell(t *testing.T) {
	rt := readSpec(t, "testdata/fetched/spec.yaml")
	r := NewRenderer(Options{PauseImage: pauseImage, Policy: Policy{AllowedRegistries: []string{"registry.example.com"}}})
	mustRender(t, r, rt)
	_, errs := r.Render(t.Context(), rt.WithPayload("quay.io/me/payload:try"))
	checkErrors(t, errs.ToAggregate(), `data[payloadImage]: Forbidden: "quay.io/me/payload" is not from one of the allowed registries`)
}

func TestAnImageVolumeIsAnImage(t *testing.T) {
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	rt.Volumes = []corev1.Volume{{Name: "i", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "quay.io/x/y"}}}}
	r := NewRenderer(Options{PauseImage: pauseImage, Policy: Policy{AllowedRegistries: []string{"ghcr.io"}}})
	_, errs := r.Render(t.Context(), rt)
	checkErrors(t, errs.ToAggregate(), `volumes[0].image.reference: Forbidden: "quay.io/x/y" is not from`)
}

func TestThePolicyOnHostPaths(t *testing.T) {
	tests := map[string]struct {
		allowed []string
		path    string
		refused bool
	}{
		"no policy":                      {nil, "/", false},
		"the directory":                  {[]string{"/opt/kata"}, "/opt/kata", false},
		"written differently":            {[]string{"/opt/kata/"}, "/opt//kata/.", false},
		"below it":                       {[]string{"/etc", "/opt"}, "/opt/kata/bin", false},
		"everything":                     {[]string{"/"}, "/etc", false},
		"above it":                       {[]string{"/opt/kata"}, "/opt", true},
		"beside it":                      {[]string{"/opt/kata"}, "/opt/katara", true},
		"out of it again":                {[]string{"/opt"}, "/opt/../etc", true},
		"relative":                       {[]string{"/"}, "etc", true},
		"a patch that mounts the socket": {[]string{"/opt"}, "/run/containerd/containerd.sock", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rt := readSpec(t, "testdata/minimal/spec.yaml")
			rt.Patches = []spec.Patch{onInstall(`[{op: add, path: /spec/template/spec/volumes, value: [{name: v, hostPath: {path: "` + test.path + `"}}]}]`)}
			r := NewRenderer(Options{PauseImage: pauseImage, Policy: Policy{AllowedHostPaths: test.allowed}})
			_, errs := r.Render(t.Context(), rt)
			want := ""
			if test.refused {
				want = "objects[DaemonSet/install].spec.template.spec.volumes[0].hostPath.path: Forbidden"
			}
			checkErrors(t, errs.ToAggregate(), want)
		})
	}
}

// checkErrors holds that an error has these words, or that there is none where no words are expected.
func checkErrors(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("expected no error, found: %v", err)
	case want != "" && err == nil:
		t.Errorf("found no error, expected: %s", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("found: %v\nexpected: %s", err, want)
	}
}
