package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/distribution/reference"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"longshore.dev/longshore/observed"
)

var (
	gvkDaemonSet    = resid.Gvk{Group: appsv1.GroupName, Version: "v1", Kind: kindDaemonSet}
	gvkRuntimeClass = resid.Gvk{Group: nodev1.GroupName, Version: "v1", Kind: kindRuntimeClass}
)

func objectPath(kind, name string) *field.Path {
	return field.NewPath("objects").Key(kind + "/" + name)
}

// decode reads the rendered objects. Exactly the wanted ones have to be there, under the names that they went in with.
func decode(out resmap.ResMap, want *Objects) (*Objects, field.ErrorList) {
	got := &Objects{Runtime: want.Runtime, Revision: want.Revision, DaemonSets: map[string]*appsv1.DaemonSet{}}
	classes := map[string]*nodev1.RuntimeClass{}
	var errs field.ErrorList
	for _, res := range out.Resources() {
		at := objectPath(res.GetKind(), res.GetName())
		text, err := res.MarshalJSON()
		if err != nil {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, reason(err)))
			continue
		}
		switch gvk := res.GetGvk(); {
		case gvk.Equals(gvkDaemonSet):
			set := &appsv1.DaemonSet{}
			err = unmarshalStrict(text, set)
			got.DaemonSets[res.GetName()] = set
		case gvk.Equals(gvkRuntimeClass):
			class := &nodev1.RuntimeClass{}
			err = unmarshalStrict(text, class)
			classes[res.GetName()] = class
		default:
			err = fmt.Errorf("is a %s, expected only DaemonSets and RuntimeClasses", gvk)
		}
		if err != nil {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, reason(err)))
		}
	}
	for _, step := range slices.Sorted(maps.Keys(want.DaemonSets)) {
		if got.DaemonSets[step] == nil {
			errs = append(errs, field.Required(objectPath(kindDaemonSet, step), "is gone after the patches; they may neither delete nor rename it"))
		}
	}
	for _, class := range want.RuntimeClasses {
		if classes[class.Name] == nil {
			errs = append(errs, field.Required(objectPath(kindRuntimeClass, class.Name), "is gone after the patches; they may neither delete nor rename it"))
			continue
		}
		got.RuntimeClasses = append(got.RuntimeClasses, classes[class.Name])
	}
	if n := out.Size(); n > len(want.DaemonSets)+len(want.RuntimeClasses) {
		errs = append(errs, field.TooMany(field.NewPath("objects"), n, len(want.DaemonSets)+len(want.RuntimeClasses)))
	}
	return got, errs
}

// checker compares rendered objects with what went in, and holds them against the policy.
type checker struct {
	options *Options
	want    *Objects
	errs    field.ErrorList
}

// check returns every violation.
func (c *checker) check(got *Objects) field.ErrorList {
	for _, step := range slices.Sorted(maps.Keys(got.DaemonSets)) {
		c.daemonSet(objectPath(kindDaemonSet, step), got.DaemonSets[step], c.want.DaemonSets[step])
	}
	for i, class := range got.RuntimeClasses {
		c.runtimeClass(objectPath(kindRuntimeClass, class.Name), class, c.want.RuntimeClasses[i])
	}
	return c.errs
}

func (c *checker) daemonSet(at *field.Path, got, want *appsv1.DaemonSet) {
	c.metadata(at.Child("metadata"), &got.ObjectMeta, &want.ObjectMeta)
	c.noStatus(at.Child("status"), got.Status)
	at = at.Child("spec")
	same(c, at.Child("selector"), got.Spec.Selector, want.Spec.Selector)
	same(c, at.Child("updateStrategy"), got.Spec.UpdateStrategy, want.Spec.UpdateStrategy)
	template := at.Child("template")
	c.metadata(template.Child("metadata"), &got.Spec.Template.ObjectMeta, &want.Spec.Template.ObjectMeta)
	c.pod(template.Child("spec"), &got.Spec.Template.Spec, &want.Spec.Template.Spec)
}

