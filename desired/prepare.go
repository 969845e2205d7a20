package desired

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Prepare is what has to be written into the cluster before the newest wish can be acted on: whoever acts, now or after a
// crash, acts on what is written and on nothing else.
type Prepare struct {
	Runtime string
	// New is the parsed spec of a revision that has no ControllerRevision yet: to be rendered, checked by a dry run and stored.
	New *spec.Runtime
	// Asked is the parsed spec of a revision that is there already, where it asks for other classes than what is in force: they are no
	// part of a revision, and to be rendered and checked by a dry run all the same. Nil where there is nothing to check.
	Asked *spec.Runtime
	// Revision is the ControllerRevision to be changed where New is nil.
	Revision *observed.Revision
	// Number is the number the ControllerRevision gets; the highest one is the newest.
	Number int64
	// Annotations are set on the ControllerRevision; an empty value takes the annotation off.
	Annotations map[string]string
	// Source is the spec this is made from, nil for a vanished one.
	Source *observed.Spec
}

// Preparing reports whether what is in force is not yet what the spec asks for. Marks alone, such as how many nodes lost their labels, change nothing that a status speaks of.
func (r *Runtime) Preparing() bool {
	p := r.Prepare
	if p == nil {
		return false
	}
	asked, there := p.Annotations[observed.AnnotationSpec]
	marks := p.New == nil && p.Asked == nil && len(r.History) > 0 && p.Revision == r.History[0] && (!there || asked == p.Revision.Annotations[observed.AnnotationSpec])
	return !marks
}

// Asked is what the spec asks for where that is not in force yet, nil where there is none such.
func (r *Runtime) Asked() *spec.Runtime {
	if r.Source == nil || !r.Preparing() {
		return nil
	}
	return r.asked
}

// Source identifies the ConfigMap that a remembered spec came from.
type Source struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	// Created tells whether another spec is older, and since when it is not the newest.
	Created time.Time `json:"created,omitzero"`
}

// sourceOf is the ConfigMap that what is in force came from, the zero Source where nobody knows.
func sourceOf(rev *observed.Revision) Source {
	var s Source
	if json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSource]), &s) != nil {
		return Source{}
	}
	return s
}

// LastSource is the ConfigMap that what is in force came from, the zero Source where nobody knows.
func (r *Runtime) LastSource() Source {
	if len(r.History) == 0 {
		return Source{}
	}
	return sourceOf(r.History[0])
}

// inForce reads what is in force from the newest ControllerRevision: nothing else is ever acted on.
func (r *Runtime) inForce(parse Parser) {
	if len(r.History) == 0 {
		return
	}
	newest := r.History[0]
	r.Pause = newest.Pause()
	if text := newest.Annotations[observed.AnnotationVanished]; text != "" {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			r.Vanished = t
		}
	}
	r.NothingSelected = newest.Annotations[observed.AnnotationNothingSelected] != ""
	parsed := remembers(newest, parse)
	if parsed == nil {
		return
	}
	r.Spec, r.Goal, r.renamed = parsed, newest, parsed.Revisions()
	r.goBack(parse)
}

// remembers is the spec that a revision was last made from, nil if that cannot be read or is none of its own.
func remembers(rev *observed.Revision, parse Parser) *spec.Runtime {
	var data map[string]string
	if err := json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &data); err != nil {
		return nil
	}
	parsed, errs := parse(rev.Runtime, data, nil)
	if image := rev.Annotations[observed.AnnotationPayload]; image != "" && len(errs) == 0 {
		parsed = parsed.WithPayload(image)
	}
	if len(errs) > 0 || rev.Content == nil || !slices.Contains(parsed.Revisions(), rev.Revision) {
		return nil
	}
	return parsed
}

