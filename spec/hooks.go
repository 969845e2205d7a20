package spec

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func checkHook(path *field.Path, h *Hook) field.ErrorList {
	if h == nil {
		return nil
	}
	errs := checkImage(path.Child("image"), h.Image)
	errs = append(errs, checkCommand(path.Child("cmd"), h.Cmd)...)
	errs = append(errs, checkEnv(path.Child("environmentVariables"), h.Env)...)
	errs = append(errs, checkVolumes(path.Child("volumes"), h.Volumes)...)
	errs = append(errs, checkMounts(path.Child("volumeMounts"), h.VolumeMounts)...)
	return append(errs, checkMounted(path.Child("volumeMounts"), h.VolumeMounts, h.Volumes)...)
}

func checkVerify(path *field.Path, v *Verify) field.ErrorList {
	if v == nil {
		return nil
	}
	return append(checkImage(path.Child("image"), v.Image), checkCommand(path.Child("cmd"), v.Cmd)...)
}

func checkImage(path *field.Path, text string) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "an image such as "+sampleImage)}
	}
	if _, err := image(path, text); err != nil {
		return field.ErrorList{err}
	}
	return nil
}

// checkHookFits finds what collides when a hook and the installer share a pod. Volumes may be the same one, given twice;
// environmentVariables go to every step, so a hook cannot give one of them again.
func checkHookFits(path *field.Path, h *Hook, r *Runtime) field.ErrorList {
	var errs field.ErrorList
	for i, v := range h.Volumes {
		for _, other := range r.Volumes {
			if v.Name == other.Name && !equality.Semantic.DeepEqual(v, other) {
				errs = append(errs, duplicate(path.Child("volumes").Index(i).Child("name"), v.Name,
					"installerVolumes has another volume of this name, and both go into one pod: rename one, or make them equal"))
			}
		}
	}
	for i, e := range h.Env {
		for _, other := range r.Env {
			if e.Name == other.Name {
				errs = append(errs, duplicate(path.Child("environmentVariables").Index(i).Child("name"), e.Name,
					"the key environmentVariables gives it to every step already: remove one of them"))
			}
		}
	}
	return errs
}

// ParseDoneLabel reads `key=value`, or `key-` for a label that is gone.
func ParseDoneLabel(text string) (DoneLabel, error) {
	var d DoneLabel
	err := d.UnmarshalText([]byte(text))
	return d, err
}

// doneLabelError says what is wrong with the text of a done label.
type doneLabelError string

func (e doneLabelError) Error() string { return string(e) }

// UnmarshalText reads `key=value` or `key-`.
func (d *DoneLabel) UnmarshalText(raw []byte) error {
	text := string(raw)
	name, value, hasValue := strings.Cut(text, "=")
	if !hasValue {
		var gone bool
		if name, gone = strings.CutSuffix(text, "-"); !gone {
			return doneLabelError("expected key=value, or key- for a label that is gone")
		}
	}
	for _, complaint := range validation.IsQualifiedName(name) {
		return doneLabelError("the key of the label: " + complaint)
	}
	if domain, _, _ := strings.Cut(name, "/"); domain == "longshore.dev" || strings.HasSuffix(domain, ".longshore.dev") {
		return doneLabelError("labels of longshore.dev are written by Longshore alone")
	}
	d.Key, d.Value = name, nil
	if !hasValue {
		return nil
	}
	for _, complaint := range validation.IsValidLabelValue(value) {
		return doneLabelError("the value of the label: " + complaint)
	}
	d.Value = &value
	return nil
}

// MarshalText writes what [DoneLabel.UnmarshalText] reads.
func (d DoneLabel) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the label as a spec writes it.
func (d DoneLabel) String() string {
	if d.Value == nil {
		return d.Key + "-"
	}
	return d.Key + "=" + *d.Value
}

func doneLabel(path *field.Path, text string) (*DoneLabel, *field.Error) {
	d, err := ParseDoneLabel(text)
	if err != nil {
		return nil, field.Invalid(path, text, err.Error())
	}
	return &d, nil
}
