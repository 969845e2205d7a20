package manifests

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"

	"longshore.dev/longshore/spec"
)

// add is a patch that adds a value to the installer.
func add(path, value string) spec.Patch {
	return onInstall(`[{op: add, path: ` + path + `, value: ` + value + `}]`)
}

// A patch that gives an element of a keyed list twice is refused by an error that names both. The API server would answer 500, or, where it looks
// at the names over two lists, at least without the names of both.
func TestAPatchThatGivesSomethingTwiceIsRefused(t *testing.T) {
	const (
		pod  = "objects[DaemonSet/install].spec.template.spec."
		step = pod + "initContainers[0]."
		at   = "/spec/template/spec/"
		in   = at + "initContainers/0/"
	)
	for name, test := range map[string]struct {
		patch spec.Patch
		want  string
	}{
		"a variable":                  {add(in+"env", `[{name: A}, {name: B}, {name: A, value: a}]`), step + `env[2].name: Duplicate value: "A": env[0] has it already`},
		"a variable of Longshore":     {add(in+"env/-", `{name: NODE_NAME, value: other}`), `.name: Duplicate value: "NODE_NAME": env[0] has it already`},
		"a variable without a name":   {add(in+"env", `[null, null]`), step + `env[1].name: Duplicate value: ""`},
		"a port":                      {add(in+"ports", `[{containerPort: 80}, {containerPort: 80, protocol: TCP}]`), step + `ports[1].containerPort: Duplicate value: "80/TCP": ports[0] has it already`},
		"a mount path":                {add(in+"volumeMounts", `[{name: artifacts, mountPath: /a}, {name: containerd, mountPath: /a}]`), step + `volumeMounts[1].mountPath: Duplicate value: "/a": volumeMounts[0] has it`},
		"a device path":               {add(in+"volumeDevices", `[{name: artifacts, devicePath: /dev/a}, {name: artifacts, devicePath: /dev/a}]`), step + `volumeDevices[1].devicePath: Duplicate value: "/dev/a": volumeDevices[0] has it`},
		"a claim of a container":      {add(in+"resources/claims", `[{name: gpu, request: a}, {name: gpu, request: b}]`), step + `resources.claims[1].name: Duplicate value: "gpu": claims[0] has it`},
		"a claim of pause":            {add(at+"containers/0/resources/claims", `[{name: gpu}, {name: gpu}]`), pod + `containers[0].resources.claims[1].name: Duplicate value: "gpu"`},
		"a claim of the pod":          {add(at+"resources", `{claims: [{name: gpu}, {name: gpu}]}`), pod + `resources.claims[1].name: Duplicate value: "gpu"`},
		"a container":                 {add(at+"initContainers/-", `{name: install, image: x}`), pod + `initContainers[1].name: Duplicate value: "install": initContainers[0] has it`},
		"a container in two lists":    {add(at+"containers/-", `{name: install, image: x}`), pod + `containers[1].name: Duplicate value: "install": initContainers[0] has it`},
		"a volume":                    {add(at+"volumes/-", `{name: containerd, emptyDir: {}}`), pod + `volumes[2].name: Duplicate value: "containerd": volumes[1] has it already`},
		"a pull secret":               {add(at+"imagePullSecrets", `[{name: a}, {name: a}]`), pod + `imagePullSecrets[1].name: Duplicate value: "a": imagePullSecrets[0] has it`},
		"a host alias":                {add(at+"hostAliases", `[{ip: 192.0.2.7, hostnames: [a]}, {ip: 192.0.2.7, hostnames: [b]}]`), pod + `hostAliases[1].ip: Duplicate value: "192.0.2.7": hostAliases[0] has it`},
		"a topology spread":           {add(at+"topologySpreadConstraints", `[{topologyKey: a, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}, {topologyKey: a, maxSkew: 2, whenUnsatisfiable: DoNotSchedule}]`), pod + `topologySpreadConstraints[1].topologyKey: Duplicate value: "a DoNotSchedule": topologySpreadConstraints[0] has it`},
		"a resource claim":            {add(at+"resourceClaims", `[{name: a}, {name: a}]`), pod + `resourceClaims[1].name: Duplicate value: "a": resourceClaims[0] has it`},
		"an exit code":                {add(in+"restartPolicyRules", `[{action: Restart, exitCodes: {operator: In, values: [1, 2, 1]}}]`), step + `restartPolicyRules[0].exitCodes.values[2]: Duplicate value: "1": values[0] has it`},
		"a scheduling gate":           {add(at+"schedulingGates", `[{name: a}, {name: a}]`), pod + `schedulingGates[1].name: Duplicate value: "a": schedulingGates[0] has it`},
		"one port, two protocols":     {add(in+"ports", `[{containerPort: 80}, {containerPort: 80, protocol: UDP}]`), ""},
		"one key, two constraints":    {add(at+"topologySpreadConstraints", `[{topologyKey: a, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}, {topologyKey: a, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}]`), ""},
		"tolerations have no key":     {onClass(`[{op: add, path: /scheduling/tolerations, value: [{key: a}, {key: a}]}]`), ""},
		"a mount of no volume":        {add(in+"volumeMounts/-", `{name: none, mountPath: /a}`), `.name: Not found: "none": expected the name of one of the pod's volumes`},
		"a device of no volume":       {add(in+"volumeDevices", `[{name: none, devicePath: /dev/a}]`), step + `volumeDevices[0].name: Not found: "none"`},
		"a mount whose volume is off": {onInstall(`[{op: remove, path: /spec/template/spec/volumes/1}]`), step + `volumeMounts[1].name: Not found: "containerd"`},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, test.patch, test.want) })
	}
}

