package apply

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

const installing = `{"phase":"Installing","operation":"install","revision":"a1","since":"2026-01-02T03:04:05Z"}`

var (
	toInstalling = &observed.Progress{Phase: observed.PhaseInstalling, Operation: observed.Install, Revision: "a1", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	toReady      = &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: "a1", Since: time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC)}
)

const ready = `{"phase":"Ready","operation":"install","revision":"a1","since":"2026-01-02T03:05:05Z"}`

// seen is a node as Longshore would have observed it: only its own annotations are kept.
func seen(t *testing.T, node *corev1.Node) *observed.Node {
	t.Helper()
	n := &observed.Node{Name: node.Name, UID: node.UID, Labels: observed.LabelsOf(node.Labels), HasAnnotations: node.Annotations != nil}
	for key, value := range node.Annotations {
		if observed.RuntimeOfKey(key) != "" {
			if n.Annotations == nil {
				n.Annotations = map[string]string{}
			}
			n.Annotations[key] = value
		}
	}
	n.Index()
	return n
}

// transition is the change of what was seen on a node.
func transition(n *observed.Node, after *observed.Progress, gate, ready string) observed.Transition {
	t := observed.Transition{Node: n.Name, UID: n.UID, Runtime: "kata", After: after, Gate: gate, Ready: ready}
	if s := n.State("kata"); s != nil {
		t.Before, t.HadBefore = s.Raw, s.HasRaw
	}
	return t
}

func node(labels, annotations map[string]string) *corev1.Node {
	return &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "u1", Labels: labels, Annotations: annotations},
	}
}

type strs = map[string]string

