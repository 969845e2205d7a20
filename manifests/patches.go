package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/spec"
)

// The kinds that a render makes.
const (
	kindDaemonSet    = "DaemonSet"
	kindRuntimeClass = "RuntimeClass"
)

// maxPatches bounds the work of one render.
const maxPatches = 100

// Where patches stand in a spec and in a component.
var (
	specPath = field.NewPath("data").Key("patches")
	sitePath = field.NewPath("patches")
)

// specPatches are the spec's patches in a form that holds nothing but data: JSON bodies, each with a target.
func specPatches(patches []spec.Patch) ([]types.Patch, field.ErrorList) {
	if len(patches) > maxPatches {
		return nil, field.ErrorList{field.TooMany(specPath, len(patches), maxPatches)}
	}
	var errs field.ErrorList
	out := make([]types.Patch, 0, len(patches))
	for i := range patches {
		p, path := &patches[i], specPath.Index(i)
		for _, name := range []string{"allowKindChange", "allowNameChange"} {
			if p.Options[name] {
				errs = append(errs, field.Forbidden(path.Child("options", name), "a patch may not change what an object is"))
			}
		}
		var target *types.Selector
		if t := p.Target; t != nil {
			target = &types.Selector{
				ResId: resid.ResId{
					Gvk:  resid.Gvk{Group: t.Group, Version: t.Version, Kind: t.Kind},
					Name: t.Name, Namespace: t.Namespace,
				},
				LabelSelector: t.LabelSelector, AnnotationSelector: t.AnnotationSelector,
			}
		}
		patch, err := soundPatch(path, p.Patch, target)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, patch)
	}
	return out, errs
}

// soundPatch checks a patch and writes it anew. YAML aliases are gone afterwards, so that kustomize cannot be made to expand
// a small text into a huge one, and so is everything that would make it look for a file.
func soundPatch(path *field.Path, text string, target *types.Selector) (types.Patch, *field.Error) {
	body := path.Child("patch")
	if err := oneDocument([]byte(text)); err != nil {
		return types.Patch{}, field.Invalid(body, field.OmitValueType{}, err.Error())
	}
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return types.Patch{}, field.Invalid(body, field.OmitValueType{}, "is not YAML: "+reason(err))
	}
	var problem *field.Error
	switch raw = bytes.TrimSpace(raw); {
	case bytes.HasPrefix(raw, []byte("[")):
		problem = checkOperations(body, raw, target)
	case bytes.HasPrefix(raw, []byte("{")):
		target, problem = mergeTarget(body, raw, target)
	default:
		problem = field.Invalid(body, field.OmitValueType{}, "is neither a list of JSON 6902 operations nor a strategic merge patch")
	}
	if problem != nil {
		return types.Patch{}, problem
	}
	if _, err := types.NewSelectorRegex(target); err != nil {
		return types.Patch{}, field.Invalid(path.Child("target"), field.OmitValueType{}, err.Error())
	}
	return types.Patch{Patch: string(raw), Target: target}, nil
}

// checkOperations looks at a JSON 6902 patch. It may not copy: a row of copies doubles an object again and again.
func checkOperations(path *field.Path, raw []byte, target *types.Selector) *field.Error {
	if target == nil {
		return field.Required(path, "a JSON 6902 patch needs a target beside it")
	}
	var operations []struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(raw, &operations); err != nil {
		return field.Invalid(path, field.OmitValueType{}, "is not a list of JSON 6902 operations: "+err.Error())
	}
	for i, o := range operations {
		known := []string{"add", "remove", "replace", "move", "test"}
		if !slices.Contains(known, o.Op) {
			return field.NotSupported(path.Index(i).Child("op"), o.Op, known)
		}
	}
	return nil
}

// mergeTarget is the target of a strategic merge patch: the one given, or the object that its body names.
func mergeTarget(path *field.Path, raw []byte, target *types.Selector) (*types.Selector, *field.Error) {
	var body struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, field.Invalid(path, field.OmitValueType{}, "is not a strategic merge patch: "+err.Error())
	}
	kinds := []string{kindDaemonSet, kindRuntimeClass}
	if (body.Kind != "" || target == nil) && !slices.Contains(kinds, body.Kind) {
		return nil, field.NotSupported(path.Child("kind"), body.Kind, kinds)
	}
	if target != nil {
		return target, nil
	}
	if body.Metadata.Name == "" {
		return nil, field.Required(path.Child("metadata", "name"), "a patch without a target names its object here")
	}
	return &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: body.Kind}, Name: regexp.QuoteMeta(body.Metadata.Name)}}, nil
}

// oneDocument refuses a text with a second YAML document, which most readers would ignore.
func oneDocument(text []byte) error {
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	for range 2 {
		var node yamlv3.Node
		switch err := decoder.Decode(&node); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("is not YAML: %s", reason(err))
		}
	}
	return errors.New("has more than one YAML document, expected one")
}

// unmarshalStrict reads JSON; unknown and duplicate fields are errors.
func unmarshalStrict(text []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(text, into)
	return errors.Join(append(strict, err)...)
}
