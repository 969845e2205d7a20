package main

import (
	"errors"
	"fmt"
	"io"
	"maps"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// target is what is waited for: a runtime, or the spec or pool that stands in a file.
type target struct {
	runtime string
	pool    string
	// file is nil for a runtime that was given by its name.
	file *document
}

func (t target) String() string {
	switch {
	case t.pool != "":
		return fmt.Sprintf("pool %s (ConfigMap %q)", t.pool, t.file.spec.Name)
	case t.file != nil:
		return fmt.Sprintf("runtime %s (ConfigMap %q)", t.runtime, t.file.spec.Name)
	}
	return "runtime " + t.runtime
}

// targets are the runtimes that were named and the specs in files.
func (o *waitOptions) targets(names []string, stdin io.Reader) ([]target, error) {
	var targets []target
	for _, name := range names {
		targets = append(targets, target{runtime: name})
	}
	if len(o.files) == 0 {
		if len(targets) == 0 {
			return nil, errors.New("name a runtime, or a file with specs: longshore wait RUNTIME, longshore wait -f FILE")
		}
		return targets, nil
	}
	documents, err := readSpecs(o.files, stdin)
	if err != nil {
		return nil, err
	}
	for i := range documents {
		d := &documents[i]
		if o.what == "uninstalled" && d.spec.Labels[observed.LabelPool] != "" {
			continue // a pool puts nothing on nodes
		}
		if d.spec.Name == "" {
			return nil, fmt.Errorf("%s: the ConfigMap has no name, so that it cannot be found in the cluster", d)
		}
		if in := d.spec.Namespace; in != "" && in != o.namespace {
			return nil, fmt.Errorf("%s: namespace %q, expected %q: Longshore reads no specs elsewhere; --namespace says where it does", d, in, o.namespace)
		}
		targets = append(targets, target{runtime: plain(d.runtime()), pool: plain(d.spec.Labels[observed.LabelPool]), file: d})
	}
	return targets, nil
}

// speaks reports whether the ConfigMap in the file speaks for its runtime, with the same data. If not, it says how things stand and whether only
// people can change that.
func (t target) speaks(r *desired.Runtime) (stands string, never, speaks bool) {
	name := t.file.spec.Name
	if r != nil {
		for _, s := range r.Superseded {
			if s.Name == name {
				return string(status.Superseded) + ": " + status.SupersededWords(s, r.Source.Name), true, false
			}
		}
	}
	switch {
	case r == nil, r.Source == nil, r.Source.Name != name:
		return "the ConfigMap is not there", false, false
	case !maps.Equal(r.Source.Data, t.file.spec.Data):
		return "the ConfigMap in the cluster has other data than the one in " + t.file.file, false, false
	}
	return "", false, true
}

// poolStands says how the pool in the file stands, as a [goal] does.
func (t target) poolStands(v *view) (done bool, stands string, never bool) {
	for i := range v.plan.Pools {
		s := v.plan.Pools[i].Source
		switch p := &v.report.Pools[i]; {
		case s.Name != t.file.spec.Name:
		case !maps.Equal(s.Data, t.file.spec.Data):
			return false, "the ConfigMap in the cluster has other data than the one in " + t.file.file, false
		default:
			return p.Phase != status.Invalid, string(p.Phase) + ": " + p.Message, p.Phase == status.Invalid
		}
	}
	return false, "the ConfigMap is not there", false
}
