package manifests

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Server-side apply knows the elements of some lists by a key. It answers two elements of one key with an internal error, which reads as if
// another attempt could help, and not with an error that names the field. So they are refused here, before they are sent. These are the lists:
//
//	list                              key
//	volumes                           name
//	initContainers, containers        name, over both
//	imagePullSecrets                  name
//	hostAliases                       ip
//	topologySpreadConstraints         topologyKey, whenUnsatisfiable
//	resourceClaims, schedulingGates   name
//	resources.claims                  name, of the pod and of each container
//	of a container: env               name
//	                ports             containerPort, protocol
//	                volumeMounts      mountPath
//	                volumeDevices     devicePath
//	                restartPolicyRules, their exitCodes.values: each value
//
// Those of metadata and of the status are empty. A test compares the table with the schema of the API server.

// podLists looks for duplicates in the lists of a pod, and for mounts of volumes that are not there.
func (c *checker) podLists(at *field.Path, pod *corev1.PodSpec) {
	once(c, at.Child("volumes"), "name", pod.Volumes, func(v *corev1.Volume) string { return v.Name })
	once(c, at.Child("imagePullSecrets"), "name", pod.ImagePullSecrets, func(s *corev1.LocalObjectReference) string { return s.Name })
	once(c, at.Child("hostAliases"), "ip", pod.HostAliases, func(a *corev1.HostAlias) string { return a.IP })
	once(c, at.Child("topologySpreadConstraints"), "topologyKey", pod.TopologySpreadConstraints, func(t *corev1.TopologySpreadConstraint) string {
		return t.TopologyKey + " " + string(t.WhenUnsatisfiable)
	})
	once(c, at.Child("resourceClaims"), "name", pod.ResourceClaims, func(r *corev1.PodResourceClaim) string { return r.Name })
	once(c, at.Child("schedulingGates"), "name", pod.SchedulingGates, func(g *corev1.PodSchedulingGate) string { return g.Name })
	if pod.Resources != nil {
		c.claims(at.Child("resources"), pod.Resources)
	}
	volumes := map[string]bool{}
	for i := range pod.Volumes {
		volumes[pod.Volumes[i].Name] = true
		c.claimTemplate(at.Child("volumes").Index(i), &pod.Volumes[i])
	}
	steps := map[string]string{}
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", pod.InitContainers}, {"containers", pod.Containers}} {
		for i := range list.containers {
			at, container := at.Child(list.name).Index(i), &list.containers[i]
			if first, ok := steps[container.Name]; ok {
				c.twice(at.Child("name"), container.Name, first)
			} else {
				steps[container.Name] = fmt.Sprintf("%s[%d]", list.name, i)
			}
			c.containerLists(at, container)
			c.mounted(at, container, volumes)
		}
	}
}

func (c *checker) containerLists(at *field.Path, container *corev1.Container) {
	once(c, at.Child("env"), "name", container.Env, func(e *corev1.EnvVar) string { return e.Name })
	once(c, at.Child("ports"), "containerPort", container.Ports, func(p *corev1.ContainerPort) string {
		return strconv.Itoa(int(p.ContainerPort)) + "/" + string(cmp.Or(p.Protocol, corev1.ProtocolTCP))
	})
	once(c, at.Child("volumeMounts"), "mountPath", container.VolumeMounts, func(m *corev1.VolumeMount) string { return m.MountPath })
	once(c, at.Child("volumeDevices"), "devicePath", container.VolumeDevices, func(d *corev1.VolumeDevice) string { return d.DevicePath })
	c.claims(at.Child("resources"), &container.Resources)
	for i := range container.RestartPolicyRules {
		if codes := container.RestartPolicyRules[i].ExitCodes; codes != nil {
			once(c, at.Child("restartPolicyRules").Index(i).Child("exitCodes", "values"), "", codes.Values, func(code *int32) string { return strconv.Itoa(int(*code)) })
		}
	}
}

func (c *checker) claims(at *field.Path, resources *corev1.ResourceRequirements) {
	once(c, at.Child("claims"), "name", resources.Claims, func(r *corev1.ResourceClaim) string { return r.Name })
}

// mounted finds mounts of volumes that the pod does not have.
func (c *checker) mounted(at *field.Path, container *corev1.Container, volumes map[string]bool) {
	look := func(at *field.Path, name string) {
		if volumes[name] {
			return
		}
		err := field.NotFound(at.Child("name"), name)
		err.Detail = "expected the name of one of the pod's volumes"
		c.errs = append(c.errs, err)
	}
	for i := range container.VolumeMounts {
		look(at.Child("volumeMounts").Index(i), container.VolumeMounts[i].Name)
	}
	for i := range container.VolumeDevices {
		look(at.Child("volumeDevices").Index(i), container.VolumeDevices[i].Name)
	}
}

// once reports the elements of a list whose key an earlier one has already; name is the field that the error points to, "" for the element itself.
func once[T any](c *checker, at *field.Path, name string, list []T, key func(*T) string) {
	last := at.String()
	last = last[strings.LastIndexByte(last, '.')+1:]
	first := map[string]int{}
	for i := range list {
		k := key(&list[i])
		if j, ok := first[k]; ok {
			here := at.Index(i)
			if name != "" {
				here = here.Child(name)
			}
			c.twice(here, k, fmt.Sprintf("%s[%d]", last, j))
			continue
		}
		first[k] = i
	}
}

// twice reports a key that was there before, and where.
func (c *checker) twice(at *field.Path, key, first string) {
	err := field.Duplicate(at, key)
	err.Detail = first + " has it already, expected each at most once"
	c.errs = append(c.errs, err)
}

func names(containers []corev1.Container) []string {
	out := make([]string, 0, len(containers))
	for i := range containers {
		out = append(out, containers[i].Name)
	}
	return out
}
