package rollout

import (
	"fmt"
	"runtime/debug"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// try decides with some runtimes left alone. A panic in what concerns one of the others comes back; any other panic is nobody's but the caller's.
func try(snap *observed.Snapshot, plan *desired.Plan, alone map[string]string) (out *Decision, failed *Panic) {
	d := newDecider(snap, plan)
	d.alone = alone
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if _, twice := alone[d.at]; d.at == "" || twice {
			panic(value)
		}
		out, failed = nil, &Panic{Runtime: d.at, Text: fmt.Sprintf("%v\n%s", value, debug.Stack())}
	}()
	return d.decide(), nil
}

// leftAlone reports whether nothing is done for a runtime because the code failed that looked at it. What its nodes have, their turns and its objects stay: no gate is
// opened or closed, and no other runtime begins on a node where this one has a turn or a gate.
func (d *decider) leftAlone(index int) bool {
	r := &d.plan.Runtimes[index]
	text, alone := d.alone[r.Name]
	if !alone {
		return false
	}
	d.out.Panics = append(d.out.Panics, Panic{Runtime: r.Name, Text: text})
	sum := newSummary(r)
	sum.Halted, sum.HaltedMessage = InternalError, "Longshore failed with an internal error and leaves the runtime alone: "+firstLine(text)
	d.sums = append(d.sums, sum)
	d.courses = append(d.courses, nil)
	for i := range d.snap.Nodes {
		s := d.stands[index][i].state
		_, booked := d.booked[observed.NodeRuntime{Node: d.snap.Nodes[i].UID, Runtime: r.Name}]
		if booked || (s != nil && s.Gate != "" && (s.Progress == nil || !idlePhase(s.Progress.Phase))) {
			d.busy[i] = r.Name
		}
		if s.Carries() {
			v := &visit{r: r, node: &d.snap.Nodes[i], state: s, n: i, pair: index*len(d.snap.Nodes) + i}
			d.hold(v, InternalError, sum.HaltedMessage)
		}
	}
	return true
}

func firstLine(text string) string {
	for i, c := range text {
		if c == '\n' {
			return text[:i]
		}
	}
	return text
}
