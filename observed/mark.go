package observed

import (
	"time"
	"unique"
)

// Mark is what tells most nodes from each other at a glance: 25,000 pairs of node and runtime say the same few things, and reading all of
// their states takes far longer than seeing that.
type Mark struct {
	// Says is the same for nodes that say the same.
	Says unique.Handle[Says]
	// Since, Machine and Boot are those of the progress, zero where there is none that can be read.
	Since         time.Time
	Machine, Boot string
}

// Says is what a state says besides what is the node's own: times, pods, machines, turns, and words for people.
type Says struct {
	Runtime                                        string
	HasProgress, HasProblem                        bool
	Phase                                          Phase
	Operation                                      Operation
	Revision, Previous, Attempted, Reason          string
	GateLabel, PhaseLabel, ReadyLabel, Retry, Hold string
	Held                                           bool
}

// mark is the mark of a state.
func (s *State) mark() Mark {
	says := Says{
		Runtime: s.Runtime, HasProgress: s.Progress != nil, HasProblem: s.Problem != "",
		GateLabel: s.Gate, PhaseLabel: s.Phase, ReadyLabel: s.Ready, Retry: s.Retry, Hold: s.Hold, Held: s.Held,
	}
	var m Mark
	if p := s.Progress; p != nil {
		says.Phase, says.Operation, says.Reason = p.Phase, p.Operation, p.Reason
		says.Revision, says.Previous, says.Attempted = p.Revision, p.Previous, p.Attempted
		m.Since, m.Machine, m.Boot = p.Since, p.MachineID, p.BootID
	}
	m.Says = unique.Make(says)
	return m
}
