package faulttests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/cluster/node"
)

// trial is a payload that misbehaves, on one node, and how the node ends.
type trial struct {
	node            string
	install, image  string
	data            map[string]string
	phase, reason   string
	attempt         int
	words           []string
	runs            int
	after           func(s *suite, runtime string, st standing)
	whileInstalling func(s *suite, runtime string)
}

var trials = map[string]trial{
	"exits-1": {
		node: nodeA, install: "echo 'no space left on /opt: 3 MiB needed' >&2; exit 1", data: map[string]string{"attempts": "1"},
		phase: "Failed", reason: "InstallFailed", attempt: 1, words: []string{"attempt 1 of 1", "exited 1", "no space left on /opt: 3 MiB needed"}, runs: 1,
	},
	"fails-twice": {
		node: nodeC, install: "[ $(wc -l < $home/runs) -ge 3 ] || { echo not yet >&2; exit 7; }",
		phase: "Ready", reason: "NoHandlers", attempt: 3, runs: 3,
	},
	"hangs": {
		node: nodeA, install: "while :; do sleep 1; done", data: map[string]string{"installTimeout": "20s"},
		phase: "Failed", reason: "TimedOut", attempt: 1, words: []string{"not done after 20s", "step install is running"}, runs: 1,
	},
	"missing": {
		node: nodeB, image: "payloads/faults/nowhere:1", data: map[string]string{"installTimeout": "20s"},
		phase: "Failed", reason: "TimedOut", attempt: 1, words: []string{"not done after 20s", "has not started", "nowhere"}, after: supply,
	},
	// The restart that it asked for kills it; the second run finds everything in place.
	"killed": {
		node: nodeB, install: "[ $(wc -l < $home/runs) -ge 2 ] || { on_host systemctl restart containerd; kill -9 $$; }",
		phase: "Ready", reason: "NoHandlers", attempt: 1, runs: 2,
	},
	"noisy": {
		// A kubelet that rotates the log (at 10 MiB, unless told otherwise) as the command ends finds no last words: this stays below.
		node: nodeA, install: `i=0; while [ $i -lt 10 ]; do head -c 1000000 /dev/zero | tr '\0' x; i=$((i+1)); done; printf '\n\033[31mred\033[0m \007bell\b last words\n'; exit 1`,
		data:  map[string]string{"attempts": "1"},
		phase: "Failed", reason: "InstallFailed", attempt: 1, words: []string{"red", "last words"}, runs: 1, after: plain,
	},
	// Somebody deletes its pod in the middle: the command is run a second time from the start.
	"twice": {
		node: nodeB, install: "[ $(wc -l < $home/runs) -ge 2 ] || while :; do sleep 1; done",
		phase: "Ready", reason: "NoHandlers", attempt: 1, runs: 2, whileInstalling: deleteInstaller,
	},
}

// plain asserts that a message is short and holds nothing that a terminal would obey.
func plain(s *suite, runtime string, st standing) {
	s.t.Helper()
	if len(st.Message) > 1024 || strings.ContainsFunc(st.Message, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }) {
		s.t.Errorf("runtime %s: message of %d bytes: %q", runtime, len(st.Message), st.Message)
	}
}

// supply brings the image that was missing about: an uninstall runs it even where the install never could.
func supply(s *suite, _ string, _ standing) {
	s.t.Helper()
	s.payload("nowhere:1", "")
}

func deleteInstaller(s *suite, runtime string) {
	s.t.Helper()
	zero := int64(0)
	ours := metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + runtime}
	if err := s.kube.CoreV1().Pods("longshore").DeleteCollection(s.t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &zero}, ours); err != nil {
		s.t.Error(err)
	}
}

// TestPayloadsThatMisbehave runs them all at once, several on a node: one waits for the other there. Those that break containerd do it on nodes that
// go with the test.
func TestPayloadsThatMisbehave(t *testing.T) {
	s := start(t)
	s.extra(
		cluster.NodeOptions{Name: "after-16", Flavor: node.Containerd16}, cluster.NodeOptions{Name: "after-2"},
		cluster.NodeOptions{Name: "before-16", Flavor: node.Containerd16}, cluster.NodeOptions{Name: "before-2"},
	)
	// A handler belongs to one runtime.
	s.handlers(map[string]string{"after-2": "after-2", nodeC: "after-2"})
	s.run()
	var wg sync.WaitGroup
	for name, misbehave := range map[string]func(*suite){"and-harm-nobody": (*suite).misbehave, "and-break-containerd": (*suite).breakContainerd} {
		wg.Go(func() {
			t.Run(name, func(t *testing.T) {
				own := *s
				own.t = t
				misbehave(&own)
			})
		})
	}
	wg.Wait()
}

