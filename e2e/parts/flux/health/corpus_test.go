package health

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// gitops is the folder of the files that are shipped, seen from this package.
const gitops = "../../../../gitops"

// verdictCase is one file of gitops/testdata/verdicts: a ConfigMap, and what each engine has to say about it.
type verdictCase struct {
	Name   string         `json:"name"`
	Object map[string]any `json:"object"`
	// Padding is the size of a further value in data, in bytes, for data that is too large for a file.
	Padding int `json:"padding,omitempty"`
	Argocd  struct {
		Status  string `json:"status"`
		Message string `json:"message,omitempty"`
	} `json:"argocd"`
	Flux string `json:"flux"`
}

// configMap is the object of the case, with its padding.
func (c *verdictCase) configMap(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: c.Object}
	if c.Padding > 0 {
		set(t, u, strings.Repeat("x", c.Padding), "data", "padding")
	}
	return u
}

func loadCases(t *testing.T) []verdictCase {
	t.Helper()
	paths, err := filepath.Glob(gitops + "/testdata/verdicts/*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("found %d verdicts in %s, expected at least 40: %v", len(paths), gitops, err)
	}
	var cases []verdictCase
	for _, path := range paths {
		var c verdictCase
		readYAML(t, path, &c)
		cases = append(cases, c)
	}
	return cases
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(content, into); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
}

// state is one line of the file that LONGSHORE_STATES names: a ConfigMap as the product wrote it, or as somebody
// changed it since.
type state struct {
	Stale  bool           `json:"stale"`
	Object map[string]any `json:"object"`
}

// forEachState calls check for every line of the file that LONGSHORE_STATES names.
func forEachState(t *testing.T, check func(line int, s state)) {
	t.Helper()
	path := os.Getenv("LONGSHORE_STATES")
	if path == "" {
		t.Skip("LONGSHORE_STATES names no file of ConfigMaps from whole rollouts")
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	count := 0
	for lines.Scan() {
		count++
		var s state
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%s line %d: %v", path, count, err)
		}
		check(count, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	if count == 0 {
		t.Fatalf("%s has no line, expected at least one state", path)
	}
	t.Logf("%d states", count)
}

// standing is what the contract asks about an object before it looks at the phase.
type standing struct {
	ours, pool, elsewhere, deleted, unobserved bool
	phase                                      string
}

func standingOf(u *unstructured.Unstructured) standing {
	_, runtime := u.GetLabels()["longshore.dev/runtime"]
	poolName, pool := u.GetLabels()["longshore.dev/pool"]
	_, observed := u.GetAnnotations()["longshore.dev/observed-data"]
	return standing{
		ours:       runtime || pool,
		pool:       poolName != "",
		elsewhere:  u.GetNamespace() != "longshore",
		deleted:    u.GetDeletionTimestamp() != nil,
		unobserved: !observed,
		phase:      u.GetAnnotations()["longshore.dev/phase"],
	}
}

// edits are changes of an object after which its status speaks of something else, by a sentence about each.
func edits(t *testing.T, object *unstructured.Unstructured) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	edit := func(sentence string, change func(u *unstructured.Unstructured)) {
		u := object.DeepCopy()
		change(u)
		setOwners(u)
		out[sentence] = u
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range data {
		for how, changed := range otherValues(key, value) {
			edit(key+" became "+how, func(u *unstructured.Unstructured) { set(t, u, changed, "data", key) })
		}
		edit(key+" went away", func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "data", key) })
		edit(key+" changed its name", func(u *unstructured.Unstructured) {
			unstructured.RemoveNestedField(u.Object, "data", key)
			set(t, u, value, "data", key+"x")
		})
	}
	if len(data) > 0 {
		edit("all keys went away", func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "data") })
	}
	edit("a binary key came", func(u *unstructured.Unstructured) { set(t, u, "AAEC", "binaryData", "zz") })
	edit("the label moved", func(u *unstructured.Unstructured) {
		labels := u.GetLabels()
		for _, kind := range []string{"longshore.dev/runtime", "longshore.dev/pool"} {
			if _, there := labels[kind]; there {
				labels[kind] = "moved"
			}
		}
		u.SetLabels(labels)
	})
	return out
}

// otherValues are values that a key could have instead, among them some that look like observed-data itself.
func otherValues(key, value string) map[string]string {
	out := map[string]string{
		"longer":            value + "x",
		"longer by a line":  value + "\n",
		"longer in front":   "x" + value,
		"like its own end":  value + "\n--" + key + "\n",
		"like its own text": value + "\n--" + key + "\n" + key + "=" + value,
	}
	if value != "" {
		out["shorter"] = value[:len(value)-1]
		out["empty"] = ""
	}
	return out
}

// manyKeys is a fresh ConfigMap with as many keys as fit into 64 KiB. No spec knows so many, so it is Invalid.
func manyKeys() *unstructured.Unstructured {
	data := map[string]any{}
	var text strings.Builder
	const count = 9000
	fmt.Fprintf(&text, "keys=%d\n", count)
	for i := range count {
		key := fmt.Sprintf("k%05d", i)
		data[key] = "v"
		fmt.Fprintf(&text, "%s=v\n--%s\n", key, key)
	}
	text.WriteString("runtime=kata binaryData=0\n")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": data}}
	u.SetNamespace("longshore")
	u.SetName("kata")
	u.SetLabels(map[string]string{"longshore.dev/runtime": "kata"})
	u.SetAnnotations(map[string]string{
		"longshore.dev/phase": "Invalid", "longshore.dev/message": "unknown keys",
		"longshore.dev/observed-data": text.String(),
	})
	return u
}

// set puts a value into the object, and makes the maps on the way to it.
func set(t *testing.T, u *unstructured.Unstructured, value string, fields ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(u.Object, value, fields...); err != nil {
		t.Fatal(err)
	}
}

// setOwners does what the API server does at a write: empty maps go, and managed fields name the keys that are there.
func setOwners(u *unstructured.Unstructured) {
	owned := map[string]any{}
	for _, field := range []string{"data", "binaryData"} {
		values, _, _ := unstructured.NestedMap(u.Object, field)
		if len(values) == 0 {
			unstructured.RemoveNestedField(u.Object, field)
			continue
		}
		keys := map[string]any{".": map[string]any{}}
		for key := range values {
			keys["f:"+key] = map[string]any{}
		}
		owned["f:"+field] = keys
	}
	_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{
		"manager": "git", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned,
	}}, "metadata", "managedFields")
}
