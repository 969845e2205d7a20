package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"longshore.dev/longshore/e2e/deploy"
)

// validationCase is a file of the corpus.
type validationCase struct {
	name string
	// Accepts lists who accepts the object: parser, schema, policy.
	Accepts []string `json:"accepts"`
	// Pad fills up a key with space, until keys and values together have that many bytes.
	Pad struct {
		Key   string `json:"key"`
		Bytes int    `json:"bytes"`
	} `json:"pad"`
	namespace string
	// object is JSON.
	object []byte
}

func validationCases(t *testing.T) []validationCase {
	t.Helper()
	source, err := deploy.Source()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(source, "spec", "testdata", "corpus", "*.yaml"))
	if err != nil || len(files) < 90 {
		t.Fatalf("the corpus has %d files, expected 90 or more: %v", len(files), err)
	}
	var cases []validationCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expected, object, _ := bytes.Cut(raw, []byte("---\n"))
		c := validationCase{name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
		if err := yaml.Unmarshal(expected, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.read(object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases = append(cases, c)
	}
	return cases
}

// read takes the object over as it is written: a number without quotes stays a number.
func (c *validationCase) read(text []byte) error {
	var object struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Data              map[string]any `json:"data,omitempty"`
	}
	raw, err := yaml.ToJSON(text)
	if err != nil {
		return err
	}
	c.object = raw
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	c.namespace = object.Namespace
	if c.namespace == "" {
		c.namespace = "longshore"
	}
	if c.Pad.Key == "" {
		return nil
	}
	size := 0
	for key, value := range object.Data {
		size += len(key) + len(fmt.Sprint(value))
	}
	object.Data[c.Pad.Key] = fmt.Sprint(object.Data[c.Pad.Key]) + strings.Repeat(" ", c.Pad.Bytes-size)
	c.object, err = json.Marshal(object)
	return err
}
