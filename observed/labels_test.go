package observed

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

var _ labels.Labels = LabelSet{}

func anyLabels(t *rapid.T) map[string]string {
	return rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c", "ab", "ba", "kubernetes.io/os", "kubernetes.io/or", "é", ""}), rapid.SampledFrom([]string{"", "x", "y", "5"})).Draw(t, "labels")
}

func TestLabelsAnswerAsTheirMapDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyLabels(t)
		l := LabelsOf(m)
		for _, key := range []string{"a", "b", "c", "ab", "ba", "kubernetes.io/os", "kubernetes.io/or", "é", "", "z"} {
			want, there := m[key]
			if got, found := l.Lookup(key); got != want || found != there || l.Get(key) != want || l.Has(key) != there {
				t.Fatalf("of %v, %q is %q, %v", m, key, got, found)
			}
		}
		if got := maps.Collect(l.All()); !maps.Equal(got, m) || l.Len() != len(m) || l.IsZero() != (len(m) == 0) {
			t.Fatalf("of %v: %v", m, got)
		}
		other := anyLabels(t)
		if same := maps.Equal(m, other); l.Are(other) != same || l.Equal(LabelsOf(other)) != same {
			t.Fatalf("%v and %v are the same: %v", m, other, !same)
		}
		if changed := l.With("new", "x").Without("new"); !changed.Equal(l) {
			t.Fatalf("with and without a label, %v is %v", m, maps.Collect(changed.All()))
		}
	})
}

func TestLabelsAreSavedAsAnObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyLabels(t)
		want, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(LabelsOf(m))
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s, %v, expected %s", got, err, want)
		}
		var read LabelSet
		if err := json.Unmarshal(got, &read); err != nil || !read.Equal(LabelsOf(m)) {
			t.Fatalf("%s is read as %v, %v", got, maps.Collect(read.All()), err)
		}
	})
	text, err := json.Marshal(Node{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if _, there := fields["labels"]; there {
		t.Errorf("a node without labels is saved as %s", text)
	}
	var read LabelSet
	if err := json.Unmarshal([]byte(`{"a":1}`), &read); err == nil {
		t.Error("a number is read as a label's value")
	}
}

func TestNodesWithTheSameKeysShareThem(t *testing.T) {
	a, b := LabelsOf(map[string]string{"a": "1", "b": "2"}), LabelsOf(map[string]string{"a": "1", "b": "3"})
	if a.keys != b.keys || a.Equal(b) {
		t.Errorf("%v and %v", a, b)
	}
}

func TestKeysThatNoNodeHasAreForgotten(t *testing.T) {
	known := func() int {
		keySets.Lock()
		defer keySets.Unlock()
		return len(keySets.byHash)
	}
	before := known()
	made := make([]LabelSet, 0, 100)
	for n := range cap(made) {
		made = append(made, LabelsOf(map[string]string{fmt.Sprintf("own-%d", n): "x"}))
	}
	if got := known(); got < before+cap(made) {
		t.Errorf("%d sets of keys, expected at least %d", got, before+cap(made))
	}
	runtime.KeepAlive(made)
	for known() >= before+cap(made) {
		// A cleanup runs some time after a collection.
		runtime.GC()
	}
}

// BenchmarkLookup is what a selector asks of a node with as many labels as clouds have.
func BenchmarkLookup(b *testing.B) {
	m := map[string]string{"kubernetes.io/os": "linux"}
	for n := range 60 {
		m[fmt.Sprintf("feature.node.kubernetes.io/cpu-some-feature.NUMBER%d", n)] = "true"
	}
	l := LabelsOf(m)
	for b.Loop() {
		if !l.Has("kubernetes.io/os") || l.Has("type") || !l.Has("feature.node.kubernetes.io/cpu-some-feature.NUMBER17") {
			b.Fatal("a label is lost")
		}
	}
}
