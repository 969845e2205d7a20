package informers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"longshore.dev/longshore/observed"
)

// WatchPayloadSecret has the credentials for private registries in the snapshots, before [Cluster.Start]. Only the controller has the right
// to read that one Secret; whoever else looks at a cluster does without. Where the right is missing, that is an error for which
// apierrors.IsForbidden is true, and nothing else waits for it. Whatever else keeps the API server from answering, the watch outlasts.
func (c *Cluster) WatchPayloadSecret(ctx context.Context) error {
	only := fields.OneTermEqualSelector("metadata.name", observed.PayloadSecretName).String()
	if _, err := c.kube.CoreV1().Secrets(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: only, Limit: 1}); apierrors.IsForbidden(err) {
		return fmt.Errorf("read Secret %s in namespace %s: %w", observed.PayloadSecretName, c.namespace, err)
	}
	factory := c.factory(c.namespace, trimSecret, func(o *metav1.ListOptions) { o.FieldSelector = only })
	c.secret = factory.Core().V1().Secrets().Informer()
	if _, err := c.secret.AddEventHandler(c.handler()); err != nil {
		return fmt.Errorf("set up informer: %w", err)
	}
	return nil
}

// payloadSecret is what is known of the credentials, nil where nobody asked for them.
func (c *Cluster) payloadSecret() *observed.PayloadSecret {
	if c.secret == nil {
		return nil
	}
	for _, secret := range merged(c.secret, &overlay[*corev1.Secret]{}) {
		if secret.Name != observed.PayloadSecretName || secret.DeletionTimestamp != nil {
			continue
		}
		password := observed.Hide(string(secret.Data[observed.SecretPassword]))
		if !slices.Contains(c.passwords, password) {
			c.passwords = append(c.passwords, password)
		}
		return &observed.PayloadSecret{
			Exists: true, ResourceVersion: secret.ResourceVersion, Registry: string(secret.Data[observed.SecretRegistry]),
			Username: observed.Hide(string(secret.Data[observed.SecretUsername])), Password: password,
		}
	}
	return &observed.PayloadSecret{}
}

// trimSecret keeps the three keys that are read.
func trimSecret(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Secret{ObjectMeta: trimMeta(&secret.ObjectMeta), Data: map[string][]byte{}}
	for _, key := range []string{observed.SecretUsername, observed.SecretPassword, observed.SecretRegistry} {
		if value, ok := secret.Data[key]; ok {
			trimmed.Data[key] = value
		}
	}
	return trimmed, nil
}

func payloadConfigOf(cm *corev1.ConfigMap) *observed.PayloadConfig {
	return &observed.PayloadConfig{
		Name: cm.Name, UID: cm.UID, ResourceVersion: cm.ResourceVersion, Data: cm.Data, BinaryData: cm.BinaryData, Deleting: cm.DeletionTimestamp != nil,
	}
}

// clean takes passwords out of what a pod tells: commands may print their environment, and what they print last is shown to many.
func (c *Cluster) clean(pod *observed.Pod) {
	for _, password := range c.passwords {
		pod.Message = password.Clean(pod.Message)
		for _, container := range containers(pod) {
			container.WaitingMessage = password.Clean(container.WaitingMessage)
			if container.Exit != nil {
				container.Exit.Message = password.Clean(container.Exit.Message)
			}
		}
	}
}

func containers(pod *observed.Pod) []*observed.Container {
	all := []*observed.Container{&pod.Main}
	for i := range pod.Steps {
		all = append(all, &pod.Steps[i])
	}
	return all
}
