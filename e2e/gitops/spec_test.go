package gitops

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// source is a spec as it stands in Git.
type source struct {
	runtime string
	data    map[string]string
	// annotations are put on the ConfigMap.
	annotations map[string]string
}

// spec is a spec of the runtime that installs at once on every node. More are pairs of key and value; an empty
// value removes the key.
func spec(runtime string, more ...string) source {
	classes := mustJSON([]any{map[string]any{"name": runtime, "handler": runtime}})
	data := map[string]string{
		"payloadImage": "gitops.test/payload:1", "installCmd": "[/install]", "uninstallCmd": "[/uninstall]",
		"nodeSelector": "*", "soak": "0s", "maxUnavailable": "100%", "runtimeClasses": classes, "inUsePolicy": "Ignore",
		"deletionGrace": "5s",
	}
	for pair := range slices.Chunk(more, 2) {
		data[pair[0]] = pair[1]
		if pair[1] == "" {
			delete(data, pair[0])
		}
	}
	return source{runtime: runtime, data: data}
}

// with is the same spec with other values.
func (s source) with(more ...string) source {
	data := maps.Clone(s.data)
	for pair := range slices.Chunk(more, 2) {
		data[pair[0]] = pair[1]
	}
	s.data = data
	return s
}

// notes is a ConfigMap that is not Longshore's business. Each application has it, so that the health checks meet
// one, and so that the folder is not empty without a spec: Argo CD refuses to prune everything.
func notes(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"text": "notes"},
		"metadata": map[string]any{"name": name + "-notes", "namespace": installers},
	}
}

// fixed is a folder with specs whose names do not depend on what is in them.
func fixed(folder string, specs ...source) map[string]string {
	files := map[string]string{"notes.json": mustJSON(notes(folder))}
	resources := []any{"notes.json"}
	for _, s := range specs {
		file := s.runtime + ".json"
		files[file] = mustJSON(s.configMap(s.runtime, installers))
		resources = append(resources, file)
	}
	files["kustomization.yaml"] = mustJSON(map[string]any{"resources": resources})
	return files
}

func (s source) configMap(name, namespace string) map[string]any {
	labels := map[string]any{domain + "runtime": s.runtime}
	metadata := map[string]any{"name": name, "namespace": namespace, "labels": labels}
	if len(s.annotations) > 0 {
		metadata["annotations"] = s.annotations
	}
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": s.data}
}

// hashed is a folder whose specs are named by a hash of what is in them.
func hashed(folder string, specs ...source) map[string]string {
	var generators []any
	for _, s := range specs {
		var literals []any
		for _, key := range slices.Sorted(maps.Keys(s.data)) {
			literals = append(literals, key+"="+s.data[key])
		}
		options := map[string]any{"labels": map[string]any{domain + "runtime": s.runtime}}
		if len(s.annotations) > 0 {
			options["annotations"] = s.annotations
		}
		generators = append(generators, map[string]any{
			"name": s.runtime, "namespace": installers, "literals": literals, "options": options,
		})
	}
	return map[string]string{
		"notes.json":         mustJSON(notes(folder)),
		"kustomization.yaml": mustJSON(map[string]any{"resources": []any{"notes.json"}, "configMapGenerator": generators}),
	}
}

func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestAFolderWithoutSpecsHasTheNotes(t *testing.T) {
	if files := fixed("x"); len(files) != 2 {
		t.Errorf("files = %v, want the kustomization and the notes", files)
	}
}
