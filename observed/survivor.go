package observed

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Survivor is an older spec that is left when the one in force is gone. What becomes of it is decided once, and written down before anything is
// done. It stands in [AnnotationSurvivor].
type Survivor struct {
	// UID is that of the spec.
	UID types.UID `json:"uid"`
	// Since is when the newer spec was seen to be gone, Due when the survivor has waited for long enough.
	// Both are zero while a newer spec is there again that is not in force: then only People is remembered.
	Since time.Time `json:"since,omitzero"`
	Due   time.Time `json:"due,omitzero"`
	// InForce is true if the survivor comes into force then; otherwise it is a Conflict.
	InForce bool `json:"inForce,omitempty"`
	// People is what people had written on it by then: words of that time ask for nothing now.
	People map[string]string `json:"people,omitempty"`
}

// Text is the annotation's value.
func (s Survivor) Text() string { return text(s) }

// Survivor returns what the revision's annotation says, nil if it says nothing or nothing that can be read.
func (r *Revision) Survivor() *Survivor { return recall[Survivor](r.Annotations[AnnotationSurvivor]) }
