package spec

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unsupported refuses what the table of keys promises and this version does not do yet, rather than ignore it. It goes when the
// behaviour comes.
func unsupported(data map[string]string) field.ErrorList {
	if _, given := data["verify"]; given {
		return field.ErrorList{field.Forbidden(field.NewPath("data").Key("verify"), "not supported yet: leave the key out, the handlers that the kubelet reports are checked")}
	}
	return nil
}
