// Package docs_test answers: is what the docs say still true?
package docs_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/observed"
)

func TestTheReferenceHasEveryKeyOnANode(t *testing.T) {
	var want []string
	for name, value := range stringConstants(t, "observed") {
		if strings.HasPrefix(name, "suffix") {
			want = append(want, "<runtime>."+observed.Domain+"/"+value)
		}
	}
	same(t, "keys on a node", want, first(t, reference, "On a node", "key"))
}

func TestTheReferenceHasEveryFieldOfAProgress(t *testing.T) {
	var want []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[observed.Progress]()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			want = append(want, name)
		}
	}
	same(t, "fields of a progress", want, first(t, reference, "The progress annotation", "field"))
}

func TestTheReferenceHasEveryAnnotationOfASpecOrPool(t *testing.T) {
	same(t, "annotations of a spec", observed.SpecAnnotations, first(t, reference, "On a spec", "annotation"))
	same(t, "annotations of a pool", observed.PoolAnnotations, first(t, reference, "On a spec", "annotation of a pool"))
}

func TestTheReferenceHasEveryPhase(t *testing.T) {
	same(t, "phases of a node", values(typedConstants(t, "observed", "Phase")), first(t, reference, "Phases of a node", "phase"))
	same(t, "phases of a spec", values(typedConstants(t, "status", "Phase")), first(t, reference, "Phases of a spec", "phase"))
}

func TestTheReferenceHasEveryReason(t *testing.T) {
	documented := slices.Concat(
		first(t, reference, "Why a node waits", "reason"),
		first(t, reference, "Why a node is not done yet", "reason"),
		first(t, reference, "Why a node failed, and what else a progress says", "reason"))
	known := slices.Concat(values(typedConstants(t, "rollout", "Reason")), values(typedConstants(t, "status", "Reason")))
	same(t, "reasons", known, documented)
}

func TestTheReferenceHasEveryCondition(t *testing.T) {
	types, reasons := conditions(t)
	same(t, "conditions", types, first(t, reference, "Conditions", "type"))
	same(t, "reasons of warnings", reasons, first(t, reference, "Conditions", "reason of a warning"))
}

// The reasons of events that are not written out where the event is made; a new one has to be put into the reference and here.
var computedEvents = map[string]string{
	"Spec phase":          "the phase of a spec",
	"Node m.After.Reason": "the reason of the failure",
}

func TestTheReferenceHasEveryEvent(t *testing.T) {
	var want []string
	for _, event := range events(t) {
		about, reason, _ := strings.Cut(event, " ")
		if text, ok := computedEvents[event]; ok {
			reason = text
		}
		want = append(want, strings.ToLower(about)+": "+reason)
	}
	var documented []string
	for _, row := range table(t, reference, "Events", "about") {
		documented = append(documented, row[0]+": "+strings.Trim(row[2], "`"))
	}
	same(t, "events", want, documented)
}

// described collects what is registered, because a vector without values is not gathered.
type described struct{ metrics map[string]string }

func (d described) Register(c prometheus.Collector) error { d.MustRegister(c); return nil }

func (d described) Unregister(prometheus.Collector) bool { return false }

var descText = regexp.MustCompile(`fqName: "([^"]+)".* variableLabels: \{([^}]*)\}`)

func (d described) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 10)
		c.Describe(descs)
		close(descs)
		for desc := range descs {
			found := descText.FindStringSubmatch(desc.String())
			d.metrics[found[1]] = found[2]
		}
	}
}

func TestTheReferenceHasEveryMetricWithItsLabels(t *testing.T) {
	registered := described{map[string]string{}}
	controller.NewMetrics(registered)
	documented := map[string]string{}
	for _, row := range table(t, reference, "Metrics", "metric") {
		documented[strings.Trim(row[0], "`")] = strings.Join(backquoted(row[2]), ",")
	}
	if diff := cmp.Diff(registered.metrics, documented); diff != "" {
		t.Errorf("metrics of the code (-) and of docs/reference.md (+):\n%s", diff)
	}
	same(t, "moves", values(typedConstants(t, "rollout", "MoveKind")), first(t, reference, "Metrics", "move"))
}

func TestTheReferenceHasEveryLabelAndAnnotationOfObjects(t *testing.T) {
	var want []string
	for name, value := range stringConstants(t, "observed") {
		if strings.HasPrefix(name, "Label") || strings.HasPrefix(name, "Annotation") {
			want = append(want, value)
		}
	}
	same(t, "labels and annotations of objects", want, first(t, reference, "Objects", "label or annotation"))
}

func TestTheReferenceHasTheNamesOfObjects(t *testing.T) {
	documented := first(t, reference, "Objects", "kind")
	names := column(t, reference, "Objects", "kind", 1)
	for _, want := range []string{
		"ControllerRevision " + observed.RevisionName("<runtime>", "<revision>"),
		"DaemonSet " + observed.DaemonSetName("<runtime>", "<step>", "<revision>"),
		"ConfigMap " + observed.TurnsName,
		"ConfigMap " + observed.PoolsName,
	} {
		found := false
		for i := range names {
			found = found || documented[i]+" "+names[i] == want
		}
		if !found {
			t.Errorf("docs/reference.md lacks %s among its objects", want)
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	var files []string
	for _, pattern := range []string{"*.md", "decisions/*.md", "../*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(raw), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), found[1])); err != nil {
				t.Errorf("docs/%s: %v", file, err)
			}
		}
	}
}

func values(constants map[string]string) []string { return slices.Collect(maps.Values(constants)) }

// same compares without regard to order and repetition.
func same(t *testing.T, what string, code, documented []string) {
	t.Helper()
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	if len(code) == 0 {
		t.Fatalf("%s: the code has none, so this test looks at the wrong place", what)
	}
	if diff := cmp.Diff(sorted(code), sorted(documented)); diff != "" {
		t.Errorf("%s of the code (-) and of docs/reference.md (+):\n%s", what, diff)
	}
}
