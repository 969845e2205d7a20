package faulttests

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"

	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/payloads"
)

// logged is the beginning of every command: a line in the log on the node, which nothing but the test takes away, and a wait for as long as the
// test wants one.
const logged = `#!/bin/sh
set -eu
home=/host/opt/fault-$LONGSHORE_RUNTIME
mkdir -p $home
trap 'exit 143' TERM
echo "$LONGSHORE_OPERATION ${VERSION:-1}" >> $home/runs
while [ -e $home/hang ]; do sleep 0.1; done
on_host() { nsenter -t 1 -m -p -- "$@"; }
`

// payload pushes a payload whose install does that behind the log line, and returns its reference.
func (s *suite) payload(name, install string) string {
	s.t.Helper()
	image, err := payloads.Script(s.t.Context(), os.Stdout, map[string]string{"/install.sh": logged + install, "/uninstall.sh": logged})
	if err != nil {
		s.t.Fatal(err)
	}
	ref, err := deploy.Payload(s.t.Context(), s.c, "faults/"+name, image)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// manifest is a spec under its runtime's name; data goes over the defaults.
func manifest(name, runtime string, data map[string]string) string {
	all := map[string]string{
		"installCmd": "[/install.sh]", "uninstallCmd": "[/uninstall.sh]", "soak": "0s",
		"installerVolumes":      "[{name: opt, hostPath: {path: /opt}}]",
		"installerVolumeMounts": "[{name: opt, mountPath: /host/opt}]",
		"runtimeClasses":        fmt.Sprintf("[{name: %s, handler: runc}]", runtime),
	}
	maps.Copy(all, data)
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: longshore\n  labels: {longshore.dev/runtime: %s}\ndata:\n", name, runtime)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] != "" {
			fmt.Fprintf(&text, "  %s: %q\n", key, all[key])
		}
	}
	return text.String()
}

// on selects nodes by name.
func on(names ...string) string {
	return fmt.Sprintf("kubernetes.io/hostname in (%s)", strings.Join(names, ","))
}

// apply applies a spec as `kubectl apply --server-side --force-conflicts` does, without the time that a process takes to start: what is applied
// right after something else has to be there within the controller's graces, on slow machines as well.
func (s *suite) apply(text string) {
	s.t.Helper()
	var object metav1.PartialObjectMetadata
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		s.t.Fatal(err)
	}
	force := true
	opts := metav1.PatchOptions{FieldManager: "kubectl", Force: &force}
	if _, err := s.kube.CoreV1().ConfigMaps(object.Namespace).Patch(s.t.Context(), object.Name, types.ApplyPatchType, []byte(text), opts); err != nil {
		s.t.Fatal(err)
	}
}

// remove deletes a spec.
func (s *suite) remove(name string) {
	s.t.Helper()
	if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// status is what stands on a spec.
type status struct {
	phase, message, progress, revision string
}

func (s *suite) status(ctx context.Context, name string) status {
	s.t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("longshore").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return statusOf(cm)
}

// statusOf is what stands on a spec; its phase is "outdated" where that is not about the data as it is.
func statusOf(cm *corev1.ConfigMap) status {
	a := cm.Annotations
	st := status{a["longshore.dev/phase"], a["longshore.dev/message"], a["longshore.dev/progress"], a["longshore.dev/revision"]}
	seen := "\n" + a["longshore.dev/observed-data"]
	for key, value := range cm.Data {
		if !strings.HasPrefix(seen, fmt.Sprintf("\nkeys=%d\n", len(cm.Data))) || !strings.Contains(seen, "\n"+key+"="+value+"\n--"+key+"\n") {
			st.phase = "outdated"
		}
	}
	return st
}

// says waits until the spec is in the phase, and returns its status.
func (s *suite) says(name, phase string) status {
	s.t.Helper()
	var last status
	s.wait(s.t.Context(), "spec "+name+" is "+phase, func(ctx context.Context) (bool, string) {
		last = s.status(ctx, name)
		return last.phase == phase, fmt.Sprintf("%+v", last)
	})
	return last
}

// ready waits until the spec that is named like its runtime is Ready on that many nodes.
func (s *suite) ready(name string, nodes int) {
	s.t.Helper()
	s.readyAs(name, name, nodes)
}

// readyAs waits until a spec is Ready on that many nodes and their places are free, and returns its revision.
func (s *suite) readyAs(name, runtime string, nodes int) string {
	s.t.Helper()
	var last status
	s.wait(s.t.Context(), fmt.Sprintf("spec %s is Ready on %d nodes", name, nodes), func(ctx context.Context) (bool, string) {
		last = s.status(ctx, name)
		turns := s.turns(ctx, runtime)
		return last.phase == "Ready" && last.progress == fmt.Sprintf("%d/%d", nodes, nodes) && len(turns) == 0, fmt.Sprintf("%+v, turns %q", last, turns)
	})
	return last.revision
}
