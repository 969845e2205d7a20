package observed

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

func TestTheKeysOnANodeAreThoseOfTheContract(t *testing.T) {
	cases := []struct{ got, want string }{
		{GateKey("kata"), "kata.longshore.dev/gate"},
		{ReadyKey("kata"), "kata.longshore.dev/ready"},
		{PhaseKey("kata"), "kata.longshore.dev/phase"},
		{ProgressKey("kata"), "kata.longshore.dev/progress"},
		{HoldKey("kata"), "kata.longshore.dev/hold"},
		{RetryKey("kata"), "kata.longshore.dev/retry"},
		{NotReadyTaint("kata"), "kata.longshore.dev/not-ready"},
		{GateValue("a1b2c3d4e5", "install"), "a1b2c3d4e5-install"},
		{DaemonSetName("kata", "install", "a1b2c3d4e5"), "kata-install-a1b2c3d4e5"},
		{RevisionName("kata", "a1b2c3d4e5"), "kata-a1b2c3d4e5"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTheStatusAnnotationsAreThoseOfTheContract(t *testing.T) {
	want := []string{
		"longshore.dev/conditions", "longshore.dev/message", "longshore.dev/observed-data", "longshore.dev/phase", "longshore.dev/progress", "longshore.dev/revision",
		"longshore.dev/warnings",
	}
	if !slices.Equal(want, SpecAnnotations) {
		t.Errorf("got %q, want %q", SpecAnnotations, want)
	}
}

func TestRuntimeOfKeyKnowsOurKeysFromOthers(t *testing.T) {
	cases := map[string]string{
		"kata.longshore.dev/gate":          "kata",
		"kata-qemu.longshore.dev/whatever": "kata-qemu",
		"longshore.dev/runtime":            "",
		".longshore.dev/gate":              "",
		"kata.longshore.dev":               "",
		"kata.longshore.dev.example/gate":  "",
		"katalongshore.dev/gate":           "",
		"kubernetes.io/os":                 "",
		"type":                             "",
		"":                                 "",
		// A runtime's name is a DNS label: what has dots in it belongs to somebody else.
		"a.kata.longshore.dev/gate": "",
	}
	for key, want := range cases {
		if got := RuntimeOfKey(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestKeysAndNamesAreValidForTheLongestRuntime(t *testing.T) {
	// 40 characters are the limit of a runtime's name, 10 the length of a revision, and uninstall is the longest step.
	runtime := strings.Repeat("k", 40)
	const revision = "a123456789"
	for _, key := range []string{GateKey(runtime), ReadyKey(runtime), PhaseKey(runtime), ProgressKey(runtime), HoldKey(runtime), RetryKey(runtime), NotReadyTaint(runtime)} {
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			t.Errorf("%q: %v", key, errs)
		}
		if RuntimeOfKey(key) != runtime {
			t.Errorf("%q is not known as a key of the runtime", key)
		}
	}
	for _, value := range []string{GateValue(revision, string(Uninstall)), DaemonSetName(runtime, string(Uninstall), revision), RevisionName(runtime, revision)} {
		if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
			t.Errorf("%q is no label value: %v", value, errs)
		}
		if errs := validation.IsDNS1123Subdomain(value); len(errs) > 0 {
			t.Errorf("%q is no name: %v", value, errs)
		}
	}
}

func TestGatesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		revision := rapid.StringMatching(`a[0-9a-z]{9}`).Draw(t, "revision")
		step := rapid.SampledFrom([]string{"install", "uninstall", "cleanup", "pre", "post"}).Draw(t, "step")
		r, s, ok := ParseGate(GateValue(revision, step))
		if !ok || r != revision || s != step {
			t.Fatalf("read %q %q %v", r, s, ok)
		}
	})
	if _, _, ok := ParseGate("install"); ok {
		t.Error("a gate without a revision was read")
	}
}
