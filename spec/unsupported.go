package spec

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unsupported refuses what the table of keys promises and this version does not do yet, rather than ignore it. Each line goes when
// its behaviour comes.
func unsupported(r *Runtime, data map[string]string) field.ErrorList {
	given := func(key string) bool { _, ok := data[key]; return ok }
	root := field.NewPath("data")
	var errs field.ErrorList
	for _, line := range []struct {
		path   *field.Path
		found  bool
		advice string
	}{
		{root.Key("verify"), given("verify"), "leave the key out, the handlers that the kubelet reports are checked"},
	} {
		if line.found {
			errs = append(errs, field.Forbidden(line.path, "not supported yet: "+line.advice))
		}
	}
	return errs
}
