package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

// privatePayload pushes a payload of scripts to the registry that wants a user, and returns its reference.
func (s *suite) privatePayload(name string, scripts map[string]string) string {
	s.t.Helper()
	content, err := payloads.Script(s.t.Context(), os.Stdout, scripts)
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := images.Build(content)
	if err != nil {
		s.t.Fatal(err)
	}
	registry, user := s.c.PrivateRegistry()
	ref, err := images.Push(s.t.Context(), images.Target{Ref: registry + "/" + name, PlainHTTP: true, Username: user.Username, Password: user.Password}, image)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// credentials writes payload-secret into a namespace as it has to be at the end: keys that are not given go.
func (s *suite) credentials(namespace string, data map[string]string) {
	s.t.Helper()
	secrets := s.kube.CoreV1().Secrets(namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "payload-secret", Namespace: namespace}, StringData: data}
	_, err := secrets.Create(s.t.Context(), secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(s.t.Context(), secret, metav1.UpdateOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		// The uninstall pulls as well.
		s.remove()
		if err := secrets.Delete(context.Background(), "payload-secret", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			s.t.Error(err)
		}
	})
}

// retry has people try the first node again, which failed.
func (s *suite) retry(value string) {
	s.t.Helper()
	if _, err := s.c.Kubectl(s.t.Context(), "annotate", "node", nodeA, "--overwrite", s.runtime+".longshore.dev/retry="+value); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if _, err := s.c.Kubectl(context.Background(), "annotate", "node", nodeA, s.runtime+".longshore.dev/retry-"); err != nil {
			s.t.Error(err)
		}
	})
}

// failed waits until the first node has failed with all of the words in its message, and returns that.
func (s *suite) failed(words ...string) string {
	s.t.Helper()
	var p progress
	s.wait(s.t.Context(), fmt.Sprintf("node %s has failed with %q", nodeA, words), func(ctx context.Context) (bool, string) {
		p = s.progress(ctx, nodeA)
		missing := slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p.Message, w) })
		return p.Phase == "Failed" && !missing, fmt.Sprintf("%+v", p)
	})
	return p.Message
}

// nowhere asserts that none of the values stands anywhere but in Secrets.
func (s *suite) nowhere(values ...string) {
	s.t.Helper()
	for _, args := range [][]string{
		{"get", "nodes,runtimeclasses", "--output=yaml"},
		{"get", "events", "--all-namespaces", "--output=yaml"},
		{"--namespace=longshore", "get", "configmaps,daemonsets,pods,controllerrevisions", "--output=yaml"},
		{"--namespace=longshore-system", "get", "configmaps", "--output=yaml"},
		{"--namespace=longshore-system", "logs", "--selector=app.kubernetes.io/name=longshore", "--tail=-1"},
	} {
		out, err := s.c.Kubectl(s.t.Context(), args...)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, value := range values {
			if i := strings.Index(out, value); i >= 0 {
				s.t.Errorf("kubectl %s shows a value of payload-secret: …%s", strings.Join(args, " "), out[max(0, i-200):min(len(out), i+20)])
			}
		}
	}
}

