package desired_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// planOf is the plan of these pools, with this memory of them.
func planOf(memory *observed.PoolMemory, pools ...observed.Spec) *desired.Plan {
	snap := (&world{pools: pools}).snapshot()
	snap.PoolMemory = memory
	return desired.Of(snap, spec.Parse, desired.DefaultOptions())
}

func memoryOf(name, text string) *observed.PoolMemory {
	return &observed.PoolMemory{Exists: true, Data: map[string]string{name: text}}
}

func TestARefusedPoolWhoseAnnotationsWereWipedStaysAtTheVersionInTheMemory(t *testing.T) {
	const good, older = `{"maxUnavailable":"2","nodeSelector":"tier=db"}`, `{"nodeSelector":"tier=db"}`
	bad := map[string]string{"nodeSelector": "tier=db", "paused": "no"}
	for name, c := range map[string]struct {
		memory     *observed.PoolMemory
		annotation string
		// inForce is the limit of the version in force, "none" where there is no version; remember and stays are what goes into the memory and the annotation.
		inForce, remember, stays string
	}{
		"wiped":                              {memoryOf("blue", good), "", "2", good, ""},
		"an older version in the annotation": {memoryOf("blue", good), older, "2", good, ""},
		"from an earlier version":            {&observed.PoolMemory{}, good, "2", good, good},
		"from an earlier version, of others": {memoryOf("green", good), good, "2", good, good},
		"the memory cannot be read":          {nil, good, "2", good, good},
		"somebody wrote into the memory":     {memoryOf("blue", "{"), good, "2", good, good},
		"and there is nothing else":          {memoryOf("blue", "{"), "", "none", "{", ""},
		"nothing at all":                     {&observed.PoolMemory{}, "", "none", "", ""},
	} {
		annotations := map[string]string{}
		if c.annotation != "" {
			annotations[observed.PoolLastGood] = c.annotation
		}
		p := planOf(c.memory, observed.Spec{Name: "blue", Pool: "databases", Data: bad, Annotations: annotations}).Pools[0]
		inForce := "none"
		if p.Pool != nil {
			inForce = p.Pool.MaxUnavailable.String()
		}
		if len(p.Errors) != 1 || inForce != c.inForce || p.Remember != c.remember || p.LastGood != c.stays {
			t.Errorf("%s: in force is %s, remembered is %q and in the annotation %q: %+v", name, inForce, p.Remember, p.LastGood, p)
		}
	}
}

func TestWhatAValidPoolSaysIsRememberedAndAPoolThatIsGoneIsNot(t *testing.T) {
	blue := observed.Spec{Name: "blue", Pool: "databases", Data: map[string]string{"nodeSelector": "tier=db"}}
	plan := planOf(memoryOf("gone", `{"nodeSelector":"*"}`), blue)
	if diff := cmp.Diff(map[string]string{"blue": `{"nodeSelector":"tier=db"}`}, plan.Memory()); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if p := plan.Pools[0]; p.LastGood != p.Remember {
		t.Errorf("before the memory holds it the annotation has to be %q, and is %q", p.Remember, p.LastGood)
	}
	// The version before is better than nothing: a change needs no annotation.
	if p := planOf(memoryOf("blue", `{"nodeSelector":"tier=old"}`), blue).Pools[0]; p.LastGood != "" || p.Remember != `{"nodeSelector":"tier=db"}` {
		t.Errorf("the changed pool is %+v", p)
	}
}

func TestAPoolThatTheMemoryHasNoRoomForIsInForceAndSaysSoAndMakesNoneForgotten(t *testing.T) {
	var pools []observed.Spec
	for i := range 17 {
		pools = append(pools, observed.Spec{
			Name: fmt.Sprintf("pool-%02d", i), Pool: "large", Data: map[string]string{"nodeSelector": "zone in (" + strings.Repeat("a,", 30000) + "a)"},
		})
	}
	before := planOf(&observed.PoolMemory{}, pools[1:]...)
	memory := &observed.PoolMemory{Exists: true, Data: before.Memory()}
	if len(memory.Data) != 16 {
		t.Fatalf("%d of 16 pools are remembered", len(memory.Data))
	}
	plan := planOf(memory, pools...)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(memory.Data)), slices.Sorted(maps.Keys(plan.Memory()))); diff != "" {
		t.Errorf("remembered before (-) and now (+):\n%s", diff)
	}
	for i := range plan.Pools {
		p := &plan.Pools[i]
		if left := i == 0; p.Pool == nil || len(p.Errors) > 0 || (p.Unremembered != "") != left || (p.LastGood != "") != left {
			t.Errorf("%s: in force %t, errors %v, unremembered %q", p.Source.Name, p.Pool != nil, p.Errors, p.Unremembered)
		}
	}
}
