package manifests

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"longshore.dev/longshore/kustomize"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// The names of the containers of an installer pod.
const (
	ContainerPreInstall    = "pre-install"
	ContainerInstall       = "install"
	ContainerVerify        = observed.StepVerify
	ContainerUninstall     = "uninstall"
	ContainerCleanup       = "cleanup"
	ContainerPostUninstall = "post-uninstall"
	ContainerPause         = observed.PauseContainer
)

// The environment that Longshore sets in every step, in this order, before the spec's.
const (
	EnvNodeName  = "NODE_NAME"
	EnvRuntime   = "LONGSHORE_RUNTIME"
	EnvRevision  = "LONGSHORE_REVISION"
	EnvOperation = "LONGSHORE_OPERATION"
	EnvDaemonSet = "DAEMONSET_NAME"
	// The following are set only where the installer fetches the payload itself, or where the payload is not the spec's. The names are those
	// that installers of the OpenShift sandboxed containers operator read.
	EnvPayloadImage     = "KATA_PAYLOAD_IMAGE"
	EnvRegistryUsername = "PAYLOAD_REGISTRY_USERNAME"
	EnvRegistryPassword = "PAYLOAD_REGISTRY_PASSWORD"
)

// ownEnv is how many variables of a step are Longshore's own.
const ownEnv = 5

// base is the embedded kustomization, built once.
type base struct {
	daemonSet *appsv1.DaemonSet
	class     *nodev1.RuntimeClass
}

// loadBase builds the embedded base.
func loadBase() (*base, error) {
	disk := filesys.MakeFsInMemory()
	err := fs.WalkDir(kustomize.Installer, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := kustomize.Installer.ReadFile(path)
		if err != nil {
			return err
		}
		return disk.WriteFile(path, text)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded base: %w", err)
	}
	out, err := run(disk, "installer")
	if err != nil {
		return nil, fmt.Errorf("building the embedded base: %w", err)
	}
	var b base
	for _, res := range out.Resources() {
		text, err := res.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("reading the embedded base: %w", err)
		}
		switch kind := res.GetKind(); kind {
		case kindDaemonSet:
			b.daemonSet = &appsv1.DaemonSet{}
			err = unmarshalStrict(text, b.daemonSet)
		case kindRuntimeClass:
			b.class = &nodev1.RuntimeClass{}
			err = unmarshalStrict(text, b.class)
		default:
			err = fmt.Errorf("unexpected kind %s", kind)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the embedded base: %w", err)
		}
	}
	if b.daemonSet == nil || b.class == nil || len(b.daemonSet.Spec.Template.Spec.InitContainers) != 1 {
		return nil, fmt.Errorf("the embedded base has no DaemonSet with one init container, or no RuntimeClass")
	}
	return &b, nil
}

// filler puts what a spec says into copies of the base.
type filler struct {
	options  *Options
	base     *base
	runtime  *spec.Runtime
	revision string
}

// command is one container of a step.
type command struct {
	name    string
	image   string
	cmd     []string
	env     []corev1.EnvVar
	volumes []corev1.Volume
	mounts  []corev1.VolumeMount
}

// objects returns the runtime's objects before the site's component and the spec's patches. DaemonSets carry the name of
// their step, which is what patches select them by: their real name has the revision in it, a hash of the patches too.
func (f *filler) objects() *Objects {
	o := &Objects{Runtime: f.runtime.Name, Revision: f.revision, DaemonSets: map[string]*appsv1.DaemonSet{}}
	for _, s := range f.steps() {
		o.DaemonSets[s.name] = f.daemonSet(s)
	}
	for i := range f.runtime.RuntimeClasses {
		o.RuntimeClasses = append(o.RuntimeClasses, f.runtimeClass(&f.runtime.RuntimeClasses[i]))
	}
	if f.runtime.Verify != nil {
		o.DaemonSets[observed.StepVerify] = f.verifier()
		o.RuntimeClasses = append(o.RuntimeClasses, f.verifyClass())
	}
	return o
}

func (f *filler) step(name string, cmd []string) command {
	rt := f.runtime
	c := command{name: name, image: rt.PayloadImage, cmd: cmd, env: rt.Env, volumes: rt.Volumes, mounts: rt.VolumeMounts}
	if rt.InstallerImage != "" {
		c.image = rt.InstallerImage
	}
	if rt.InstallerImage != "" || rt.Overridden {
		c.env = slices.Concat([]corev1.EnvVar{
			{Name: EnvPayloadImage, Value: rt.PayloadImage},
			credential(EnvRegistryUsername, observed.SecretUsername),
			credential(EnvRegistryPassword, observed.SecretPassword),
		}, rt.Env)
	}
	return c
}

// credential is a variable from the Secret with credentials, which need not be there.
func credential(name, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: observed.PayloadSecretName}, Key: key, Optional: new(true),
	}}}
}

func (f *filler) hook(name string, h *spec.Hook) command {
	return command{name: name, image: h.Image, cmd: h.Cmd, env: slices.Concat(f.runtime.Env, h.Env), volumes: h.Volumes, mounts: h.VolumeMounts}
}

