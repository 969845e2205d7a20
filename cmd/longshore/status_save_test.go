package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes/fake"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// snapshot is what the controller's own eyes see of the cluster.
func (c *cluster) snapshot(t *testing.T) *observed.Snapshot {
	t.Helper()
	kube := fake.NewClientset(c.objects...)
	o := &statusOptions{connection: connection{namespace: "longshore", system: "longshore-system"}}
	var snap *observed.Snapshot
	err := o.observe(t.Context(), kube, func() {}, func(_ context.Context, cluster *informers.Cluster) error {
		snap = cluster.Snapshot(noon)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range kube.Actions() {
		if a.GetResource().Resource == "secrets" {
			t.Errorf("a secret was read: %v", a)
		}
		if verb := a.GetVerb(); verb != "list" && verb != "watch" {
			t.Errorf("%s %s: looking is no reason to do more than list and watch", verb, a.GetResource().Resource)
		}
	}
	return snap
}

func quiet() (env *environment, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &environment{stdin: strings.NewReader(""), stdout: out, stderr: errs, lookup: func(string) string { return "" }}, out, errs
}

func TestASavedClusterGivesTheSameReport(t *testing.T) {
	snap := newCluster(t).snapshot(t)
	file := filepath.Join(t.TempDir(), "bug.json")
	env, _, words := quiet()
	if err := save(file, snap, env); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(words.String(), "5 nodes, 1 specs") {
		t.Errorf("saving says %q", words)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is for others to read: %v, %v", info.Mode(), err)
	}
	loaded, err := load(file, env)
	if err != nil {
		t.Fatal(err)
	}
	live, read := lookAt(snap), lookAt(loaded)
	if diff := cmp.Diff(live.report, read.report); diff != "" {
		t.Errorf("report on the cluster (-) and on the file (+):\n%s", diff)
	}
	all := wanted{nodes: []string{"a", "b", "c", "d", "e"}}
	if diff := cmp.Diff(text(t, live.stories(all)), text(t, read.stories(all))); diff != "" {
		t.Errorf("stories of the cluster (-) and of the file (+):\n%s", diff)
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestASavedClusterHasSpecsAndNoSecrets(t *testing.T) {
	env, out, _ := quiet()
	if err := save("-", newCluster(t).snapshot(t), env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"longshore": "dev"`, `"time": "2026-11-20T12:00:00Z"`, "COLOUR", "disk swap, INC-4711"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the file lacks %s", want)
		}
	}
	for _, secret := range []string{"hunter2", "aHVudGVyMg==", "password"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the file has %q in it", secret)
		}
	}
}

// The scripts report on this file.
func TestTheSavedClusterOfTheScripts(t *testing.T) {
	env, out, _ := quiet()
	if err := save("-", newCluster(t).snapshot(t), env); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "cluster.json")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), out.String()); diff != "" {
		t.Errorf("%s (-) and what is saved today (+), run with UPDATE=1 to bring them together:\n%s", file, diff)
	}
}
