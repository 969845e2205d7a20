package spec

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// givenLabel is a done label of the spec with its place.
type givenLabel struct {
	path  *field.Path
	label *DoneLabel
}

// doneLabels are all done labels that the spec gives, in the order of docs/spec.md.
func (p *parser) doneLabels() []givenLabel {
	r := p.runtime
	var given []givenLabel
	add := func(path *field.Path, label *DoneLabel) {
		if label != nil {
			given = append(given, givenLabel{path, label})
		}
	}
	for key, hook := range p.hooks() {
		add(p.root.Key(key).Child("doneLabel"), hook.DoneLabel)
	}
	add(p.root.Key("installDoneLabel"), r.InstallDoneLabel)
	add(p.root.Key("uninstallDoneLabel"), r.UninstallDoneLabel)
	add(p.root.Key("cleanupDoneLabel"), r.CleanupDoneLabel)
	return given
}

// checkSelection refuses a selector that looks at a done label: the node would be deselected by its own install and selected by its own
// uninstall, for ever.
func (p *parser) checkSelection() {
	for _, given := range p.doneLabels() {
		refuse := func(what string, selector labels.Selector) {
			if selector != nil && slices.Contains(keysOf(selector), given.label.Key) {
				p.add(field.Forbidden(given.path, what+" looks at "+given.label.Key+": an install would select or deselect its own node"))
			}
		}
		refuse("nodeSelector", p.runtime.NodeSelector)
		for _, wave := range p.runtime.Waves {
			refuse("the nodeSelector of wave "+wave.Name, wave.Selector)
		}
	}
}
