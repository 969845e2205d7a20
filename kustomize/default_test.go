package kustomize_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// rights is everything that the controller may do, and why. A right that is not in this table fails the test, and so does
// a line of the table that nothing grants.
var rights = map[string]string{
	"cluster nodes get,list,patch,watch":                                    "selecting nodes; labels, annotations and the startup taint",
	"cluster runtimeclasses.node.k8s.io create,delete,get,list,patch,watch": "classes come and go with what the nodes offer",
	"cluster namespaces/longshore get,list,watch":                           "is it being deleted?",
	"cluster namespaces/longshore-system get,list,watch":                    "is it being deleted?",
	"longshore-system deployments.apps/longshore get,list,watch":            "is the controller being deleted?",
	"default events create,patch":                                           "events about nodes",
	"default events.events.k8s.io create,patch":                             "the same by the newer API",
	"longshore configmaps get,list,patch,watch":                             "specs: read; status annotations: patched",
	"longshore controllerrevisions.apps create,delete,get,list,patch,watch": "snapshots: made, annotated, pruned",
	"longshore daemonsets.apps create,delete,get,list,patch,watch":          "installers: applied and removed",
	"longshore events create,patch":                                         "events about specs",
	"longshore events.events.k8s.io create,patch":                           "the same by the newer API",
	"longshore pods delete,get,list,watch":                                  "installer pods: watched; stuck and outdated ones deleted",
	"longshore secrets/longshore-pull patch":                                "credentials of payload-secret become a pull secret",
	"longshore secrets/payload-secret get,list,watch":                       "the one secret that is read",
	"longshore-system configmaps create":                                    "the booked turns and the memory of pools, the first time; creating cannot be confined to a name",
	"longshore-system configmaps/longshore-turns get,list,update,watch":     "the booked turns",
	"longshore-system configmaps/longshore-pools get,list,update,watch":     "what pools said when they were last valid",
	"longshore-system leases.coordination.k8s.io create":                    "leader election, the first time",
	"longshore-system leases.coordination.k8s.io/longshore get,update":      "leader election",
}

// payloadRights is everything that a payload with nodeAccess: Own may do, before the admission policy confines it.
var payloadRights = map[string]string{
	"cluster nodes get,patch":            "labels of the pod's own node, says the policy",
	"longshore daemonsets.apps get,list": "is the DaemonSet of DAEMONSET_NAME there?",
}

// nodeAccess is the account of those payloads, and the name of everything that is for it.
const nodeAccess = "longshore-node-access"

func TestTheControllerAndPayloadsHaveTheseRightsAndNoOthers(t *testing.T) {
	controller, payloads := map[string]bool{}, map[string]bool{}
	for _, object := range build(t, "default") {
		granted := controller
		if object.Name == nodeAccess {
			granted = payloads
		}
		scope, rules := object.rules(t)
		for i := range rules {
			for _, right := range spell(&rules[i]) {
				granted[scope+" "+right] = true
			}
		}
	}
	for _, account := range []struct {
		table   map[string]string
		granted map[string]bool
	}{{rights, controller}, {payloadRights, payloads}} {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(account.table)), slices.Sorted(maps.Keys(account.granted))); diff != "" {
			t.Errorf("rights in the table (-) and granted (+):\n%s", diff)
		}
	}
}

// spell writes a rule as one text for each resource: `resource.group/name verbs`. A star stays a star, and is in no table.
func spell(rule *rbacv1.PolicyRule) []string {
	objects := []string{""}
	for i, name := range rule.ResourceNames {
		objects = append(objects[:i], "/"+name)
	}
	verbs := strings.Join(slices.Sorted(slices.Values(rule.Verbs)), ",")
	rights := slices.Clone(rule.NonResourceURLs)
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, object := range objects {
				rights = append(rights, strings.TrimSuffix(resource+"."+group, ".")+object+" "+verbs)
			}
		}
	}
	return rights
}

func TestEveryRoleIsBoundToItsOwnAccountOnly(t *testing.T) {
	roles, bound := map[string]bool{}, map[string]bool{}
	for _, object := range build(t, "default") {
		switch object.Kind {
		case "Role", "ClusterRole":
			roles[object.Kind+" "+object.Namespace+"/"+object.Name] = true
		case "RoleBinding", "ClusterRoleBinding":
			var binding rbacv1.RoleBinding
			object.into(t, &binding)
			bound[binding.RoleRef.Kind+" "+object.Namespace+"/"+binding.RoleRef.Name] = true
			want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "longshore", Namespace: "longshore-system"}}
			if object.Name == nodeAccess {
				want = []rbacv1.Subject{{Kind: "ServiceAccount", Name: nodeAccess, Namespace: "longshore"}}
			}
			if diff := cmp.Diff(want, binding.Subjects); diff != "" {
				t.Errorf("%s %s: subjects:\n%s", object.Kind, object.Name, diff)
			}
		}
	}
	if diff := cmp.Diff(roles, bound); diff != "" {
		t.Errorf("roles (-) and what is bound (+):\n%s", diff)
	}
}

