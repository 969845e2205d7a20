package spec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	corpusFolder = "testdata/corpus"
	// fewestCases keeps the corpus from becoming empty by a mistake in reading it.
	fewestCases = 90
	tableBegin  = "<!-- mistakes: made by UPDATE=1 go test ./spec -run Schema -->\n"
	tableEnd    = "<!-- end of mistakes -->\n"
)

// corpusCase is a file of the corpus: one document with what is expected, and one with an object as people write it.
type corpusCase struct {
	name string
	// Mistake is what is wrong with the object, as a row of docs/validation.md; "" where nothing is.
	Mistake string `json:"mistake"`
	// Accepts lists who accepts the object: parser, schema, policy.
	Accepts []string `json:"accepts"`
	// Why says why the schema or the policy accept what the parser refuses.
	Why string `json:"why"`
	// Pad fills up a key with space, until keys and values together have that many bytes.
	Pad struct {
		Key   string `json:"key"`
		Bytes int    `json:"bytes"`
	} `json:"pad"`
	object []byte
}

func (c *corpusCase) accepted(by string) bool { return slices.Contains(c.Accepts, by) }

func corpus(t *testing.T) []*corpusCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusFolder, "*.yaml"))
	if err != nil || len(files) < fewestCases {
		t.Fatalf("%s has %d cases, expected %d or more: %v", corpusFolder, len(files), fewestCases, err)
	}
	var cases []*corpusCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expected, object, _ := bytes.Cut(raw, []byte("---\n"))
		c := &corpusCase{name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
		if err := yaml.UnmarshalStrict(expected, c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		c.object = c.padded(t, object)
		cases = append(cases, c)
	}
	return cases
}

func (c *corpusCase) padded(t *testing.T, object []byte) []byte {
	t.Helper()
	if c.Pad.Key == "" {
		return object
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(object, &configMap); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	configMap.Data[c.Pad.Key] += strings.Repeat(" ", c.Pad.Bytes-Size(configMap.Data, nil))
	raw, err := yaml.Marshal(&configMap)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// refusal is what the parser says of an object in a file, nil where nothing is wrong. The namespace is part of
// it, because the controller reads no other.
func refusal(object []byte) error {
	// As kubectl and the API server do it: a number is no text.
	raw, err := yaml.YAMLToJSONStrict(object)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var configMap corev1.ConfigMap
	if err := decoder.Decode(&configMap); err != nil {
		return err
	}
	runtime, isSpec := configMap.Labels[LabelRuntime]
	pool, isPool := configMap.Labels[LabelPool]
	switch {
	case !isSpec && !isPool:
		return nil
	case isSpec && isPool:
		return BothLabels()
	case configMap.Namespace != "" && configMap.Namespace != "longshore":
		return fmt.Errorf("specs are read in the namespace longshore only, found %s", configMap.Namespace)
	case isPool:
		_, errs := ParsePool(pool, configMap.Data, configMap.BinaryData)
		return errs.ToAggregate()
	}
	_, errs := Parse(runtime, configMap.Data, configMap.BinaryData)
	return errs.ToAggregate()
}

// The policy's answers are those of a real API server, in e2e/tests.
func TestSchemaAndParserAnswerAsTheCorpusSays(t *testing.T) {
	schema := compiled(t)
	for _, c := range corpus(t) {
		if err := refusal(c.object); (err == nil) != c.accepted("parser") {
			t.Errorf("%s: the parser says %v; the case says accepts: %v", c.name, err, c.Accepts)
		}
		if err := schema.Validate(c.seen(t)); (err == nil) != c.accepted("schema") {
			t.Errorf("%s: the schema says %v; the case says accepts: %v", c.name, err, c.Accepts)
		}
	}
}

// seen is the object as an editor reads it: a number without quotes is a number.
func (c *corpusCase) seen(t *testing.T) any {
	t.Helper()
	raw, err := yaml.YAMLToJSON(c.object)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The schema and the policy may miss a mistake, with a reason. They never refuse what the parser accepts.
func TestSchemaCorpusHoldsTheRule(t *testing.T) {
	for _, c := range corpus(t) {
		missed := c.accepted("schema") || c.accepted("policy")
		switch {
		case c.accepted("parser") && len(c.Accepts) != 3:
			t.Errorf("%s: the parser accepts it, and so have schema and policy to: %v", c.name, c.Accepts)
		case c.accepted("parser") != (c.Mistake == ""):
			t.Errorf("%s: the mistake is %q, accepts: %v", c.name, c.Mistake, c.Accepts)
		case !c.accepted("parser") && missed != (c.Why != ""):
			t.Errorf("%s: accepts %v, and the reason is %q", c.name, c.Accepts, c.Why)
		case strings.HasPrefix(c.name, "good-") != c.accepted("parser"):
			t.Errorf("%s: the name says the contrary of accepts: %v", c.name, c.Accepts)
		}
	}
}

func TestSchemaDocsSayWhatEachMayMiss(t *testing.T) {
	file := filepath.Join("..", "docs", "validation.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatalf("%s does not have the lines %q and %q", file, tableBegin, tableEnd)
	}
	generated(t, file, before+tableBegin+mistakesTable(corpus(t))+tableEnd+after)
}

// mistakesTable has a row for each mistake of the corpus, those that are found last at the end.
func mistakesTable(cases []*corpusCase) string {
	byMistake := map[string][]*corpusCase{}
	var mistakes []string
	for _, c := range cases {
		if c.Mistake == "" {
			continue
		}
		if byMistake[c.Mistake] == nil {
			mistakes = append(mistakes, c.Mistake)
		}
		byMistake[c.Mistake] = append(byMistake[c.Mistake], c)
	}
	slices.SortFunc(mistakes, func(a, b string) int {
		return cmp.Or(missesIn(byMistake[a])-missesIn(byMistake[b]), cmp.Compare(a, b))
	})
	var table strings.Builder
	table.WriteString("| mistake | schema | policy | parser | cases | why |\n|---|---|---|---|---|---|\n")
	for _, mistake := range mistakes {
		cases := byMistake[mistake]
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %d | %s |\n", mistake,
			answer(cases, "schema"), answer(cases, "policy"), answer(cases, "parser"), len(cases), reasons(cases))
	}
	return table.String()
}

func missesIn(cases []*corpusCase) int {
	misses := 0
	for _, by := range []string{"schema", "policy"} {
		if answer(cases, by) != "refuses" {
			misses++
		}
	}
	return misses
}

// answer is what becomes of a mistake.
func answer(cases []*corpusCase, by string) string {
	missed := 0
	for _, c := range cases {
		if c.accepted(by) {
			missed++
		}
	}
	switch missed {
	case 0:
		return "refuses"
	case len(cases):
		return "misses"
	}
	return "misses some"
}

func reasons(cases []*corpusCase) string {
	var all []string
	for _, c := range cases {
		if c.Why != "" && !slices.Contains(all, c.Why) {
			all = append(all, c.Why)
		}
	}
	return strings.Join(all, " ")
}
