package tests

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/payloads"
)

// labelPayload pushes a payload whose scripts can change labels of their node.
func (s *suite) labelPayload(name string, scripts map[string]string) string {
	s.t.Helper()
	image, err := s.workshop().Label(s.t.Context(), scripts)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.push(name, image)
}

func (s *suite) workshop() payloads.Workshop {
	s.t.Helper()
	source, err := deploy.Source()
	if err != nil {
		s.t.Fatal(err)
	}
	return payloads.Workshop{Source: filepath.Join(source, "e2e"), Dir: s.t.TempDir()}
}

// note writes a line into the log of the runtime on the node, and fails where a variable that every command has is missing.
const note = "#!/bin/sh\nset -eu\necho \"$LONGSHORE_OPERATION $1 $VERSION\" >> /host/opt/$LONGSHORE_RUNTIME.log\n"

// sleeps is how label payloads wait to be taken away.
const sleeps = "trap 'exit 0' TERM\nwhile :; do sleep 0.2; done\n"

// labelSpec is a spec with every step that a label payload can have.
const labelSpec = `apiVersion: v1
kind: ConfigMap
metadata:
  name: %[1]s
  namespace: longshore
  labels: {longshore.dev/runtime: %[1]s}
data:
  completion: NodeLabel
  payloadImage: %[2]s
  preInstall: |
    image: %[2]s
    cmd: [/pre.sh, pre]
    volumes: [{name: opt, hostPath: {path: /opt}}]
    volumeMounts: [{name: opt, mountPath: /host/opt}]
    doneLabel: test.example.com/%[1]s-pre=done
  installCmd: "[/install.sh, install]"
  installDoneLabel: test.example.com/%[1]s=true
  uninstallCmd: "[/uninstall.sh, uninstall]"
  uninstallDoneLabel: test.example.com/%[1]s=cleanup
  cleanupCmd: "[/cleanup.sh, cleanup]"
  cleanupDoneLabel: test.example.com/%[1]s-
  postUninstall: |
    image: %[2]s
    cmd: [/post.sh, post]
    volumes: [{name: opt, hostPath: {path: /opt}}]
    volumeMounts: [{name: opt, mountPath: /host/opt}]
  installerVolumes: "[{name: opt, hostPath: {path: /opt}}]"
  installerVolumeMounts: "[{name: opt, mountPath: /host/opt}]"
  environmentVariables: '[{name: VERSION, value: %[3]q}]'
  nodeSelector: containerd=2
  maxUnavailable: "2"
  soak: 0s
`