// daemonSet is the installer of one step.
func (f *filler) daemonSet(s step) *appsv1.DaemonSet {
	rt, set := f.runtime, f.base.daemonSet.DeepCopy()
	set.Name, set.Namespace = s.name, f.options.Namespace
	labels := f.labels(s.name)
	set.Labels = withLabels(set.Labels, labels)
	selector := map[string]string{observed.LabelInstaller: observed.DaemonSetName(rt.Name, s.name, f.revision)}
	set.Spec.Selector = &metav1.LabelSelector{MatchLabels: selector}
	template := &set.Spec.Template
	template.Labels = withLabels(withLabels(template.Labels, labels), selector)

	pod := &template.Spec
	pod.NodeSelector = withLabels(pod.NodeSelector, map[string]string{observed.GateKey(rt.Name): observed.GateValue(f.revision, s.name)})
	pod.ServiceAccountName = f.options.ServiceAccount
	if rt.NodeAccess == spec.NodeAccessOwn {
		pod.ServiceAccountName, pod.AutomountServiceAccountToken = f.options.NodeAccessAccount, new(true)
	}
	pod.HostPID, pod.HostNetwork = rt.PodSecurity.HostPID, rt.PodSecurity.HostNetwork
	if grace := rt.PodSecurity.TerminationGracePeriodSeconds; grace != nil {
		pod.TerminationGracePeriodSeconds = new(*grace)
	}
	for _, c := range s.commands {
		pod.Volumes = withVolumes(pod.Volumes, c.volumes)
	}
	skeleton, before := pod.InitContainers[0], s.commands
	if s.stays {
		last := len(s.commands) - 1
		before = s.commands[:last]
		pod.Containers = []corev1.Container{f.container(&skeleton, s, s.commands[last])}
	} else {
		for i := range pod.Containers {
			pod.Containers[i].Image = f.options.PauseImage
		}
	}
	pod.InitContainers = nil
	for _, c := range before {
		pod.InitContainers = append(pod.InitContainers, f.container(&skeleton, s, c))
	}
	return set
}

// withVolumes adds volumes that are not there yet. spec.Parse holds that two of one name are equal.
func withVolumes(volumes, more []corev1.Volume) []corev1.Volume {
	for _, v := range more {
		if !slices.ContainsFunc(volumes, func(other corev1.Volume) bool { return other.Name == v.Name }) {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

func (f *filler) container(skeleton *corev1.Container, s step, c command) corev1.Container {
	rt, out := f.runtime, skeleton.DeepCopy()
	out.Name, out.Image, out.Command = c.name, c.image, slices.Clone(c.cmd)
	out.Env = append(out.Env,
		corev1.EnvVar{Name: EnvRuntime, Value: rt.Name},
		corev1.EnvVar{Name: EnvRevision, Value: f.revision},
		corev1.EnvVar{Name: EnvOperation, Value: string(s.operation())},
		corev1.EnvVar{Name: EnvDaemonSet, Value: f.daemonSetEnv(s.operation())},
	)
	out.Env = append(out.Env, c.env...)
	out.VolumeMounts = append(out.VolumeMounts, c.mounts...)
	out.SecurityContext = securityContext(&rt.PodSecurity)
	return *out
}

// daemonSetEnv is the install DaemonSet, for installers that look at it. Payloads of kata-deploy's kind skip their cleanup
// while the DaemonSet named there exists, so an uninstaller gets a name that no DaemonSet of ours can have: it does not end
// in a revision.
func (f *filler) daemonSetEnv(operation observed.Operation) string {
	name := observed.DaemonSetName(f.runtime.Name, StepInstall, f.revision)
	if operation == observed.Uninstall {
		name += "-gone"
	}
	return name
}

func securityContext(s *spec.PodSecurity) *corev1.SecurityContext {
	out := &corev1.SecurityContext{Privileged: new(s.Privileged), Capabilities: s.Capabilities.DeepCopy()}
	if s.ReadOnlyRootFilesystem {
		out.ReadOnlyRootFilesystem = new(true)
	}
	return out
}

func (f *filler) runtimeClass(c *spec.RuntimeClass) *nodev1.RuntimeClass {
	out := f.base.class.DeepCopy()
	out.Name, out.Handler = c.Name, c.Handler
	out.Labels = withLabels(out.Labels, map[string]string{observed.LabelRuntimeOf: f.runtime.Name})
	if len(c.Overhead) > 0 {
		out.Overhead = &nodev1.Overhead{PodFixed: c.Overhead.DeepCopy()}
	}
	var scheduling nodev1.Scheduling
	if c.Scheduling != spec.SchedulingNone {
		scheduling.NodeSelector = map[string]string{observed.ReadyKey(f.runtime.Name): "true"}
	}
	for i := range c.Tolerations {
		scheduling.Tolerations = append(scheduling.Tolerations, *c.Tolerations[i].DeepCopy())
	}
	if scheduling.NodeSelector != nil || scheduling.Tolerations != nil {
		out.Scheduling = &scheduling
	}
	return out
}

// labels are those of a DaemonSet and its pods, but for the selector's.
func (f *filler) labels(step string) map[string]string {
	return map[string]string{
		observed.LabelManagedBy: observed.Manager,
		observed.LabelRuntimeOf: f.runtime.Name,
		observed.LabelRevision:  f.revision,
		observed.LabelStep:      step,
	}
}

// withLabels adds labels to a map that may be nil.
func withLabels(labels, more map[string]string) map[string]string {
	out := make(map[string]string, len(labels)+len(more))
	for _, m := range []map[string]string{labels, more} {
		maps.Copy(out, m)
	}
	return out
}
