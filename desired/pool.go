package desired

import (
	"encoding/json"
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
	// Pool is what is in force: what the ConfigMap says or, while that has errors, its last good version. As long as there is none, nothing
	// starts on any node: it might be one of those that the pool was to protect.
	Pool *spec.Pool
	// Errors are why what the ConfigMap says is not in force.
	Errors field.ErrorList
	// LastGood is what has to be remembered of the pool for the time when it is refused, "" for nothing.
	LastGood string
}

// pools reads the pools of a snapshot.
func pools(snap *observed.Snapshot) []Pool {
	read := make([]Pool, 0, len(snap.Pools))
	for i := range snap.Pools {
		p := Pool{Source: &snap.Pools[i], AlsoSpec: among(snap.Specs, snap.Pools[i].Name)}
		if p.AlsoSpec {
			p.Errors = append(p.Errors, spec.BothLabels())
		}
		pool, errs := spec.ParsePool(p.Source.Pool, p.Source.Data, p.Source.BinaryData)
		p.Errors = append(p.Errors, errs...)
		if len(p.Errors) == 0 {
			p.Pool, p.LastGood = pool, remembered(p.Source.Data)
		} else {
			p.LastGood = p.Source.Annotations[observed.PoolLastGood]
			p.Pool = recalled(p.Source.Pool, p.LastGood)
		}
		read = append(read, p)
	}
	return read
}

// remembered is a pool's data as it is written down.
func remembered(data map[string]string) string {
	text, err := json.Marshal(data)
	if err != nil {
		// A map of strings always has a text.
		panic(err)
	}
	return string(text)
}

// recalled reads what was written down of a pool, nil where that is nothing or not readable.
func recalled(name, text string) *spec.Pool {
	var data map[string]string
	if json.Unmarshal([]byte(text), &data) != nil {
		return nil
	}
	pool, errs := spec.ParsePool(name, data, nil)
	if len(errs) > 0 {
		return nil
	}
	return pool
}

// Remedy says what people can do about the pool's errors. A ConfigMap that is a spec as well must not be deleted for them: that would
// uninstall the runtime.
func (p *Pool) Remedy() string {
	if p.AlsoSpec {
		return "take the pool label off: kubectl label configmap " + p.Source.Name + " " + observed.LabelPool + "-"
	}
	return "mend it, or delete it: kubectl delete configmap " + p.Source.Name
}

// among tells whether a ConfigMap of that name is in a list.
func among(list []observed.Spec, name string) bool {
	return slices.ContainsFunc(list, func(s observed.Spec) bool { return s.Name == name })
}
