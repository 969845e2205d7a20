package desired

import (
	"cmp"
	"encoding/json"
	"fmt"
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
	// Remember is what has to be remembered of the pool for the time when it is refused, "" for nothing.
	Remember string
	// LastGood is the same where it has to stand in the annotation [observed.PoolLastGood]: the memory was not seen to hold a version of the pool.
	LastGood string
	// Unremembered says why Remember does not get into the memory, "" where it does.
	Unremembered string
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
			p.Pool, p.Remember = pool, remembered(p.Source.Data)
		} else {
			p.recall(snap.PoolMemory)
		}
		if inMemory := snap.PoolMemory.Of(p.Source.Name); inMemory != p.Remember && recalled(p.Source.Pool, inMemory) == nil {
			p.LastGood = p.Remember
		}
		read = append(read, p)
	}
	fit(read, snap.PoolMemory)
	return read
}

// recall finds the last good version of a refused pool: in the memory or, where that has nothing that can be read, in the annotation of earlier versions of
// Longshore. What cannot be read stays: another version of Longshore may know what it says.
func (p *Pool) recall(memory *observed.PoolMemory) {
	inMemory, onItself := memory.Of(p.Source.Name), p.Source.Annotations[observed.PoolLastGood]
	p.Remember = cmp.Or(inMemory, onItself)
	for _, text := range []string{inMemory, onItself} {
		if pool := recalled(p.Source.Pool, text); pool != nil {
			p.Pool, p.Remember = pool, text
			return
		}
	}
}

// fit leaves out what the memory has no room for. Those that are in it already come first, so that a new pool makes none forgotten.
func fit(read []Pool, memory *observed.PoolMemory) {
	left := observed.MaxPoolMemory
	for _, known := range []bool{true, false} {
		for i := range read {
			p := &read[i]
			if p.Remember == "" || known != (memory.Of(p.Source.Name) != "") {
				continue
			}
			size := observed.PoolMemoryBytes(p.Source.Name, p.Remember)
			if size > left {
				p.Unremembered = fmt.Sprintf("ConfigMap %s has no room for these %d bytes: they are remembered in an annotation only, which a replace takes away; "+
					"have fewer pools, or smaller ones", observed.PoolsName, size)
				continue
			}
			left -= size
		}
	}
}

// Memory is what has to stand in the memory of pools: the last valid data of each, by the name of its ConfigMap. A pool that is gone is not in it.
func (p *Plan) Memory() map[string]string {
	memory := map[string]string{}
	for i := range p.Pools {
		if pool := &p.Pools[i]; pool.Remember != "" && pool.Unremembered == "" {
			memory[pool.Source.Name] = pool.Remember
		}
	}
	return memory
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
