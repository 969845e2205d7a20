package controller_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/controller/simulation"
)

const password = "hunter2-hunter2"

// credentials are the objects of private registries as people and the installation leave them.
func credentials() (*corev1.Secret, *corev1.Secret) {
	in := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "longshore", Name: name} }
	return &corev1.Secret{ObjectMeta: in("payload-secret"), Data: map[string][]byte{"username": []byte("robot"), "password": []byte(password + "\n")}},
		&corev1.Secret{ObjectMeta: in("longshore-pull"), Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}}
}

// auths are the registries that the pull secret is for.
func (c *cluster) auths() []string {
	c.t.Helper()
	_, pull := credentials()
	secret, ok := simulation.Get(c.api, pull)
	if !ok {
		c.t.Fatal("the pull secret is gone")
	}
	var config struct {
		Auths map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &config); err != nil {
		c.t.Fatal(err)
	}
	var registries []string
	for registry, entry := range config.Auths {
		registries = append(registries, registry+" "+entry.Username+" "+entry.Password)
	}
	slices.Sort(registries)
	return registries
}

// tainted are the nodes that say so.
func (c *cluster) tainted() int {
	count := 0
	for _, n := range simulation.List(c.api, &corev1.Node{}) {
		if strings.Contains(n.Annotations["kata.longshore.dev/progress"], `"tainted":true`) {
			count++
		}
	}
	return count
}

// TestAPayloadForDevelopmentIsRolledOutAndBackAndNobodyIsLeftInTheDark is the story of payload-config, with the credentials it needs.
func TestAPayloadForDevelopmentIsRolledOutAndBackAndNobodyIsLeftInTheDark(t *testing.T) {
	secret, pull := credentials()
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), pull), func(c *cluster) {
		c.installed()
		config := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "payload-config"}, Data: map[string]string{"daemon.payload": "quay.io/me/kata:try", "kat.payload": "x:1"},
		}
		if _, err := c.api.Kube.CoreV1().Secrets("longshore").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Minute)
		if got := c.auths(); len(got) != 0 {
			t.Errorf("credentials without a registry are handed out for %q", got)
		}
		if _, err := c.api.Kube.CoreV1().ConfigMaps("longshore").Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.within(5*time.Minute, "every node has the other payload", c.allAre("kata Ready try HandlersReported ready"))
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		if got := c.world.Most(); got != 1 {
			t.Errorf("%d nodes had an installer at the same time, the budget is 1", got)
		}
		c.holdTainted(`tainted: ConfigMap "payload-config" has the payload replaced by quay.io/me/kata:try`)
		if got := c.auths(); !slices.Equal(got, []string{"quay.io robot " + password}) {
			t.Errorf("credentials are handed out for %q", got)
		}
		for _, set := range simulation.List(c.api, &appsv1.DaemonSet{}) {
			if refs := set.Spec.Template.Spec.ImagePullSecrets; !slices.Contains(refs, corev1.LocalObjectReference{Name: "longshore-pull"}) {
				t.Errorf("DaemonSet %s pulls with %v", set.Name, refs)
			}
		}

		simulation.Change(c.api, config, func(cm *corev1.ConfigMap) { cm.Data = map[string]string{"daemon.payload": "no image!"} })
		c.within(time.Minute, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		if got := c.status("kata-1", "message"); !strings.Contains(got, "ConfigMap payload-config.data[daemon.payload]: Invalid value") || !strings.Contains(got, "stays in force") {
			t.Errorf("the spec says %q", got)
		}
		c.pass(time.Minute)
		if c.tainted() != 3 {
			t.Errorf("a slip in payload-config changed nodes: %v", c.nodes())
		}

		if err := c.api.Kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), "payload-config", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.within(5*time.Minute, "every node has the spec's payload", c.allAre(allReady))
		c.within(time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		if got := c.status("kata-1", "message"); c.tainted() != 0 || strings.Contains(got, "tainted") || len(c.log.like("not tainted any more")) != 1 {
			t.Errorf("%d nodes are tainted, and the spec says %q", c.tainted(), got)
		}
		if got := c.runsOfInstall(); got != 9 {
			t.Errorf("the install ran %d times, expected 3 on each of 3 nodes: %v", got, c.world.Runs())
		}
		c.holdNoPassword()
	})
}

func (c *cluster) runsOfInstall() int {
	count := 0
	for _, r := range c.world.Runs() {
		if r.Operation == "install" {
			count++
		}
	}
	return count
}

