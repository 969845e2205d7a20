package spec

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// FuzzParseValue gives any text to any one key of a valid spec.
func FuzzParseValue(f *testing.F) {
	for i, k := range keys {
		for _, value := range specSuite().values(f, k.name) {
			f.Add(byte(i), value)
		}
	}
	for _, value := range hostileValues() {
		value = value[:min(len(value), 2000)]
		for i := range keys {
			f.Add(byte(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, key byte, value string) {
		data := minimalWith(map[string]string{keys[int(key)%len(keys)].name: value})
		checkParse(t, "kata", data)
	})
}

// FuzzParse gives any data to Parse: lines `key=value`, where a line that begins with a space goes on with the value above.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"typical.yaml", "revisions/everything.yaml", "revisions/minimal.yaml"} {
		name, data := readSpec(f, file)
		f.Add(name, joinData(data))
	}
	f.Add("kata", "payloadImage=a\npayloadImage=b")
	f.Add("kata", "=\n==\n\x00=\xff")
	f.Add(strings.Repeat("k", 300), "installCmd=[[[[[[[[[[")
	f.Fuzz(func(t *testing.T, name, text string) {
		checkParse(t, name, splitData(text))
	})
}

func joinData(data map[string]string) string {
	var text strings.Builder
	for key, value := range data {
		fmt.Fprintf(&text, "%s=%s\n", key, strings.ReplaceAll(value, "\n", "\n "))
	}
	return text.String()
}

func splitData(text string) map[string]string {
	data := map[string]string{}
	last := ""
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, " "); ok {
			data[last] += "\n" + rest
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		data[key], last = value, key
	}
	return data
}

var revisionForm = regexp.MustCompile(`^a[a-z0-9]{9}$`)

// checkParse holds what is true of every spec: a runtime or errors but not both, messages that can be shown, and a
// revision that stays the same when the spec is read again.
func checkParse(t *testing.T, name string, data map[string]string) {
	t.Helper()
	r, errs := Parse(name, data, nil)
	if (r == nil) == (len(errs) == 0) {
		t.Fatalf("runtime %v and errors %v", r, errs)
	}
	checkMessages(t, errs)
	if r == nil {
		return
	}
	if !revisionForm.MatchString(r.Revision()) || r.NodeSelector == nil || ScaledMax(r.MaxUnavailable, 100) < 1 || r.InstallTimeout <= 0 || r.Attempts < 1 {
		t.Fatalf("revision %q of %+v", r.Revision(), r)
	}
	again, errs := Parse(name, data, nil)
	if len(errs) > 0 || !bytes.Equal(r.Hashed(), again.Hashed()) {
		t.Fatalf("read again: %v\n%s\n%s", errs, r.Hashed(), again.Hashed())
	}
}

func checkMessages(t *testing.T, errs field.ErrorList) {
	t.Helper()
	for _, err := range errs {
		if text := err.Error(); !utf8.ValidString(text) || len(text) > 2000 {
			t.Fatalf("message of %d bytes: %q", len(text), text)
		}
	}
}

// ambiguous is text that YAML 1.1, which Kubernetes reads, and YAML 1.2 understand differently, and tags, of which only a few pass.
var ambiguous = regexp.MustCompile(`!|0[oObBxX]|\d_|_\d|0\d`)

// FuzzParsePool gives any text to any one key of a valid pool.
func FuzzParsePool(f *testing.F) {
	for i, k := range poolKeys {
		for _, value := range poolSuite().values(f, k.name) {
			f.Add(byte(i), "databases", value)
		}
		for _, value := range hostileValues() {
			f.Add(byte(i), "databases", value[:min(len(value), 2000)])
		}
	}
	for _, schedule := range []string{"TZ=", "CRON_TZ=x", "@", "@daily", "@every 0s", "*/0 * * * *", "0 0 30 2 *", "1-99999999999999999999 * * * *", ", , , , ,"} {
		f.Add(byte(2), "a", fmt.Sprintf("{schedule: %q, duration: 1h, timeZone: Europe/Berlin}", schedule))
	}
	f.Fuzz(func(t *testing.T, key byte, name, value string) {
		data := minimalPool()
		data[poolKeys[int(key)%len(poolKeys)].name] = value
		pool, errs := ParsePool(name, data, nil)
		if (pool == nil) == (len(errs) == 0) {
			t.Fatalf("pool %v and errors %v", pool, errs)
		}
		checkMessages(t, errs)
		if pool == nil {
			return
		}
		if pool.NodeSelector == nil || pool.MaxUnavailable != nil && ScaledMax(*pool.MaxUnavailable, 100) < 1 {
			t.Fatalf("%+v", pool)
		}
		if w := pool.MaintenanceWindow; w != nil && (w.Duration <= 0 || w.TimeZone == nil || w.Schedule.Next(sometime).IsZero()) {
			t.Fatalf("%+v", w)
		}
	})
}

// FuzzDecodeAgreesWithKubernetes compares what decode accepts with what the YAML reader of Kubernetes makes of the same text.
func FuzzDecodeAgreesWithKubernetes(f *testing.F) {
	targets := []reflect.Type{
		reflect.TypeFor[[]string](), reflect.TypeFor[Hook](), reflect.TypeFor[[]RuntimeClass](), reflect.TypeFor[PodSecurity](),
		reflect.TypeFor[[]Patch](), reflect.TypeFor[any](), reflect.TypeFor[[]waveText](), reflect.TypeFor[windowText](),
	}
	for i := range targets {
		f.Add(byte(i), "- {name: a, handler: b, overhead: {cpu: 1.5, memory: 1Gi}}")
		f.Add(byte(i), "image: a\ncmd: ['x', \"y\\n\", !!str 5]\nvolumes:\n- name: a\n  hostPath: {path: /a}\n")
		f.Add(byte(i), "a: |\n  b\nc: >-\n  d\n  e\n? f\n: -1.50e3\n")
		f.Add(byte(i), "privileged: True\nhostPID: FALSE\nterminationGracePeriodSeconds: +5")
	}
	f.Fuzz(func(t *testing.T, kind byte, text string) {
		target := targets[int(kind)%len(targets)]
		ours, theirs := reflect.New(target), reflect.New(target)
		if !utf8.ValidString(text) || ambiguous.MatchString(text) || len(decode(nil, text, ours.Interface())) > 0 {
			return
		}
		if err := yaml.UnmarshalStrict([]byte(text), theirs.Interface()); err != nil {
			t.Fatalf("%q: only we read it: %v", text, err)
		}
		if !equality.Semantic.DeepEqual(ours.Interface(), theirs.Interface()) {
			t.Fatalf("%q: we read %+v, Kubernetes %+v", text, ours.Elem(), theirs.Elem())
		}
	})
}