// misbehave has every trial end as it has to.
func (s *suite) misbehave() {
	t := s.t
	var names []string
	for name, trial := range trials {
		names = append(names, name)
		image := s.c.Registry() + "/" + trial.image
		if trial.image == "" {
			image = s.payload(name+":1", trial.install)
		}
		data := map[string]string{"payloadImage": image, "nodeSelector": on(trial.node), "runtimeClasses": ""}
		maps.Copy(data, trial.data)
		s.apply(manifest(name, name, data))
	}
	slices.Sort(names)
	for _, name := range names {
		if act := trials[name].whileInstalling; act != nil {
			s.wait(t.Context(), name+" has run once", func(context.Context) (bool, string) {
				runs := s.runs(trials[name].node, name)
				return runs != "", runs
			})
			act(s, name)
		}
	}
	for _, name := range names {
		trial := trials[name]
		st := s.shows(trial.node, name, trial.phase)
		if st.Reason != trial.reason || st.Attempt != trial.attempt || st.gate != "" || (st.ready != "") != (trial.phase == "Ready") {
			t.Errorf("%s: node %s shows %+v, expected %s with reason %s at attempt %d", name, trial.node, st, trial.phase, trial.reason, trial.attempt)
		}
		for _, words := range trial.words {
			if !strings.Contains(st.Message, words) {
				t.Errorf("%s: the message is %q, expected in it %q", name, st.Message, words)
			}
		}
		if trial.after != nil {
			trial.after(s, name, st)
		}
	}
	s.wait(t.Context(), "no installer is left on any node", func(ctx context.Context) (bool, string) {
		pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of in (" + strings.Join(names, ",") + ")"})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items) == 0, fmt.Sprint(len(pods.Items))
	})
	for _, name := range names {
		got := s.runs(trials[name].node, name)
		want := strings.TrimSpace(strings.Repeat("install 1\n", trials[name].runs))
		// The kubelet may have begun the next try before the last failure closed the gate.
		if got != want && (trials[name].reason != "InstallFailed" || got != want+"\ninstall 1") {
			t.Errorf("%s: the command ran\n%s\nexpected\n%s", name, got, want)
		}
	}
}

// breaks is what a payload does to containerd on its host, once: a kubelet whose containerd comes back runs a command that was cut off again, if it
// does not hear first that the pod is to go, and would have the repaired node broken anew.
const breaks = `[ ! -e /opt/broken ] || exit 0; touch /opt/broken; echo "this is no TOML" >> /etc/containerd/config.toml; systemctl stop containerd; while systemctl -q is-active containerd; do sleep 0.1; done`