// metadata may gain labels and annotations, but none in Longshore's domain.
func (c *checker) metadata(at *field.Path, got, want *metav1.ObjectMeta) {
	same(c, at.Child("name"), got.Name, want.Name)
	same(c, at.Child("namespace"), got.Namespace, want.Namespace)
	c.serverSet(at, got)
	c.keys(at.Child("labels"), got.Labels, want.Labels)
	c.keys(at.Child("annotations"), got.Annotations, want.Annotations)
}

// keys holds that everything wanted is there, unchanged, and that nothing else is in Longshore's domain.
func (c *checker) keys(at *field.Path, got, want map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		same(c, at.Key(key), got[key], want[key])
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		domain, _, _ := strings.Cut(key, "/")
		_, ours := want[key]
		if !ours && (domain == observed.Domain || strings.HasSuffix(domain, "."+observed.Domain)) {
			c.forbid(at.Key(key), "keys of "+observed.Domain+" are set by Longshore only")
		}
	}
}

func (c *checker) pod(at *field.Path, got, want *corev1.PodSpec) {
	c.keys(at.Child("nodeSelector"), got.NodeSelector, want.NodeSelector)
	same(c, at.Child("nodeName"), got.NodeName, "")
	same(c, at.Child("restartPolicy"), got.RestartPolicy, want.RestartPolicy)
	same(c, at.Child("serviceAccountName"), got.ServiceAccountName, want.ServiceAccountName)
	same(c, at.Child("serviceAccount"), got.DeprecatedServiceAccount, "")
	same(c, at.Child("automountServiceAccountToken"), got.AutomountServiceAccountToken, want.AutomountServiceAccountToken)
	c.none(at.Child("ephemeralContainers"), len(got.EphemeralContainers))
	c.podLists(at, got)
	for i := range got.Volumes {
		c.volume(at.Child("volumes").Index(i), &got.Volumes[i])
	}
	c.containers(at.Child("initContainers"), got.InitContainers, want.InitContainers)
	c.containers(at.Child("containers"), got.Containers, want.Containers)
	for i := range got.InitContainers {
		c.step(at.Child("initContainers").Index(i), &got.InitContainers[i], want.InitContainers)
	}
	for i := range got.Containers {
		at := at.Child("containers").Index(i)
		if got.Containers[i].Name == ContainerPause {
			c.pause(at, &got.Containers[i], want.Containers)
			continue
		}
		c.step(at, &got.Containers[i], want.Containers)
	}
}

// containers are the wanted ones in the wanted order: a step more or less would never be waited for.
func (c *checker) containers(at *field.Path, got, want []corev1.Container) {
	same(c, at, names(got), names(want))
}

// step is a container with a command of the spec.
func (c *checker) step(at *field.Path, got *corev1.Container, all []corev1.Container) {
	i := slices.IndexFunc(all, func(other corev1.Container) bool { return other.Name == got.Name })
	if i < 0 {
		return
	}
	want := &all[i]
	same(c, at.Child("restartPolicy"), got.RestartPolicy, want.RestartPolicy)
	same(c, at.Child("terminationMessagePolicy"), got.TerminationMessagePolicy, want.TerminationMessagePolicy)
	for _, env := range want.Env[:ownEnv] {
		at := at.Child("env").Key(env.Name)
		j := slices.IndexFunc(got.Env, func(other corev1.EnvVar) bool { return other.Name == env.Name })
		if j < 0 {
			c.errs = append(c.errs, field.Required(at, "is set by Longshore and may not be removed"))
			continue
		}
		if !reflect.DeepEqual(got.Env[j], env) {
			c.forbid(at, "is set by Longshore and may not be changed")
		}
	}
	c.image(at.Child("image"), got.Image)
}

