package spec

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// documentedKey is a row of a table in docs/spec.md.
type documentedKey struct{ name, value, defaults, supported string }

var tableRow = regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| (.*) \\| (.*) \\| (.*) \\|$")

// poolsHeading begins the part of docs/spec.md that is about pools.
const poolsHeading = "\n## Pools\n"

// specDocs is docs/spec.md in two parts: specs and pools.
func specDocs(t *testing.T) (specs, pools string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", "spec.md"))
	if err != nil {
		t.Fatal(err)
	}
	specs, pools, found := strings.Cut(string(raw), poolsHeading)
	if !found {
		t.Fatal("docs/spec.md has no heading Pools")
	}
	return specs, pools
}

func documentedKeys(text string) []documentedKey {
	var rows []documentedKey
	for _, cell := range tableRow.FindAllStringSubmatch(text, -1) {
		rows = append(rows, documentedKey{cell[1], cell[2], cell[3], cell[4]})
	}
	return rows
}

func TestDocsHaveEveryKeyInOrder(t *testing.T) {
	specs, pools := specDocs(t)
	for _, part := range []struct {
		text  string
		names []string
	}{{specs, namesOf(keys)}, {pools, namesOf(poolKeys)}} {
		var documented []string
		for _, row := range documentedKeys(part.text) {
			documented = append(documented, row.name)
		}
		if diff := cmp.Diff(part.names, documented); diff != "" {
			t.Errorf("keys of the code (-) and of docs/spec.md (+):\n%s", diff)
		}
	}
}

func TestDocsSayWhatIsNotSupportedYet(t *testing.T) {
	specs, pools := specDocs(t)
	for _, row := range documentedKeys(specs) {
		raw, err := os.ReadFile(filepath.Join("testdata", "keys", row.name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		refused := regexp.MustCompile(`(?m)^data\[` + row.name + `\](\.\S+)?: Forbidden: not supported yet`).Match(raw)
		if supported := row.supported == "yes"; supported == refused {
			t.Errorf("%s: docs/spec.md says supported: %s, a case is refused as not supported yet: %t", row.name, row.supported, refused)
		}
	}
	_, errs := ParsePool("databases", minimalPool(), nil)
	for _, row := range documentedKeys(pools) {
		if supported := row.supported == "yes"; supported != (len(errs) == 0) {
			t.Errorf("%s of a pool: docs/spec.md says supported: %s, and a pool is refused with %v", row.name, row.supported, errs.ToAggregate())
		}
	}
}

// A default that is one value in backquotes changes nothing when it is written out.
func TestDocsHaveTheRealDefaults(t *testing.T) {
	specs, pools := specDocs(t)
	if checked := specSuite().checkDefaults(t, specs); checked < 13 {
		t.Errorf("only %d defaults of specs were compared", checked)
	}
	if checked := poolSuite().checkDefaults(t, pools); checked < 1 {
		t.Error("no default of pools was compared")
	}
}

// checkDefaults compares the defaults that docs give, and returns their number.
func (s suite[S]) checkDefaults(t *testing.T, docs string) int {
	t.Helper()
	value := regexp.MustCompile("^`([^`]+)`")
	checked := 0
	for _, row := range documentedKeys(docs) {
		found := value.FindStringSubmatch(row.defaults)
		if found == nil {
			continue
		}
		checked++
		data := s.shortest()
		data[row.name] = found[1]
		object, errs := s.parse(data)
		if len(errs) > 0 {
			t.Errorf("%s: %v", row.name, errs.ToAggregate())
		} else if diff := s.differences(object); diff[0] != "nothing differs" {
			t.Errorf("%s: docs/spec.md says that %s is the default, but it makes a difference: %v", row.name, found[1], diff)
		}
	}
	return checked
}

// The words that a key may have are those of the code, and every one of them is in the table.
func TestDocsListEveryWord(t *testing.T) {
	specs, pools := specDocs(t)
	specSuite().checkWords(t, specs)
	poolSuite().checkWords(t, pools)
}

func (s suite[S]) checkWords(t *testing.T, docs string) {
	t.Helper()
	words := regexp.MustCompile(`supported values: (.*)`)
	for _, row := range documentedKeys(docs) {
		data := s.shortest()
		data[row.name] = "no-such-word"
		_, errs := s.parse(data)
		for _, err := range errs {
			list := words.FindStringSubmatch(err.Error())
			if list == nil {
				continue
			}
			want := strings.ReplaceAll(list[1], `"`, "`")
			if row.value != want {
				t.Errorf("%s: docs/spec.md says %s, the code %s", row.name, row.value, want)
			}
		}
	}
}

// example is the first ConfigMap in a part of docs/spec.md.
func example(t *testing.T, docs string) *corev1.ConfigMap {
	t.Helper()
	_, rest, _ := strings.Cut(docs, "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(text), &configMap); err != nil || !found {
		t.Fatalf("the example: %v", err)
	}
	return &configMap
}

func TestTheExamplesOfTheDocsAreValid(t *testing.T) {
	specs, pools := specDocs(t)
	runtime, pool := example(t, specs), example(t, pools)
	if _, errs := Parse(runtime.Labels[LabelRuntime], runtime.Data, runtime.BinaryData); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
	if _, errs := ParsePool(pool.Labels[LabelPool], pool.Data, pool.BinaryData); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}

func TestDocsListTheVariablesThatLongshoreSets(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "spec.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range OwnEnv {
		if !strings.Contains(string(raw), "`"+name+"`") {
			t.Errorf("docs/spec.md does not name %s", name)
		}
	}
}
