package desired

import (
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Labels of nodes are written by many: by people, and by programs that take them off for minutes when they restart. One node that loses its label is
// uninstalled after a grace. Many nodes that lose theirs at once are most likely somebody's accident, and none of them is.
const (
	// massWindow is how long after each other nodes lose their labels "at once".
	massWindow = 10 * time.Minute
	// massLeast is how many nodes are many, unless they are all.
	massLeast = 3
)

// The reasons why nodes that lost their labels are not uninstalled. Package rollout shows them as its own.
const (
	HaltedNothingSelected = "NothingSelected"
	HaltedMassDeselection = "MassDeselection"
)

// deletionGrace is how long the runtime may be without a spec before its nodes are uninstalled.
func (r *Runtime) deletionGrace(opts Options) time.Duration {
	if r.Spec != nil && r.Spec.DeletionGrace != nil {
		return *r.Spec.DeletionGrace
	}
	return opts.VanishGrace
}

// deselectionGrace is how long a node's labels must not match before the node counts as deselected.
func (r *Runtime) deselectionGrace(opts Options) time.Duration {
	if r.Spec != nil && r.Spec.DeselectionGrace != nil {
		return *r.Spec.DeselectionGrace
	}
	return opts.MismatchGrace
}

// census counts the nodes that carry a runtime by what has become of their labels.
type census struct {
	// carrying nodes have, or may have, something of the runtime; lost are those that the selector does not match.
	carrying, lost int
	// booked nodes have a turn, and nothing of the runtime yet; the selector does not match them.
	booked int
	// matched is how many nodes the selector matches, whether they carry anything or not.
	matched int
	// recent lost their labels within massWindow, those included that were uninstalled since; gone is how many the latter are.
	recent, gone int
}

// count makes the census of a selector.
func (r *Runtime) count(selector labels.Selector, snap *observed.Snapshot) census {
	var c census
	booked := map[types.UID]bool{}
	for _, t := range snap.Turns.Booked {
		booked[t.Node] = booked[t.Node] || t.Runtime == r.Name
	}
	for i := range snap.Nodes {
		node := &snap.Nodes[i]
		state := node.State(r.Name)
		carries := hasSomething(state)
		matches := selector.Matches(&node.Labels)
		since, known := snap.Mismatch[observed.NodeRuntime{Node: node.UID, Runtime: r.Name}]
		uninstalled := known && !state.Carries()
		recent := !known || snap.Time.Before(since.Add(massWindow))
		switch {
		case matches:
			c.matched++
		case carries:
			c.lost++
		case booked[node.UID]:
			c.booked++
		case uninstalled && recent:
			c.gone++
		}
		if carries {
			c.carrying++
		}
		if !matches && recent && (carries || uninstalled) {
			c.recent++
		}
	}
	return c
}

// hasSomething reports whether a node has, or may have, something of a runtime: more than a label of ours, and more than a turn that was given back before any command began.
func hasSomething(s *observed.State) bool {
	if !s.Carries() || s.LabelsAlone() {
		return false
	}
	p := s.Progress
	return p == nil || p.Phase != observed.PhasePending || s.Gate != "" || p.Previous != "" || p.Attempted != ""
}

// mass says why so many nodes have lost their labels that nobody can have meant it, "" where that is not so.
func (c census) mass() string {
	switch {
	case c.lost == 0:
		return ""
	case c.matched == 0:
		return HaltedNothingSelected
	case c.lost == c.carrying, c.recent >= massLeast && 2*c.recent > c.carrying+c.gone:
		return HaltedMassDeselection
	}
	return ""
}

// lose finds out what is known of nodes that lost their labels without an edit of the selector:
//
//	none lost them                               nothing is known
//	nobody has watched the labels                what the controller knows
//	they were too many, and nobody said anything the same
//	people agreed to as many uninstalls          that they agreed to those that are left
//	too many                                     Halted
//	otherwise                                    the same
func (r *Runtime) lose(snap *observed.Snapshot) {
	if len(r.History) == 0 {
		return
	}
	r.lost = r.heard(observed.AnnotationDeselection)
	if r.Source == nil || r.Spec == nil || r.NothingSelected {
		return
	}
	defer func() { r.lost = r.lostText(nil, snap) }()
	known := r.History[0].Deselection()
	if halt, found := snap.Halts[r.Name]; found && (known == nil || (known.Halted == "" && halt.Time.After(known.Time))) {
		known = &halt
	}
	c := r.count(r.Spec.NodeSelector, snap)
	switch {
	case c.lost == 0:
		return
	case snap.LabelsUnwatched:
		r.Lost = known
	case known != nil && known.Halted != "":
		r.Lost = known
	case known != nil && c.lost <= known.Nodes:
		// Those that are done are not agreed to any more: others may lose their labels while the last of them wait.
		r.Lost = &observed.Deselection{Nodes: min(known.Nodes, c.lost+c.booked), Time: known.Time}
	case c.mass() != "":
		r.Lost = &observed.Deselection{Halted: c.mass(), Nodes: c.lost, Time: snap.Time.UTC().Truncate(time.Second)}
	default:
		r.Lost = known
	}
}

// lostText is what has to be remembered of nodes that lost their labels, "" for nothing. asked is the valid spec that is about to be in force, nil where there is
// none: an edit of its selector is a person's word, and so is a new value of the annotation.
func (r *Runtime) lostText(asked *spec.Runtime, snap *observed.Snapshot) string {
	agreed := func(c census) string {
		if c.lost == 0 || c.matched == 0 {
			// That none is selected is remembered as such.
			return ""
		}
		return observed.Deselection{Nodes: c.lost + c.booked, Time: snap.Time.UTC().Truncate(time.Second)}.Text()
	}
	if asked != nil && r.Spec != nil && r.Spec.NodeSelector.String() != asked.NodeSelector.String() {
		c := r.count(asked.NodeSelector, snap)
		if r.Surviving && c.lost > 0 && c.matched > 0 {
			// That the selector of a survivor is another one is nobody's word, however few nodes it leaves out.
			return observed.Deselection{Halted: HaltedMassDeselection, Nodes: c.lost, Time: snap.Time.UTC().Truncate(time.Second)}.Text()
		}
		return agreed(c)
	}
	word, _ := r.said(observed.AnnotationUninstallDeselected)
	if r.Lost != nil && r.Lost.Halted != "" && word != "" && word != r.heard(observed.AnnotationUninstallDeselected) {
		c := r.count(r.Spec.NodeSelector, snap)
		return observed.Deselection{Nodes: c.lost + c.booked, Time: snap.Time.UTC().Truncate(time.Second)}.Text()
	}
	switch {
	case r.Spec == nil:
		return r.lost
	case r.Lost == nil:
		return ""
	}
	return r.Lost.Text()
}

// Halts are the runtimes of which too many nodes lost their labels, to be remembered until that is written down.
func (p *Plan) Halts() map[string]observed.Deselection {
	halts := map[string]observed.Deselection{}
	for i := range p.Runtimes {
		if r := &p.Runtimes[i]; r.Lost != nil && r.Lost.Halted != "" {
			halts[r.Name] = *r.Lost
		}
	}
	return halts
}

// heard is the value of an annotation of people's that was obeyed last.
func (r *Runtime) heard(annotation string) string {
	if len(r.History) == 0 {
		return ""
	}
	return r.History[0].Annotations[annotation]
}
