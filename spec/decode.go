package spec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// decode reads the YAML of one data key into a Go value by its JSON names and returns every mistake in it, each with the
// path inside the value. What is wrong is left zero, so that checks of the rest still make sense.
//
// The decoders at hand stop at the first wrong type, match names without regard to case, or give no path: hence this walk,
// which compares the YAML with the Go type and writes the JSON that the type then reads.
func decode(path *field.Path, text string, into any) field.ErrorList {
	t := plain(reflect.TypeOf(into))
	root, err := readYAML(path, text, typeName(t))
	if err != nil {
		return field.ErrorList{err}
	}
	d := decoder{}
	d.value(path, root, t)
	if err := json.Unmarshal(d.json, into); err != nil {
		d.report(field.Invalid(path, text, err.Error()))
	}
	return d.errs
}

// decoder writes JSON while it compares a YAML tree with a Go type.
type decoder struct {
	json []byte
	errs field.ErrorList
}

// report keeps an error, as long as there are not so many that nobody reads them.
func (d *decoder) report(err *field.Error) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, err)
	}
}

// plain is a type without its pointers.
func plain(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func (d *decoder) value(path *field.Path, n *yaml.Node, t reflect.Type) {
	t = plain(t)
	if n.ShortTag() == "!!null" && t.Kind() != reflect.Interface {
		d.refuse(path, n, typeName(t), emptyOf(t))
		return
	}
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(jsonUnmarshaler) || pointer.Implements(textUnmarshaler):
		d.leaf(path, n, t)
	case t.Kind() == reflect.Struct:
		d.object(path, n, t)
	case t.Kind() == reflect.Map:
		d.mapping(path, n, t.Elem())
	case t.Kind() == reflect.Slice:
		d.list(path, n, t)
	case t.Kind() == reflect.Interface:
		d.anything(path, n)
	default:
		d.scalar(path, n, t)
	}
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// refuse reports a wrong type and stands null in its place.
func (d *decoder) refuse(path *field.Path, n *yaml.Node, expected, hint string) {
	detail := fmt.Sprintf("expected %s, found %s", expected, nodeName(n))
	if hint != "" {
		detail += ": " + hint
	}
	var found any = field.OmitValueType{}
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		found = n.Value
	}
	d.report(field.TypeInvalid(path, found, detail))
	d.json = append(d.json, "null"...)
}

// object reads a mapping into a struct: only its own field names, each once.
func (d *decoder) object(path *field.Path, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.MappingNode {
		d.refuse(path, n, "an object", "")
		return
	}
	fields := fieldsOf(t)
	child := func(name string) *field.Path { return path.Child(name) }
	d.entries(n, child, func(at *field.Path, name string, value *yaml.Node) bool {
		fieldType, known := fields.types[name]
		if !known {
			d.report(field.Forbidden(at, "unknown field"+suggestion(name, fields.names)))
			return false
		}
		d.text(name)
		d.json = append(d.json, ':')
		d.value(at, value, fieldType)
		return true
	})
}

// mapping reads a mapping with free keys.
func (d *decoder) mapping(path *field.Path, n *yaml.Node, elem reflect.Type) {
	if n.Kind != yaml.MappingNode {
		d.refuse(path, n, "an object", "")
		return
	}
	d.entries(n, path.Key, func(at *field.Path, name string, value *yaml.Node) bool {
		d.text(name)
		d.json = append(d.json, ':')
		d.value(at, value, elem)
		return true
	})
}

