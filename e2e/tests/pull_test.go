package tests

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

func TestAPullSecretThatIsMendedReachesThePodThatWaits(t *testing.T) {
	s := start(t, "pulled")
	registry, user := s.c.PrivateRegistry()
	content, err := payloads.Script(t.Context(), os.Stdout, map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	if err != nil {
		t.Fatal(err)
	}
	image, err := images.Build(content)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := images.Push(t.Context(), images.Target{Ref: registry + "/pulled:1", PlainHTTP: true, Username: user.Username, Password: user.Password}, image)
	if err != nil {
		t.Fatal(err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte(user.Username + ":" + user.Password))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pulled", Namespace: "longshore"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, registry, auth)},
	}
	if _, err := s.kube.CoreV1().Secrets("longshore").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The uninstall pulls as well.
		s.remove()
		if err := s.kube.CoreV1().Secrets("longshore").Delete(context.Background(), "pulled", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})

	s.apply(fmt.Sprintf(specText, "pulled", ref, "kubernetes.io/hostname="+nodeA))
	var waiting corev1.Pod
	s.wait(t.Context(), "the pull is refused", func(ctx context.Context) (bool, string) {
		pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=pulled"})
		if err != nil || len(pods.Items) != 1 || len(pods.Items[0].Status.InitContainerStatuses) == 0 {
			return false, fmt.Sprint(err)
		}
		waiting = pods.Items[0]
		state := waiting.Status.InitContainerStatuses[0].State.Waiting
		return state != nil && strings.Contains(state.Reason, "Pull"), fmt.Sprintf("%+v", state)
	})
	s.set("pulled", "imagePullSecrets", "[{name: pulled}]")
	s.ready("pulled", 1)
	if p := s.progress(t.Context(), nodeA); p.PodUID == string(waiting.UID) || p.Attempt != 1 {
		t.Errorf("node %s tells %+v, expected the first attempt of another pod than %s", nodeA, p, waiting.UID)
	}
}
