package apply

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

// Server-side apply puts our own fields right and leaves alone what others added: a node selector from `kubectl edit` would stay, and
// keep our pods away. So where others own fields of what is ours alone, these parts are replaced as a whole.

// foreign tells whether anybody but us owns fields below one of the paths of an object. The status has owners of its own.
func foreign(managed []metav1.ManagedFieldsEntry, paths []string) bool {
	return slices.ContainsFunc(managed, func(entry metav1.ManagedFieldsEntry) bool {
		if entry.Manager == observed.Manager || entry.Subresource != "" || entry.FieldsV1 == nil {
			return false
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			return false
		}
		return slices.ContainsFunc(paths, func(path string) bool {
			_, owned := fields["f:"+path]
			return owned
		})
	})
}

// replacement is the JSON Patch that makes the paths of an object what the applied body says, if the object still is at that version.
func replacement(body []byte, version string, paths []string) ([]byte, error) {
	var content map[string]json.RawMessage
	if err := json.Unmarshal(body, &content); err != nil {
		return nil, fmt.Errorf("read what was applied: %w", err)
	}
	ops := []operation{{Op: "test", Path: "/metadata/resourceVersion", Value: version}}
	for _, path := range paths {
		// Adding replaces what is there; null is nothing.
		var value any
		if part, ok := content[path]; ok {
			value = part
		}
		ops = append(ops, operation{Op: "add", Path: "/" + path, Value: value})
	}
	return json.Marshal(ops)
}
