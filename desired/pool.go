package desired

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Pool is one ConfigMap with the pool label.
type Pool struct {
	Source *observed.Spec
	// AlsoSpec is true when the ConfigMap has the runtime label as well.
	AlsoSpec bool
	// Errors are why nobody can know what the pool asks for. As long as there are any, nothing starts on any node: it might be one
	// of those that the pool was to protect.
	Errors field.ErrorList
}

// pools reads the pools of a snapshot.
func pools(snap *observed.Snapshot) []Pool {
	read := make([]Pool, 0, len(snap.Pools))
	for i := range snap.Pools {
		p := Pool{Source: &snap.Pools[i], AlsoSpec: among(snap.Specs, snap.Pools[i].Name)}
		if p.AlsoSpec {
			p.Errors = append(p.Errors, spec.BothLabels())
		}
		_, errs := spec.ParsePool(p.Source.Pool, p.Source.Data, p.Source.BinaryData)
		p.Errors = append(p.Errors, errs...)
		read = append(read, p)
	}
	return read
}

// Remedy says what people can do about the pool's errors. A ConfigMap that is a spec as well must not be deleted for them: that would
// uninstall the runtime.
func (p *Pool) Remedy() string {
	if p.AlsoSpec {
		return "take the pool label off: kubectl label configmap " + p.Source.Name + " " + observed.LabelPool + "-"
	}
	return "delete it: kubectl delete configmap " + p.Source.Name
}

// among tells whether a ConfigMap of that name is in a list.
func among(list []observed.Spec, name string) bool {
	return slices.ContainsFunc(list, func(s observed.Spec) bool { return s.Name == name })
}