// What only the API server sets is refused by an error that names it. The server would answer 409, or drop it in silence.
func TestAPatchThatSetsWhatTheServerSetsIsRefused(t *testing.T) {
	const meta, only = "objects[DaemonSet/install].metadata.", "only the API server sets this, expected none"
	for name, test := range map[string]struct{ field, value, want string }{
		"an identity":        {"uid", "0e5a", `Invalid value: "0e5a": ` + only},
		"a version":          {"resourceVersion", `"5"`, `Invalid value: "5": ` + only},
		"a generation":       {"generation", "5", `Invalid value: 5: ` + only},
		"a birth":            {"creationTimestamp", `"2026-11-28T12:00:00Z"`, `Invalid value: "2026-11-28T12:00:00Z": ` + only},
		"a death":            {"deletionTimestamp", `"2026-11-28T12:00:00Z"`, `Invalid value: "2026-11-28T12:00:00Z": ` + only},
		"a slow death":       {"deletionGracePeriodSeconds", "0", `Invalid value: 0: ` + only},
		"an address":         {"selfLink", "/a", `Invalid value: "/a": ` + only},
		"part of a name":     {"generateName", "a-", `Invalid value: "a-": Longshore gives every object its name, expected none`},
		"managers of fields": {"managedFields", "[{manager: a}]", "Forbidden: found 1, expected none"},
		"an owner":           {"ownerReferences", "[{apiVersion: v1, kind: Node, name: a, uid: u}]", "Forbidden: found 1, expected none"},
		"a finalizer":        {"finalizers", "[example.com/a]", "Forbidden: found 1, expected none"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, add("/metadata/"+test.field, test.value), meta+test.field+": "+test.want)
			refuses(t, add("/spec/template/metadata/"+test.field, test.value), "objects[DaemonSet/install].spec.template.metadata."+test.field+": "+test.want)
			refuses(t, onClass(`[{op: add, path: /metadata/`+test.field+`, value: `+test.value+`}]`), "objects[RuntimeClass/kata-qemu].metadata."+test.field+": "+test.want)
			refuses(t, add("/spec/template/spec/volumes/-", `{name: e, ephemeral: {volumeClaimTemplate: {metadata: {`+test.field+`: `+test.value+`}, spec: {}}}}`),
				"objects[DaemonSet/install].spec.template.spec.volumes[2].ephemeral.volumeClaimTemplate.metadata."+test.field+": "+test.want)
		})
	}
}

func TestAPatchThatSetsAStatusIsRefused(t *testing.T) {
	const status = "objects[DaemonSet/install].status."
	refuses(t, add("/status", `{numberReady: 3, currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0}`),
		status+"numberReady: Forbidden: found 3, expected none: a status is set in the cluster only")
	refuses(t, add("/status/conditions", `[{type: A, status: "True"}, {type: A, status: "`+strings.Repeat("x", 500)+`"}]`), status+"conditions: Forbidden: found [{")
	refuses(t, add("/status", `null`), "")
	refuses(t, onClass(`[{op: add, path: /status, value: {a: b}}]`), `unknown field "status"`)
	refuses(t, add("/metadata/creationTimestamp", "null"), "")
}

// refuses holds that a spec with this patch is refused with these words, or that it is rendered where no words are expected.
func refuses(t *testing.T, patch spec.Patch, want string) {
	t.Helper()
	rt := readSpec(t, "testdata/plain/spec.yaml")
	rt.Patches = []spec.Patch{patch}
	_, errs := newTestRenderer().Render(t.Context(), rt)
	checkErrors(t, errs.ToAggregate(), want)
}

