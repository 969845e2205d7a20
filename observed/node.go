package observed

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
)

// State is all that stands on one node for one runtime.
type State struct {
	Runtime string
	// Raw is the progress annotation as it stands, for compare-and-swap; HasRaw tells an empty one from none.
	Raw    string
	HasRaw bool
	// Progress is the parsed annotation, nil where there is none or where Problem says why it cannot be read.
	Progress *Progress
	Problem  string
	// Gate, Phase and Ready are the values of the labels, "" where they are not there.
	Gate  string
	Phase string
	Ready string
	// Hold is the reason people gave for leaving the node alone; Held is true even if it is empty.
	Hold  string
	Held  bool
	Retry string
}

// Carries tells whether anything of Longshore's own stands on the node for the runtime.
func (s *State) Carries() bool {
	return s != nil && (s.HasRaw || s.Gate != "" || s.Phase != "" || s.Ready != "")
}

// LabelsAlone reports whether nothing but a ready label stands on the node: Longshore never writes that without a progress, so somebody else put it there,
// or somebody wiped everything else.
func (s *State) LabelsAlone() bool {
	return s != nil && s.Ready != "" && !s.HasRaw && s.Gate == "" && s.Phase == ""
}

// Gates is the number of gate labels on the node that name an installer, over all runtimes.
func (n *Node) Gates() int {
	count := 0
	for i := range n.states {
		if n.states[i].Gate != "" {
			count++
		}
	}
	return count
}

// States returns what stands on the node, a value a runtime, sorted by runtime. It is computed by [Node.Index].
func (n *Node) States() []State { return n.states }

// Marks are those of the states, in the same order.
func (n *Node) Marks() []Mark { return n.marks }

// State returns what stands on the node for one runtime, or nil.
func (n *Node) State(runtime string) *State {
	for i := range n.states {
		if n.states[i].Runtime == runtime {
			return &n.states[i]
		}
	}
	return nil
}

// Progress returns the node's readable progress with a runtime, or nil.
func (n *Node) Progress(runtime string) *Progress {
	if s := n.State(runtime); s != nil {
		return s.Progress
	}
	return nil
}

// Index reads the node's labels and annotations into its states. Whoever builds a Node calls it once.
func (n *Node) Index() {
	n.states = nil
	for key, value := range n.Labels.All() {
		s := n.grow(key)
		if s == nil {
			continue
		}
		switch key {
		case GateKey(s.Runtime):
			s.Gate = value
		case PhaseKey(s.Runtime):
			s.Phase = value
		case ReadyKey(s.Runtime):
			s.Ready = value
		}
	}
	for key, value := range n.Annotations {
		s := n.grow(key)
		if s == nil {
			continue
		}
		switch key {
		case ProgressKey(s.Runtime):
			s.Raw, s.HasRaw = value, true
			progress, err := ParseProgress(value)
			if err != nil {
				s.Problem = err.Error()
				continue
			}
			s.Progress = progress
		case HoldKey(s.Runtime):
			s.Hold, s.Held = value, true
		case RetryKey(s.Runtime):
			s.Retry = value
		}
	}
	slices.SortFunc(n.states, func(a, b State) int { return cmp.Compare(a.Runtime, b.Runtime) })
	n.marks = nil
	for i := range n.states {
		if p := n.states[i].Progress; p != nil && p.MachineID == n.MachineID {
			// The same memory: comparing them is comparing pointers.
			p.MachineID = n.MachineID
		}
		n.marks = append(n.marks, n.states[i].mark())
	}
}

// IndexAfter is Index for a node of which an earlier observation is there: where it says the same, what was read of that is kept.
func (n *Node) IndexAfter(before *Node) {
	if n.Labels.Equal(before.Labels) && maps.Equal(n.Annotations, before.Annotations) {
		n.states, n.marks = before.states, before.marks
		return
	}
	n.Index()
}

// grow returns the state that the key belongs to, made if needed; nil for a key that is none of ours.
func (n *Node) grow(key string) *State {
	runtime := RuntimeOfKey(key)
	if runtime == "" {
		return nil
	}
	if s := n.State(runtime); s != nil {
		return s
	}
	n.states = append(n.states, State{Runtime: runtime})
	return &n.states[len(n.states)-1]
}

// UnmarshalJSON reads a saved node and indexes it.
func (n *Node) UnmarshalJSON(text []byte) error {
	type plain Node
	var p plain
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	*n = Node(p)
	n.Index()
	return nil
}
