package spec

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// patchOptions are the options that kustomize knows. Rendered objects are found again by kind and name, so none may be true.
var patchOptions = []string{"allowKindChange", "allowNameChange"}

func checkPatches(path *field.Path, patches []Patch) field.ErrorList {
	var errs field.ErrorList
	for i, p := range patches {
		at := path.Index(i)
		errs = append(errs, checkPatchBody(at.Child("patch"), p)...)
		if p.Target != nil {
			errs = append(errs, checkPatchTarget(at.Child("target"), p.Target)...)
		}
		for _, name := range slices.Sorted(maps.Keys(p.Options)) {
			switch option := at.Child("options", name); {
			case !slices.Contains(patchOptions, name):
				errs = append(errs, field.Forbidden(option, "unknown field"+suggestion(name, patchOptions)))
			case p.Options[name]:
				errs = append(errs, field.Invalid(option, true, "a patch cannot rename an object or change its kind"))
			}
		}
	}
	return errs
}

// checkPatchTarget checks what kustomize would otherwise refuse while rendering, or read in its own way.
func checkPatchTarget(path *field.Path, t *PatchTarget) field.ErrorList {
	var errs field.ErrorList
	if *t == (PatchTarget{}) {
		errs = append(errs, field.Required(path, "what the patch applies to, such as kind: DaemonSet"))
	}
	for _, part := range []struct{ name, expression string }{
		{"group", t.Group}, {"version", t.Version}, {"kind", t.Kind}, {"name", t.Name}, {"namespace", t.Namespace},
	} {
		if _, err := regexp.Compile(part.expression); err != nil {
			errs = append(errs, field.Invalid(path.Child(part.name), part.expression, "expected a name or a regular expression: "+err.Error()))
		}
	}
	for _, part := range []struct{ name, selector string }{
		{"labelSelector", t.LabelSelector}, {"annotationSelector", t.AnnotationSelector},
	} {
		if _, err := labels.Parse(part.selector); err != nil {
			errs = append(errs, field.Invalid(path.Child(part.name), part.selector, "expected a label selector: "+err.Error()))
		}
	}
	return errs
}

// checkPatchBody checks the body of a patch. It is text as in a kustomization, so that it can be copied from one and to one.
func checkPatchBody(path *field.Path, p Patch) field.ErrorList {
	if strings.TrimSpace(p.Patch) == "" {
		return field.ErrorList{field.Required(path, "the body of a strategic merge patch or of a JSON 6902 patch")}
	}
	var body any
	if errs := decode(path, p.Patch, &body); len(errs) > 0 {
		return errs
	}
	switch body := body.(type) {
	case map[string]any:
		return checkMergeBody(path, body, p.Target)
	case []any:
		return checkOperations(path, p, body)
	}
	return field.ErrorList{field.Invalid(path, p.Patch, "expected an object (strategic merge) or a list of operations (JSON 6902)")}
}

// checkMergeBody checks that a strategic merge patch names its object. kustomize wants kind and name even beside a target,
// where it ignores them; apiVersion it needs only to find the object.
func checkMergeBody(path *field.Path, body map[string]any, target *PatchTarget) field.ErrorList {
	var errs field.ErrorList
	require := func(at *field.Path, value any) {
		if text, ok := value.(string); !ok || text == "" {
			errs = append(errs, field.Required(at, "a strategic merge patch names the object it belongs to"))
		}
	}
	if target == nil {
		require(path.Child("apiVersion"), body["apiVersion"])
	}
	require(path.Child("kind"), body["kind"])
	metadata, _ := body["metadata"].(map[string]any)
	require(path.Child("metadata", "name"), metadata["name"])
	return errs
}

// operation is one step of a JSON 6902 patch.
type operation struct {
	Op    string  `json:"op"`
	Path  *string `json:"path"`
	From  *string `json:"from"`
	Value any     `json:"value"`
}

var operations = []string{"add", "remove", "replace", "move", "copy", "test"}

func checkOperations(path *field.Path, p Patch, body []any) field.ErrorList {
	var errs field.ErrorList
	if p.Target == nil {
		errs = append(errs, field.Required(path, "a JSON 6902 patch needs a target beside it, such as target: {kind: DaemonSet}"))
	}
	var steps []operation
	wrong := decode(path, p.Patch, &steps)
	errs = append(errs, wrong...)
	if len(steps) == 0 {
		return append(errs, field.Required(path, "at least one operation"))
	}
	for i, step := range steps {
		given, _ := body[i].(map[string]any)
		errs = append(errs, unrelated(wrong, checkOperation(path.Index(i), step, given))...)
	}
	return errs
}

func checkOperation(path *field.Path, o operation, given map[string]any) field.ErrorList {
	var errs field.ErrorList
	if !slices.Contains(operations, o.Op) {
		errs = append(errs, field.NotSupported(path.Child("op"), o.Op, operations))
	}
	errs = append(errs, checkPointer(path.Child("path"), o.Path)...)
	_, hasValue := given["value"]
	switch o.Op {
	case "add", "replace", "test":
		if !hasValue {
			errs = append(errs, field.Required(path.Child("value"), "what to "+o.Op))
		}
	case "move", "copy":
		errs = append(errs, checkPointer(path.Child("from"), o.From)...)
	}
	return errs
}

// checkPointer checks a JSON pointer, as in /spec/template/spec/hostPID.
func checkPointer(path *field.Path, pointer *string) field.ErrorList {
	switch {
	case pointer == nil:
		return field.ErrorList{field.Required(path, "a JSON pointer such as /spec/template/spec/hostPID")}
	case *pointer != "" && !strings.HasPrefix(*pointer, "/"):
		return field.ErrorList{field.Invalid(path, *pointer, "expected a JSON pointer, which begins with /")}
	}
	return nil
}