// ask compares what the spec asks for with what is in force and says what has to be prepared.
func (r *Runtime) ask(snap *observed.Snapshot, parse Parser, claims map[string]string, payloads spec.Payloads) {
	asked, errs := parse(r.Name, r.Source.Data, r.Source.BinaryData)
	if among(snap.Pools, r.Source.Name) {
		errs = append(field.ErrorList{spec.BothLabels()}, errs...)
	}
	image, wrong := payloads.Images[r.Name], payloads.Errors[r.Name]
	if len(errs) > 0 || (len(wrong) > 0 && len(r.History) == 0) {
		r.Errors = slices.Concat(errs, wrong)
		r.comeBack()
		return
	}
	if len(wrong) > 0 {
		// The payload in force stays; what else the spec says is obeyed: a slip there must not keep anybody from pausing a rollout.
		image = r.History[0].Annotations[observed.AnnotationPayload]
		defer func() { r.Errors = append(r.Errors, wrong...) }()
	}
	if image != "" {
		asked = asked.WithPayload(image)
	}
	if r.Errors = r.fixedHandlers(asked, snap); len(r.Errors) > 0 {
		r.comeBack()
		return
	}
	if r.Conflict = conflict(asked, claims); r.Conflict != "" {
		r.comeBack()
		return
	}
	claim(claims, asked.Name, classesOf(asked))
	r.asked = asked
	annotations := r.remember(asked, snap)
	revision := asked.Revision()
	var existing *observed.Revision
	for _, name := range asked.Revisions() {
		if existing == nil {
			existing = r.Revision(name)
		}
	}
	switch {
	case existing == nil:
		r.Prepare = &Prepare{Runtime: r.Name, New: asked, Number: r.nextNumber(), Annotations: annotations, Source: r.Source}
	case existing.Content == nil:
		r.Errors = field.ErrorList{field.InternalError(field.NewPath("data"), fmt.Errorf(
			"the snapshot of revision %s (ControllerRevision %q) cannot be read: %s; delete it to have it made again", revision, existing.Name, existing.Problem))}
		r.comeBack()
	case existing != r.History[0]:
		r.Prepare = &Prepare{Runtime: r.Name, Asked: r.otherClasses(asked), Revision: existing, Number: r.nextNumber(), Annotations: annotations, Source: r.Source}
	case differ(existing.Annotations, annotations):
		r.Prepare = &Prepare{Runtime: r.Name, Asked: r.otherClasses(asked), Revision: existing, Number: existing.Number, Annotations: annotations, Source: r.Source}
	}
}

// otherClasses returns the asked spec if its classes, or the patches that may change them, are not those in force.
func (r *Runtime) otherClasses(asked *spec.Runtime) *spec.Runtime {
	if r.Spec != nil && equality.Semantic.DeepEqual(r.Spec.RuntimeClasses, asked.RuntimeClasses) && equality.Semantic.DeepEqual(r.Spec.Patches, asked.Patches) {
		return nil
	}
	return asked
}

// Refuse says that what the spec asks for cannot be, and why. What was in force stays so.
func (r *Runtime) Refuse(errs field.ErrorList) {
	r.Errors, r.Prepare = errs, nil
	r.comeBack()
}

// remember is what the newest ControllerRevision has to say for the asked spec to be in force.
func (r *Runtime) remember(asked *spec.Runtime, snap *observed.Snapshot) map[string]string {
	data, err := json.Marshal(r.Source.Data)
	if err != nil {
		data = []byte("{}")
	}
	source, err := json.Marshal(Source{Name: r.Source.Name, UID: string(r.Source.UID), Created: r.Source.Created.UTC()})
	if err != nil {
		source = []byte("{}")
	}
	annotations := map[string]string{
		observed.AnnotationSpec:            string(data),
		observed.AnnotationSource:          string(source),
		observed.AnnotationPayload:         "",
		observed.AnnotationVanished:        "",
		observed.AnnotationSurvivor:        r.survivorText(),
		observed.AnnotationNothingSelected: "",
		observed.AnnotationPause:           r.paused(),
		observed.AnnotationDeselection:     r.lostText(asked, snap),
	}
	r.hear(annotations)
	r.judge(asked, string(data), annotations, snap.Time)
	if asked.Overridden {
		annotations[observed.AnnotationPayload] = asked.PayloadImage
	}
	edited := r.Spec == nil || r.Spec.NodeSelector.String() != asked.NodeSelector.String() || r.NothingSelected
	if edited && r.selectsNothing(asked, snap) {
		annotations[observed.AnnotationNothingSelected] = "true"
	}
	return annotations
}

// selectsNothing tells whether the asked spec selects no node while some carry the runtime.
func (r *Runtime) selectsNothing(asked *spec.Runtime, snap *observed.Snapshot) bool {
	carrying := false
	for i := range snap.Nodes {
		if asked.NodeSelector.Matches(&snap.Nodes[i].Labels) {
			return false
		}
		carrying = carrying || snap.Nodes[i].State(r.Name).Carries()
	}
	return carrying
}

// vanish asks to remember when the last spec was gone.
func (r *Runtime) vanish(snap *observed.Snapshot) {
	if len(r.History) == 0 || !r.Vanished.IsZero() {
		return
	}
	r.Prepare = &Prepare{
		Runtime: r.Name, Revision: r.History[0], Number: r.History[0].Number,
		Annotations: map[string]string{observed.AnnotationVanished: snap.Time.UTC().Format(time.RFC3339), observed.AnnotationSurvivor: ""},
	}
}