// TestALabelPayloadGoesThroughItsStepsOneByOne has two runtimes at once, whose payloads set a label, sleep, and are taken away.
func TestALabelPayloadGoesThroughItsStepsOneByOne(t *testing.T) {
	s := start(t, "labels")
	other := start(t, "labels-too")
	image := s.labelPayload("labels:1", map[string]string{
		"/pre.sh":       note + "/bin/node label test.example.com/$LONGSHORE_RUNTIME-pre=done\n" + sleeps,
		"/install.sh":   note + "/bin/node label test.example.com/$LONGSHORE_RUNTIME=true\n" + sleeps,
		"/uninstall.sh": note + "/bin/node label test.example.com/$LONGSHORE_RUNTIME=cleanup\n" + sleeps,
		"/cleanup.sh":   note + "/bin/node label test.example.com/$LONGSHORE_RUNTIME-\n" + sleeps,
		"/post.sh":      note,
	})
	before := s.footprint(nodeA)
	for _, r := range []*suite{s, other} {
		r.apply(fmt.Sprintf(labelSpec, r.runtime, image, "1"))
	}
	for _, r := range []*suite{s, other} {
		r.ready(r.runtime, 2)
		r.ran("install pre 1", "install install 1")
		if pods := r.installers(); len(pods) > 0 {
			t.Errorf("installer pods are left: %q", pods)
		}
		for _, n := range []string{nodeA, nodeB} {
			if labels := r.node(t.Context(), n).Labels; labels["test.example.com/"+r.runtime] != "true" {
				t.Errorf("node %s does not have the payload's label: %v", n, labels)
			}
		}
	}
	// An upgrade begins anew: the labels of the first run are no sign.
	s.apply(fmt.Sprintf(labelSpec, s.runtime, image, "2"))
	s.wait(t.Context(), "the second version is there", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, s.runtime)
		return st.phase == "Ready" && strings.HasSuffix(s.log(nodeA), "install install 2") && strings.HasSuffix(s.log(nodeB), "install install 2"), fmt.Sprintf("%+v", st)
	})
	other.remove()
	s.remove()
	s.ran("install pre 1", "install install 1", "install pre 2", "install install 2", "uninstall uninstall 2", "uninstall cleanup 2", "uninstall post 2")
	for _, n := range []string{nodeA, nodeB} {
		for _, r := range []*suite{s, other} {
			if out, err := s.exec(n, "rm", "/opt/"+r.runtime+".log"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	}
	s.same(nodeA, before)
}

// log are the runs of the runtime's commands on a node.
func (s *suite) log(node string) string {
	s.t.Helper()
	out, err := s.exec(node, "cat", "/opt/"+s.runtime+".log")
	if err != nil {
		return err.Error()
	}
	return out
}

// ran asserts which commands ran on the nodes with containerd 2, in order.
func (s *suite) ran(want ...string) {
	s.t.Helper()
	for _, n := range []string{nodeA, nodeB} {
		if got := s.log(n); got != strings.Join(want, "\n") {
			s.t.Errorf("on node %s ran\n%s\nexpected\n%s", n, got, strings.Join(want, "\n"))
		}
	}
}

// installers are the installer pods of the runtime that are not on their way out.
func (s *suite) installers() []string {
	s.t.Helper()
	pods, err := s.kube.CoreV1().Pods("longshore").List(s.t.Context(), metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + s.runtime})
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			names = append(names, pods.Items[i].Name)
		}
	}
	return names
}

// TestAPayloadMayChangeTheDoneLabelsOfItsOwnNodeAndNothingElse tries what it may not, from inside of a pod.
func TestAPayloadMayChangeTheDoneLabelsOfItsOwnNodeAndNothingElse(t *testing.T) {
	s := start(t, "confined")
	image := s.labelPayload("confined:1", map[string]string{
		"/install.sh": `#!/bin/sh
refused() { if out=$("$@" 2>&1); then echo "may: $*"; else case "$out" in *"$words"*) ;; *) echo "$*: $out";; esac; fi; }
allowed() { out=$("$@" 2>&1) || echo "may not: $*: $out"; }
{
  words='may change the labels of no other node'
  NODE=node-b refused /bin/node label test.example.com/confined=true
  words='only labels that are done labels'
  refused /bin/node label test.example.com/other=true
  refused /bin/node label confined.longshore.dev/ready=true
  refused /bin/node label kubernetes.io/os-
  words='neither annotations nor taints'
  refused /bin/node annotate a=b
  refused /bin/node taint confined
  allowed /bin/node daemonset $DAEMONSET_NAME
  allowed /bin/node label test.example.com/confined=true
} > /host/opt/confined.log
` + sleeps,
		"/uninstall.sh": "#!/bin/sh\nset -eu\n! /bin/node daemonset $DAEMONSET_NAME\nrm /host/opt/confined.log\n/bin/node label test.example.com/confined-\n" + sleeps,
	})
	spec := strings.NewReplacer("\n  nodeSelector: containerd=2", "\n  completion: NodeLabel\n  installDoneLabel: test.example.com/confined=true\n"+
		"  uninstallDoneLabel: test.example.com/confined-\n  nodeSelector: kubernetes.io/hostname="+nodeA).Replace(fmt.Sprintf(specText, "confined", image, "containerd=2"))
	s.apply(spec)
	s.ready("confined", 1)
	if said := s.log(nodeA); said != "" {
		t.Errorf("the payload found:\n%s", said)
	}
}

