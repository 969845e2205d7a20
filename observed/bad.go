package observed

import (
	"encoding/json"
	"time"
)

// Bad says of a revision that it is not to be tried again, and why. It stands in [AnnotationBad].
type Bad struct {
	// To is the revision that nodes go back to, "" where they are uninstalled: there was none before.
	To string `json:"to,omitempty"`
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
	// On is the uid of the ConfigMap that they wrote it on: a pause outlives that.
	On string `json:"on"`
}

// Text is the annotation's value.
func (p Pause) Text() string { return text(p) }

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

func recall[T any](text string) *T {
	var value T
	if text == "" || json.Unmarshal([]byte(text), &value) != nil {
		return nil
	}
	return &value
}
