package manifests

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// siteFields are the fields of a component that only change objects that are there already. Everything that loads or
// generates something is refused.
var siteFields = []string{"apiVersion", "kind", "metadata", "patches", "labels", "commonAnnotations", "images"}

// site is the site's component: what a cluster's operator adds to every installer.
type site struct {
	// component is written anew from what was read: patch files are part of it, nothing refers to a file.
	component *types.Kustomization
	// content is the component as JSON; the digest of it is part of the cache's key.
	content []byte
}

func (s *site) digest() [sha256.Size]byte {
	if s == nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(s.content)
}

func (s *site) equal(other *site) bool { return s.digest() == other.digest() }

// parseSite reads the component's files. All errors are reported at once.
func parseSite(files map[string][]byte) (*site, error) {
	if len(files) == 0 {
		return nil, nil // no component is a component that changes nothing
	}
	name, err := kustomizationFile(files)
	if err != nil {
		return nil, err
	}
	if err := oneDocument(files[name]); err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	var fields map[string]any
	if err := yaml.UnmarshalStrict(files[name], &fields); err != nil {
		return nil, fmt.Errorf("%s is not a YAML object: %w", name, err)
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(siteFields, key) {
			errs = append(errs, fmt.Errorf("%s: %s: not allowed here, expected only %v", name, key, siteFields))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var component types.Kustomization
	if err := yaml.UnmarshalStrict(files[name], &component); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	used := map[string]bool{name: true}
	errs = append(errs, checkComponent(&component)...)
	errs = append(errs, inlinePatches(&component, files, used)...)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if !used[file] {
			errs = append(errs, fmt.Errorf("%s: nothing in %s refers to this file", file, name))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	content, err := json.Marshal(&component)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &site{component: &component, content: content}
	return s, errors.Join(s.orphans()...)
}

func kustomizationFile(files map[string][]byte) (string, error) {
	names := konfig.RecognizedKustomizationFileNames()
	var found []string
	for _, name := range names {
		if _, ok := files[name]; ok {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("found %d of the files %v among %v, expected exactly one", len(found), names, slices.Sorted(maps.Keys(files)))
	}
	return found[0], nil
}

func checkComponent(component *types.Kustomization) []error {
	var errs []error
	if component.Kind != types.ComponentKind || component.APIVersion != types.ComponentVersion {
		errs = append(errs, fmt.Errorf("found %s %s, expected %s %s",
			component.APIVersion, component.Kind, types.ComponentVersion, types.ComponentKind))
	}
	for i, l := range component.Labels {
		if l.IncludeSelectors || len(l.FieldSpecs) > 0 {
			errs = append(errs, fmt.Errorf("labels[%d]: includeSelectors and fields are not allowed: the selectors are Longshore's", i))
		}
	}
	return errs
}

// inlinePatches puts the files that patches name into the component, and writes every body anew.
func inlinePatches(component *types.Kustomization, files map[string][]byte, used map[string]bool) []error {
	if len(component.Patches) > maxPatches {
		return []error{field.TooMany(sitePath, len(component.Patches), maxPatches)}
	}
	var errs []error
	for i := range component.Patches {
		p := &component.Patches[i]
		if p.Options != nil && (p.Options.AllowKindChange || p.Options.AllowNameChange) {
			errs = append(errs, field.Forbidden(sitePath.Index(i).Child("options"), "a patch may not change what an object is"))
		}
		text := p.Patch
		if p.Path != "" {
			file, ok := files[p.Path]
			if !ok || p.Patch != "" || path.Base(p.Path) != p.Path {
				errs = append(errs, field.Invalid(sitePath.Index(i).Child("path"), p.Path, "is not one of the component's files, or stands beside a patch"))
				continue
			}
			used[p.Path] = true
			text = string(file)
		}
		sound, err := soundPatch(sitePath.Index(i), text, p.Target)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		component.Patches[i] = sound
	}
	return errs
}

// try renders a runtime that has everything a runtime can have. The renderer's lock is held.
func (r *Renderer) try(next *site) error {
	// The image is ours and not in anybody's registry.
	policy := r.options.Policy
	policy.AllowedRegistries, policy.RequireDigest = nil, false
	trial := Renderer{options: r.options, base: r.base}
	trial.options.Policy = policy
	hook := &spec.Hook{Image: "payload", Cmd: []string{"true"}}
	rt := &spec.Runtime{
		Name: "trial", PayloadImage: "payload", Completion: spec.CompletionExit,
		InstallCmd: []string{"true"}, UninstallCmd: []string{"true"}, CleanupCmd: []string{"true"}, PreInstall: hook, PostUninstall: hook,
		RuntimeClasses: []spec.RuntimeClass{{Name: "trial", Handler: "trial"}},
	}
	_, errs := trial.render(rt, next)
	r.base = trial.base
	return errs.ToAggregate()
}

// orphans are the component's patches that no runtime could ever match.
func (s *site) orphans() []error {
	steps := slices.Concat(observed.Install.Steps(), observed.Uninstall.Steps())
	var errs []error
	for i, p := range s.component.Patches {
		selector, err := types.NewSelectorRegex(p.Target)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sitePath.Index(i).Child("target"), err))
			continue
		}
		class := selector.MatchGvk(gvkRuntimeClass)
		set := selector.MatchGvk(gvkDaemonSet) && slices.ContainsFunc(steps, selector.MatchName)
		if !class && !set {
			errs = append(errs, fmt.Errorf("%s: selects neither a RuntimeClass nor a DaemonSet with one of the names %v", sitePath.Index(i).Child("target"), steps))
		}
	}
	return errs
}
