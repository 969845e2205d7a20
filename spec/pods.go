package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What Longshore puts into a pod itself.
const (
	// reservedVolumes begins the names of Longshore's own volumes.
	reservedVolumes = "longshore-"
	// reservedEnv begins the names of Longshore's own environment variables.
	reservedEnv = "LONGSHORE_"
)

// OwnEnv are the environment variables that Longshore sets and a spec therefore cannot.
var OwnEnv = []string{
	"NODE_NAME", "LONGSHORE_RUNTIME", "LONGSHORE_REVISION", "LONGSHORE_OPERATION", "DAEMONSET_NAME",
	"PAYLOAD_REGISTRY_USERNAME", "PAYLOAD_REGISTRY_PASSWORD", "KATA_PAYLOAD_IMAGE",
}

func checkCommand(path *field.Path, command []string) field.ErrorList {
	switch {
	case len(command) == 0:
		return field.ErrorList{field.Required(path, `expected a list of strings with the program first, such as ["/bin/sh", "-c", "/opt/install.sh"]`)}
	case command[0] == "":
		return field.ErrorList{field.Required(path.Index(0), "the program to run")}
	}
	var errs field.ErrorList
	for i, word := range command {
		if strings.ContainsRune(word, 0) {
			errs = append(errs, field.Invalid(path.Index(i), word, "an argument cannot have a NUL character"))
		}
	}
	return errs
}

func checkVolumes(path *field.Path, volumes []corev1.Volume) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, v := range volumes {
		at := path.Index(i)
		errs = append(errs, checkFormat(at.Child("name"), v.Name, "the name of the volume", validation.IsDNS1123Label)...)
		switch {
		case strings.HasPrefix(v.Name, reservedVolumes):
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "names that begin with "+reservedVolumes+" are Longshore's own"))
		case v.Name != "" && names[v.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		}
		names[v.Name] = true
		if given := setFields(reflect.ValueOf(v.VolumeSource)); len(given) != 1 {
			errs = append(errs, field.Invalid(at, v.Name, "expected exactly one source such as hostPath, found "+listOr(given, "none")))
		}
		if v.HostPath != nil {
			errs = append(errs, checkHostPath(at.Child("hostPath"), v.HostPath)...)
		}
	}
	return errs
}

var hostPathTypes = []corev1.HostPathType{
	corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory, corev1.HostPathFileOrCreate,
	corev1.HostPathFile, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev,
}

func checkHostPath(path *field.Path, h *corev1.HostPathVolumeSource) field.ErrorList {
	errs := checkAbsolutePath(path.Child("path"), h.Path)
	if h.Type != nil && !slices.Contains(hostPathTypes, *h.Type) {
		errs = append(errs, field.NotSupported(path.Child("type"), *h.Type, hostPathTypes[1:]))
	}
	return errs
}

func checkAbsolutePath(path *field.Path, p string) field.ErrorList {
	switch {
	case p == "":
		return field.ErrorList{field.Required(path, "an absolute path such as /opt/kata")}
	case !strings.HasPrefix(p, "/"):
		return field.ErrorList{field.Invalid(path, p, "expected an absolute path, which begins with /")}
	case slices.Contains(strings.Split(p, "/"), ".."):
		return field.ErrorList{field.Invalid(path, p, "a path cannot have .. in it: write where it leads")}
	}
	return nil
}

var propagations = []corev1.MountPropagationMode{
	corev1.MountPropagationNone, corev1.MountPropagationHostToContainer, corev1.MountPropagationBidirectional,
}

func checkMounts(path *field.Path, mounts []corev1.VolumeMount) field.ErrorList {
	var errs field.ErrorList
	paths := map[string]bool{}
	for i, m := range mounts {
		at := path.Index(i)
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "the name of a volume"))
		}
		errs = append(errs, checkAbsolutePath(at.Child("mountPath"), m.MountPath)...)
		if m.MountPath != "" && paths[m.MountPath] {
			errs = append(errs, duplicate(at.Child("mountPath"), m.MountPath, "two volumes cannot be mounted at one place"))
		}
		paths[m.MountPath] = true
		if strings.Contains(m.MountPath, ":") {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "a mount path cannot have a colon"))
		}
		if m.MountPropagation != nil && !slices.Contains(propagations, *m.MountPropagation) {
			errs = append(errs, field.NotSupported(at.Child("mountPropagation"), *m.MountPropagation, propagations))
		}
		if m.SubPath != "" && m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(at.Child("subPathExpr"), "subPath is given too: keep one of them"))
		}
	}
	return errs
}

