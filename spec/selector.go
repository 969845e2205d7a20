package spec

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// everyNode is the selector that selects all.
const everyNode = "*"

func readNodeSelector(r *Runtime, path *field.Path, text string) field.ErrorList {
	selector, errs := parseRuntimeSelector(path, text, r.Name)
	if len(errs) > 0 {
		return errs
	}
	r.NodeSelector = selector.Add(linuxMachines...)
	r.NodeSelectorText = strings.TrimSpace(text)
	return nil
}

// linuxMachines is part of every selection: payloads are Linux programs, and a virtual kubelet has no machine to install on.
var linuxMachines = []labels.Requirement{
	requirement("kubernetes.io/os", selection.Equals, "linux"),
	requirement("type", selection.NotEquals, "virtual-kubelet"),
}

func requirement(key string, op selection.Operator, value string) labels.Requirement {
	r, err := labels.NewRequirement(key, op, []string{value})
	if err != nil {
		panic(err) // constants only
	}
	return *r
}

// parseRuntimeSelector reads the selector of a runtime, which cannot select by what is written on nodes for this same runtime.
func parseRuntimeSelector(path *field.Path, text, runtime string) (labels.Selector, field.ErrorList) {
	selector, err := parseSelector(path, text)
	if err != nil {
		return nil, field.ErrorList{err}
	}
	var errs field.ErrorList
	for _, key := range keysOf(selector) {
		if domain, _, _ := strings.Cut(key, "/"); domain == runtime+ownDomain {
			errs = append(errs, field.Forbidden(path, key+" is written by Longshore itself for this runtime and cannot choose its nodes"))
		}
	}
	return selector, errs
}

// ownDomain ends the domain of every label that Longshore writes on a node.
const ownDomain = ".longshore.dev"

// isOwnKey tells whether a label is one that Longshore writes on nodes, for whatever runtime.
func isOwnKey(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return strings.HasSuffix(domain, ownDomain)
}

// parseSelector reads a label selector in the grammar of kubectl.
func parseSelector(path *field.Path, text string) (labels.Selector, *field.Error) {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return nil, field.Required(path, `the value is empty: write "*" for every node`)
	case everyNode:
		return labels.Everything(), nil
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, field.Invalid(path, text, fmt.Sprintf("expected a label selector as for kubectl get nodes -l, or * for every node: %v", err))
	}
	return selector, nil
}

// keysOf are the keys of the labels that a selector looks at.
func keysOf(selector labels.Selector) []string {
	requirements, _ := selector.Requirements()
	keys := make([]string, 0, len(requirements))
	for _, req := range requirements {
		keys = append(keys, req.Key())
	}
	return keys
}
