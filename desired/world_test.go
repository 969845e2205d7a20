package desired_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// data is a valid spec whose payload has the tag; more replaces and adds keys.
func data(tag string, more ...string) map[string]string {
	d := map[string]string{
		"payloadImage": "registry.example.com/payload:" + tag, "installCmd": "[/install]", "uninstallCmd": "[/uninstall]", "nodeSelector": "use=kata",
		"runtimeClasses": "[{name: kata, handler: kata}]",
	}
	for i := 0; i < len(more); i += 2 {
		d[more[i]] = more[i+1]
	}
	return d
}

// specOf is a spec of kata that was made so many minutes ago.
func specOf(name string, minutes int, d map[string]string) observed.Spec {
	return observed.Spec{Name: name, UID: types.UID("uid-" + name), Runtime: "kata", Created: now.Add(-time.Duration(minutes) * time.Minute), Data: d}
}

func of(runtime string, s observed.Spec) observed.Spec {
	s.Runtime = runtime
	return s
}

func saying(s observed.Spec, key, value string) observed.Spec {
	s.People = map[string]string{key: value}
	return s
}

func deleting(s observed.Spec) observed.Spec {
	s.Deleting = true
	return s
}

// revision is the snapshot of a spec, in force if it has the highest number. Marks are annotations besides.
func revision(number int64, s observed.Spec, marks ...string) observed.Revision {
	parsed, errs := spec.Parse(s.Runtime, s.Data, nil)
	if len(errs) > 0 {
		panic(errs.ToAggregate())
	}
	text, err := json.Marshal(s.Data)
	if err != nil {
		panic(err)
	}
	source, err := json.Marshal(desired.Source{Name: s.Name, UID: string(s.UID), Created: s.Created})
	if err != nil {
		panic(err)
	}
	r := observed.Revision{
		Name: observed.RevisionName(s.Runtime, parsed.Revision()), UID: types.UID("uid-" + parsed.Revision()), Runtime: s.Runtime, Revision: parsed.Revision(),
		Number: number, Created: now.Add(-time.Hour + time.Duration(number)*time.Minute),
		Annotations: map[string]string{observed.AnnotationSpec: string(text), observed.AnnotationSource: string(source)},
		Content:     &observed.RevisionContent{Format: 1, DaemonSets: map[string]*appsv1.DaemonSet{"install": {}, "uninstall": {}}},
	}
	for _, c := range parsed.RuntimeClasses {
		r.Content.Classes = append(r.Content.Classes, observed.Class{Name: c.Name, Handler: c.Handler})
	}
	for i := 0; i < len(marks); i += 2 {
		r.Annotations[marks[i]] = marks[i+1]
	}
	return r
}

// node is a Linux node; words are "use" for one that kata's selector matches, and `<runtime>=<tag>` for one that is Ready with that payload.
func node(name string, words ...string) observed.Node {
	n := observed.Node{
		Name: name, UID: types.UID("uid-" + name), Labels: observed.LabelsOf(map[string]string{"kubernetes.io/os": "linux"}), Annotations: map[string]string{}, HasAnnotations: true, Ready: true,
	}
	for _, word := range words {
		runtime, tag, ok := strings.Cut(word, "=")
		if !ok {
			n.Labels = n.Labels.With(word, "kata")
			continue
		}
		p := observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: tag, Since: now.Add(-time.Hour)}
		n.Annotations[observed.ProgressKey(runtime)] = p.String()
	}
	n.Index()
	return n
}

// world is what is there; the zero of everything else is left out.
type world struct {
	specs    []observed.Spec
	pools    []observed.Spec
	history  []observed.Revision
	nodes    []observed.Node
	classes  []observed.RuntimeClass
	mismatch map[string]time.Duration
}

func (w *world) snapshot() *observed.Snapshot {
	s := &observed.Snapshot{Time: now, Specs: w.specs, Pools: w.pools, Revisions: w.history, Nodes: w.nodes, RuntimeClasses: w.classes, Mismatch: map[observed.NodeRuntime]time.Time{}}
	for name, ago := range w.mismatch {
		s.Mismatch[observed.NodeRuntime{Node: types.UID("uid-" + name), Runtime: "kata"}] = now.Add(-ago)
	}
	return s
}