// TestADaemonStaysForAsLongAsItsRuntimeIsInstalled has a payload with a readiness probe, given by a patch.
func TestADaemonStaysForAsLongAsItsRuntimeIsInstalled(t *testing.T) {
	s := start(t, "daemon")
	image := s.payload("daemon:1", map[string]string{
		"/install.sh":   note + "sleep 2\ntouch /tmp/ready\n" + sleeps,
		"/uninstall.sh": note,
	})
	spec := func(version string) string {
		text := fmt.Sprintf(specText, "daemon", image, "kubernetes.io/hostname="+nodeA)
		text = strings.NewReplacer("[/install.sh]", "[/install.sh, daemon]", "[/uninstall.sh]", "[/uninstall.sh, daemon]").Replace(text)
		return text + fmt.Sprintf("  completion: Ready\n  environmentVariables: '[{name: VERSION, value: %q}]'\n", version) + `  patches: |
    - target: {kind: DaemonSet, name: install}
      patch: |
        - op: add
          path: /spec/template/spec/containers/0/readinessProbe
          value: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
`
	}
	s.apply(spec("1"))
	s.ready("daemon", 1)
	if pods := s.installers(); len(pods) != 1 {
		t.Errorf("the daemon's pods are %q, expected one", pods)
	}
	if gate := s.label(t.Context(), nodeA, "gate"); !strings.HasSuffix(gate, "-install") {
		t.Errorf("the gate is %q, expected it to stay", gate)
	}
	// Another runtime is installed beside it.
	beside := start(t, "beside")
	beside.apply(fmt.Sprintf(specText, "beside", beside.payload("beside:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript}), "kubernetes.io/hostname="+nodeA))
	beside.ready("beside", 1)
	beside.remove()

	// A daemon that is not ready takes the ready label along, and brings it back.
	ready := func(want string) {
		t.Helper()
		s.wait(t.Context(), fmt.Sprintf("the ready label is %q", want), func(ctx context.Context) (bool, string) {
			got := s.label(ctx, nodeA, "ready")
			return got == want, got
		})
	}
	if _, err := s.c.Kubectl(t.Context(), "--namespace=longshore", "exec", s.installers()[0], "--", "rm", "/tmp/ready"); err != nil {
		t.Fatal(err)
	}
	ready("")
	if _, err := s.c.Kubectl(t.Context(), "--namespace=longshore", "exec", s.installers()[0], "--", "touch", "/tmp/ready"); err != nil {
		t.Fatal(err)
	}
	ready("true")

	s.apply(spec("2"))
	s.wait(t.Context(), "the second version is there", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "daemon")
		return st.phase == "Ready" && strings.HasSuffix(s.log(nodeA), "install daemon 2"), fmt.Sprintf("%+v", st)
	})
	s.remove()
	if got, want := s.log(nodeA), "install daemon 1\ninstall daemon 2\nuninstall daemon 2"; got != want {
		t.Errorf("the commands ran\n%s\nexpected\n%s", got, want)
	}
	if out, err := s.exec(nodeA, "rm", "/opt/daemon.log"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOnlyPayloadsWithNodeAccessHaveAToken(t *testing.T) {
	s := start(t, "tokens")
	image := s.payload("tokens:1", map[string]string{
		"/install.sh":   "#!/bin/sh\nif [ -e /var/run/secrets/kubernetes.io/serviceaccount/token ]; then echo token; else echo none; fi >> /host/opt/tokens.log\n",
		"/uninstall.sh": "#!/bin/sh\nrm -f /host/opt/tokens.log\n",
	})
	for _, access := range []string{"None", "Own"} {
		s.apply(fmt.Sprintf(specText, "tokens", image, "kubernetes.io/hostname="+nodeA) + "  nodeAccess: " + access + "\n")
		want := map[string]string{"None": "none", "Own": "none\ntoken"}[access]
		s.wait(t.Context(), "the installer with nodeAccess "+access+" has run", func(context.Context) (bool, string) {
			got := s.log(nodeA)
			return got == want, got
		})
		s.ready("tokens", 1)
	}
}

// TestAPayloadThatCleansUpWhenItIsStoppedKeepsWhatItInstalled has a payload as kata-deploy 4 is: neither privileged nor in the host's process
// namespace, with a root file system that it may only read and ten minutes to end in. When it is told to end it asks whether its DaemonSet is
// there, and takes everything off the node if it is not.
func TestAPayloadThatCleansUpWhenItIsStoppedKeepsWhatItInstalled(t *testing.T) {
	s := start(t, "stopped")
	const ends = `
ends() {
  if /bin/node daemonset "$DAEMONSET_NAME"; then echo "kept $VERSION" >> /host/opt/stopped.log; exit 0; fi
  echo "cleaned $VERSION" >> /host/opt/stopped.log
  rm -rf /host/opt/stopped
  exit 0
}
trap ends TERM
`
	image := s.labelPayload("stopped:1", map[string]string{
		"/install.sh": note + ends + `
if touch /bin/written 2>/dev/null; then echo "may write its root" >> /host/opt/stopped.log; fi
if [ "$(cat /proc/1/comm)" != install.sh ]; then echo "sees the host" >> /host/opt/stopped.log; fi
mkdir -p /host/opt/stopped
echo "$VERSION" > /host/opt/stopped/artifact
while [ "$VERSION" = 3 ] && [ ! -e /host/opt/stopped.go ]; do sleep 0.2; done
/bin/node label test.example.com/stopped=true
while :; do sleep 0.2; done
`,
		"/uninstall.sh": note + `
if /bin/node daemonset "$DAEMONSET_NAME"; then echo "would keep everything" >> /host/opt/stopped.log; sleep 1000; fi
rm -rf /host/opt/stopped
/bin/node label test.example.com/stopped-
` + sleeps,
	})
	spec := func(version string) string {
		text := fmt.Sprintf(specText, "stopped", image, "kubernetes.io/hostname="+nodeA)
		text = strings.NewReplacer("[/install.sh]", "[/install.sh, run]", "[/uninstall.sh]", "[/uninstall.sh, run]").Replace(text)
		return text + fmt.Sprintf(`  completion: NodeLabel
  installDoneLabel: test.example.com/stopped=true
  uninstallDoneLabel: test.example.com/stopped-
  podSecurity: "{privileged: false, hostPID: false, readOnlyRootFilesystem: true, terminationGracePeriodSeconds: 600}"
  environmentVariables: '[{name: VERSION, value: %q}]'
`, version)
	}
	before := s.footprint(nodeA)
	want := []string{}
	for _, version := range []string{"1", "2"} {
		s.apply(spec(version))
		want = append(want, "install run "+version, "kept "+version)
		s.wait(t.Context(), "version "+version+" is there, and its pod has left", func(ctx context.Context) (bool, string) {
			st, log := s.status(ctx, "stopped"), s.log(nodeA)
			return st.phase == "Ready" && log == strings.Join(want, "\n"), fmt.Sprintf("%+v\n%s", st, log)
		})
		if out, err := s.exec(nodeA, "cat", "/opt/stopped/artifact"); err != nil || out != version {
			t.Errorf("the artifact is %q, %v; expected that of version %s", out, err, version)
		}
	}
	// Somebody deletes its DaemonSet, and no controller is there to bring it back: it takes everything off, and the node is installed anew when there
	// is a controller again.
	s.apply(spec("3"))
	said := func(more ...string) {
		t.Helper()
		want = append(want, more...)
		s.wait(t.Context(), fmt.Sprintf("the payload said %q", more), func(context.Context) (bool, string) {
			log := s.log(nodeA)
			return log == strings.Join(want, "\n"), log
		})
	}
	said("install run 3")
	back := s.withoutController()
	if _, err := s.c.Kubectl(t.Context(), "--namespace=longshore", "delete", "daemonset", "--selector=longshore.dev/runtime-of=stopped"); err != nil {
		t.Fatal(err)
	}
	said("cleaned 3")
	if out, err := s.exec(nodeA, "test", "!", "-e", "/opt/stopped"); err != nil {
		t.Errorf("the artifact is still there: %v %s", err, out)
	}
	if out, err := s.exec(nodeA, "touch", "/opt/stopped.go"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	back()
	said("install run 3", "kept 3")
	s.ready("stopped", 1)
	if out, err := s.exec(nodeA, "cat", "/opt/stopped/artifact"); err != nil || out != "3" {
		t.Errorf("the artifact is %q, %v; expected that of version 3", out, err)
	}
	s.remove()
	said("uninstall run 3")
	if out, err := s.exec(nodeA, "rm", "/opt/stopped.log", "/opt/stopped.go"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.same(nodeA, before)
}
