package spec

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// valuesFile has a definition for each key whose value is YAML. A configMapGenerator reads such values from
// files of their own.
const valuesFile = "schema.values.json"

func TestSchemaOfValuesIsMadeFromTheTypesOfTheParser(t *testing.T) {
	generated(t, valuesFile, schemaText(t, valuesSchema()))
}

func valuesSchema() tree {
	types := typeSchemas{definitions: tree{}, structs: map[string]reflect.Type{}}
	addValues(&types, keys)
	addValues(&types, poolKeys)
	return tree{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"title":   "Values of Longshore specs and pools",
		"description": "One definition for each key whose value is YAML. " +
			"Made from the types of the parser: UPDATE=1 go test ./spec -run Schema",
		"definitions": types.definitions,
	}
}

func addValues[S any](types *typeSchemas, table []key[S]) {
	for _, k := range table {
		if k.shape.of == nil {
			continue
		}
		definition := tree{"description": k.about}
		maps.Copy(definition, types.of(k.shape.of))
		if ref, ok := definition["$ref"]; ok {
			// Next to a $ref nothing else counts in draft 7.
			definition = tree{"description": k.about, "allOf": []any{tree{"$ref": ref}}}
		}
		types.definitions[k.name] = definition
	}
}

// typeSchemas turns Go types into schemas, by the rules of the decoder. Each struct becomes a definition.
type typeSchemas struct {
	definitions tree
	structs     map[string]reflect.Type
}

func (s *typeSchemas) of(t reflect.Type) tree {
	t = plain(t)
	pointer := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[resource.Quantity]():
		return tree{"type": []any{"string", "number"}}
	case t == reflect.TypeFor[intstr.IntOrString]():
		return tree{"type": []any{"string", "integer"}}
	case t == reflect.TypeFor[DoneLabel]():
		label := aDoneLabel.shape
		return tree{"type": "string", "pattern": "^(?:" + label.pattern + ")$", "not": tree{"pattern": "^" + label.never}}
	case pointer.Implements(jsonUnmarshaler), pointer.Implements(textUnmarshaler):
		return tree{"type": "string"}
	case t.Kind() == reflect.Struct:
		return s.object(t)
	case t.Kind() == reflect.Map:
		return tree{"type": "object", "additionalProperties": s.of(t.Elem())}
	case t.Kind() == reflect.Slice:
		return tree{"type": "array", "items": s.of(t.Elem())}
	case t.Kind() == reflect.String:
		return tree{"type": "string"}
	case t.Kind() == reflect.Bool:
		return tree{"type": "boolean"}
	case isInt(t.Kind()):
		return tree{"type": "integer"}
	case t.Kind() == reflect.Float64:
		return tree{"type": "number"}
	}
	return tree{}
}

func (s *typeSchemas) object(t reflect.Type) tree {
	name := t.String() // with the package, so that it is no key's
	ref := tree{"$ref": "#/definitions/" + name}
	if known, ok := s.structs[name]; ok {
		if known != t {
			panic("two types are called " + name + ": " + known.PkgPath() + " and " + t.PkgPath())
		}
		return ref
	}
	properties := tree{}
	s.structs[name] = t
	s.definitions[name] = tree{"type": "object", "additionalProperties": false, "properties": properties}
	for field, of := range fieldsOf(t).types {
		properties[field] = s.of(of)
	}
	return ref
}

// The cases of the parser, as files of their own.
func TestSchemaOfValuesAcceptsWhatTheParserAccepts(t *testing.T) {
	accepted, refused := specSuite().compareValues(t)
	more, alsoRefused := poolSuite().compareValues(t)
	if accepted+more < 25 || refused+alsoRefused < 40 {
		t.Errorf("both accept %d values and refuse %d: expected 25 and 40, or more", accepted+more, refused+alsoRefused)
	}
}

// compareValues shows the schema each value that is YAML, and returns how many both accept, and how many both refuse.
func (s suite[S]) compareValues(t *testing.T) (accepted, refused int) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	for _, k := range s.keys {
		if k.shape.of == nil {
			continue
		}
		schema, err := compiler.Compile(valuesFile + "#/definitions/" + k.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range s.given(t, k.name) {
			raw, err := yaml.YAMLToJSON([]byte(data[k.name]))
			if err != nil {
				continue // the parser refuses it, or reads YAML by rules of its own
			}
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
			if err != nil {
				t.Fatal(err)
			}
			_, errs := s.parse(data)
			switch err := schema.Validate(value); {
			case err == nil && len(errs) == 0:
				accepted++
			case err != nil && len(errs) > 0:
				refused++
			case err != nil:
				t.Errorf("%s %q: the parser accepts it and the schema does not: %v", k.name, data[k.name], err)
			}
		}
	}
	return accepted, refused
}
