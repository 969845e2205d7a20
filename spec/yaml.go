package spec

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxDepth is how deep a YAML value may be nested. A whole DaemonSet has 15 levels.
const maxDepth = 50

// readYAML turns text into its one YAML node. It refuses what makes YAML dangerous: several documents, anchors and aliases (a
// kilobyte of them can stand for gigabytes), tags, and nesting without end.
func readYAML(path *field.Path, text, expected string) (*yaml.Node, *field.Error) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, field.Required(path, "the value is empty: expected "+expected+", or leave it out")
	case err != nil:
		return nil, notYAML(path, text, err)
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, field.Invalid(path, text, "expected one YAML document, found a second one after ---")
	case !errors.Is(err, io.EOF):
		return nil, notYAML(path, text, err)
	}
	root := document.Content[0]
	if complaint := checkNode(root, 0); complaint != "" {
		return nil, field.Invalid(path, text, complaint)
	}
	return root, nil
}

func notYAML(path *field.Path, text string, err error) *field.Error {
	complaint := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(complaint, "expected alphabetic or numeric character") || strings.Contains(complaint, "cannot start any token") {
		complaint += ": text that begins with *, &, @ or % needs quotes"
	}
	return field.Invalid(path, text, "not YAML: "+complaint)
}

// plainTags are the tags that YAML itself gives to values that JSON has too.
var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!timestamp"}

const (
	mergeTag  = "!!merge"
	noAliases = "line %d: anchors and aliases (&name, *name, <<) are not allowed: write the value out"
)

func checkNode(n *yaml.Node, depth int) string {
	switch {
	case depth > maxDepth:
		return fmt.Sprintf("line %d: nested more than %d levels deep", n.Line, maxDepth)
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Sprintf(noAliases, n.Line)
	case n.ShortTag() == mergeTag:
		n.Tag = "!!str" // << is text like any other, except in front of a colon
	case !slices.Contains(plainTags, n.ShortTag()):
		return fmt.Sprintf("line %d: the tag %s is not allowed: write the value without it", n.Line, n.ShortTag())
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.ShortTag() == mergeTag {
			return fmt.Sprintf(noAliases, child.Line)
		}
		if complaint := checkNode(child, depth+1); complaint != "" {
			return complaint
		}
	}
	return ""
}

// isOldBoolean tells the words that only YAML 1.1 takes for booleans. kustomize and kubectl disagree on them.
func isOldBoolean(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || len(n.Value) > len("yes") {
		return false
	}
	switch strings.ToLower(n.Value) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// oldBoolean is what a message calls the words of [isOldBoolean].
const oldBoolean = "a word that some readers of YAML take for a boolean"
