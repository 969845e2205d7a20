package observed

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func drawTurns(t *rapid.T) []Turn {
	turns := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Turn {
		return Turn{
			Node:      types.UID(rapid.SampledFrom([]string{"u1", "u2", "u3", "u4"}).Draw(t, "node")),
			Runtime:   rapid.SampledFrom([]string{"crun", "kata", "kata-qemu"}).Draw(t, "runtime"),
			Revision:  rapid.StringMatching(`a[0-9a-z]{9}`).Draw(t, "revision"),
			Operation: rapid.SampledFrom([]Operation{Install, Uninstall}).Draw(t, "operation"),
			ID:        rapid.SampledFrom([]string{"", "7", "4711"}).Draw(t, "id"),
		}
	}), 0, 12, func(t Turn) string { return string(t.Node) + "/" + t.Runtime }).Draw(t, "turns")
	return turns
}

func TestTurnsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawTurns(t)
		before := slices.Clone(want)
		got, err := ParseTurns(FormatTurns(want))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(want, before) {
			t.Fatal("writing changed the order of what was handed over")
		}
		slices.SortFunc(want, Turn.Compare)
		if !slices.Equal(want, got) {
			t.Fatalf("written %v, read %v", want, got)
		}
	})
}

func TestTurnsStandInAFormThatPeopleCanRead(t *testing.T) {
	got := FormatTurns([]Turn{
		{Node: "u2", Runtime: "kata", Revision: "a2", Operation: Uninstall},
		{Node: "u1", Runtime: "kata", Revision: "a1", Operation: Install, ID: "4711"},
		{Node: "u2", Runtime: "crun", Revision: "a3", Operation: Install},
	})
	want := map[string]string{"u1": "kata a1 install 4711", "u2": "crun a3 install\nkata a2 uninstall"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

func TestABadLineOfTurnsIsNamedAndTheOthersAreRead(t *testing.T) {
	good := Turn{Node: "u1", Runtime: "kata", Revision: "a1", Operation: Install}
	cases := map[string]struct {
		data map[string]string
		says string
		want []Turn
	}{
		"no data":           {nil, "", nil},
		"a key of no lines": {map[string]string{"u1": "kata a1 install", "u9": ""}, "", []Turn{good}},
		"spaces around":     {map[string]string{"u1": " kata  a1\tinstall \n"}, "", []Turn{good}},
		"a word too few":    {map[string]string{"u1": "kata a1 install\ncrun a2"}, `u1: "crun a2"`, []Turn{good}},
		"a word too many":   {map[string]string{"u0": "kata a1 install 7 now", "u1": "kata a1 install"}, `u0: "kata a1 install 7 now"`, []Turn{good}},
		"another operation": {map[string]string{"u1": "kata a1 install", "u2": "kata a1 upgrade"}, `u2: "kata a1 upgrade"`, []Turn{good}},
		"an empty line":     {map[string]string{"u1": "\nkata a1 install"}, `u1: ""`, []Turn{good}},
		"two of a runtime":  {map[string]string{"u1": "kata a1 install\nkata a2 uninstall"}, `u1: "kata a2 uninstall"`, []Turn{good}},
		"several bad ones":  {map[string]string{"u1": "kata a1 install", "u2": "x", "u3": "y"}, `u2: "x"; u3: "y"`, []Turn{good}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTurns(c.data)
			if !slices.Equal(c.want, got) {
				t.Errorf("read %v, want %v", got, c.want)
			}
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "expected `<runtime> <revision> install|uninstall <id>`")):
				t.Errorf("error %v does not say %s", err, c.says)
			}
		})
	}
}

// FuzzTurns holds that what can be read of a ConfigMap is not changed by writing it again, and that a node has at most one turn for a runtime.
func FuzzTurns(f *testing.F) {
	for _, seed := range []string{"", "kata a1 install", "kata a1 install\ncrun a2 uninstall\n", "kata a1 install\nkata a2 install", "\n\n", "a b c d", "é é install\x00", "k r install\vx"} {
		f.Add("u1", seed, "u2", seed)
	}
	f.Fuzz(func(t *testing.T, key1, text1, key2, text2 string) {
		first, _ := ParseTurns(map[string]string{key1: text1, key2: text2})
		second, err := ParseTurns(FormatTurns(first))
		if err != nil || !slices.Equal(first, second) {
			t.Errorf("read %q and then %q: %v", first, second, err)
		}
		seen := map[string]bool{}
		for _, turn := range first {
			key := fmt.Sprintf("%q %q", turn.Node, turn.Runtime)
			if seen[key] {
				t.Errorf("two turns of %s", key)
			}
			seen[key] = true
		}
	})
}