// holdTainted holds that the words stand wherever people look, said once each.
func (c *cluster) holdTainted(words string) {
	c.t.Helper()
	if got := c.tainted(); got != 3 {
		c.t.Errorf("%d nodes say that they are tainted, expected 3", got)
	}
	if got := c.status("kata-1", "message"); !strings.Contains(got, words) {
		c.t.Errorf("the spec says %q", got)
	}
	if got := c.status("kata-1", "conditions"); !strings.Contains(got, `"type":"Tainted","status":"True"`) {
		c.t.Errorf("conditions are %s", got)
	}
	if got := c.eventsLike("Warning spec/kata-1 Tainted: " + words); len(got) != 1 {
		c.t.Errorf("events %q", got)
	}
	if got := c.eventsLike("Warning spec/payload-config NoSuchRuntime: no spec has the name kat"); len(got) != 1 {
		c.t.Errorf("events about a name that nobody has: %q", got)
	}
	if got := c.log.like("warn", "runtime is tainted", "kata:try"); len(got) != 1 {
		c.t.Errorf("log %q", got)
	}
	if got := metric(c, "longshore_runtime_tainted"); got != 1 {
		c.t.Errorf("the metric is %v", got)
	}
}

func metric(c *cluster, name string) float64 {
	c.t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	c.t.Fatalf("there is no metric %s", name)
	return 0
}

// holdNoPassword looks for the password everywhere but in the two Secrets.
func (c *cluster) holdNoPassword() {
	c.t.Helper()
	for _, line := range slices.Concat(c.log.all(), c.eventsLike("")) {
		if strings.Contains(line, password) {
			c.t.Errorf("the password is in %q", line)
		}
	}
	for _, list := range []any{
		simulation.List(c.api, &corev1.ConfigMap{}), simulation.List(c.api, &corev1.Node{}), simulation.List(c.api, &appsv1.DaemonSet{}),
		simulation.List(c.api, &appsv1.ControllerRevision{}), simulation.List(c.api, &corev1.Pod{}),
	} {
		text, err := json.Marshal(list)
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.Contains(string(text), password) {
			c.t.Errorf("the password is in %s", text)
		}
	}
}

func TestNewCredentialsReachThePullSecretAndOldOnesLeaveIt(t *testing.T) {
	secret, pull := credentials()
	secret.Data["registry"] = []byte("registry.example.com")
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), secret, pull), func(c *cluster) {
		c.installed()
		if got := c.auths(); !slices.Equal(got, []string{"registry.example.com robot " + password}) {
			t.Errorf("credentials are handed out for %q", got)
		}
		patches := c.count("patch secrets/longshore-pull")
		c.pass(5 * time.Minute)
		if got := c.count("patch secrets/longshore-pull"); got != patches || patches != 1 {
			t.Errorf("the pull secret was written %d times, and %d times with nothing to do", patches, got-patches)
		}
		simulation.Change(c.api, secret, func(s *corev1.Secret) { s.Data["password"] = []byte("rotated") })
		c.within(time.Minute, "the new password is handed out", func() bool { return slices.Equal(c.auths(), []string{"registry.example.com robot rotated"}) })
		simulation.Change(c.api, secret, func(s *corev1.Secret) { s.Data["password"] = []byte("two\nlines") })
		c.within(time.Minute, "unusable credentials are taken away", func() bool { return len(c.auths()) == 0 })
		if got := c.log.like("warn", "payload-secret cannot be used", "data[password]"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
		simulation.Change(c.api, secret, func(s *corev1.Secret) { s.Data["password"] = []byte("rotated") })
		c.within(time.Minute, "they are back", func() bool { return len(c.auths()) == 1 })
		// Somebody deletes it while no controller runs.
		c.stop()
		if err := c.api.Kube.CoreV1().Secrets("longshore").Delete(t.Context(), "payload-secret", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.start()
		c.within(time.Minute, "they are taken away", func() bool { return len(c.auths()) == 0 })
		if got := c.runsOfInstall(); got != 3 {
			t.Errorf("credentials made %d installs", got)
		}
	})
}

// TestAnEmptiedPullSecretIsFilledWhilePullsAreRefused has somebody apply the manifests again, which ship it empty.
func TestAnEmptiedPullSecretIsFilledWhilePullsAreRefused(t *testing.T) {
	secret, pull := credentials()
	secret.Data["registry"] = []byte("registry.example.com")
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), secret, pull), func(c *cluster) {
		c.installed()
		simulation.Change(c.api, pull, func(s *corev1.Secret) { s.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`) })
		c.pass(5 * time.Minute)
		if got := c.auths(); len(got) != 0 {
			t.Errorf("nobody pulls, and the pull secret was written: %q", got)
		}
		waits := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "waits", Labels: map[string]string{"app.kubernetes.io/managed-by": "longshore", "longshore.dev/runtime-of": "kata", "longshore.dev/installer": "kata-install-x"}},
			Spec:       corev1.PodSpec{NodeName: "a", InitContainers: []corev1.Container{{Name: "install"}}, Containers: []corev1.Container{{Name: "pause"}}},
			Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
				Name: "install", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "401 Unauthorized"}},
			}}},
		}
		if _, err := c.api.Kube.CoreV1().Pods("longshore").Create(t.Context(), waits, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.within(2*time.Minute, "the credentials are handed out again", func() bool { return len(c.auths()) == 1 })
		if err := c.api.Kube.CoreV1().Pods("longshore").Delete(t.Context(), "waits", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Second)
	})
}
