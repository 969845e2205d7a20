package desired

import (
	"fmt"
	"runtime/debug"

	"longshore.dev/longshore/observed"
)

// isolated runs what concerns one runtime. A panic there ends nothing else: it is kept in Panic, with the stack, for the controller to log and to show.
func (r *Runtime) isolated(do func()) {
	if r.Panic != "" {
		return
	}
	defer func() {
		if failed := recover(); failed != nil {
			r.Panic = fmt.Sprintf("%v\n%s", failed, debug.Stack())
		}
	}()
	do()
}

// Freeze leaves a runtime alone: its nodes keep what they have, and nothing is prepared, finalized or removed.
func (r *Runtime) Freeze(snap *observed.Snapshot) {
	r.Prepare, r.Finalize, r.Removing, r.Orphaned = nil, nil, false, false
	r.Targets = make([]Target, len(snap.Nodes))
	r.Selected, r.Carrying = 0, 0
	for i := range snap.Nodes {
		if snap.Nodes[i].State(r.Name).Carries() {
			r.Carrying++
			r.Targets[i] = Target{Want: Keep, Why: WhyPanic}
		}
	}
	r.Total = r.Carrying
}
