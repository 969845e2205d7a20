package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// tree is a part of a JSON Schema.
type tree = map[string]any

const (
	schemaFile = "schema.json"
	// space is what strings.TrimSpace takes off, as a class of characters. \s means something else in every engine.
	space = "[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
	// namePattern is a DNS label.
	namePattern = "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$"
)

func TestSchemaIsMadeFromTheTableOfKeys(t *testing.T) {
	generated(t, schemaFile, schemaText(t, schema()))
}

// generated compares a file with what it is made of, or writes it when UPDATE is set.
func generated(t *testing.T, file, text string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(raw), text); diff != "" {
		t.Errorf("%s (-) and what the table of keys says (+), UPDATE=1 writes it:\n%s", file, diff)
	}
}

// schemaText is a schema as JSON, in ASCII alone: editors and terminals show the space of the patterns as nothing.
func schemaText(t *testing.T, schema tree) string {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	var ascii strings.Builder
	for _, r := range out.String() {
		if r > '~' {
			fmt.Fprintf(&ascii, `\u%04x`, r)
			continue
		}
		ascii.WriteRune(r)
	}
	return ascii.String()
}

// schema is the JSON Schema of every object of a repository: it has something to say about specs and pools alone.
func schema() tree {
	return tree{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"title":   "Longshore specs and pools",
		"description": "ConfigMaps with the label " + LabelRuntime + " or " + LabelPool + ". " +
			"Made from the parser's table of keys: UPDATE=1 go test ./spec -run Schema",
		"allOf": []any{
			tree{"if": labelled(LabelRuntime), "then": tree{"$ref": "#/definitions/spec"}},
			tree{"if": labelled(LabelPool), "then": tree{"$ref": "#/definitions/pool"}},
		},
		"definitions": tree{
			"spec": configMap(LabelRuntime, LabelPool, "The name of the runtime.",
				dataSchema(keys, specRelations(), "payloadImage", "installCmd", "nodeSelector")),
			"pool": configMap(LabelPool, LabelRuntime, "The name of the pool.",
				dataSchema(poolKeys, nil, "nodeSelector")),
		},
	}
}

// labelled is what a ConfigMap with a label matches.
func labelled(label string) tree {
	labels := tree{"type": "object", "required": []any{label}}
	metadata := tree{"type": "object", "required": []any{"labels"}, "properties": tree{"labels": labels}}
	return tree{
		"type": "object", "required": []any{"kind", "metadata"},
		"properties": tree{"kind": tree{"const": "ConfigMap"}, "metadata": metadata},
	}
}

func configMap(label, otherLabel, about string, data tree) tree {
	name := tree{"type": "string", "description": about, "pattern": namePattern, "maxLength": maxName}
	return tree{
		"required":             []any{"apiVersion", "kind", "metadata", "data"},
		"additionalProperties": false,
		"properties": tree{
			"apiVersion": tree{"const": "v1"},
			"kind":       tree{"const": "ConfigMap"},
			"immutable":  tree{"type": "boolean"},
			"binaryData": tree{
				"type": "object", "description": "Specs and pools are text: put the key into data.", "maxProperties": 0,
			},
			"data": data,
			"metadata": tree{"properties": tree{
				"namespace": tree{
					"description": "Longshore reads specs and pools in the namespace longshore only.", "const": "longshore",
				},
				"labels": tree{"properties": tree{label: name, otherLabel: false}},
			}},
		},
	}
}

func dataSchema[S any](table []key[S], relations []any, required ...any) tree {
	properties := tree{}
	for _, k := range table {
		properties[k.name] = keySchema(k)
	}
	data := tree{"type": "object", "required": required, "additionalProperties": false, "properties": properties}
	if relations != nil {
		data["allOf"] = relations
	}
	return data
}

func keySchema[S any](k key[S]) tree {
	s := tree{"type": "string", "description": k.about, "maxLength": MaxSize}
	if k.otherwise != "" {
		s["default"] = k.otherwise
	}
	switch {
	case k.shape.words != nil:
		words := make([]any, len(k.shape.words))
		for i, word := range k.shape.words {
			words[i] = word
		}
		// Editors offer the words; the pattern is for those with space around them.
		s["anyOf"] = []any{tree{"enum": words}, tree{"pattern": around(strings.Join(k.shape.words, "|"))}}
		return s
	case k.shape.pattern != "":
		s["pattern"] = around(k.shape.pattern)
	default:
		s["pattern"] = "[^" + strings.TrimPrefix(space, "[")
	}
	// Editors show this instead of the pattern.
	s["patternErrorMessage"] = "expected " + k.shape.expected
	if k.shape.of != nil {
		s["contentMediaType"] = "application/yaml"
	}
	if k.shape.never != "" {
		s["not"] = tree{"pattern": "^" + space + "*" + k.shape.never}
	}
	return s
}

// around is a pattern of a whole text that may have space around it.
func around(pattern string) string { return "^" + space + "*(?:" + pattern + ")" + space + "*$" }

// specRelations are those rules about several keys that a schema can say.
func specRelations() []any {
	is := func(key, word string) tree {
		return tree{"required": []any{key}, "properties": tree{key: tree{"pattern": around(word)}}}
	}
	together := func(pairs ...string) tree {
		all := tree{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]], all[pairs[i+1]] = []any{pairs[i+1]}, []any{pairs[i]}
		}
		return all
	}
	return []any{
		tree{"if": is("deletionPolicy", string(DeletionOrphan)), "else": tree{"required": []any{"uninstallCmd"}}},
		tree{
			"if": is("completion", string(CompletionNodeLabel)),
			"then": tree{"dependencies": together("installCmd", "installDoneLabel",
				"uninstallCmd", "uninstallDoneLabel", "cleanupCmd", "cleanupDoneLabel")},
			"else": tree{"properties": tree{"installDoneLabel": false, "uninstallDoneLabel": false, "cleanupDoneLabel": false}},
		},
		tree{"dependencies": tree{"verify": []any{"runtimeClasses"}}},
		tree{"if": is("completion", string(CompletionReady)), "then": tree{"properties": tree{"verify": false}}},
	}
}

// compiled is the schema of the repository.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaNamesTheRealDefaults(t *testing.T) {
	specSuite().checkOtherwise(t)
	poolSuite().checkOtherwise(t)
}

func (s suite[S]) checkOtherwise(t *testing.T) {
	t.Helper()
	for _, k := range s.keys {
		if k.about == "" || k.shape.expected == "" {
			t.Errorf("%s: the table of keys does not say what it is about, or what is expected", k.name)
		}
		if k.otherwise == "" {
			continue
		}
		data := s.shortest()
		data[k.name] = k.otherwise
		object, errs := s.parse(data)
		if len(errs) > 0 {
			t.Errorf("%s: the default %q: %v", k.name, k.otherwise, errs.ToAggregate())
		} else if diff := s.differences(object); diff[0] != "nothing differs" {
			t.Errorf("%s: the default %q makes a difference: %v", k.name, k.otherwise, diff)
		}
	}
}
