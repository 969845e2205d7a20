package status

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Annotations are the status annotations of a spec that speaks for a runtime.
func (r *RuntimeReport) Annotations(s *observed.Spec) map[string]string {
	conditions, err := json.Marshal(r.Conditions)
	if err != nil {
		conditions = []byte("[]")
	}
	out := map[string]string{
		observed.SpecPhase:      string(r.Phase),
		observed.SpecMessage:    observed.Shorten(r.Message, observed.MaxMessage),
		observed.SpecProgress:   fmt.Sprintf("%d/%d", r.Done, r.Total),
		observed.SpecConditions: string(conditions),
	}
	setSome(out, observed.SpecRevision, r.Revision)
	setSome(out, observed.SpecWarnings, r.warnings())
	setSome(out, observed.SpecObservedData, ObservedData(s))
	return out
}

// setSome sets an annotation that has a text.
func setSome(annotations map[string]string, key, text string) {
	if text != "" {
		annotations[key] = text
	}
}

// maxWarnings is how long the flat text of all warnings is at most, in bytes.
const maxWarnings = 8 << 10

// warnings are what people should know, a line each, "" for nothing.
func (r *RuntimeReport) warnings() string {
	var lines []string
	for _, c := range r.Conditions {
		if c.Type == "Warning" || c.Type == "Tainted" {
			lines = append(lines, c.Reason+": "+strings.Join(strings.Fields(c.Message), " "))
		}
	}
	return observed.Shorten(strings.Join(lines, "\n"), maxWarnings)
}

// SupersededAnnotations are the status annotations of a spec that another one of the same runtime has replaced.
func SupersededAnnotations(s *observed.Spec, winner string) map[string]string {
	out := map[string]string{
		observed.SpecPhase:   string(Superseded),
		observed.SpecMessage: SupersededWords(s, winner),
	}
	setSome(out, observed.SpecObservedData, ObservedData(s))
	return out
}

// SupersededWords say that nothing in a spec is obeyed, and how people go on. A tool that went back to this spec without touching it cannot be
// told from one that forgot it.
func SupersededWords(s *observed.Spec, winner string) string {
	return fmt.Sprintf("nothing in this ConfigMap is obeyed: ConfigMap %q of runtime %q is newer. If this one is meant, delete that one: kubectl delete configmap %s; else delete this one: kubectl delete configmap %s",
		winner, s.Runtime, winner, s.Name)
}

// ObservedData is what a status speaks of, in a form that the health checks of GitOps tools can compare with what is there: a line
// `keys=<number>`, then for every key in order `<key>=<value>`, a newline, `--<key>`, a newline, and at last a line
// `runtime=<label> binaryData=<number of keys>`, with `pool=` for a pool. It is "" where the data is larger than a spec may be, and where a value
// has the line that ends it, so that two specs could give the same text. Such a spec is Invalid whatever it says.
func ObservedData(s *observed.Spec) string {
	if spec.Size(s.Data, s.BinaryData) > spec.MaxSize || len(spec.ReservedLines(s.Data)) > 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "keys=%d\n", len(s.Data))
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		fmt.Fprintf(&b, "%s=%s\n--%s\n", key, s.Data[key], key)
	}
	kind, name := "runtime", s.Runtime
	if s.Pool != "" {
		kind, name = "pool", s.Pool
	}
	fmt.Fprintf(&b, "%s=%s binaryData=%d\n", kind, name, len(s.BinaryData))
	if b.Len() > maxObserved {
		return ""
	}
	return b.String()
}

// maxObserved is how long the copy of the data is at most, in bytes. Each key stands there twice, so that very many short keys take far more room
// than their data; such a spec has keys that there are not.
const maxObserved = 2 * spec.MaxSize
