package spec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// minimal is the shortest spec that is valid.
func minimal() map[string]string {
	return map[string]string{
		"payloadImage": "registry.example.com/kata/payload:3.2.0",
		"installCmd":   `["/opt/install.sh", "install"]`,
		"uninstallCmd": `["/opt/install.sh", "uninstall"]`,
		"nodeSelector": "*",
	}
}

// suite is the cases of every key of one kind: testdata/<folder>/<key>.txt has cases, with an empty line between them. Lines with
// `>` are the value of the key, a line `+key: value` gives another key beside it, and the rest is what comes out: the errors, or
// the fields that then differ from those of the shortest valid data.
type suite[S any] struct {
	folder   string
	keys     []key[S]
	shortest func() map[string]string
	parse    func(data map[string]string) (*S, field.ErrorList)
}

func specSuite() suite[Runtime] {
	return suite[Runtime]{"keys", keys, minimal, func(data map[string]string) (*Runtime, field.ErrorList) { return Parse("kata", data, nil) }}
}

// poolSuite reads pools as they will be supported.
func poolSuite() suite[Pool] {
	return suite[Pool]{"pools", poolKeys, minimalPool, func(data map[string]string) (*Pool, field.ErrorList) { return ParsePool("databases", data, nil) }}
}

func TestEveryKey(t *testing.T) { specSuite().run(t) }

func TestEveryKeyOfAPool(t *testing.T) { poolSuite().run(t) }

func (s suite[S]) file(key string) string { return filepath.Join("testdata", s.folder, key+".txt") }

func (s suite[S]) run(t *testing.T) {
	for _, k := range s.keys {
		t.Run(k.name, func(t *testing.T) {
			raw, err := os.ReadFile(s.file(k.name))
			if err != nil {
				t.Fatalf("every key has a file of cases: %v", err)
			}
			var got []string
			for written := range strings.SplitSeq(strings.TrimRight(string(raw), "\n"), "\n\n") {
				got = append(got, s.runCase(k.name, written))
			}
			all := strings.Join(got, "\n\n") + "\n"
			if !strings.Contains(all, "\ndata[") {
				t.Error("no case is refused")
			}
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(s.file(k.name), []byte(all), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(raw), all); diff != "" {
				t.Errorf("%s (-want +got; UPDATE=1 writes it):\n%s", s.file(k.name), diff)
			}
		})
	}
}

// runCase returns the case with what came out.
func (s suite[S]) runCase(key, written string) string {
	data := s.shortest()
	var lines, value []string
	for line := range strings.SplitSeq(written, "\n") {
		if text, ok := strings.CutPrefix(line, ">"); ok {
			value = append(value, strings.TrimPrefix(text, " "))
		} else if text, ok := strings.CutPrefix(line, "+"); ok {
			other, text, _ := strings.Cut(text, ": ")
			data[other] = text
		} else {
			continue
		}
		lines = append(lines, line)
	}
	data[key] = strings.Join(value, "\n")
	object, errs := s.parse(data)
	if object != nil {
		return strings.Join(append(lines, s.differences(object)...), "\n")
	}
	for _, err := range errs {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

// differences lists the fields in which an object differs from the shortest one.
func (s suite[S]) differences(object *S) []string {
	plain, _ := s.parse(s.shortest())
	got, base := reflect.ValueOf(*object), reflect.ValueOf(*plain)
	var lines []string
	for i := range got.NumField() {
		if reflect.DeepEqual(got.Field(i).Interface(), base.Field(i).Interface()) {
			continue
		}
		value := got.Field(i).Interface()
		text := fmt.Sprint(value)
		if _, ok := value.(fmt.Stringer); !ok {
			raw, _ := json.Marshal(value)
			text = string(raw)
		}
		lines = append(lines, got.Type().Field(i).Name+" = "+text)
	}
	if len(lines) == 0 {
		return []string{"nothing differs"}
	}
	return lines
}

// values are the values of all cases of a key.
func (s suite[S]) values(t testing.TB, key string) []string {
	t.Helper()
	raw, err := os.ReadFile(s.file(key))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for written := range strings.SplitSeq(string(raw), "\n\n") {
		var value []string
		for line := range strings.SplitSeq(written, "\n") {
			if text, ok := strings.CutPrefix(line, ">"); ok {
				value = append(value, strings.TrimPrefix(text, " "))
			}
		}
		values = append(values, strings.Join(value, "\n"))
	}
	return values
}

func TestEveryFileOfCasesBelongsToAKey(t *testing.T) {
	for folder, names := range map[string][]string{"keys": namesOf(keys), "pools": namesOf(poolKeys)} {
		files, err := os.ReadDir(filepath.Join("testdata", folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if name := strings.TrimSuffix(f.Name(), ".txt"); !slices.Contains(names, name) {
				t.Errorf("%s/%s: there is no key %s", folder, f.Name(), name)
			}
		}
	}
}

func TestEveryFieldOfARuntimeIsReachedByAKey(t *testing.T) {
	// What WithPayload sets never comes out of Parse.
	specSuite().reach(t, []string{"Overridden"})
}

func TestEveryFieldOfAPoolIsReachedByAKey(t *testing.T) { poolSuite().reach(t, nil) }

func (s suite[S]) reach(t *testing.T, unreachable []string) {
	t.Helper()
	reached := map[string]bool{"Name": true}
	for _, k := range s.keys {
		raw, err := os.ReadFile(s.file(k.name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(raw), "\n") {
			name, _, _ := strings.Cut(line, " = ")
			reached[name] = true
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[S]()) {
		if reached[f.Name] == slices.Contains(unreachable, f.Name) {
			t.Errorf("field %s: a case sets it: %t, expected the contrary", f.Name, reached[f.Name])
		}
	}
}