// breakContainerd breaks containerd on a node of each version, at once right before the command ends and one second after it. Such a node never
// counts as done. The nodes are the test's own, so that nothing else ever meets a broken one.
func (s *suite) breakContainerd() {
	t := s.t
	good, before, after := s.payload("good:1", ""), s.payload("breaks:1", "on_host /bin/sh -c '"+breaks+"'"), s.payload("ends:1", "touch $home/ends")
	// A runtime is called like its node. Nodes get their turns by name: the one that breaks first, and then the other one.
	all := []struct {
		broken, payload, other string
		// reasons are what the node may end with: what is seen depends on how fast the kubelet was.
		reasons []string
	}{
		{"after-16", after, nodeB, []string{"TimedOut", "NotReadyInSoak"}},
		{"after-2", after, nodeC, []string{"TimedOut", "NotReadyInSoak"}},
		{"before-16", before, nodeB, []string{"TimedOut"}},
		{"before-2", before, nodeC, []string{"TimedOut"}},
	}
	// A kubelet tells half a minute after the fact that its container runtime is gone; only then the time may be up.
	spec := func(i int, payload, version string) string {
		name, classes := all[i].broken, ""
		if handler := map[string]string{"after-2": "after-2", "before-2": "runc"}[name]; handler != "" {
			classes = fmt.Sprintf("[{name: %s, handler: %s}]", name, handler)
		}
		return manifest(name, name, map[string]string{
			"payloadImage": payload, "nodeSelector": on(name, all[i].other), "installTimeout": "75s", "soak": map[string]string{"1": "0s", "2": "100s"}[version],
			"environmentVariables": fmt.Sprintf("[{name: VERSION, value: %q}]", version), "runtimeClasses": classes,
		})
	}
	for i := range all {
		s.apply(spec(i, good, "1"))
	}
	for _, c := range all {
		s.ready(c.broken, 2)
		if out, err := s.sh(t.Context(), c.broken, "cp /etc/containerd/config.toml /opt/config.toml.before"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	said := s.everythingSaid()
	for i := range all {
		s.apply(spec(i, all[i].payload, "2"))
	}
	s.breakLater("after-16", "after-2")
	for _, c := range all {
		st := s.shows(c.broken, c.broken, "Failed")
		if !slices.Contains(c.reasons, st.Reason) || !strings.Contains(st.Message, "NotReady") || st.ready != "" || st.gate != "" {
			t.Errorf("node %s shows %+v, expected Failed (%s) because it is NotReady, and neither ready nor gate", c.broken, st, c.reasons)
		}
		t.Logf("node %s: %s: %s", c.broken, st.Reason, st.Message)
		if said := s.says(c.broken, "Halted"); said.progress != "0/2" || said.revision != st.Revision {
			t.Errorf("spec %s says %+v, expected 0/2 done at %s", c.broken, said, st.Revision)
		}
		// The other node got no turn after this one was broken.
		s.ranOn(c.other, c.broken, "install 1")
	}
	everything := said()
	for _, c := range all {
		ofSpec := everything[c.broken]
		newest := ofSpec[len(ofSpec)-1].revision
		for _, st := range ofSpec {
			if st.revision == newest && st.progress != "0/2" {
				t.Errorf("spec %s said %+v of the revision that breaks nodes, expected never more than 0/2 done", c.broken, st)
			}
		}
	}
	// Whoever repairs such a node can have the runtime taken off it.
	for _, c := range all {
		s.mend(c.broken)
		s.remove(c.broken)
	}
	for _, c := range all {
		s.goneOf(t.Context(), c.broken)
		ran := strings.Replace(s.runs(c.broken, c.broken), "install 2\ninstall 2", "install 2", 1)
		if want := "install 1\ninstall 2\nuninstall 2"; ran != want {
			t.Errorf("on node %s the command ran %q, expected %q", c.broken, ran, want)
		}
		s.ranOn(c.other, c.broken, "install 1", "uninstall 1")
	}
}

// everythingSaid watches all specs, and returns a function that ends that and returns what stood on each one after the other.
func (s *suite) everythingSaid() func() map[string][]status {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w, err := s.kube.CoreV1().ConfigMaps("longshore").Watch(ctx, metav1.ListOptions{LabelSelector: runtimeLabel})
	if err != nil {
		s.t.Fatal(err)
	}
	said := map[string][]status{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range w.ResultChan() {
			if cm, ok := event.Object.(*corev1.ConfigMap); ok {
				said[cm.Name] = append(said[cm.Name], statusOf(cm))
			}
		}
	})
	return func() map[string][]status {
		w.Stop()
		cancel()
		wg.Wait()
		return said
	}
}

// breakLater breaks containerd on the nodes, on each one second after its command has ended.
func (s *suite) breakLater(names ...string) {
	s.t.Helper()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			errs[i] = until(s.t.Context(), "the command ends on node "+name, func(ctx context.Context) (bool, string) {
				_, err := s.sh(ctx, name, "test -e /opt/fault-"+name+"/ends")
				return err == nil, fmt.Sprint(err)
			})
			if errs[i] != nil {
				return
			}
			if out, err := s.sh(s.t.Context(), name, "sleep 1; "+breaks); err != nil {
				errs[i] = fmt.Errorf("breaking node %s: %w: %s", name, err, out)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

// mend repairs a node's containerd.
func (s *suite) mend(name string) {
	s.t.Helper()
	out, err := s.sh(s.t.Context(), name, "cp /opt/config.toml.before /etc/containerd/config.toml && rm /opt/config.toml.before && systemctl restart containerd")
	if err != nil {
		s.t.Fatalf("mending node %s: %v: %s", name, err, out)
	}
}
