package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkClasses checks the list of runtimeClasses.
func checkClasses(path *field.Path, classes []RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, c := range classes {
		at := path.Index(i)
		errs = append(errs, checkFormat(at.Child("name"), c.Name, "the name of the RuntimeClass", validation.IsDNS1123Subdomain)...)
		if c.Name != "" && names[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
		errs = append(errs, checkFormat(at.Child("handler"), c.Handler, "the name of the handler in the configuration of the container runtime", validation.IsDNS1123Label)...)
		errs = append(errs, checkOverhead(at.Child("overhead"), c.Overhead)...)
		errs = append(errs, checkTolerations(at.Child("tolerations"), c.Tolerations)...)
		if s := c.Scheduling; s != "" && s != SchedulingReady && s != SchedulingNone {
			errs = append(errs, field.NotSupported(at.Child("scheduling"), s, []ClassScheduling{SchedulingReady, SchedulingNone}))
		}
	}
	return errs
}

// plainResources are the resources without a domain that a pod can have.
var plainResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

func checkOverhead(path *field.Path, overhead corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(overhead)) {
		at := path.Key(string(name))
		if quantity := overhead[name]; quantity.Sign() < 0 {
			errs = append(errs, field.Invalid(at, quantity.String(), "expected 0 or more"))
		}
		if !slices.Contains(plainResources, name) {
			errs = appendError(errs, checkResourceName(at, string(name)))
		}
	}
	return errs
}

func checkResourceName(path *field.Path, name string) *field.Error {
	if len(validation.IsQualifiedName(name)) == 0 && (hasDomain(name) || isHugePages(name)) {
		return nil
	}
	return field.Invalid(path, name, "expected cpu, memory, ephemeral-storage, or a resource with a domain such as example.com/gpu")
}

var effects = []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}

var tolerationOperators = []corev1.TolerationOperator{corev1.TolerationOpExists, corev1.TolerationOpEqual}

func checkTolerations(path *field.Path, tolerations []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.Toleration]bool{}
	for i, t := range tolerations {
		at := path.Index(i)
		if t.Key != "" {
			errs = append(errs, checkFormat(at.Child("key"), t.Key, "", validation.IsQualifiedName)...)
		}
		switch {
		case t.Operator != "" && !slices.Contains(tolerationOperators, t.Operator):
			errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, tolerationOperators))
		case t.Key == "" && t.Operator != corev1.TolerationOpExists:
			errs = append(errs, field.Required(at.Child("key"), "a toleration without a key tolerates every taint and needs operator: Exists"))
		case t.Operator == corev1.TolerationOpExists && t.Value != "":
			errs = append(errs, field.Forbidden(at.Child("value"), fmt.Sprintf("operator: Exists takes any value, found %q", t.Value)))
		}
		for _, complaint := range validation.IsValidLabelValue(t.Value) {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, complaint))
		}
		if t.Effect != "" && !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, effects))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Forbidden(at.Child("tolerationSeconds"), "only with effect: NoExecute"))
		}
		same := corev1.Toleration{Key: t.Key, Operator: cmp.Or(t.Operator, corev1.TolerationOpEqual), Value: t.Value, Effect: t.Effect}
		if seen[same] {
			errs = append(errs, duplicate(at, field.OmitValueType{}, "the same toleration stands above"))
		}
		seen[same] = true
	}
	return errs
}

// hasDomain says whether a resource is a vendor's, such as example.com/gpu.
func hasDomain(name string) bool { return strings.Contains(name, "/") }

func isHugePages(name string) bool { return strings.HasPrefix(name, corev1.ResourceHugePagesPrefix) }
