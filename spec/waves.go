package spec

import (
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// waveText is a wave as it is written.
type waveText struct {
	Name           string              `json:"name"`
	NodeSelector   *string             `json:"nodeSelector"`
	Nodes          *int32              `json:"nodes"`
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable"`
	Soak           *string             `json:"soak"`
}

func readWaves(r *Runtime, path *field.Path, text string) field.ErrorList {
	var written []waveText
	errs := decode(path, text, &written)
	if len(errs) == maxErrors {
		return errs
	}
	var complaints field.ErrorList
	names := map[string]bool{}
	for i, w := range written {
		at := path.Index(i)
		if w.Name != "" && names[w.Name] {
			complaints = append(complaints, field.Duplicate(at.Child("name"), w.Name))
		}
		names[w.Name] = true
		wave, wrong := readWave(at, w, r.Name)
		complaints = append(complaints, wrong...)
		r.Waves = append(r.Waves, wave)
	}
	return append(errs, unrelated(errs, complaints)...)
}

func readWave(path *field.Path, w waveText, runtime string) (Wave, field.ErrorList) {
	wave := Wave{Name: w.Name}
	errs := checkFormat(path.Child("name"), w.Name, "the name of the wave", validation.IsDNS1123Label)
	switch {
	case w.NodeSelector == nil && w.Nodes == nil:
		errs = append(errs, field.Required(path.Child("nodeSelector"), "which nodes the wave has: nodeSelector, or nodes for a number of them"))
	case w.NodeSelector != nil && w.Nodes != nil:
		errs = append(errs, field.Forbidden(path.Child("nodes"), "nodeSelector is given too: keep one of them"))
	case w.Nodes != nil && (*w.Nodes < 1 || *w.Nodes > maxCount):
		errs = append(errs, field.Invalid(path.Child("nodes"), *w.Nodes, "expected a number of nodes of at least 1"))
	case w.Nodes != nil:
		wave.Count = int(*w.Nodes)
	default:
		selector, wrong := parseRuntimeSelector(path.Child("nodeSelector"), *w.NodeSelector, runtime)
		wave.Selector, wave.SelectorText = selector, *w.NodeSelector
		errs = append(errs, wrong...)
	}
	if w.MaxUnavailable != nil {
		value, err := budget(path.Child("maxUnavailable"), w.MaxUnavailable.String())
		errs = appendError(errs, err)
		wave.MaxUnavailable = &value
	}
	if w.Soak != nil {
		value, err := duration(path.Child("soak"), *w.Soak)
		errs = appendError(errs, err)
		wave.Soak = &value
	}
	return wave, errs
}

func appendError(errs field.ErrorList, err *field.Error) field.ErrorList {
	if err == nil {
		return errs
	}
	return append(errs, err)
}
