package spec

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	policyBegin = "  # Made by UPDATE=1 go test ./spec -run Schema, from the parser's table of keys.\n"
	policyEnd   = "  # The end of what is made.\n"
)

func TestSchemaOfThePolicyIsMadeFromTheTableOfKeys(t *testing.T) {
	file := filepath.Join("..", "kustomize", "components", "validation", "policy.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), policyBegin)
	_, after, ended := strings.Cut(rest, policyEnd)
	if !found || !ended {
		t.Fatalf("%s does not have the lines %q and %q", file, policyBegin, policyEnd)
	}
	generated(t, file, before+policyBegin+policyVariables(t)+policyEnd+after)
}

// policyVariables are the variables of the policy that are data. Specs and pools share them: keys of the same name look
// the same.
func policyVariables(t *testing.T) string {
	t.Helper()
	shapes := map[string]shape{}
	addShapes(t, shapes, keys)
	addShapes(t, shapes, poolKeys)
	tables := map[string]map[string]string{"words": {}, "patterns": {}, "never": {}, "ranges": {}, "expected": {}}
	for name, s := range shapes {
		switch {
		case s.words != nil:
			tables["words"][name] = celList(s.words)
			continue
		case s.pattern == "":
			continue
		}
		tables["patterns"][name] = "r'^(?:" + s.pattern + ")$'"
		tables["expected"][name] = "'" + s.expected + "'"
		if s.never != "" {
			tables["never"][name] = "r'^" + s.never + "'"
		}
		if s.isDuration {
			tables["ranges"][name] = celRange(s)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "  - name: longestName\n    expression: %q\n", fmt.Sprint(maxName))
	fmt.Fprintf(&out, "  - name: mostBytes\n    expression: %q\n", fmt.Sprint(MaxSize))
	out.WriteString("  - name: specKeys\n    expression: >-\n" + folded(namesOf(keys)))
	out.WriteString("  - name: poolKeys\n    expression: >-\n" + folded(namesOf(poolKeys)))
	for _, name := range []string{"words", "patterns", "never", "ranges", "expected"} {
		table := tables[name]
		var entries []string
		for _, key := range slices.Sorted(maps.Keys(table)) {
			entries = append(entries, "      '"+key+"': "+table[key])
		}
		fmt.Fprintf(&out, "  - name: %s\n    expression: >-\n      {\n%s\n      }\n", name, strings.Join(entries, ",\n"))
	}
	return out.String()
}

func addShapes[S any](t *testing.T, all map[string]shape, table []key[S]) {
	t.Helper()
	for _, k := range table {
		if known, ok := all[k.name]; ok && fmt.Sprintf("%+v", known) != fmt.Sprintf("%+v", k.shape) {
			t.Errorf("%s means one thing in a spec and another in a pool: the policy has to tell them apart", k.name)
		}
		all[k.name] = k.shape
	}
}

// folded is a list of keys, a few of them a line.
func folded(names []string) string {
	var lines []string
	for chunk := range slices.Chunk(names, 5) {
		lines = append(lines, strings.Trim(celList(chunk), "[]"))
	}
	return "      [" + strings.Join(lines, ",\n      ") + "]\n"
}

func celList(words []string) string { return "['" + strings.Join(words, "', '") + "']" }

// celRange is the least duration, and the most if there is a limit.
func celRange(s shape) string {
	limits := []string{s.least.String()}
	if s.most > 0 {
		limits = append(limits, s.most.Truncate(time.Second).String())
	}
	return celList(limits)
}
