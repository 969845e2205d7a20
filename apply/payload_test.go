package apply_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

func pullSecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "longshore-pull", Labels: map[string]string{"kept": "yes"}},
		Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
	}
}

func TestAPullSecretHasTheCredentialsForEachRegistryAndForNoOther(t *testing.T) {
	api, w, e := newWriter(pullSecret())
	if err := w.PullSecret(t.Context(), []string{"quay.io", "https://index.docker.io/v1/"}, observed.Hide("robot\n"), observed.Hide("hunter2\r\n")); err != nil {
		t.Fatal(err)
	}
	secret, _ := simulation.Get(api, pullSecret())
	var got struct {
		Auths map[string]map[string]string `json:"auths"`
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &got); err != nil {
		t.Fatal(err)
	}
	entry := map[string]string{"username": "robot", "password": "hunter2", "auth": "cm9ib3Q6aHVudGVyMg=="}
	if diff := cmp.Diff(map[string]map[string]string{"quay.io": entry, "https://index.docker.io/v1/": entry}, got.Auths); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	if secret.Labels["kept"] != "yes" || len(e.saw) != 0 {
		t.Errorf("labels %v; echoed %v: nobody has to know what stands in it", secret.Labels, e.saw)
	}
	if err := w.PullSecret(t.Context(), nil, observed.Hidden{}, observed.Hidden{}); err != nil {
		t.Fatal(err)
	}
	if secret, _ = simulation.Get(api, pullSecret()); string(secret.Data[corev1.DockerConfigJsonKey]) != `{"auths":{}}` {
		t.Errorf("taken away, it is %s", secret.Data[corev1.DockerConfigJsonKey])
	}
}

func TestAPullSecretThatIsNotThereMattersOnlyWhereItIsNeeded(t *testing.T) {
	_, w, _ := newWriter()
	if err := w.PullSecret(t.Context(), nil, observed.Hidden{}, observed.Hidden{}); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
	err := w.PullSecret(t.Context(), []string{"quay.io"}, observed.Hide("robot"), observed.Hide("hunter2"))
	if err == nil || !strings.Contains(err.Error(), "Secret longshore/longshore-pull: it is not there") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}
