package observed

import (
	"encoding/json"
	"time"
)

// Bad says of a revision that it is not to be tried again, and why. It stands in [AnnotationBad].
type Bad struct {
	// To is the revision that nodes go back to, "" where there is none: nodes that never offered the runtime are uninstalled then.
	To string `json:"to,omitempty"`
	// Asked is true where people asked for it: then every node goes to To, and not only those that the rollout changed.
	Asked bool `json:"asked,omitempty"`
	// Reason is in words.
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Text is the annotation's value.
func (b Bad) Text() string { return text(b) }

// Pause says that people paused a runtime. It stands in [AnnotationPause] of a ControllerRevision.
type Pause struct {
	// Reason is what people wrote, which may be nothing.
	Reason string `json:"reason"`
	// On is the uid of the ConfigMap that they wrote it on, for people who look for it. A pause outlives that ConfigMap.
	On string `json:"on"`
}

// Text is the annotation's value.
func (p Pause) Text() string { return text(p) }

// Deselection is what is known of nodes that carry a runtime and whose labels its selector does not match any more. It stands in [AnnotationDeselection].
type Deselection struct {
	// Halted is why none of them is uninstalled: NothingSelected or MassDeselection. It is "" where people agreed to the uninstalls, by an edit of the
	// selector or by `longshore resume --deselected`.
	Halted string `json:"halted,omitempty"`
	// Nodes is how many they were when this was written.
	Nodes int       `json:"nodes"`
	Time  time.Time `json:"time"`
}

// Text is the annotation's value.
func (d Deselection) Text() string { return text(d) }

func text(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		// Strings and times always have a text.
		panic(err)
	}
	return string(out)
}

// Bad returns what the revision's annotation says, nil if it says nothing or nothing that can be read.
func (r *Revision) Bad() *Bad { return recall[Bad](r.Annotations[AnnotationBad]) }

// Pause returns what the revision's annotation says, nil if it says nothing or nothing that can be read.
func (r *Revision) Pause() *Pause { return recall[Pause](r.Annotations[AnnotationPause]) }

// Deselection returns what the revision's annotation says, nil if it says nothing or nothing that can be read.
func (r *Revision) Deselection() *Deselection {
	return recall[Deselection](r.Annotations[AnnotationDeselection])
}

// Proven reports whether the spec was once Ready at the revision.
func (r *Revision) Proven() bool { return r != nil && r.Annotations[AnnotationProven] != "" }

func recall[T any](text string) *T {
	var value T
	if text == "" || json.Unmarshal([]byte(text), &value) != nil {
		return nil
	}
	return &value
}
