// Package apply answers: how do we write?
//
// It is the only package that changes the cluster: node patches, server-side apply, bookings, status, events. It decides
// nothing.
package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/observed"
)

// Echo is told what a write returned, so that the read side knows it before its watch does.
type Echo interface {
	Saw(object metav1.Object)
}

// Writer writes to one cluster.
type Writer struct {
	kube kubernetes.Interface
	echo Echo
	// namespace is where specs, snapshots and installers are; system is where the turns are.
	namespace, system string
}

// New returns a writer for specs and installers in namespace and turns in system.
func New(kube kubernetes.Interface, echo Echo, namespace, system string) *Writer {
	return &Writer{kube: kube, echo: echo, namespace: namespace, system: system}
}

// Node carries a transition out. An error for which [Outrun] is true means that
// somebody else was faster: look again.
func (w *Writer) Node(ctx context.Context, node *observed.Node, t observed.Transition) error {
	patch, err := NodePatch(node, t)
	if err != nil {
		return fmt.Errorf("patch for node %q: %w", t.Node, err)
	}
	after, err := w.kube.CoreV1().Nodes().Patch(ctx, t.Node, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
	if err != nil {
		return fmt.Errorf("patch node %q for runtime %q: %w", t.Node, t.Runtime, err)
	}
	w.echo.Saw(after)
	return nil
}

// Outrun tells whether a write failed only because the object is not as it was seen, or not there any more.
func Outrun(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err)
}

// Turns writes the bookings: one compare-and-swap on the ConfigMap as it was observed, or its creation where it was not there.
func (w *Writer) Turns(ctx context.Context, before observed.Turns, booked []observed.Turn) error {
	return w.swap(ctx, observed.TurnsName, version{before.Exists, before.UID, before.ResourceVersion}, observed.FormatTurns(booked))
}

// DoneLabels writes the label keys that payloads may change on their own nodes. The ConfigMap comes with the installation: that it is not
// there is an error.
func (w *Writer) DoneLabels(ctx context.Context, keys string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{observed.DoneLabelsKey: keys}})
	if err != nil {
		return err
	}
	after, err := w.kube.CoreV1().ConfigMaps(w.namespace).Patch(ctx, observed.DoneLabelsName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("ConfigMap %s/%s is not there, which kustomize/default ships; payloads cannot say by labels that they are done without it", w.namespace, observed.DoneLabelsName)
	}
	if err != nil {
		return fmt.Errorf("patch ConfigMap %s/%s: %w", w.namespace, observed.DoneLabelsName, err)
	}
	w.echo.Saw(after)
	return nil
}

// PullSecret writes the pull secret of installers: the credentials for each of the registries, or none at all. The Secret comes with the
// installation, empty; that it is not there is an error only where it would have to hold something.
func (w *Writer) PullSecret(ctx context.Context, registries []string, username, password observed.Hidden) error {
	patch, err := json.Marshal(map[string]any{"data": map[string][]byte{corev1.DockerConfigJsonKey: dockerConfig(registries, username, password)}})
	if err != nil {
		return err
	}
	_, err = w.kube.CoreV1().Secrets(w.namespace).Patch(ctx, observed.PullSecretName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
	if apierrors.IsNotFound(err) && len(registries) == 0 {
		return nil
	}
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("write Secret %s/%s: it is not there, which kustomize/default ships; payloads of %v cannot be pulled without it", w.namespace, observed.PullSecretName, registries)
	}
	if err != nil {
		return fmt.Errorf("patch Secret %s/%s: %w", w.namespace, observed.PullSecretName, err)
	}
	return nil
}

// dockerConfig is the content of a pull secret. What ends a line at the end of a value is no part of it.
func dockerConfig(registries []string, username, password observed.Hidden) []byte {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     []byte `json:"auth"`
	}
	name, word := strings.TrimRight(username.Reveal(), "\r\n"), strings.TrimRight(password.Reveal(), "\r\n")
	auths := map[string]entry{}
	for _, registry := range registries {
		auths[registry] = entry{Username: name, Password: word, Auth: []byte(name + ":" + word)}
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err) // plain texts: nothing in them can fail to be written
	}
	return text
}

