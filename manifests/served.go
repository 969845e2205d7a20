package manifests

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What only the API server sets is refused here, before it is sent: the server answers a foreign uid or resourceVersion with a conflict, which
// reads as if another attempt could help, and not with an error that names the field.

// serverSet holds that metadata has nothing that the API server sets, or that Longshore sets later.
func (c *checker) serverSet(at *field.Path, m *metav1.ObjectMeta) {
	for _, f := range []struct {
		name  string
		found any
		given bool
	}{
		{"uid", string(m.UID), m.UID != ""},
		{"resourceVersion", m.ResourceVersion, m.ResourceVersion != ""},
		{"generation", m.Generation, m.Generation != 0},
		{"creationTimestamp", timeText(&m.CreationTimestamp), !m.CreationTimestamp.IsZero()},
		{"deletionTimestamp", timeText(m.DeletionTimestamp), m.DeletionTimestamp != nil},
		{"deletionGracePeriodSeconds", m.DeletionGracePeriodSeconds, m.DeletionGracePeriodSeconds != nil},
		{"selfLink", m.SelfLink, m.SelfLink != ""}, //nolint:staticcheck // no server sets it any more, but every one reads it
	} {
		if f.given {
			c.errs = append(c.errs, field.Invalid(at.Child(f.name), f.found, "only the API server sets this, expected none"))
		}
	}
	if m.GenerateName != "" {
		c.errs = append(c.errs, field.Invalid(at.Child("generateName"), m.GenerateName, "Longshore gives every object its name, expected none"))
	}
	c.none(at.Child("managedFields"), len(m.ManagedFields))
	c.none(at.Child("ownerReferences"), len(m.OwnerReferences))
	c.none(at.Child("finalizers"), len(m.Finalizers))
}

func timeText(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// noStatus holds that the fields of a status have nothing in them.
func (c *checker) noStatus(at *field.Path, status any) {
	v := reflect.ValueOf(status)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		c.forbid(at.Child(name), "found "+excerpt(show(v.Field(i).Interface()))+", expected none: a status is set in the cluster only")
	}
}

// claimTemplate looks at the metadata of the claim that is made for a volume: it is that of an object like any other.
func (c *checker) claimTemplate(at *field.Path, v *corev1.Volume) {
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		c.serverSet(at.Child("ephemeral", "volumeClaimTemplate", "metadata"), &v.Ephemeral.VolumeClaimTemplate.ObjectMeta)
	}
}

// excerpt is the beginning of a text that people wrote and that may be long.
func excerpt(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
}