// namedAccounts matches what the condition of the policy asks of a user's name. The tests on real nodes run the expression itself.
var namedAccounts = regexp.MustCompile(`^request\.userInfo\.username\.startsWith\('([^']*)'\) && request\.userInfo\.username\.endsWith\('([^']*)'\)$`)

// An account that is bound and that the policy does not match could do to every node whatever its ClusterRole allows. The namespace of an
// overlay reaches the binding, but no text within an expression.
func TestThePolicyConfinesTheAccountThatIsBoundInWhateverNamespace(t *testing.T) {
	overlay := t.TempDir()
	if err := os.CopyFS(filepath.Join(overlay, "default"), os.DirFS("default")); err != nil {
		t.Fatal(err)
	}
	replace := "resources: [default]\npatches:\n- target: {kind: ClusterRoleBinding, name: " + nodeAccess + "}\n" +
		"  patch: |\n    - {op: replace, path: /subjects/0/namespace, value: elsewhere}\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(replace), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"default", overlay} {
		var binding rbacv1.ClusterRoleBinding
		var policy admissionv1.ValidatingAdmissionPolicy
		for _, object := range build(t, dir) {
			switch {
			case object.Kind == "ClusterRoleBinding" && object.Name == nodeAccess:
				object.into(t, &binding)
			case object.Kind == "ValidatingAdmissionPolicy" && object.Name == nodeAccess:
				object.into(t, &policy)
			}
		}
		if len(binding.Subjects) != 1 || len(policy.Spec.MatchConditions) != 1 {
			t.Fatalf("%s: subjects %v, conditions %v: expected one each", dir, binding.Subjects, policy.Spec.MatchConditions)
		}
		account := binding.Subjects[0]
		user := "system:serviceaccount:" + account.Namespace + ":" + account.Name
		asked := namedAccounts.FindStringSubmatch(policy.Spec.MatchConditions[0].Expression)
		if asked == nil {
			t.Fatalf("%s: the condition is %q, expected %s", dir, policy.Spec.MatchConditions[0].Expression, namedAccounts)
		}
		if !strings.HasPrefix(user, asked[1]) || !strings.HasSuffix(user, asked[2]) {
			t.Errorf("%s: the account %q is bound, and the policy confines those with %q and %q", dir, user, asked[1], asked[2])
		}
		if other := "system:serviceaccount:longshore-system:longshore"; strings.HasSuffix(other, asked[2]) || asked[1] != "system:serviceaccount:" {
			t.Errorf("%s: the policy also confines %q, or people", dir, other)
		}
	}
}

// What an expression leaves out payloads may change: a field that may be missing is compared by value, with an empty one in its place.
func TestThePolicyComparesWhatPayloadsMayNotChange(t *testing.T) {
	var policy admissionv1.ValidatingAdmissionPolicy
	for _, object := range build(t, "default") {
		if object.Kind == "ValidatingAdmissionPolicy" && object.Name == nodeAccess {
			object.into(t, &policy)
		}
	}
	compares := func(field, empty string) bool {
		value := func(of string) string {
			return "(has(" + of + ".metadata." + field + ") ? " + of + ".metadata." + field + " : " + empty + ")"
		}
		return slices.ContainsFunc(policy.Spec.Validations, func(v admissionv1.Validation) bool {
			return strings.Contains(strings.Join(strings.Fields(v.Expression), " "), value("object")+" == "+value("oldObject"))
		})
	}
	for field, empty := range map[string]string{"annotations": "{}", "finalizers": "[]", "ownerReferences": "[]"} {
		if !compares(field, empty) {
			t.Errorf("no validation compares the values of metadata.%s", field)
		}
	}
}

func TestThePauseImageFollowsTheImageOfAnOverlay(t *testing.T) {
	overlay := t.TempDir()
	if err := os.CopyFS(filepath.Join(overlay, "default"), os.DirFS("default")); err != nil {
		t.Fatal(err)
	}
	text := "resources: [default]\nimages:\n- {name: longshore, newName: registry.example.com/a/longshore, digest: 'sha256:" + strings.Repeat("0", 64) + "'}\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "registry.example.com/a/longshore@sha256:" + strings.Repeat("0", 64)
	container := deployment(t, build(t, overlay)).Spec.Template.Spec.Containers[0]
	if container.Image != want {
		t.Errorf("image is %s, expected %s", container.Image, want)
	}
	i := slices.IndexFunc(container.Env, func(env corev1.EnvVar) bool { return env.Name == "IMAGE" })
	if i < 0 || container.Env[i].Value != want {
		t.Errorf("the variable IMAGE of %v is not %s", container.Env, want)
	}
	if !slices.Contains(container.Args, "--pause-image=$(IMAGE)") {
		t.Errorf("the arguments %q do not hand over the variable IMAGE", container.Args)
	}
}