// DaemonSet applies an installer server-side; with dry it is only checked.
func (w *Writer) DaemonSet(ctx context.Context, object *appsv1.DaemonSet, opts metav1.PatchOptions) error {
	object = object.DeepCopy()
	object.APIVersion, object.Kind = "apps/v1", "DaemonSet"
	body, err := applyBody(object)
	if err != nil {
		return err
	}
	after, err := w.kube.AppsV1().DaemonSets(w.namespace).Patch(ctx, object.Name, types.ApplyPatchType, body, applied(opts))
	if err != nil {
		return fmt.Errorf("apply DaemonSet %s/%s: %w", w.namespace, object.Name, err)
	}
	if len(opts.DryRun) > 0 {
		return nil
	}
	if paths := []string{"spec"}; foreign(after.ManagedFields, paths) {
		patch, err := replacement(body, after.ResourceVersion, paths)
		if err != nil {
			return err
		}
		after, err = w.kube.AppsV1().DaemonSets(w.namespace).Patch(ctx, object.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
		if err != nil {
			return fmt.Errorf("take foreign fields off DaemonSet %s/%s: %w", w.namespace, object.Name, err)
		}
	}
	w.echo.Saw(after)
	return nil
}

// RuntimeClass applies a class server-side.
func (w *Writer) RuntimeClass(ctx context.Context, object *nodev1.RuntimeClass, opts metav1.PatchOptions) error {
	object = object.DeepCopy()
	object.APIVersion, object.Kind = "node.k8s.io/v1", "RuntimeClass"
	body, err := applyBody(object)
	if err != nil {
		return err
	}
	after, err := w.kube.NodeV1().RuntimeClasses().Patch(ctx, object.Name, types.ApplyPatchType, body, applied(opts))
	if err != nil {
		return fmt.Errorf("apply RuntimeClass %q: %w", object.Name, err)
	}
	if len(opts.DryRun) > 0 {
		return nil
	}
	if paths := []string{"overhead", "scheduling"}; foreign(after.ManagedFields, paths) {
		patch, err := replacement(body, after.ResourceVersion, paths)
		if err != nil {
			return err
		}
		after, err = w.kube.NodeV1().RuntimeClasses().Patch(ctx, object.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: observed.Manager})
		if err != nil {
			return fmt.Errorf("take foreign fields off RuntimeClass %q: %w", object.Name, err)
		}
	}
	w.echo.Saw(after)
	return nil
}

// DryRun are the options that have the API server check an object and store nothing.
func DryRun() metav1.PatchOptions { return metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}} }

func applied(opts metav1.PatchOptions) metav1.PatchOptions {
	force := true
	opts.FieldManager, opts.Force = observed.Manager, &force
	return opts
}

// applyBody is what server-side apply takes: no status and nothing that only the API server writes.
func applyBody(object any) ([]byte, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("convert for apply: %w", err)
	}
	delete(content, "status")
	if metadata, ok := content["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	return json.Marshal(content)
}

// CreateRevision stores a snapshot. Its data never changes afterwards: one that is there already under the name, which is a hash
// of the content, only gets its labels and marks back.
func (w *Writer) CreateRevision(ctx context.Context, object *appsv1.ControllerRevision) error {
	revisions := w.kube.AppsV1().ControllerRevisions(w.namespace)
	after, err := revisions.Create(ctx, object, metav1.CreateOptions{FieldManager: observed.Manager})
	if apierrors.IsAlreadyExists(err) {
		var body []byte
		body, err = json.Marshal(map[string]any{
			"metadata": map[string]any{"labels": object.Labels, "annotations": object.Annotations}, "revision": object.Revision,
		})
		if err == nil {
			after, err = revisions.Patch(ctx, object.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: observed.Manager})
		}
	}
	if err != nil {
		return fmt.Errorf("create ControllerRevision %s/%s: %w", w.namespace, object.Name, err)
	}
	w.echo.Saw(after)
	return nil
}

// MarkRevision changes the number and annotations of a snapshot as it was observed; an empty value takes an annotation off.
func (w *Writer) MarkRevision(ctx context.Context, before *observed.Revision, number int64, annotations map[string]string) error {
	marks := map[string]any{}
	for key, value := range annotations {
		marks[key] = value
		if value == "" {
			marks[key] = nil
		}
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": before.UID, "resourceVersion": before.ResourceVersion, "annotations": marks},
		"revision": number,
	})
	if err != nil {
		return fmt.Errorf("patch for ControllerRevision %q: %w", before.Name, err)
	}
	after, err := w.kube.AppsV1().ControllerRevisions(w.namespace).Patch(ctx, before.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: observed.Manager})
	if err != nil {
		return fmt.Errorf("patch ControllerRevision %s/%s: %w", w.namespace, before.Name, err)
	}
	w.echo.Saw(after)
	return nil
}

// Delete removes an object of ours, if it still is the one with that uid.
func (w *Writer) Delete(ctx context.Context, kind, name string, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background}
	var err error
	switch kind {
	case "Pod":
		err = w.kube.CoreV1().Pods(w.namespace).Delete(ctx, name, opts)
	case "DaemonSet":
		err = w.kube.AppsV1().DaemonSets(w.namespace).Delete(ctx, name, opts)
	case "ControllerRevision":
		err = w.kube.AppsV1().ControllerRevisions(w.namespace).Delete(ctx, name, opts)
	case "RuntimeClass":
		err = w.kube.NodeV1().RuntimeClasses().Delete(ctx, name, opts)
	default:
		return fmt.Errorf("delete %s %q: this kind is not Longshore's to delete", kind, name)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", kind, name, err)
	}
	return nil
}

// Status writes the status annotations of a spec; none takes off those that are ours. The uid keeps apply from making a spec anew that was deleted meanwhile.
func (w *Writer) Status(ctx context.Context, s *observed.Spec, annotations map[string]string) error {
	metadata := map[string]any{"name": s.Name, "namespace": w.namespace, "uid": s.UID}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
	if err != nil {
		return fmt.Errorf("status of ConfigMap %q: %w", s.Name, err)
	}
	after, err := w.kube.CoreV1().ConfigMaps(w.namespace).Patch(ctx, s.Name, types.ApplyPatchType, body, applied(metav1.PatchOptions{}))
	if err != nil {
		return fmt.Errorf("apply status of ConfigMap %s/%s: %w", w.namespace, s.Name, err)
	}
	w.echo.Saw(after)
	return nil
}
