package spec

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// Whatever a tool writes, as YAML, as compact or as indented JSON: it is read as it was meant, and is the same revision.
func TestEveryNotationIsReadAlike(t *testing.T) {
	text := rapid.OneOf(rapid.String().Filter(printable), rapid.SampledFrom([]string{
		"yes", "null", "~", "5", "0x10", "1e3", "2026-01-02", "<<", "*", "&a", "!x", "- a", "a: b", "#", " x ", "\n", "true", "\u2028", "'", `"`,
	}))
	rapid.Check(t, func(t *rapid.T) {
		command := append([]string{"run"}, rapid.SliceOfN(text, 0, 4).Draw(t, "command")...)
		env := []corev1.EnvVar{{Name: "A", Value: text.Draw(t, "value")}}
		size := rapid.Int64Range(0, 1<<40).Draw(t, "size")
		volumes := []map[string]any{{"name": "v", "emptyDir": map[string]any{"sizeLimit": size}}}
		read := func(write func(any) string) *Runtime {
			r, errs := Parse("kata", minimalWith(map[string]string{
				"installCmd": write(command), "environmentVariables": write(env), "installerVolumes": write(volumes),
			}), nil)
			if len(errs) > 0 {
				t.Fatalf("%s: %v", write([]any{command, env, volumes}), errs.ToAggregate())
			}
			return r
		}
		want := read(compact)
		for i, word := range want.InstallCmd {
			if word != command[i] {
				t.Fatalf("read %q, written %q", word, command[i])
			}
		}
		if want.Env[0].Value != env[0].Value || want.Volumes[0].EmptyDir.SizeLimit.Value() != size {
			t.Fatalf("read %+v and %+v, written %q and %d", want.Env, want.Volumes, env[0].Value, size)
		}
		for name, write := range map[string]func(any) string{"indented": indented, "YAML": asYAML} {
			if got := read(write); !bytes.Equal(got.Hashed(), want.Hashed()) {
				t.Fatalf("%s:\n%s\n%s", name, got.Hashed(), want.Hashed())
			}
		}
	})
}

// printable leaves out what YAML does not have even where JSON has it.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || r == '\uFEFF' || r&0xFFFE == 0xFFFE
	})
}

func compact(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func indented(v any) string {
	raw, _ := json.MarshalIndent(v, "", "  ")
	return string(raw)
}

func asYAML(v any) string {
	raw, _ := yaml.Marshal(v)
	return string(raw)
}