// A misspelled field would be dropped by a server that does not look closely.
func TestEveryObjectIsSpelledRight(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, rbacv1.AddToScheme, policyv1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, object := range build(t, "default") {
		if _, _, err := decoder.Decode(object.text, nil, nil); err != nil {
			t.Errorf("%s %s: %v", object.Kind, object.Name, err)
		}
	}
}

func TestTheNamespacesHaveTheirPodSecurityLevels(t *testing.T) {
	want := map[string]string{"longshore": "privileged", "longshore-system": "restricted"}
	got := map[string]string{}
	for _, object := range build(t, "default") {
		if object.Kind == "Namespace" {
			var namespace corev1.Namespace
			object.into(t, &namespace)
			got[namespace.Name] = namespace.Labels["pod-security.kubernetes.io/enforce"]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The rules of the pod security level restricted that concern a pod like ours.
func TestTheControllersPodIsRestricted(t *testing.T) {
	pod := deployment(t, build(t, "default")).Spec.Template.Spec
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context is %v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the pod shares namespaces with its host")
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: the security context is %v", c.Name, s)
			continue
		}
		if s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("%s: the capabilities are %v", c.Name, s.Capabilities)
		}
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				t.Errorf("%s: port %s is on the host", c.Name, port.Name)
			}
		}
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap == nil {
			t.Errorf("volume %s is no ConfigMap", v.Name)
		}
	}
}

type object struct {
	Kind, Namespace, Name string
	text                  []byte
}

func (o *object) into(t *testing.T, value any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(o.text, value); err != nil {
		t.Fatalf("%s %s: %v", o.Kind, o.Name, err)
	}
}

// rules are those of a role, with the namespace they are for.
func (o *object) rules(t *testing.T) (scope string, rules []rbacv1.PolicyRule) {
	t.Helper()
	switch o.Kind {
	case "ClusterRole":
		var role rbacv1.ClusterRole
		o.into(t, &role)
		return "cluster", role.Rules
	case "Role":
		var role rbacv1.Role
		o.into(t, &role)
		return o.Namespace, role.Rules
	default:
		return "", nil
	}
}

// build is what `kustomize build` makes of a folder.
func build(t *testing.T, dir string) []object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("building %s: %v", dir, err)
	}
	objects := make([]object, 0, built.Size())
	for _, res := range built.Resources() {
		text, err := res.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object{Kind: res.GetKind(), Namespace: res.GetNamespace(), Name: res.GetName(), text: text})
	}
	return objects
}

func deployment(t *testing.T, objects []object) *appsv1.Deployment {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.Kind == "Deployment" })
	if i < 0 {
		t.Fatal("there is no Deployment")
	}
	var d appsv1.Deployment
	objects[i].into(t, &d)
	return &d
}

// TestNoPolicyOnNodesDeniesForLackOfAParameter holds decision 24: such a policy would deny every write to every node by everybody.
func TestNoPolicyOnNodesDeniesForLackOfAParameter(t *testing.T) {
	policies, bindings := map[string]*admissionv1.ValidatingAdmissionPolicy{}, 0
	var bound []admissionv1.ValidatingAdmissionPolicyBinding
	for _, object := range build(t, "default") {
		switch object.Kind {
		case "ValidatingAdmissionPolicy":
			policies[object.Name] = &admissionv1.ValidatingAdmissionPolicy{}
			object.into(t, policies[object.Name])
		case "ValidatingAdmissionPolicyBinding":
			var binding admissionv1.ValidatingAdmissionPolicyBinding
			object.into(t, &binding)
			bound = append(bound, binding)
		}
	}
	for i := range bound {
		policy := policies[bound[i].Spec.PolicyName]
		if policy == nil {
			t.Fatalf("binding %s is of policy %q, which there is not", bound[i].Name, bound[i].Spec.PolicyName)
		}
		if policy.Spec.ParamKind == nil {
			continue
		}
		bindings++
		if ref := bound[i].Spec.ParamRef; ref == nil || ref.ParameterNotFoundAction == nil || *ref.ParameterNotFoundAction != admissionv1.AllowAction {
			t.Errorf("binding %s denies without its parameter", bound[i].Name)
		}
		if failure := policy.Spec.FailurePolicy; failure == nil || *failure != admissionv1.Ignore {
			t.Errorf("policy %s fails closed and has parameters", policy.Name)
		}
	}
	if bindings != 1 {
		t.Errorf("%d bindings with parameters were looked at, expected 1", bindings)
	}
}

// TestNothingLooksLikeASubstitution holds finding G1: Flux's postBuild substitution eats a dollar sign with a brace behind it, also in the script of
// a payload.
func TestNothingLooksLikeASubstitution(t *testing.T) {
	files := 0
	for _, root := range []string{".", filepath.Join("..", "gitops")} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) == ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for i, line := range strings.Split(string(text), "\n") {
				if strings.Contains(line, "${") {
					t.Errorf("%s:%d: %q has a dollar sign with a brace behind it; write $name in scripts", path, i+1, strings.TrimSpace(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}