// TestAPayloadOfAPrivateRegistryIsPulledWithPayloadSecret begins with everything that can be wrong with it.
func TestAPayloadOfAPrivateRegistryIsPulledWithPayloadSecret(t *testing.T) {
	s := start(t, "private")
	registry, user := s.c.PrivateRegistry()
	ref := s.privatePayload("private:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	before := s.footprint(nodeA)
	s.credentials("default", map[string]string{"registry": registry, "username": user.Username, "password": user.Password})
	s.apply(fmt.Sprintf(specText, "private", ref, "kubernetes.io/hostname="+nodeA) + "  installTimeout: 15s\n")
	t.Log(s.failed("pull access denied", `there is no Secret "payload-secret" in namespace "longshore"`))

	const wrong = "wrong-pass-word"
	s.credentials("longshore", map[string]string{"registry": "registry.example.com", "username": user.Username, "password": wrong})
	s.retry("1")
	t.Log(s.failed("pull access denied", "is for registry.example.com only; name a pull secret for "+registry))

	s.credentials("longshore", map[string]string{"registry": registry, "username": user.Username, "password": wrong})
	s.retry("2")
	t.Log(s.failed("401 Unauthorized", `the registry refuses the credentials of Secret "payload-secret" in namespace "longshore"`))

	// The line break is what `echo` leaves in a file.
	s.credentials("longshore", map[string]string{"registry": registry + "\n", "username": user.Username + "\n", "password": user.Password + "\n"})
	s.retry("3")
	revision := s.ready("private", 1)
	s.nowhere(user.Password, wrong)
	if p := s.progress(t.Context(), nodeA); p.Revision != revision || p.Tainted {
		t.Errorf("node %s tells %+v, expected revision %s and no taint: the payload is the spec's", nodeA, p, revision)
	}
	s.remove()
	s.same(nodeA, before)
}

// TestAPayloadForDevelopmentTakesThePlaceOfTheSpecsAndGoesAgain names a payload of a private registry in payload-config.
func TestAPayloadForDevelopmentTakesThePlaceOfTheSpecsAndGoesAgain(t *testing.T) {
	s := start(t, "developed")
	registry, user := s.c.PrivateRegistry()
	says := "#!/bin/sh\nset -eu\necho \"$LONGSHORE_OPERATION %s ${KATA_PAYLOAD_IMAGE:-none} ${PAYLOAD_REGISTRY_USERNAME:-none} ${#PAYLOAD_REGISTRY_PASSWORD}\" >> /host/opt/developed.log\n"
	says = strings.Replace(says, "set -eu", "set -e", 1)
	scripts := func(name string) map[string]string {
		return map[string]string{"/install.sh": fmt.Sprintf(says, name), "/uninstall.sh": fmt.Sprintf(says, name)}
	}
	released, tried := s.payload("developed:1", scripts("released")), s.privatePayload("developed:try", scripts("tried"))
	before := s.footprint(nodeA)
	s.apply(fmt.Sprintf(specText, "developed", released, "kubernetes.io/hostname="+nodeA))
	first := s.ready("developed", 1)

	// Without the key registry the credentials are for the registry of the image that payload-config names.
	s.credentials("longshore", map[string]string{"username": user.Username, "password": user.Password})
	t.Cleanup(func() {
		if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(context.Background(), "payload-config", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	s.payloadConfig(tried)
	s.wait(t.Context(), "the tried payload is there", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "developed")
		return st.phase == "Ready" && st.revision != first && strings.Contains(st.message, "tainted: ") && strings.Contains(st.message, tried), fmt.Sprintf("%+v", st)
	})
	if p := s.progress(t.Context(), nodeA); !p.Tainted {
		t.Errorf("node %s tells %+v, expected it to be tainted", nodeA, p)
	}
	s.wait(t.Context(), "an Event tells of it", func(ctx context.Context) (bool, string) {
		out, err := s.c.Kubectl(ctx, "--namespace=longshore", "get", "events", "--field-selector=reason=Tainted,involvedObject.name=developed", "--output=jsonpath={.items[*].message}")
		return strings.Contains(out, tried), fmt.Sprint(out, err)
	})
	logs, err := s.c.Kubectl(t.Context(), "--namespace=longshore-system", "logs", "--selector=app.kubernetes.io/name=longshore", "--tail=-1")
	if err != nil || !strings.Contains(logs, `"msg":"runtime is tainted","runtime":"developed"`) {
		t.Errorf("the log does not tell of it (%v)", err)
	}

	s.payloadConfig("not an image")
	if st := s.phase("developed", "Invalid"); !strings.Contains(st.message, "ConfigMap payload-config.data[daemon.payload]") {
		t.Errorf("the spec says %q", st.message)
	}
	if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), "payload-config", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.wait(t.Context(), "the spec's payload is there again", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "developed")
		return st.phase == "Ready" && st.revision == first && !strings.Contains(st.message, "tainted"), fmt.Sprintf("%+v", st)
	})
	if p := s.progress(t.Context(), nodeA); p.Tainted {
		t.Errorf("node %s tells %+v, expected no taint", nodeA, p)
	}
	s.nowhere(user.Password)

	// An uninstall is by what was installed last: the tried payload, with its three variables, although nothing names it any more.
	s.payloadConfig(tried)
	s.wait(t.Context(), "the tried payload is there once more", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "developed")
		return st.phase == "Ready" && st.revision != first, fmt.Sprintf("%+v", st)
	})
	s.remove()
	with := fmt.Sprintf("%s %s %d", tried, user.Username, len(user.Password))
	want := []string{"install released none none 0", "install tried " + with, "install released none none 0", "install tried " + with, "uninstall tried " + with}
	if got := s.log(nodeA); got != strings.Join(want, "\n") {
		t.Errorf("the commands ran\n%s\nexpected\n%s", got, strings.Join(want, "\n"))
	}
	if out, err := s.exec(nodeA, "rm", "/opt/developed.log"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.same(nodeA, before)
	if !strings.HasPrefix(tried, registry+"/") {
		t.Errorf("the tried payload is %s, expected it in the private registry", tried)
	}
}

