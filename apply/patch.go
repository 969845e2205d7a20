package apply

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
)

// operation is one operation of a JSON Patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// MarshalJSON leaves the value out where the operation has none; a test for null has one.
func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// NodePatch is the JSON Patch of one transition: it tests the node's uid and the previous progress, and so changes nothing when
// somebody else was faster. Heartbeats of the kubelet do not disturb it, as a test of the resource version would be disturbed; only where there is no progress yet the version
// is tested as well.
func NodePatch(node *observed.Node, move observed.Transition) ([]byte, error) {
	ops := []operation{{Op: "test", Path: "/metadata/uid", Value: string(move.UID)}}
	if !move.HadBefore && node.ResourceVersion != "" {
		// That there is no progress says too little: there may have been one since, that is gone again, and with it the turn that whoever writes this believes in.
		ops = append(ops, operation{Op: "test", Path: "/metadata/resourceVersion", Value: node.ResourceVersion})
	}
	ops = append(ops, annotationOps(node, move)...)
	ops = append(ops, labelOps(node, move)...)
	ops = append(ops, taintOps(move)...)
	ops = append(ops, cordonOps(move)...)
	return json.Marshal(ops)
}

func annotationOps(node *observed.Node, move observed.Transition) []operation {
	path := "/metadata/annotations/" + escape(observed.ProgressKey(move.Runtime))
	var ops []operation
	switch {
	case move.HadBefore:
		ops = append(ops, operation{Op: "test", Path: path, Value: move.Before})
	case !node.HasAnnotations:
		ops = append(ops,
			operation{Op: "test", Path: "/metadata/annotations", Value: nil},
			operation{Op: "add", Path: "/metadata/annotations", Value: map[string]string{}})
	default:
		ops = append(ops, operation{Op: "test", Path: path, Value: nil})
	}
	if move.After != nil {
		return append(ops, operation{Op: "add", Path: path, Value: move.After.String()})
	}
	if move.HadBefore {
		ops = append(ops, operation{Op: "remove", Path: path})
	}
	if _, ok := node.Annotations[observed.RetryKey(move.Runtime)]; ok {
		ops = append(ops, operation{Op: "remove", Path: "/metadata/annotations/" + escape(observed.RetryKey(move.Runtime))})
	}
	return ops
}

func labelOps(node *observed.Node, move observed.Transition) []operation {
	want := map[string]string{
		observed.GateKey(move.Runtime):  move.Gate,
		observed.ReadyKey(move.Runtime): move.Ready,
		observed.PhaseKey(move.Runtime): "",
	}
	if move.After != nil {
		want[observed.PhaseKey(move.Runtime)] = string(move.After.Phase)
	}
	maps.Copy(want, move.Labels.Set)
	for _, key := range move.Labels.Remove {
		want[key] = ""
	}
	var ops []operation
	if node.Labels.IsZero() {
		ops = append(ops,
			operation{Op: "test", Path: "/metadata/labels", Value: nil},
			operation{Op: "add", Path: "/metadata/labels", Value: map[string]string{}})
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		have, there := node.Labels.Lookup(key)
		path := "/metadata/labels/" + escape(key)
		switch {
		case want[key] == "" && there:
			ops = append(ops, operation{Op: "remove", Path: path})
		case want[key] != "" && (!there || have != want[key]):
			ops = append(ops, operation{Op: "add", Path: path, Value: want[key]})
		}
	}
	return ops
}

func taintOps(move observed.Transition) []operation {
	const path = "/spec/taints"
	switch {
	case move.Taints == nil:
		return nil
	case len(move.Taints.After) == 0:
		return []operation{{Op: "test", Path: path, Value: move.Taints.Before}, {Op: "remove", Path: path}}
	}
	return []operation{{Op: "test", Path: path, Value: move.Taints.Before}, {Op: "replace", Path: path, Value: move.Taints.After}}
}

// cordonOps test what they change: a node that is open has no such field.
func cordonOps(move observed.Transition) []operation {
	const path = "/spec/unschedulable"
	switch move.Cordon {
	case observed.Cordoning:
		return []operation{{Op: "test", Path: path, Value: nil}, {Op: "add", Path: path, Value: true}}
	case observed.Uncordoning:
		return []operation{{Op: "test", Path: path, Value: true}, {Op: "remove", Path: path}}
	}
	return nil
}

// escape makes a key a part of a JSON Pointer (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
