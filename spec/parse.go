package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits of a spec as a whole.
const (
	// MaxSize keeps a spec, its copy in an annotation and its snapshot well below what an API server stores. It is in bytes, see [Size].
	MaxSize = 64 << 10
	// maxName leaves room for `-<step>-<revision>` in the 63 characters of a label value.
	maxName = 40
)

// Parse reads the data of a spec: name is the value of [LabelRuntime]. It returns the runtime with every default filled in,
// or nil and all that is wrong with the spec, in the order of the table of keys.
func Parse(name string, data map[string]string, binaryData map[string][]byte) (*Runtime, field.ErrorList) {
	p := newParser(name, data)
	if p.begin(aSpec, name, binaryData) {
		p.readKeys()
		p.checkRelations()
	}
	if len(p.errs) > 0 {
		return nil, readable(p.errs)
	}
	return p.runtime, nil
}

// parser is one run of [Parse].
type parser struct {
	reading
	runtime *Runtime
}

func newParser(name string, data map[string]string) *parser {
	return &parser{runtime: defaults(name), reading: newReading(data)}
}

func (p *parser) readKeys() { readKeys(&p.reading, keys, p.runtime) }

// kind is what is read from a ConfigMap, for messages.
type kind struct {
	// label makes a ConfigMap one of the kind; its value names what is described.
	label, named, example string
	// is the kind itself.
	is string
}

var (
	aSpec = kind{label: LabelRuntime, named: "runtime", example: "kata", is: "a spec"}
	aPool = kind{label: LabelPool, named: "pool", example: "databases", is: "a pool"}
)

// reading is the data of a ConfigMap, and all that is wrong with it.
type reading struct {
	data map[string]string
	root *field.Path
	errs field.ErrorList
}

func newReading(data map[string]string) reading {
	return reading{data: data, root: field.NewPath("data")}
}

func (r *reading) add(errs ...*field.Error) { r.errs = append(r.errs, errs...) }

// begin checks all but the keys, and says whether they can be read.
func (r *reading) begin(k kind, name string, binaryData map[string][]byte) bool {
	r.checkName(k, name)
	for _, key := range slices.Sorted(maps.Keys(binaryData)) {
		r.add(field.Forbidden(field.NewPath("binaryData").Key(key), k.is+" is text: put the key into data"))
	}
	for _, key := range ReservedLines(r.data) {
		r.add(field.Invalid(r.root.Key(key), field.OmitValueType{}, fmt.Sprintf("the line %q is reserved: it ends the value in the annotation longshore.dev/observed-data", "--"+key)))
	}
	return r.checkSize(binaryData)
}

// has says whether the data gives a key.
func (r *reading) has(key string) bool {
	_, ok := r.data[key]
	return ok
}

// sound says whether none of the keys has an error yet: only then does it make sense to compare them with each other.
func (r *reading) sound(keys ...string) bool {
	for _, err := range r.errs {
		for _, key := range keys {
			if below(err.Field, r.root.Key(key).String()) {
				return false
			}
		}
	}
	return true
}

// below says whether a path is another one or leads on from it.
func below(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (r *reading) checkName(k kind, name string) {
	path := field.NewPath("metadata", "labels").Key(k.label)
	if name == "" {
		r.add(field.Required(path, "the value is the name of the "+k.named+", such as "+k.example))
		return
	}
	for _, complaint := range validation.IsDNS1123Label(name) {
		r.add(field.Invalid(path, name, "the name of a "+k.named+" is a DNS label: "+complaint))
	}
	if len(name) > maxName {
		r.add(field.Invalid(path, name, fmt.Sprintf("the name of a %s has at most %d characters, found %d", k.named, maxName, len(name))))
	}
}

// Size is how many bytes keys and values have together.
func Size(data map[string]string, binaryData map[string][]byte) int {
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
	}
	for key, value := range binaryData {
		size += len(key) + len(value)
	}
	return size
}

// ReservedLines are the keys whose values have a line `--<key>`, sorted: the annotation `longshore.dev/observed-data` ends a value so.
func ReservedLines(data map[string]string) []string {
	var keys []string
	for key, value := range data {
		if strings.Contains("\n"+value+"\n", "\n--"+key+"\n") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// checkSize says whether the data is small enough to be read at all.
func (r *reading) checkSize(binaryData map[string][]byte) bool {
	size := Size(r.data, binaryData)
	if size <= MaxSize {
		return true
	}
	r.add(field.Invalid(r.root, field.OmitValueType{}, fmt.Sprintf("keys and values together may have %d bytes, found %d", MaxSize, size)))
	return false
}

// readKeys reads the keys that there are, in the order of their table, and refuses all others.
func readKeys[S any](r *reading, table []key[S], into *S) {
	for _, k := range table {
		if text, ok := r.data[k.name]; ok {
			r.add(readKey(k, r.root.Key(k.name), text, into)...)
		}
	}
	known := namesOf(table)
	for _, name := range slices.Sorted(maps.Keys(r.data)) {
		if !slices.Contains(known, name) {
			r.add(field.Forbidden(r.root.Key(name), "unknown key"+cmp.Or(suggestion(name, known), ", docs/spec.md lists those there are")))
		}
	}
}

func readKey[S any](k key[S], path *field.Path, text string, into *S) field.ErrorList {
	if !utf8.ValidString(text) {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "not valid UTF-8")}
	}
	return k.read(into, path, text)
}