// hear remembers what people said of nodes that lost their labels, also where the annotation is gone again.
func (r *Runtime) hear(annotations map[string]string) {
	const key = observed.AnnotationUninstallDeselected
	word, _ := r.said(key)
	annotations[key] = cmp.Or(word, r.heard(key))
}

// comeBack takes the mark of a vanished spec off when there is a spec again, even one that is not in force, and hears whether people paused it: a slip in
// the spec must not keep anybody from that.
func (r *Runtime) comeBack() {
	if len(r.History) == 0 {
		return
	}
	annotations := map[string]string{
		observed.AnnotationVanished: "", observed.AnnotationSurvivor: r.keptWords(), observed.AnnotationPause: r.paused(), observed.AnnotationDeselection: r.lost,
	}
	r.hear(annotations)
	r.Unheard = cmp.Or(r.Unheard, r.pending())
	if !differ(r.History[0].Annotations, annotations) {
		return
	}
	r.Prepare = &Prepare{Runtime: r.Name, Revision: r.History[0], Number: r.History[0].Number, Source: r.Source, Annotations: annotations}
}

func (r *Runtime) nextNumber() int64 {
	if len(r.History) == 0 {
		return 1
	}
	return r.History[0].Number + 1
}

// fixedHandlers refuses a new handler for a RuntimeClass of ours that exists: Kubernetes has it immutable.
func (r *Runtime) fixedHandlers(asked *spec.Runtime, snap *observed.Snapshot) field.ErrorList {
	var errs field.ErrorList
	for i, class := range asked.RuntimeClasses {
		for j := range snap.RuntimeClasses {
			have := &snap.RuntimeClasses[j]
			if have.Name == class.Name && have.Owner() == r.Name && have.Handler != class.Handler {
				errs = append(errs, field.Invalid(field.NewPath("data").Key("runtimeClasses").Index(i).Child("handler"), class.Handler,
					fmt.Sprintf("RuntimeClass %q has handler %q, and a handler cannot be changed; give the class a new name", class.Name, have.Handler)))
			}
		}
	}
	return errs
}

// claimed collects which runtime has which class and which handler: what is in force, or else the newest revision, and the revisions
// that nodes still carry. Names of classes change without a new revision. The older runtime wins.
func claimed(runtimes []Runtime, standing map[carriedRevision]bool) map[string]string {
	order := make([]*Runtime, 0, len(runtimes))
	for i := range runtimes {
		order = append(order, &runtimes[i])
	}
	first := func(r *Runtime) time.Time {
		var oldest time.Time
		for _, h := range r.History {
			if oldest.IsZero() || h.Created.Before(oldest) {
				oldest = h.Created
			}
		}
		return oldest
	}
	slices.SortStableFunc(order, func(a, b *Runtime) int { return first(a).Compare(first(b)) })
	claims := map[string]string{}
	for _, r := range order {
		if r.Spec != nil {
			claim(claims, r.Name, classesOf(r.Spec))
		}
		for i, h := range r.History {
			if r.Spec != nil && r.Current(h.Revision) {
				continue
			}
			if h.Content != nil && (i == 0 || standing[carriedRevision{r.Name, h.Revision}]) {
				claim(claims, r.Name, h.Content.Classes)
			}
		}
	}
	return claims
}

func claim(claims map[string]string, runtime string, classes []observed.Class) {
	for _, c := range classes {
		for _, key := range []string{classKey(c.Name), handlerKey(c.Handler)} {
			if claims[key] == "" {
				claims[key] = runtime
			}
		}
	}
}

// conflict says which class or handler of the asked spec belongs to another runtime, "" if none does.
func conflict(asked *spec.Runtime, claims map[string]string) string {
	var words []string
	for _, c := range classesOf(asked) {
		if owner := claims[classKey(c.Name)]; owner != "" && owner != asked.Name {
			words = append(words, fmt.Sprintf("RuntimeClass %q belongs to runtime %q", c.Name, owner))
		}
		if owner := claims[handlerKey(c.Handler)]; owner != "" && owner != asked.Name {
			words = append(words, fmt.Sprintf("handler %q belongs to runtime %q", c.Handler, owner))
		}
	}
	return strings.Join(slices.Compact(words), "; ")
}

func classKey(name string) string   { return "class " + name }
func handlerKey(name string) string { return "handler " + name }

func classesOf(r *spec.Runtime) []observed.Class {
	classes := make([]observed.Class, 0, len(r.RuntimeClasses))
	for _, c := range r.RuntimeClasses {
		classes = append(classes, observed.Class{Name: c.Name, Handler: c.Handler})
	}
	return classes
}

// differ tells whether annotations are not as wanted; an empty wanted value means that there should be none.
func differ(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return true
		}
	}
	return false
}
