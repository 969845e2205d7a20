package informers_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

func payloadSecret(namespace, name, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": password}},
		Data:       map[string][]byte{"username": []byte("robot"), "password": []byte(password), "registry": []byte("quay.io"), "more": []byte(password)},
	}
}

func TestThePayloadSecretIsSeenAndShownToNobody(t *testing.T) {
	installer := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-install-a1-x", Labels: map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}},
		Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: "install"}}, Containers: []corev1.Container{{Name: "pause"}}},
		Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "install", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "login -p hunter2-hunter2: refused"}},
		}}},
	}
	synctest.Test(t, func(t *testing.T) {
		api := simulation.NewAPI(payloadSecret("longshore", "payload-secret", "hunter2-hunter2\n"), payloadSecret("longshore", "other", "x"), payloadSecret("default", "payload-secret", "y"), runtime.Object(installer))
		var changes atomic.Int64
		cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() { changes.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.WatchPayloadSecret(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cluster.Stop()
		defer cancel()
		cluster.Start(ctx)
		if err := cluster.Synced(ctx); err != nil {
			t.Fatal(err)
		}
		snap := cluster.Snapshot(time.Now())
		secret := snap.PayloadSecret
		if secret == nil || !secret.Exists || secret.Registry != "quay.io" || secret.Username.Reveal() != "robot" || secret.Password.Reveal() != "hunter2-hunter2\n" {
			t.Errorf("the Secret is seen as %+v", secret)
		}
		if got := snap.Pods[0].Steps[0].Exit.Message; got != "login -p (hidden): refused" {
			t.Errorf("the last words are %q", got)
		}
		text, err := json.Marshal(snap)
		if err != nil || strings.Contains(string(text), "hunter2") {
			t.Errorf("the saved snapshot shows the password (%v): %s", err, text)
		}
		changes.Store(0)
		if _, err := api.Kube.CoreV1().Secrets("longshore").Update(ctx, payloadSecret("longshore", "payload-secret", "another"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := cluster.Snapshot(time.Now()).PayloadSecret; changes.Load() == 0 || got.Password.Reveal() != "another" || got.ResourceVersion == secret.ResourceVersion {
			t.Errorf("%d changes; the new credentials are seen as %+v", changes.Load(), got)
		}
		if err := api.Kube.CoreV1().Secrets("longshore").Delete(ctx, "payload-secret", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := cluster.Snapshot(time.Now()).PayloadSecret; got == nil || got.Exists {
			t.Errorf("a Secret that is gone is seen as %+v", got)
		}
		// What the pod has said is as it was.
		if got := cluster.Snapshot(time.Now()).Pods[0].Steps[0].Exit.Message; got != "login -p (hidden): refused" {
			t.Errorf("when the password is another, and gone, the last words are %q", got)
		}
	})
}

func TestWhoeverMayNotReadSecretsSeesThePayloadConfig(t *testing.T) {
	config := configMap("longshore", "payload-config", nil)
	config.Data = map[string]string{"daemon.payload": "x:1"}
	elsewhere := configMap("default", "payload-config", nil)
	watch(t, []runtime.Object{config, elsewhere}, func(w *watched) {
		snap := w.snapshot()
		if snap.PayloadSecret != nil || snap.Namespace != "longshore" {
			t.Errorf("Secret %+v, namespace %q", snap.PayloadSecret, snap.Namespace)
		}
		if got := snap.PayloadConfig; got == nil || got.Data["daemon.payload"] != "x:1" {
			t.Errorf("payload-config is seen as %+v", got)
		}
		if err := w.api.Kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), "payload-config", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if w.changed() == 0 || w.snapshot().PayloadConfig != nil {
			t.Errorf("a payload-config that is gone is seen as %+v", w.snapshot().PayloadConfig)
		}
	})
}

func TestAMissingRightOnTheSecretIsToldAndStopsNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		told bool
	}{
		"forbidden":        {apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "payload-secret", nil), true},
		"etcd is away":     {apierrors.NewInternalError(errors.New("etcd is away")), false},
		"too many at once": {apierrors.NewTooManyRequests("later", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			api := simulation.NewAPI()
			api.Kube.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.err })
			cluster, err := informers.New(api.Kube, "longshore", "longshore-system", func() {})
			if err != nil {
				t.Fatal(err)
			}
			err = cluster.WatchPayloadSecret(t.Context())
			if apierrors.IsForbidden(err) != c.told || (err != nil) != c.told {
				t.Errorf("told %v", err)
			}
			if snap := cluster.Snapshot(time.Now()); (snap.PayloadSecret == nil) != c.told {
				t.Errorf("the Secret is seen as %+v", snap.PayloadSecret)
			}
		})
	}
}
