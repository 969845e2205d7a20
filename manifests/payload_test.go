package manifests

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAPayloadThatIsNotTheSpecsBringsTheCredentialsAlong(t *testing.T) {
	rt := readSpec(t, "testdata/hooks/spec.yaml").WithPayload("registry.example.com/me/payload:try")
	objects := mustRender(t, newTestRenderer(), rt)
	for step, set := range objects.DaemonSets {
		pod := &set.Spec.Template.Spec
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			fromSpec := c.Name == ContainerInstall || c.Name == ContainerUninstall || c.Name == ContainerCleanup
			if got := c.Image == "registry.example.com/me/payload:try"; got != fromSpec {
				t.Errorf("step %s: container %s runs %s", step, c.Name, c.Image)
			}
			for _, name := range []string{EnvPayloadImage, EnvRegistryUsername, EnvRegistryPassword} {
				i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
				switch {
				case (i >= 0) != fromSpec:
					t.Errorf("step %s: container %s has %s: %v, expected %v", step, c.Name, name, i >= 0, fromSpec)
				case i >= 0 && name != EnvPayloadImage:
					ref := c.Env[i].ValueFrom.SecretKeyRef
					if ref.Name != "payload-secret" || ref.Optional == nil || !*ref.Optional {
						t.Errorf("step %s: %s is %+v, expected an optional key of payload-secret", step, name, ref)
					}
				case i >= 0 && c.Env[i].Value != rt.PayloadImage:
					t.Errorf("step %s: %s is %q", step, name, c.Env[i].Value)
				}
			}
		}
	}
	content, err := objects.Content(rt)
	if err != nil {
		t.Fatal(err)
	}
	if image, overridden := content.Payload(); image != rt.PayloadImage || !overridden || !content.PullsPayload() {
		t.Errorf("the snapshot says %q, overridden %v, pulled by the kubelet %v", image, overridden, content.PullsPayload())
	}
}

func TestAnInstallerThatFetchesThePayloadIsWhatTheKubeletPulls(t *testing.T) {
	rt := readSpec(t, "testdata/fetched/spec.yaml")
	content, err := mustRender(t, newTestRenderer(), rt).Content(rt)
	if err != nil {
		t.Fatal(err)
	}
	if image, overridden := content.Payload(); image != rt.PayloadImage || overridden || content.PullsPayload() {
		t.Errorf("the snapshot says %q, overridden %v, pulled by the kubelet %v", image, overridden, content.PullsPayload())
	}
}
