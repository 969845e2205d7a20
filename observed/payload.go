package observed

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// What people write to try another payload, or to have one pulled from a private registry. The names are the contract.
const (
	// PayloadConfigName is the ConfigMap that names other payload images. Package spec reads its keys.
	PayloadConfigName = "payload-config"

	// PayloadSecretName is the Secret with the credentials of a registry.
	PayloadSecretName = "payload-secret"
	SecretUsername    = "username"
	SecretPassword    = "password"
	SecretRegistry    = "registry"

	// PullSecretName is the pull secret that is made from it.
	PullSecretName = "longshore-pull"
)

// AnnotationPayload on a runtime's newest ControllerRevision is the image of [PayloadConfigName] that is in force, beside [AnnotationSpec].
const AnnotationPayload = Domain + "/payload"

// PayloadConfig is the ConfigMap of that name.
type PayloadConfig struct {
	Name            string            `json:"name"`
	UID             types.UID         `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Data            map[string]string `json:"data,omitempty"`
	BinaryData      map[string][]byte `json:"binaryData,omitempty"`
	Deleting        bool              `json:"deleting,omitempty"`
}

// PayloadSecret is what is known of the Secret of that name. Its values are no part of what is printed or saved.
type PayloadSecret struct {
	Exists          bool   `json:"exists"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Registry        string `json:"registry,omitempty"`
	Username        Hidden `json:"username,omitzero"`
	Password        Hidden `json:"password,omitzero"`
}

// Hidden is a text that shows itself to nobody who does not ask for it: not in logs, not in JSON, not with %#v.
type Hidden struct{ text string }

// Hide hides a text.
func Hide(text string) Hidden { return Hidden{text} }

// Reveal is the text itself, for whoever has to hand it on.
func (h Hidden) Reveal() string { return h.text }

// IsZero tells whether there is no text.
func (h Hidden) IsZero() bool { return h.text == "" }

const hidden = "(hidden)"

// String says that there is something.
func (h Hidden) String() string {
	if h.IsZero() {
		return ""
	}
	return hidden
}

// GoString is String, for %#v.
func (h Hidden) GoString() string { return h.String() }

// Format is String for every verb: the default would print what is inside.
func (h Hidden) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(h.String())) }

// MarshalText is String. What was saved knows no more than that there was something.
func (h Hidden) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hidden) UnmarshalText(text []byte) error {
	h.text = string(text)
	return nil
}

// worthHiding is the shortest value that is looked for in messages: a shorter one would be found everywhere.
const worthHiding = 4

// Clean takes the text, without what ends a line at its end, out of what somebody else wrote: a registry, or a command that said too much.
func (h Hidden) Clean(text string) string {
	if value := strings.TrimRight(h.text, "\r\n"); len(value) >= worthHiding {
		return strings.ReplaceAll(text, value, hidden)
	}
	return text
}
