package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// seen is a ConfigMap as a JSON Schema sees it.
func seen(t testing.TB, configMap *corev1.ConfigMap) any {
	t.Helper()
	raw, err := json.Marshal(configMap)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The cases of the parser know many more ways of writing a value than the corpus.
func TestSchemaAcceptsEveryValueThatTheParserAccepts(t *testing.T) {
	s := compiled(t)
	accepted := specSuite().compare(t, s, LabelRuntime) + poolSuite().compare(t, s, LabelPool)
	if accepted < 200 {
		t.Errorf("only %d values were accepted by the parser and shown to the schema", accepted)
	}
}

// compare shows the schema what the parser accepts, also with space around it, and returns how much that was.
func (s suite[S]) compare(t *testing.T, schema *jsonschema.Schema, label string) (accepted int) {
	t.Helper()
	for _, k := range s.keys {
		for _, data := range s.given(t, k.name) {
			written := data[k.name]
			for _, text := range []string{written, "\u3000\u0085\v" + written + " \r\n", " " + written + "\n"} {
				data[k.name] = text
				if _, errs := s.parse(data); len(errs) > 0 {
					continue
				}
				accepted++
				configMap := &corev1.ConfigMap{
					TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
					ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{label: "kata"}}, Data: data,
				}
				if err := schema.Validate(seen(t, configMap)); err != nil {
					t.Errorf("%s %q: the parser accepts it and the schema does not: %v", k.name, text, err)
				}
			}
		}
	}
	return accepted
}

// given is the data of all cases of a key.
func (s suite[S]) given(t *testing.T, key string) []map[string]string {
	t.Helper()
	raw, err := os.ReadFile(s.file(key))
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	values := s.values(t, key)
	for i, written := range strings.Split(string(raw), "\n\n") {
		data := s.shortest()
		data[key] = values[i]
		for line := range strings.SplitSeq(written, "\n") {
			if text, ok := strings.CutPrefix(line, "+"); ok {
				other, text, _ := strings.Cut(text, ": ")
				data[other] = text
			}
		}
		all = append(all, data)
	}
	return all
}

// A shape that is too narrow refuses what the parser accepts. Values that differ in one character from the
// cases find its edges.
func TestShapesAllowEveryTextThatTheParserAccepts(t *testing.T) {
	accepted := specSuite().tryShapes(t) + poolSuite().tryShapes(t)
	if accepted < 5_000 {
		t.Errorf("only %d texts were accepted by the parser and shown to the shapes", accepted)
	}
}

// edges are the characters that mean something in some scalar.
const edges = "09aZ.-+_/:=%@[]* \u00b5\nhms"

func (s suite[S]) tryShapes(t *testing.T) (accepted int) {
	t.Helper()
	for _, k := range s.keys {
		if k.shape.pattern == "" {
			continue
		}
		whole, never := regexp.MustCompile(around(k.shape.pattern)), regexp.MustCompile("^(?:"+k.shape.never+")")
		for _, written := range s.values(t, k.name) {
			for _, text := range neighbours(written) {
				if errs := k.read(new(S), field.NewPath(k.name), text); len(errs) > 0 {
					continue
				}
				accepted++
				if !whole.MatchString(text) || k.shape.never != "" && never.MatchString(strings.TrimSpace(text)) {
					t.Errorf("%s %q: the parser accepts it and the shape does not", k.name, text)
				}
			}
		}
	}
	return accepted
}

// neighbours are the texts that differ from one in a single character.
func neighbours(text string) []string {
	if len(text) > maxExcerpt {
		return []string{text}
	}
	all := []string{text}
	for i := range len(text) + 1 {
		for _, r := range edges {
			all = append(all, text[:i]+string(r)+text[i:])
			if i < len(text) {
				all = append(all, text[:i]+string(r)+text[i+1:])
			}
		}
		if i < len(text) {
			all = append(all, text[:i]+text[i+1:])
		}
	}
	return all
}