// entries walks the pairs of a mapping in the order of their keys, so that the JSON is canonical. write says whether it
// wrote the pair.
func (d *decoder) entries(n *yaml.Node, step func(string) *field.Path, write func(*field.Path, string, *yaml.Node) bool) {
	pairs := make([][2]*yaml.Node, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, [2]*yaml.Node{n.Content[i], n.Content[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b [2]*yaml.Node) int { return strings.Compare(a[0].Value, b[0].Value) })
	d.json = append(d.json, '{')
	first := true
	for i, pair := range pairs {
		name := pair[0].Value
		at := step(name)
		switch {
		case pair[0].Kind != yaml.ScalarNode:
			d.report(field.TypeInvalid(at, field.OmitValueType{}, "expected a name in front of the colon, found "+nodeName(pair[0])))
			continue
		case pair[0].ShortTag() != "!!str":
			d.report(field.TypeInvalid(at, name, "expected a string as a name, found "+nodeName(pair[0])+": put it in quotes"))
			continue
		case isOldBoolean(pair[0]):
			d.report(field.TypeInvalid(at, name, "expected a name, found "+oldBoolean+": put it in quotes"))
			continue
		case i > 0 && pairs[i-1][0].Value == name:
			d.report(duplicate(at, name, "the field is given twice: keep one of them"))
			continue
		}
		mark := len(d.json)
		if !first {
			d.json = append(d.json, ',')
		}
		if !write(at, name, pair[1]) {
			d.json = d.json[:mark]
			continue
		}
		first = false
	}
	d.json = append(d.json, '}')
}

func (d *decoder) list(path *field.Path, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.SequenceNode {
		d.refuse(path, n, "a list", "")
		return
	}
	d.json = append(d.json, '[')
	for i, item := range n.Content {
		if i > 0 {
			d.json = append(d.json, ',')
		}
		d.value(path.Index(i), item, t.Elem())
	}
	d.json = append(d.json, ']')
}

// anything writes a node whose type is not known, as in the body of a patch.
func (d *decoder) anything(path *field.Path, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		d.mapping(path, n, reflect.TypeFor[any]())
	case yaml.SequenceNode:
		d.list(path, n, reflect.TypeFor[[]any]())
	default:
		switch tag := n.ShortTag(); {
		case isHostileNumber(n.Value):
			d.refuse(path, n, "a number of sensible size", "")
		case tag == "!!null":
			d.json = append(d.json, "null"...)
		case tag == "!!bool":
			d.scalar(path, n, reflect.TypeFor[bool]())
		case tag == "!!int":
			d.scalar(path, n, reflect.TypeFor[int64]())
		case tag == "!!float":
			d.scalar(path, n, reflect.TypeFor[float64]())
		default:
			d.scalar(path, n, reflect.TypeFor[string]())
		}
	}
}

// scalar reads strings, booleans and numbers.
func (d *decoder) scalar(path *field.Path, n *yaml.Node, t reflect.Type) {
	tag := n.ShortTag()
	kind := t.Kind()
	switch {
	case n.Kind != yaml.ScalarNode:
		d.refuse(path, n, typeName(t), pasteHint(path, t))
	case isOldBoolean(n):
		d.refuse(path, n, typeName(t), unambiguous(kind))
	case kind == reflect.String && (tag == "!!str" || tag == "!!timestamp"):
		d.text(n.Value)
	case kind == reflect.String:
		d.refuse(path, n, typeName(t), "put it in quotes")
	case kind == reflect.Bool && tag == "!!bool":
		d.json = strconv.AppendBool(d.json, strings.EqualFold(n.Value, "true"))
	case isInt(kind) && (tag == "!!int" || tag == "!!float"):
		var number int64
		if err := n.Decode(&number); err != nil || tag != "!!int" || reflect.Zero(t).OverflowInt(number) {
			d.refuse(path, n, fmt.Sprintf("a whole number of at most %d bits", t.Bits()), "")
			return
		}
		d.json = strconv.AppendInt(d.json, number, 10)
	case kind == reflect.Float64 && (tag == "!!float" || tag == "!!int"):
		var number float64
		if err := n.Decode(&number); err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
			d.refuse(path, n, "a finite number", "")
			return
		}
		d.json = strconv.AppendFloat(d.json, number, 'g', -1, 64)
	default:
		d.refuse(path, n, typeName(t), "")
	}
}

// leaf reads a type that reads itself, such as a quantity.
func (d *decoder) leaf(path *field.Path, n *yaml.Node, t reflect.Type) {
	start := len(d.json)
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		d.refuse(path, n, typeName(t), pasteHint(path, t))
		return
	case t == reflect.TypeFor[intstr.IntOrString]() && tag == "!!int":
		d.scalar(path, n, reflect.TypeFor[int32]())
		if string(d.json[start:]) == "null" {
			return
		}
	case t == reflect.TypeFor[resource.Quantity]():
		if !sensibleQuantity(n.Value) {
			d.refuse(path, n, typeName(t), "")
			return
		}
		d.text(n.Value)
	case tag != "!!str" && tag != "!!timestamp" || isOldBoolean(n):
		d.refuse(path, n, typeName(t), "put it in quotes")
		return
	default:
		d.text(n.Value)
	}
	if err := json.Unmarshal(d.json[start:], reflect.New(t).Interface()); err != nil {
		d.json = append(d.json[:start], "null"...)
		d.report(field.Invalid(path, n.Value, "expected "+typeName(t)))
	}
}

// text writes a JSON string.
func (d *decoder) text(s string) {
	quoted, _ := json.Marshal(s) // cannot fail: invalid UTF-8 is replaced, and was refused before
	d.json = append(d.json, quoted...)
}
