package manifests

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Current is what an installer takes from now and not from its snapshot.
type Current struct {
	// PullPolicy is for step containers whose rendered template names none.
	PullPolicy corev1.PullPolicy
	// PullSecrets are added to those of the rendered template.
	PullSecrets []corev1.LocalObjectReference
	// PullVersion is that of the credentials in them: a pod that waits for its image is made anew with others.
	PullVersion string
	// PauseImage replaces that of the snapshot, whose controller may be long gone from its registry; "" keeps it.
	PauseImage string
	// Owners are the spec and the ControllerRevision.
	Owners []metav1.OwnerReference
}

// list is every object in a stable order.
func (o *Objects) list() []any {
	var objects []any
	for _, step := range slices.Sorted(maps.Keys(o.DaemonSets)) {
		objects = append(objects, o.DaemonSets[step])
	}
	for _, class := range o.RuntimeClasses {
		objects = append(objects, class)
	}
	return objects
}

// YAML is the objects as one would apply them, without status.
func (o *Objects) YAML() ([]byte, error) {
	var out bytes.Buffer
	for i, object := range o.list() {
		text, err := json.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("runtime %q: %w", o.Runtime, err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, fmt.Errorf("runtime %q: %w", o.Runtime, err)
		}
		delete(fields, "status")
		if text, err = yaml.Marshal(fields); err != nil {
			return nil, fmt.Errorf("runtime %q: %w", o.Runtime, err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// rename gives the DaemonSets the names that they have in the cluster.
func (o *Objects) rename() {
	for step, set := range o.DaemonSets {
		set.Name = observed.DaemonSetName(o.Runtime, step, o.Revision)
	}
}

// Content is what a ControllerRevision keeps of the objects: all that is needed to install again, and to uninstall after the
// spec is gone.
func (o *Objects) Content(rt *spec.Runtime) (observed.RevisionContent, error) {
	content := observed.RevisionContent{Format: 1, DaemonSets: maps.Clone(o.DaemonSets), RuntimeClasses: o.RuntimeClasses}
	delete(content.DaemonSets, observed.StepVerify)
	if rt.Verify != nil {
		content.RuntimeClasses = content.RuntimeClasses[:len(content.RuntimeClasses)-1]
	}
	if rt.Completion != spec.CompletionExit {
		content.Format, content.Completion, content.DoneLabels = observed.ContentFormat, observed.Completion(rt.Completion), o.doneLabels(rt)
	}
	if err := json.Unmarshal(rt.Hashed(), &content.Hashed); err != nil {
		return observed.RevisionContent{}, fmt.Errorf("runtime %q: the hashed fields are not readable: %w", rt.Name, err)
	}
	for _, c := range rt.RuntimeClasses {
		content.Classes = append(content.Classes, observed.Class{Name: c.Name, Handler: c.Handler})
	}
	return content, nil
}

// ControllerRevision is the snapshot of the objects. It never carries [observed.LabelInstaller]: the DaemonSet controller
// would adopt and prune it.
func ControllerRevision(o *Objects, rt *spec.Runtime, number int64, annotations map[string]string) (*appsv1.ControllerRevision, error) {
	content, err := o.Content(rt)
	if err != nil {
		return nil, err
	}
	data, err := observed.EncodeContent(&content)
	if err != nil {
		return nil, fmt.Errorf("runtime %q: %w", o.Runtime, err)
	}
	install := o.DaemonSets[StepInstall]
	if install == nil {
		return nil, fmt.Errorf("runtime %q: the objects have no DaemonSet for the step %q", o.Runtime, StepInstall)
	}
	return &appsv1.ControllerRevision{
		TypeMeta: metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "ControllerRevision"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        observed.RevisionName(o.Runtime, o.Revision),
			Namespace:   install.Namespace,
			Labels:      map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: o.Runtime},
			Annotations: maps.Clone(annotations),
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: number,
	}, nil
}

// Installer restores the DaemonSet of a step from a snapshot. It is never rendered again: an upgraded controller uninstalls
// exactly as was installed.
func Installer(content *observed.RevisionContent, step string, current Current) (*appsv1.DaemonSet, error) {
	kept, ok := content.DaemonSets[step]
	if !ok || kept == nil {
		return nil, fmt.Errorf("the revision has no DaemonSet for the step %q, it has: %v", step, slices.Sorted(maps.Keys(content.DaemonSets)))
	}
	return Restore(kept, current), nil
}

// Restore completes a DaemonSet as it was rendered.
func Restore(rendered *appsv1.DaemonSet, current Current) *appsv1.DaemonSet {
	set := rendered.DeepCopy()
	set.OwnerReferences = slices.Clone(current.Owners)
	pod := &set.Spec.Template.Spec
	for i := range pod.InitContainers {
		pod.InitContainers[i].ImagePullPolicy = cmp.Or(pod.InitContainers[i].ImagePullPolicy, current.PullPolicy)
	}
	for i := range pod.Containers {
		if pod.Containers[i].Name == ContainerPause {
			pod.Containers[i].Image = cmp.Or(current.PauseImage, pod.Containers[i].Image)
			continue
		}
		pod.Containers[i].ImagePullPolicy = cmp.Or(pod.Containers[i].ImagePullPolicy, current.PullPolicy)
	}
	for _, secret := range current.PullSecrets {
		if !slices.Contains(pod.ImagePullSecrets, secret) {
			pod.ImagePullSecrets = append(pod.ImagePullSecrets, secret)
		}
	}
	digest := sha256.Sum256(fmt.Append(nil, current.PullPolicy, pod.ImagePullSecrets, current.PauseImage, current.PullVersion))
	for _, meta := range []*metav1.ObjectMeta{&set.ObjectMeta, &set.Spec.Template.ObjectMeta} {
		metav1.SetMetaDataAnnotation(meta, observed.AnnotationTemplate, hex.EncodeToString(digest[:6]))
	}
	return set
}