// Each case is a node as it stands, what should stand there, the patch, and what the API server makes of it.
func TestATransitionIsOnePatch(t *testing.T) {
	linux := strs{"kubernetes.io/os": "linux"}
	with := func(sets ...strs) strs {
		all := strs{}
		for _, m := range sets {
			maps.Copy(all, m)
		}
		return all
	}
	ttl := strs{"node.alpha.kubernetes.io/ttl": "0"}
	cases := map[string]struct {
		labels, annotations         strs
		after                       *observed.Progress
		gate, ready                 string
		patch                       []string
		wantLabels, wantAnnotations strs
	}{
		"a gate opens on a node that was never touched": {
			linux, ttl, toInstalling, "a1-install", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":null}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1gate","value":"a1-install"}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Installing"}`,
			},
			with(linux, strs{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}),
			with(ttl, strs{"kata.longshore.dev/progress": installing}),
		},
		"a node without any annotation gets the map first": {
			linux, nil, toInstalling, "a1-install", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations","value":null}`,
				`{"op":"add","path":"/metadata/annotations","value":{}}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1gate","value":"a1-install"}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Installing"}`,
			},
			with(linux, strs{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}),
			strs{"kata.longshore.dev/progress": installing},
		},
		"a node without any label gets the map first": {
			nil, ttl, toInstalling, "a1-install", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":null}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"test","path":"/metadata/labels","value":null}`,
				`{"op":"add","path":"/metadata/labels","value":{}}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1gate","value":"a1-install"}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Installing"}`,
			},
			strs{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"},
			with(ttl, strs{"kata.longshore.dev/progress": installing}),
		},
		"a success closes the gate and sets ready": {
			with(linux, strs{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}),
			strs{"kata.longshore.dev/progress": installing},
			toReady, "", "true",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(ready) + `}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1gate"}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Ready"}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1ready","value":"true"}`,
			},
			with(linux, strs{"kata.longshore.dev/phase": "Ready", "kata.longshore.dev/ready": "true"}),
			strs{"kata.longshore.dev/progress": ready},
		},
		"labels that are right are not written": {
			with(linux, strs{"kata.longshore.dev/phase": "Ready", "kata.longshore.dev/ready": "true"}),
			strs{"kata.longshore.dev/progress": installing},
			toReady, "", "true",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(ready) + `}`,
			},
			with(linux, strs{"kata.longshore.dev/phase": "Ready", "kata.longshore.dev/ready": "true"}),
			strs{"kata.longshore.dev/progress": ready},
		},
		"a label with a wrong value is put right": {
			with(linux, strs{"kata.longshore.dev/gate": "a0-install", "kata.longshore.dev/phase": "Installing", "kata.longshore.dev/ready": "false"}),
			strs{"kata.longshore.dev/progress": installing},
			toInstalling, "a1-install", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1gate","value":"a1-install"}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1ready"}`,
			},
			with(linux, strs{"kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}),
			strs{"kata.longshore.dev/progress": installing},
		},
		"an unreadable progress is swapped as it stands": {
			linux,
			strs{"kata.longshore.dev/progress": "{\"half"},
			toInstalling, "", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":"{\"half"}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Installing"}`,
			},
			with(linux, strs{"kata.longshore.dev/phase": "Installing"}),
			strs{"kata.longshore.dev/progress": installing},
		},
		"an empty progress is there and not null": {
			linux,
			strs{"kata.longshore.dev/progress": ""},
			toInstalling, "", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":""}`,
				`{"op":"add","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"add","path":"/metadata/labels/kata.longshore.dev~1phase","value":"Installing"}`,
			},
			with(linux, strs{"kata.longshore.dev/phase": "Installing"}),
			strs{"kata.longshore.dev/progress": installing},
		},
		"an uninstall takes every key off and leaves those of others": {
			with(linux, strs{
				"kata.longshore.dev/gate": "a1-uninstall", "kata.longshore.dev/phase": "Uninstalling", "kata.longshore.dev/ready": "true", "crun.longshore.dev/ready": "true",
			}),
			with(ttl, strs{"kata.longshore.dev/progress": installing, "kata.longshore.dev/retry": "2", "crun.longshore.dev/progress": ready, "crun.longshore.dev/retry": "1"}),
			nil, "", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":` + quote(installing) + `}`,
				`{"op":"remove","path":"/metadata/annotations/kata.longshore.dev~1progress"}`,
				`{"op":"remove","path":"/metadata/annotations/kata.longshore.dev~1retry"}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1gate"}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1phase"}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1ready"}`,
			},
			with(linux, strs{"crun.longshore.dev/ready": "true"}),
			with(ttl, strs{"crun.longshore.dev/progress": ready, "crun.longshore.dev/retry": "1"}),
		},
		"leftover labels go without a progress": {
			with(linux, strs{"kata.longshore.dev/ready": "true"}), ttl, nil, "", "",
			[]string{
				`{"op":"test","path":"/metadata/uid","value":"u1"}`,
				`{"op":"test","path":"/metadata/annotations/kata.longshore.dev~1progress","value":null}`,
				`{"op":"remove","path":"/metadata/labels/kata.longshore.dev~1ready"}`,
			},
			linux, ttl,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			object := node(c.labels, c.annotations)
			n := seen(t, object)
			patch, err := NodePatch(n, transition(n, c.after, c.gate, c.ready))
			if err != nil {
				t.Fatal(err)
			}
			var ops []json.RawMessage
			if err := json.Unmarshal(patch, &ops); err != nil {
				t.Fatalf("%s: %v", patch, err)
			}
			got := make([]any, len(ops))
			want := make([]any, len(c.patch))
			for i := range ops {
				got[i] = tree(t, string(ops[i]))
			}
			for i := range c.patch {
				want[i] = tree(t, c.patch[i])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
			after, err := patched(t, object, patch)
			if err != nil {
				t.Fatalf("the API server refuses %s: %v", patch, err)
			}
			if diff := cmp.Diff(c.wantLabels, after.Labels); diff != "" {
				t.Errorf("labels, want (-) and got (+):\n%s", diff)
			}
			if diff := cmp.Diff(c.wantAnnotations, after.Annotations); diff != "" {
				t.Errorf("annotations, want (-) and got (+):\n%s", diff)
			}
		})
	}
}