// pause is the main container: a patch may change what it requests, nothing else.
func (c *checker) pause(at *field.Path, got *corev1.Container, all []corev1.Container) {
	i := slices.IndexFunc(all, func(other corev1.Container) bool { return other.Name == got.Name })
	if i < 0 {
		return
	}
	bare, want := got.DeepCopy(), all[i].DeepCopy()
	bare.Resources, want.Resources = corev1.ResourceRequirements{}, corev1.ResourceRequirements{}
	if !reflect.DeepEqual(bare, want) {
		c.forbid(at, "is Longshore's own container; patches may change only its resources")
	}
}

// volume holds the host paths against the policy, and lets no token of the API server in by the back door.
func (c *checker) volume(at *field.Path, v *corev1.Volume) {
	if v.HostPath != nil && !c.hostPathAllowed(v.HostPath.Path) {
		c.forbid(at.Child("hostPath", "path"), fmt.Sprintf("%q is not in or below one of the allowed host paths %v", v.HostPath.Path, c.options.Policy.AllowedHostPaths))
	}
	if v.Image != nil {
		c.image(at.Child("image", "reference"), v.Image.Reference)
	}
	if v.Projected == nil {
		return
	}
	for i := range v.Projected.Sources {
		if v.Projected.Sources[i].ServiceAccountToken != nil {
			c.forbid(at.Child("projected", "sources").Index(i).Child("serviceAccountToken"), "an installer has no token of the API server")
		}
	}
}

func (c *checker) hostPathAllowed(host string) bool {
	allowed := c.options.Policy.AllowedHostPaths
	if len(allowed) == 0 {
		return true
	}
	// A path with dot-dot is refused by the API server too; a relative one is nobody's.
	if !path.IsAbs(host) || slices.Contains(strings.Split(host, "/"), "..") {
		return false
	}
	host = path.Clean(host)
	return slices.ContainsFunc(allowed, func(dir string) bool {
		dir = path.Clean(dir)
		return dir == "/" || host == dir || strings.HasPrefix(host, dir+"/")
	})
}

func (c *checker) image(at *field.Path, image string) {
	policy := &c.options.Policy
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(at, image, "is not an image reference: "+err.Error()))
		return
	}
	if _, digested := named.(reference.Digested); policy.RequireDigest && !digested {
		c.errs = append(c.errs, field.Invalid(at, image, "has no digest, expected name@sha256:…"))
	}
	allowed := func(prefix string) bool {
		prefix = strings.TrimSuffix(prefix, "/")
		return named.Name() == prefix || strings.HasPrefix(named.Name(), prefix+"/")
	}
	if len(policy.AllowedRegistries) > 0 && !slices.ContainsFunc(policy.AllowedRegistries, allowed) {
		c.forbid(at, fmt.Sprintf("%q is not from one of the allowed registries %v", named.Name(), policy.AllowedRegistries))
	}
}

func (c *checker) runtimeClass(at *field.Path, got, want *nodev1.RuntimeClass) {
	c.metadata(at.Child("metadata"), &got.ObjectMeta, &want.ObjectMeta)
	same(c, at.Child("handler"), got.Handler, want.Handler)
	var gotSelector, wantSelector map[string]string
	if got.Scheduling != nil {
		gotSelector = got.Scheduling.NodeSelector
	}
	if want.Scheduling != nil {
		wantSelector = want.Scheduling.NodeSelector
	}
	c.keys(at.Child("scheduling", "nodeSelector"), gotSelector, wantSelector)
}

func (c *checker) forbid(at *field.Path, why string) {
	c.errs = append(c.errs, field.Forbidden(at, why))
}

// same reports a field that only Longshore may set and that differs from what it set.
func same[T any](c *checker, at *field.Path, got, want T) {
	if !reflect.DeepEqual(got, want) {
		c.errs = append(c.errs, field.Invalid(at, got, "only Longshore sets this, expected "+show(want)))
	}
}

// none reports a list that has to be empty.
func (c *checker) none(at *field.Path, length int) {
	if length > 0 {
		c.forbid(at, fmt.Sprintf("found %d, expected none", length))
	}
}

// show prints a value as YAML would have it.
func show(value any) string {
	if v := reflect.ValueOf(value); !v.IsValid() || v.IsZero() {
		return "none"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