var wants = map[desired.Want]string{desired.Unconcerned: "Unconcerned", desired.Keep: "Keep", desired.Installed: "Installed", desired.Removed: "Removed"}

var whys = map[desired.Why]string{
	desired.WhyNone: "", desired.WhySelected: "Selected", desired.WhyDeselected: "Deselected", desired.WhyMismatch: "Mismatch", desired.WhyVanished: "Vanished",
	desired.WhyDeleted: "Deleted", desired.WhyNothingSelected: "NothingSelected", desired.WhyNoGoal: "NoGoal", desired.WhyOrphaned: "Orphaned", desired.WhyStale: "Stale",
	desired.WhyMassDeselected: "MassDeselected", desired.WhyUntouched: "Untouched", desired.WhyBad: "Bad", desired.WhyPanic: "Panic",
	desired.WhySurvivor: "Survivor",
}

// tell puts the plan of kata into lines, with the tags of payloads in place of revisions.
func (w *world) tell(snap *observed.Snapshot, plan *desired.Plan) []string {
	var lines []string
	for i := range plan.Runtimes {
		if r := &plan.Runtimes[i]; r.Name == "kata" {
			lines = append(lines, w.tellRuntime(snap, r)...)
		}
	}
	if !plan.Again.IsZero() {
		lines = append(lines, "again in "+plan.Again.Sub(now).String())
	}
	return lines
}

func (w *world) tellRuntime(snap *observed.Snapshot, r *desired.Runtime) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if r.Source != nil {
		say("source %s", r.Source.Name)
	}
	for _, s := range r.Superseded {
		say("superseded %s", s.Name)
	}
	for _, e := range r.Errors {
		say("error %s", e.Field)
	}
	if r.Conflict != "" {
		say("conflict %s", r.Conflict)
	}
	if r.Goal != nil {
		say("in force %s", tag(r.Spec))
	}
	switch {
	case !r.Vanished.IsZero() && r.Removing:
		say("removing, gone for %s", now.Sub(r.Vanished))
	case !r.Vanished.IsZero():
		say("gone for %s", now.Sub(r.Vanished))
	}
	if p := r.Prepare; p != nil {
		what := "nothing"
		if p.New != nil {
			what = "new " + tag(p.New)
		} else if p.Revision != nil {
			what = "mark " + w.tagOf(p.Revision)
		}
		say("prepare %s as %d%s", what, p.Number, marks(p.Annotations))
	}
	for i, t := range r.Targets {
		if t.Want == desired.Unconcerned {
			continue
		}
		line := strings.TrimSpace(fmt.Sprintf("%s %s %s", snap.Nodes[i].Name, wants[t.Want], whys[t.Why]))
		if !t.Until.IsZero() {
			line += " for " + t.Until.Sub(now).String()
		}
		lines = append(lines, line)
	}
	return lines
}

func tag(r *spec.Runtime) string {
	_, t, _ := strings.Cut(r.PayloadImage, ":")
	return t
}

func (w *world) tagOf(rev *observed.Revision) string {
	var d map[string]string
	if err := json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &d); err != nil {
		return rev.Name
	}
	_, t, _ := strings.Cut(d["payloadImage"], ":")
	return t
}

// marks tells which annotations are set and which are taken off, but for the spec itself, which nearly always is.
func marks(annotations map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		short := strings.TrimPrefix(key, "longshore.dev/")
		switch {
		case key == observed.AnnotationSpec || key == observed.AnnotationSource:
		case annotations[key] == "" && (key == observed.AnnotationBad || key == observed.AnnotationDeselection || key == observed.AnnotationSurvivor || slices.Contains(observed.PeopleAnnotations, key)):
			// They nearly never are there, and have tests of their own.
		case annotations[key] == "":
			words = append(words, "-"+short)
		case key == observed.AnnotationSurvivor:
			words = append(words, "+"+short)
		default:
			words = append(words, "+"+short+"="+annotations[key])
		}
	}
	return strings.TrimRight(" "+strings.Join(words, " "), " ")
}