// schema is what the API server reads an applied object with before it checks it.
type schema struct{ managedfields.TypeConverter }

func newSchema(t testing.TB) schema {
	t.Helper()
	return schema{applyconfigurations.NewTypeConverter(scheme.Scheme)}
}

// read is what the API server says of an object that it is to apply: any error here is answered with 500.
func (s schema) read(t testing.TB, object any) error {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	switch object.(type) {
	case *appsv1.DaemonSet:
		content["apiVersion"], content["kind"] = "apps/v1", kindDaemonSet
	case *nodev1.RuntimeClass:
		content["apiVersion"], content["kind"] = "node.k8s.io/v1", kindRuntimeClass
	}
	_, err = s.ObjectToTyped(&unstructured.Unstructured{Object: content})
	return err
}

func (s schema) accepts(t testing.TB, object metav1.Object) {
	t.Helper()
	if err := s.read(t, object); err != nil {
		t.Errorf("%s: the API server cannot read what was accepted: %v", object.GetName(), err)
	}
	if object.GetUID() != "" || object.GetResourceVersion() != "" || object.GetGenerateName() != "" || len(object.GetManagedFields()) > 0 {
		t.Errorf("%s: what the API server sets was accepted: %v", object.GetName(), object)
	}
}

// The check knows every list of which the API server's schema says that it has keys. A new version of Kubernetes may have more of them.
func TestEveryKeyedListIsLookedAt(t *testing.T) {
	server, keyed := newSchema(t), 0
	for _, object := range []any{&appsv1.DaemonSet{}, &nodev1.RuntimeClass{}} {
		for _, list := range lists(reflect.TypeOf(object).Elem(), nil) {
			twin := reflect.New(reflect.TypeOf(object).Elem())
			path := fill(twin.Elem(), list, 1)
			if err := server.read(t, twin.Interface()); err != nil {
				t.Fatalf("%s, with one element: %v", path, err)
			}
			fill(twin.Elem(), list, 2)
			if server.read(t, twin.Interface()) == nil {
				continue
			}
			keyed++
			if errs := checkAlone(twin.Interface()); !slices.ContainsFunc(errs, func(err *field.Error) bool {
				return strings.HasPrefix(err.Field, path) || err.Type == field.ErrorTypeForbidden && strings.HasPrefix(path, err.Field)
			}) {
				t.Errorf("two equal elements of %s are a 500 of the API server, and pass the check: %v", path, errs.ToAggregate())
			}
		}
	}
	if keyed < 37 {
		t.Errorf("only %d lists are keyed, so this test looks at the wrong place", keyed)
	}
}

// checkAlone checks an object against one of its kind with nothing in it.
func checkAlone(object any) field.ErrorList {
	c := checker{options: &Options{}, want: &Objects{}}
	switch object := object.(type) {
	case *appsv1.DaemonSet:
		c.daemonSet(nil, object, &appsv1.DaemonSet{})
	case *nodev1.RuntimeClass:
		c.runtimeClass(nil, object, &nodev1.RuntimeClass{})
	}
	return c.errs
}

// lists are the ways, by the numbers of fields, to every list in a type.
func lists(t reflect.Type, way []int) [][]int {
	switch {
	case slices.Contains(leaves, t):
		return nil
	case t.Kind() == reflect.Pointer:
		return lists(t.Elem(), way)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return append([][]int{way}, lists(t.Elem(), way)...)
	case t.Kind() != reflect.Struct:
		return nil
	}
	var found [][]int
	for i := range t.NumField() {
		found = append(found, lists(t.Field(i).Type, append(slices.Clone(way), i))...)
	}
	return found
}

// leaves are types that are not written as their fields are.
var leaves = []reflect.Type{
	reflect.TypeFor[metav1.TypeMeta](), reflect.TypeFor[metav1.Time](), reflect.TypeFor[resource.Quantity](), reflect.TypeFor[intstr.IntOrString](),
	reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[runtime.RawExtension](), reflect.TypeFor[time.Time](),
}

// fill makes the list at the end of a way have so many elements without content, and one element in every list before. It returns the path of the list.
func fill(v reflect.Value, way []int, length int) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return fill(v.Elem(), way, length)
	case reflect.Slice:
		if len(way) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), length, length))
			return ""
		}
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		return "[0]." + fill(v.Index(0), way, length)
	default:
	}
	f := v.Type().Field(way[0])
	rest := fill(v.Field(way[0]), way[1:], length)
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return rest
	}
	if rest != "" && rest[0] != '[' {
		name += "."
	}
	return name + rest
}