// TestAnInstallerFetchesItsPayloadWithTheCredentials has an installer that really pulls.
func TestAnInstallerFetchesItsPayloadWithTheCredentials(t *testing.T) {
	s := start(t, "fetched")
	registry, user := s.c.PrivateRegistry()
	ref := s.privatePayload("fetched:1", map[string]string{"/opt/fetched/runtime": "#!/bin/sh\necho it runs\n"})
	installer, err := s.workshop().Fetch(t.Context(), map[string]string{
		"/install.sh":   "#!/bin/sh\nset -eu\n/bin/fetch /host\n",
		"/uninstall.sh": "#!/bin/sh\nset -eu\nrm -rf /host/*\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(specText, "fetched", ref, "kubernetes.io/hostname="+nodeA)
	// Only what is in the payload's own folder goes onto the node.
	text = strings.NewReplacer("{path: /opt}", "{path: /opt/longshore-fetched, type: DirectoryOrCreate}", "mountPath: /host/opt}", "mountPath: /host}").Replace(text)
	s.apply(text + "  installerImage: " + s.push("fetcher:1", installer) + "\n  attempts: \"1\"\n")
	t.Log(s.failed("attempt 1 of 1", "UNAUTHORIZED", `there is no Secret "payload-secret" in namespace "longshore"`))

	s.credentials("longshore", map[string]string{"username": user.Username, "password": "wrong-pass-word"})
	s.retry("1")
	t.Log(s.failed("attempt 1 of 1", "UNAUTHORIZED", `the registry refuses the credentials of Secret "payload-secret"`))
	s.credentials("longshore", map[string]string{"username": user.Username, "password": user.Password + "\n"})
	s.retry("2")
	s.ready("fetched", 1)
	if out, err := s.exec(nodeA, "sh", "/opt/longshore-fetched/opt/fetched/runtime"); err != nil || out != "it runs" {
		t.Errorf("the payload on the node says %q, %v", out, err)
	}
	s.nowhere(user.Password, "wrong-pass-word")
	s.remove()
	if out, err := s.exec(nodeA, "find", "/opt/longshore-fetched", "-mindepth", "1"); err != nil || out != "" {
		t.Errorf("left on the node: %v %s", err, out)
	}
	if out, err := s.exec(nodeA, "rmdir", "/opt/longshore-fetched"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.HasPrefix(ref, registry+"/") {
		t.Errorf("the payload is %s, expected it in the private registry", ref)
	}
}

// payloadConfig has another payload take the place of the spec's.
func (s *suite) payloadConfig(image string) {
	s.t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "payload-config", "namespace": "longshore"},
		"data": map[string]string{"daemon.payload": image},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.apply(string(text))
}
