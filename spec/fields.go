package spec

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// fields are the JSON names of a struct.
type fields struct {
	types map[string]reflect.Type
	names []string
}

var knownFields sync.Map // reflect.Type to *fields

func fieldsOf(t reflect.Type) *fields {
	if known, ok := knownFields.Load(t); ok {
		return known.(*fields)
	}
	f := &fields{types: map[string]reflect.Type{}}
	f.add(t)
	slices.Sort(f.names)
	knownFields.Store(t, f)
	return f
}

func (f *fields) add(t reflect.Type) {
	for sf := range t.Fields() {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case sf.Anonymous && name == "":
			f.add(sf.Type)
		case name != "" && name != "-":
			f.types[name] = sf.Type
			f.names = append(f.names, name)
		}
	}
}

func isInt(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Int64 }
