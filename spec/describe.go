package spec

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// nodeName says in words what stands in the YAML.
func nodeName(n *yaml.Node) string {
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isOldBoolean(n):
		return oldBoolean
	case tag == "!!null":
		return "nothing"
	case tag == "!!bool":
		return "a boolean"
	case tag == "!!int", tag == "!!float":
		return "a number"
	}
	return "a string"
}

// typeName says in words what a Go type wants.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return "a quantity such as 250m or 160Mi"
	case reflect.TypeFor[intstr.IntOrString]():
		return "a number or a percentage such as 10%"
	case reflect.TypeFor[DoneLabel]():
		return "key=value, or key- for a label that is gone"
	}
	switch kind := t.Kind(); {
	case kind == reflect.Slice:
		return "a list"
	case kind == reflect.String:
		return "a string"
	case kind == reflect.Bool:
		return "true or false"
	case isInt(kind):
		return "a whole number"
	case kind == reflect.Float64:
		return "a number"
	}
	return "an object"
}

// emptyOf says how to write that something is empty, for those who wrote nothing.
func emptyOf(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.String:
		return `leave it out, or write "" for an empty string`
	case t.Kind() == reflect.Slice:
		return "leave it out, or write [] for an empty list"
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(jsonUnmarshaler), t.Kind() == reflect.Map:
		return "leave it out, or write {} for an empty object"
	}
	return "leave it out"
}

// unambiguous says how to write what only some readers of YAML take for a boolean.
func unambiguous(wanted reflect.Kind) string {
	if wanted == reflect.Bool {
		return "write true or false"
	}
	return "put it in quotes"
}

// pasteHint helps those who paste from a RuntimeClass or from a kustomization.
func pasteHint(path *field.Path, t reflect.Type) string {
	at := path.String()
	switch {
	case t == reflect.TypeFor[resource.Quantity]() && strings.HasSuffix(at, "[podFixed]"):
		return "write the resources directly below overhead"
	case t.Kind() == reflect.String && strings.HasSuffix(at, ".patch"):
		return "write patch: |- and indent the body below it"
	}
	return ""
}

// duplicate is a field.Duplicate with an explanation.
func duplicate(path *field.Path, value any, detail string) *field.Error {
	err := field.Duplicate(path, value)
	err.Detail = detail
	return err
}

// maxListed is how many names a message may list.
const maxListed = 12

// suggestion names the known name nearest to a wrong one, or all where they are few.
func suggestion(wrong string, known []string) string {
	if best := nearest(strings.ToLower(wrong), known); best != "" {
		return `, did you mean "` + best + `"?`
	}
	if len(known) > maxListed {
		return ""
	}
	return ", expected one of: " + strings.Join(known, ", ")
}

// nearest finds the name that differs in at most a third of its letters, else the first that has the wrong one in it.
func nearest(wrong string, known []string) string {
	if len(wrong) > maxExcerpt {
		return ""
	}
	best, distance := "", max(3, len(wrong)/3+1)
	for _, name := range known {
		if got := editDistance(wrong, strings.ToLower(name)); got < min(distance, len(name)) {
			best, distance = name, got
		}
	}
	if best != "" || len(wrong) < 3 {
		return best
	}
	for _, name := range known {
		if strings.Contains(strings.ToLower(name), wrong) {
			return name
		}
	}
	return ""
}

// editDistance counts the letters to insert, remove or replace between two short words (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// sensibleQuantity keeps exponents away from the quantity parser that cost it time without end: 1e-99999999 takes half a
// minute.
func sensibleQuantity(text string) bool {
	if len(text) > 40 {
		return false
	}
	if _, exponent, found := strings.Cut(strings.ToLower(text), "e"); found {
		return len(strings.TrimLeft(exponent, "+-")) <= 2
	}
	return true
}

// isHostileNumber says the same of text in the body of a patch, where nobody knows yet what will be read as a quantity.
func isHostileNumber(text string) bool {
	mantissa, exponent, found := strings.Cut(strings.ToLower(text), "e-")
	return found && len(exponent) > 5 && strings.Trim(mantissa, "+-.0123456789") == "" && strings.Trim(exponent, "0123456789") == ""
}