// checkMounted finds mounts of volumes that are not there.
func checkMounted(path *field.Path, mounts []corev1.VolumeMount, volumes []corev1.Volume) field.ErrorList {
	names := make([]string, 0, len(volumes))
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	var errs field.ErrorList
	for i, m := range mounts {
		if m.Name != "" && !slices.Contains(names, m.Name) {
			err := field.NotFound(path.Index(i).Child("name"), m.Name)
			err.Detail = "expected the name of a volume, found volumes: " + listOr(names, "none")
			errs = append(errs, err)
		}
	}
	return errs
}

func checkEnv(path *field.Path, env []corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, e := range env {
		at := path.Index(i)
		errs = append(errs, checkEnvName(at.Child("name"), e.Name)...)
		if e.Name != "" && names[e.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), e.Name))
		}
		names[e.Name] = true
		if strings.ContainsRune(e.Value, 0) {
			errs = append(errs, field.Invalid(at.Child("value"), e.Value, "an environment variable cannot have a NUL character"))
		}
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			errs = append(errs, field.Forbidden(at.Child("valueFrom"), "value is given too: keep one of them"))
		}
		errs = append(errs, checkEnvSource(at.Child("valueFrom"), e.ValueFrom)...)
	}
	return errs
}

func checkEnvName(path *field.Path, name string) field.ErrorList {
	switch {
	case name == "":
		return field.ErrorList{field.Required(path, "the name of an environment variable")}
	case slices.Contains(OwnEnv, name):
		return field.ErrorList{field.Forbidden(path, name+" is set by Longshore itself")}
	case strings.HasPrefix(name, reservedEnv):
		return field.ErrorList{field.Forbidden(path, "names that begin with "+reservedEnv+" are Longshore's own, found "+name)}
	}
	var errs field.ErrorList
	for _, complaint := range validation.IsEnvVarName(name) {
		errs = append(errs, field.Invalid(path, name, complaint))
	}
	return errs
}

func checkEnvSource(path *field.Path, source *corev1.EnvVarSource) field.ErrorList {
	var errs field.ErrorList
	if given := setFields(reflect.ValueOf(*source)); len(given) != 1 {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "expected exactly one source such as secretKeyRef, found "+listOr(given, "none")))
	}
	require := func(at *field.Path, value, what string) {
		if value == "" {
			errs = append(errs, field.Required(at, what))
		}
	}
	if ref := source.SecretKeyRef; ref != nil {
		require(path.Child("secretKeyRef", "name"), ref.Name, "the name of a Secret")
		require(path.Child("secretKeyRef", "key"), ref.Key, "a key of the Secret")
	}
	if ref := source.ConfigMapKeyRef; ref != nil {
		require(path.Child("configMapKeyRef", "name"), ref.Name, "the name of a ConfigMap")
		require(path.Child("configMapKeyRef", "key"), ref.Key, "a key of the ConfigMap")
	}
	if ref := source.FieldRef; ref != nil {
		require(path.Child("fieldRef", "fieldPath"), ref.FieldPath, "a field of the pod such as status.hostIP")
	}
	if ref := source.ResourceFieldRef; ref != nil {
		require(path.Child("resourceFieldRef", "resource"), ref.Resource, "a resource of the container such as limits.cpu")
	}
	return errs
}

func checkPullSecrets(path *field.Path, secrets []corev1.LocalObjectReference) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, s := range secrets {
		at := path.Index(i).Child("name")
		errs = append(errs, checkFormat(at, s.Name, "the name of a Secret", validation.IsDNS1123Subdomain)...)
		if s.Name != "" && names[s.Name] {
			errs = append(errs, field.Duplicate(at, s.Name))
		}
		names[s.Name] = true
	}
	return errs
}

func checkPodSecurity(path *field.Path, s PodSecurity) field.ErrorList {
	if s.TerminationGracePeriodSeconds != nil && *s.TerminationGracePeriodSeconds < 0 {
		return field.ErrorList{field.Invalid(path.Child("terminationGracePeriodSeconds"), *s.TerminationGracePeriodSeconds, "expected 0 or more seconds")}
	}
	return nil
}

// checkFormat checks a name with one of apimachinery's functions; what says whose name it is.
func checkFormat(path *field.Path, text, what string, complaints func(string) []string) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, what)}
	}
	var errs field.ErrorList
	for _, complaint := range complaints(text) {
		errs = append(errs, field.Invalid(path, text, complaint))
	}
	return errs
}

// setFields lists the JSON names of the pointers in a struct that are set: the members of a union that were given.
func setFields(v reflect.Value) []string {
	var names []string
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

// listOr joins names, or says what to say where there are none.
func listOr(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	if len(names) > maxListed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return strings.Join(names, ", ")
}
