package apply

import (
	"encoding/json"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestForeignFieldsAreThoseOfOthersBelowOurPaths(t *testing.T) {
	entry := func(manager, subresource, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	for name, c := range map[string]struct {
		managed []metav1.ManagedFieldsEntry
		want    bool
	}{
		"nobody else":               {[]metav1.ManagedFieldsEntry{entry("longshore", "", `{"f:spec":{}}`)}, false},
		"the DaemonSet controller":  {[]metav1.ManagedFieldsEntry{entry("kube-controller-manager", "status", `{"f:status":{}}`)}, false},
		"an annotation of somebody": {[]metav1.ManagedFieldsEntry{entry("kubectl-annotate", "", `{"f:metadata":{"f:annotations":{}}}`)}, false},
		"somebody's node selector":  {[]metav1.ManagedFieldsEntry{entry("longshore", "", `{"f:spec":{}}`), entry("kubectl-edit", "", `{"f:spec":{"f:template":{}}}`)}, true},
		"fields nobody can read":    {[]metav1.ManagedFieldsEntry{entry("kubectl-edit", "", `[`)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := foreign(c.managed, []string{"spec"}); got != c.want {
				t.Errorf("foreign = %v, expected %v", got, c.want)
			}
		})
	}
}

func TestAReplacementTakesAwayWhatWasAddedAndOnlyAtTheVersionSeen(t *testing.T) {
	patch, err := replacement([]byte(`{"spec":{"template":{"a":1}},"metadata":{"name":"x"}}`), "7", []string{"spec", "overhead"})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := decoded.Apply([]byte(`{"metadata":{"name":"x","resourceVersion":"7"},"spec":{"template":{"a":1,"b":2}},"overhead":{"cpu":"1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec     struct{ Template map[string]int }
		Overhead map[string]string
	}
	if err := json.Unmarshal(after, &object); err != nil {
		t.Fatal(err)
	}
	if len(object.Spec.Template) != 1 || object.Overhead != nil {
		t.Errorf("after the replacement the object is %s, expected nothing but what was applied", after)
	}
	if _, err := decoded.Apply([]byte(`{"metadata":{"resourceVersion":"8"},"spec":{}}`)); err == nil {
		t.Error("the replacement was applied to another version than the one seen")
	}
}