// Each case changes the node between the look and the write.
func TestATransitionThatWasOutrunChangesNothing(t *testing.T) {
	fresh := func() *corev1.Node { return node(strs{"kubernetes.io/os": "linux"}, strs{"ttl": "0"}) }
	underWay := func() *corev1.Node {
		return node(strs{"kubernetes.io/os": "linux", "kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}, strs{"kata.longshore.dev/progress": installing})
	}
	cases := map[string]struct {
		node    *corev1.Node
		after   *observed.Progress
		between func(*corev1.Node)
	}{
		"the machine of that name is another one":          {fresh(), toInstalling, func(n *corev1.Node) { n.UID = "u2" }},
		"somebody began with the node":                     {fresh(), toInstalling, func(n *corev1.Node) { n.Annotations["kata.longshore.dev/progress"] = ready }},
		"somebody wrote an empty progress":                 {fresh(), toInstalling, func(n *corev1.Node) { n.Annotations["kata.longshore.dev/progress"] = "" }},
		"the progress is another one":                      {underWay(), toReady, func(n *corev1.Node) { n.Annotations["kata.longshore.dev/progress"] = ready }},
		"the progress differs in a space":                  {underWay(), toReady, func(n *corev1.Node) { n.Annotations["kata.longshore.dev/progress"] += " " }},
		"the progress was wiped":                           {underWay(), toReady, func(n *corev1.Node) { delete(n.Annotations, "kata.longshore.dev/progress") }},
		"every annotation was wiped":                       {underWay(), toReady, func(n *corev1.Node) { n.Annotations = nil }},
		"the node was touched when it had no annotation":   {node(strs{"a": "b"}, nil), toInstalling, func(n *corev1.Node) { n.Annotations = strs{"ttl": "0"} }},
		"every annotation went from a node not yet begun":  {fresh(), toInstalling, func(n *corev1.Node) { n.Annotations = nil }},
		"a label to be removed is gone":                    {underWay(), nil, func(n *corev1.Node) { delete(n.Labels, "kata.longshore.dev/gate") }},
		"labels came to a node that had none":              {node(nil, strs{"ttl": "0"}), toInstalling, func(n *corev1.Node) { n.Labels = strs{"a": "b"} }},
		"people took their retry back before an uninstall": {withRetry(underWay()), nil, func(n *corev1.Node) { delete(n.Annotations, "kata.longshore.dev/retry") }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			n := seen(t, c.node)
			patch, err := NodePatch(n, transition(n, c.after, "", ""))
			if err != nil {
				t.Fatal(err)
			}
			c.between(c.node)
			if after, err := patched(t, c.node, patch); err == nil {
				t.Errorf("the patch went through:\n%s\nlabels %v, annotations %v", patch, after.Labels, after.Annotations)
			}
		})
	}
}

func TestHeartbeatsAndOtherPeoplesKeysDoNotDisturbATransition(t *testing.T) {
	object := node(strs{"kubernetes.io/os": "linux"}, strs{"ttl": "0"})
	n := seen(t, object)
	patch, err := NodePatch(n, transition(n, toInstalling, "a1-install", ""))
	if err != nil {
		t.Fatal(err)
	}
	object.ResourceVersion = "99"
	object.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
	object.Labels["a"], object.Annotations["crun.longshore.dev/progress"] = "b", ready
	after, err := patched(t, object, patch)
	if err != nil {
		t.Fatal(err)
	}
	if after.Labels["a"] != "b" || after.Annotations["crun.longshore.dev/progress"] != ready || after.Labels["kata.longshore.dev/gate"] != "a1-install" {
		t.Errorf("labels %v, annotations %v", after.Labels, after.Annotations)
	}
}

func TestDoneLabelsChangeInTheSamePatch(t *testing.T) {
	object := node(strs{"kubernetes.io/os": "linux", "example.com/done": "true"}, strs{"ttl": "0"})
	n := seen(t, object)
	move := transition(n, toInstalling, "a1-install", "")
	move.Labels = observed.Labels{Set: strs{"example.com/there": "true"}, Remove: []string{"example.com/done", "example.com/never"}}
	patch, err := NodePatch(n, move)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patched(t, object, patch)
	if err != nil {
		t.Fatal(err)
	}
	want := strs{"kubernetes.io/os": "linux", "example.com/there": "true", "kata.longshore.dev/gate": "a1-install", "kata.longshore.dev/phase": "Installing"}
	if diff := cmp.Diff(want, after.Labels); diff != "" {
		t.Errorf("labels, want (-) and got (+):\n%s", diff)
	}
}

func TestAKeyIsEscapedForAPointer(t *testing.T) {
	cases := strs{"kata.longshore.dev/gate": "kata.longshore.dev~1gate", "a~b": "a~0b", "a~1b/c": "a~01b~1c", "": ""}
	for key, want := range cases {
		if got := escape(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func withRetry(n *corev1.Node) *corev1.Node {
	n.Annotations["kata.longshore.dev/retry"] = "1"
	return n
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

func tree(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// patched does what an API server does with a JSON Patch, by the library that it uses.
func patched(t *testing.T, n *corev1.Node, patch []byte) (*corev1.Node, error) {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	out, err := decoded.Apply(text)
	if err != nil {
		if !strings.Contains(err.Error(), "test") && !strings.Contains(err.Error(), "remove") && !strings.Contains(err.Error(), "add") {
			t.Errorf("the patch failed in another way than by its tests: %v", err)
		}
		return nil, err
	}
	after := &corev1.Node{}
	if err := json.Unmarshal(out, after); err != nil {
		t.Fatal(err)
	}
	return after, nil
}

func TestAPatchOfABlankNodeIsOfTheNodeAsItWasSeen(t *testing.T) {
	blank := &observed.Node{Name: "a", UID: "u1", ResourceVersion: "7"}
	for _, c := range []struct {
		before bool
		want   bool
	}{{false, true}, {true, false}} {
		move := observed.Transition{Node: "a", UID: "u1", Runtime: "kata", After: toInstalling, HadBefore: c.before, Before: installing}
		patch, err := NodePatch(blank, move)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(patch), `{"op":"test","path":"/metadata/resourceVersion","value":"7"}`); got != c.want {
			t.Errorf("with a progress before: %t, the patch is %s", c.before, patch)
		}
	}
}
