package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/observed"
)

func TestWaitEndsWhenItIsSoWhenItNeverWillBeAndWhenItIsLate(t *testing.T) {
	wait := func(change func(*spoken), what string, runtimes ...string) (string, error) {
		s := people(t)
		change(s)
		snap, err := s.o.once(t.Context(), s.kube)
		if err != nil {
			t.Fatal(err)
		}
		snap.Time = noon
		o := &waitOptions{what: what, timeout: time.Nanosecond}
		goal, err := o.goal()
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		targets, err := o.targets(runtimes, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = (&waiter{waitOptions: o, eyes: still{snap}, goal: goal, said: map[string]string{}, out: &out}).run(t.Context(), targets)
		return out.String(), err
	}
	nothing := func(*spoken) {}
	alone := func(s *spoken) {
		for _, name := range []string{"b", "c", "d", "e"} {
			if err := s.kube.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name     string
		change   func(*spoken)
		what     string
		runtime  string
		out, err string
	}{
		{"not yet", nothing, "ready", "kata", "runtime kata: Progressing: 1 of 5 nodes done", "not ready after 1ns: runtime kata"},
		{"done", alone, "ready", "kata", "runtime kata: 1 of 1 nodes done\n", ""},
		{"not there", nothing, "ready", "gvisor", "runtime gvisor: there is no spec\n", "not ready after 1ns: runtime gvisor"},
		{"gone", nothing, "uninstalled", "gvisor", "runtime gvisor: nothing is left on any node\n", ""},
		{"not gone", nothing, "uninstalled", "kata", "runtime kata: there is a spec, ConfigMap \"kata\"\n", "not uninstalled after 1ns: runtime kata"},
		{
			"orphaned", func(s *spoken) {
				if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), "kata", metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				data := maps.Clone(s.data())
				data["deletionPolicy"] = "Orphan"
				text, err := json.Marshal(data)
				if err != nil {
					t.Fatal(err)
				}
				s.mark(observed.AnnotationSpec, string(text))
				s.mark(observed.AnnotationVanished, noon.Add(-time.Hour).Format(time.RFC3339))
			}, "uninstalled", "kata", "runtime kata: Ready: the spec is gone since 2026-11-20T11:00:00Z; 3 nodes keep the runtime", `runtime kata will not be uninstalled without people: Ready: `,
		},
		{"no such wave", nothing, "wave=canary", "kata", "runtime kata: the spec has no wave \"canary\"", `runtime kata will not be wave=canary without people: the spec has no wave "canary"`},
		{
			"given up", func(s *spoken) {
				alone(s)
				s.mark(observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
			}, "ready", "kata", "runtime kata: Halted: revision ", `runtime kata will not be ready without people: Halted: revision `,
		},
		{"nonsense", nothing, "wave=", "kata", "", `--for: "wave=" is not one of ready, uninstalled, wave=NAME`},
	} {
		out, err := wait(c.change, c.what, c.runtime)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if !strings.HasPrefix(out, c.out) || !strings.HasPrefix(said, c.err) || (said == "") != (c.err == "") {
			t.Errorf("%s: told %q and ended with %q, expected %q and %q", c.name, out, said, c.out, c.err)
		}
	}
}

// TestWaitForAFile waits for the spec that stands in a file, as a pipeline does that has just applied it.
func TestWaitForAFile(t *testing.T) {
	alone := func(s *spoken) {
		for _, name := range []string{"b", "c", "d", "e"} {
			if err := s.kube.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	newer := func(s *spoken) {
		cm := s.spec()
		cm.Name, cm.UID, cm.ResourceVersion, cm.CreationTimestamp = "kata-2", "kata-2", "", metav1.Time{Time: noon}
		if _, err := s.kube.CoreV1().ConfigMaps("longshore").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const (
		name       = `runtime kata (ConfigMap "kata")`
		superseded = `Superseded: nothing in this ConfigMap is obeyed: ConfigMap "kata-2" of runtime "kata" is newer. If this one is meant, delete that one: `
	)
	for what, c := range map[string]struct {
		change   func(*spoken)
		file     func(*corev1.ConfigMap)
		empty    bool
		out, err string
	}{
		"not yet":          {func(*spoken) {}, nil, false, name + ": Progressing: ", "not ready after 1ns: " + name},
		"done":             {alone, nil, false, name + ": 1 of 1 nodes done\n", ""},
		"other data":       {alone, func(cm *corev1.ConfigMap) { cm.Data["soak"] = "5m" }, false, name + ": the ConfigMap in the cluster has other data than the one in ", "not ready after 1ns: " + name},
		"another name":     {alone, func(cm *corev1.ConfigMap) { cm.Name = "kata-3" }, false, `runtime kata (ConfigMap "kata-3"): the ConfigMap is not there` + "\n", "not ready after 1ns: "},
		"superseded":       {newer, nil, false, name + ": " + superseded, name + " will not be ready without people: " + superseded},
		"another place":    {alone, func(cm *corev1.ConfigMap) { cm.Namespace = "elsewhere" }, false, "", `: ConfigMap "kata": namespace "elsewhere", expected "longshore"`},
		"no node":          {nodeless(t), nodelessFile, false, name + ": the selector \"use=nothing\" matches no node; --allow-empty accepts that\n", name + " will not be ready without people: the selector"},
		"no node is right": {nodeless(t), nodelessFile, true, name + ": the selector \"use=nothing\" matches no node\n", ""},
	} {
		s := people(t)
		cm := s.spec()
		c.change(s)
		if c.file != nil {
			c.file(cm)
		}
		cm.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		text, err := yaml.Marshal(cm)
		if err != nil {
			t.Fatal(err)
		}
		snap, err := s.o.once(t.Context(), s.kube)
		if err != nil {
			t.Fatal(err)
		}
		snap.Time = noon
		o := &waitOptions{what: "ready", timeout: time.Nanosecond, files: []string{"-"}, allowEmpty: c.empty, connection: connection{namespace: "longshore"}}
		goal, err := o.goal()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		targets, err := o.targets(nil, bytes.NewReader(text))
		if err == nil {
			err = (&waiter{waitOptions: o, eyes: still{snap}, goal: goal, said: map[string]string{}, out: &out}).run(t.Context(), targets)
		}
		said := ""
		if err != nil {
			said = err.Error()
		}
		if !strings.HasPrefix(out.String(), c.out) || !strings.Contains(said, c.err) || (said == "") != (c.err == "") {
			t.Errorf("%s: told %q and ended with %q, expected %q and %q", what, out.String(), said, c.out, c.err)
		}
	}
}

// nodelessFile is the spec of a runtime whose selector matches no node.
func nodelessFile(cm *corev1.ConfigMap) { cm.Data["nodeSelector"] = "use=nothing" }

// nodeless has that spec in force, on no node.
func nodeless(t *testing.T) func(*spoken) {
	t.Helper()
	return func(s *spoken) {
		s.edit(nodelessFile)
		text, err := json.Marshal(s.spec().Data)
		if err != nil {
			t.Fatal(err)
		}
		s.mark(observed.AnnotationSpec, string(text))
		nodes, err := s.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes.Items {
			if err := s.kube.CoreV1().Nodes().Delete(t.Context(), nodes.Items[i].Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
