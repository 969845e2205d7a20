package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The folders of a render in memory.
const (
	dirRender = "render"
	dirSite   = "site"
)

// maxReason is how much of kustomize's own words goes into an error; they may quote whole documents.
const maxReason = 600

// turn is held by the one build that runs: kustomize keeps its OpenAPI schema in variables of the process.
var turn sync.Mutex

// run builds a kustomization. A panic of kustomize becomes an error of this build alone.
func run(disk filesys.FileSystem, dir string) (resmap.ResMap, error) {
	turn.Lock()
	defer turn.Unlock()
	return recovered(func() (resmap.ResMap, error) {
		options := krusty.MakeDefaultOptions()
		return krusty.MakeKustomizer(options).Run(disk, dir)
	})
}

// recovered turns a panic of kustomize into an error.
func recovered(build func() (resmap.ResMap, error)) (out resmap.ResMap, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			out, err = nil, fmt.Errorf("kustomize panicked: %v", cause)
		}
	}()
	return build()
}

// build applies the site's component and then the patches to the objects. The only kustomizations in it are written here.
func build(want *Objects, s *site, patches []types.Patch) (resmap.ResMap, field.ErrorList) {
	out, err := buildWith(want, s, patches)
	if err == nil {
		return out, unmatched(want, out, patches)
	}
	// kustomize does not say which patch it was: the first that makes it fail is the one.
	var first error
	n := sort.Search(len(patches)+1, func(n int) bool {
		_, err := buildWith(want, s, patches[:n])
		if err != nil {
			first = err
		}
		return err != nil
	})
	switch {
	case n == 0 && s != nil:
		return nil, field.ErrorList{field.Invalid(field.NewPath("objects"), field.OmitValueType{}, "with the site's component: "+reason(first))}
	case n == 0:
		return nil, field.ErrorList{field.Invalid(field.NewPath("objects"), field.OmitValueType{}, reason(first))}
	case n > len(patches):
		return nil, field.ErrorList{field.InternalError(specPath, err)}
	}
	return nil, field.ErrorList{field.Invalid(specPath.Index(n-1), field.OmitValueType{}, reason(first))}
}

func buildWith(want *Objects, s *site, patches []types.Patch) (resmap.ResMap, error) {
	disk := filesys.MakeFsInMemory()
	kustomization := &types.Kustomization{
		TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Patches:  patches,
	}
	for i, object := range want.list() {
		name := "object-" + strconv.Itoa(i) + ".yaml"
		if err := writeJSON(disk, dirRender+"/"+name, object); err != nil {
			return nil, err
		}
		kustomization.Resources = append(kustomization.Resources, name)
	}
	if s != nil {
		if err := writeJSON(disk, dirSite+"/kustomization.yaml", s.component); err != nil {
			return nil, err
		}
		kustomization.Components = []string{"../" + dirSite}
	}
	if err := writeJSON(disk, dirRender+"/kustomization.yaml", kustomization); err != nil {
		return nil, err
	}
	return run(disk, dirRender)
}

func writeJSON(disk filesys.FileSystem, path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return disk.WriteFile(path, text)
}

// unmatched are the patches whose target selects nothing: they would be ignored in silence. A target counts that selects
// something before the patches, or after them (a label that an earlier patch or the site adds).
func unmatched(want *Objects, out resmap.ResMap, patches []types.Patch) field.ErrorList {
	var errs field.ErrorList
	for i := range patches {
		at, target := specPath.Index(i).Child("target"), patches[i].Target
		if want.selects(target) {
			continue
		}
		selected, err := out.Select(*target)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, err.Error()))
		case len(selected) == 0:
			errs = append(errs, field.Invalid(at, strings.TrimSpace(target.Kind+" "+target.Name),
				"selects no object, expected at least one of: "+strings.Join(want.names(), ", ")))
		}
	}
	return errs
}

// selects says whether a target without label and annotation selectors selects one of the objects.
func (o *Objects) selects(target *types.Selector) bool {
	selector, err := types.NewSelectorRegex(target)
	if err != nil || target.LabelSelector != "" || target.AnnotationSelector != "" {
		return false
	}
	for step, set := range o.DaemonSets {
		if selector.MatchGvk(gvkDaemonSet) && selector.MatchName(step) && selector.MatchNamespace(set.Namespace) {
			return true
		}
	}
	for _, class := range o.RuntimeClasses {
		if selector.MatchGvk(gvkRuntimeClass) && selector.MatchName(class.Name) && selector.MatchNamespace("") {
			return true
		}
	}
	return false
}

// names are the objects as patches know them.
func (o *Objects) names() []string {
	var names []string
	for _, step := range slices.Sorted(maps.Keys(o.DaemonSets)) {
		names = append(names, kindDaemonSet+" "+step)
	}
	for _, class := range o.RuntimeClasses {
		names = append(names, kindRuntimeClass+" "+class.Name)
	}
	return names
}

// reason is an error of kustomize on one line of bounded length.
func reason(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxReason {
		return strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}
