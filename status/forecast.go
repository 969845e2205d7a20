package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// Begin is one operation that would begin on a node.
type Begin struct {
	Node      string             `json:"node"`
	Runtime   string             `json:"runtime"`
	Operation observed.Operation `json:"operation"`
	Revision  string             `json:"revision"`
	Wave      string             `json:"wave,omitempty"`
	// At is the earliest time: commands are taken to end well at once.
	At time.Time `json:"at"`
}

// Forecast is what would happen next, in order.
type Forecast struct {
	Begins []Begin `json:"begins"`
	// Waiting are the nodes that nothing would be done to any more, and why: those that wait, and those that failed.
	Waiting []rollout.Hold `json:"waiting,omitempty"`
	// Cut is true where more would follow.
	Cut bool `json:"cut,omitempty"`
	// Refused says of runtimes and pools why what they ask for is not in force.
	Refused []string `json:"refused,omitempty"`
}

// farAhead is how far a forecast looks: a maintenance window that does not come within it is as good as none.
const farAhead = 366 * 24 * time.Hour

// mostRounds ends a forecast that does not come to an end: there is none of a cluster in which something is never right.
const mostRounds = 100_000

// ForecastOf plays the controller's own decisions through, from a snapshot on: every command ends well at once, nobody does anything meanwhile, and time passes only where it is waited for. It
// stops after limit operations. The snapshot stays as it is.
func ForecastOf(snap *observed.Snapshot, parse desired.Parser, limit int) *Forecast {
	f := &forecaster{snap: played(snap), parse: parse, out: &Forecast{}, limit: limit, end: snap.Time.Add(farAhead)}
	for f.round() {
	}
	return f.out
}

type forecaster struct {
	snap  *observed.Snapshot
	parse desired.Parser
	out   *Forecast
	limit int
	end   time.Time
	count int
}

// played is a snapshot in which what is under way has ended well. What a payload is known to be done by makes no difference to who is next: every one ends with its command.
func played(snap *observed.Snapshot) *observed.Snapshot {
	s := *snap
	s.Pods, s.Labelled, s.Looks = nil, nil, nil
	s.LabelsUnwatched = s.LabelsUnwatched || snap.Mismatch == nil
	s.Nodes, s.Revisions, s.DaemonSets = slices.Clone(snap.Nodes), slices.Clone(snap.Revisions), slices.Clone(snap.DaemonSets)
	s.Turns.Booked = slices.Clone(snap.Turns.Booked)
	for i := range s.Revisions {
		if content := s.Revisions[i].Content; content != nil {
			operations := []observed.Operation{observed.Install}
			if content.DaemonSets[string(observed.Uninstall)] != nil {
				operations = append(operations, observed.Uninstall)
			}
			s.Revisions[i].Content = plainContent(content.Classes, operations)
		}
		s.Revisions[i].Annotations = maps.Clone(s.Revisions[i].Annotations)
	}
	for i := range s.Nodes {
		node := &s.Nodes[i]
		for _, state := range node.States() {
			if p := state.Progress; p != nil && (p.Phase == observed.PhaseInstalling || p.Phase == observed.PhaseUninstalling) {
				finish(&s, node, state.Runtime, p)
			} else if state.Gate != "" {
				node.Labels = node.Labels.Without(observed.GateKey(state.Runtime))
				node.Index()
			}
		}
	}
	return &s
}

// plainContent is that of a revision whose commands end.
func plainContent(classes []observed.Class, operations []observed.Operation) *observed.RevisionContent {
	content := &observed.RevisionContent{Format: 1, Classes: classes, DaemonSets: map[string]*appsv1.DaemonSet{}}
	for _, operation := range operations {
		content.DaemonSets[string(operation)] = &appsv1.DaemonSet{}
	}
	return content
}

// finish lets the operation of a progress end well on a node.
func finish(s *observed.Snapshot, node *observed.Node, runtime string, p *observed.Progress) {
	if p.Operation == observed.Uninstall {
		node.Unschedulable = node.Unschedulable && !p.Cordoned
		write(node, runtime, nil, "", "")
		return
	}
	node.Unschedulable = node.Unschedulable && !p.Cordoned
	next := p.Next(observed.Progress{
		Phase: observed.PhaseReady, Operation: observed.Install, Revision: p.Revision, Attempt: p.Attempt, Since: s.Time,
		MachineID: node.MachineID, BootID: node.BootID, Retry: p.Retry, Turn: p.Turn,
	})
	write(node, runtime, next, "", "true")
	i := slices.IndexFunc(s.Revisions, func(r observed.Revision) bool { return r.Runtime == runtime && r.Revision == p.Revision })
	if i < 0 || s.Revisions[i].Content == nil || node.Handlers == nil {
		return
	}
	handlers := slices.Concat(node.Handlers, s.Revisions[i].Content.Handlers())
	slices.Sort(handlers)
	node.Handlers = slices.Compact(handlers)
}

// write puts onto a node what a transition does.
func write(node *observed.Node, runtime string, after *observed.Progress, gate, ready string) {
	node.Annotations = maps.Clone(node.Annotations)
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	phase := ""
	if after == nil {
		delete(node.Annotations, observed.ProgressKey(runtime))
	} else {
		node.Annotations[observed.ProgressKey(runtime)], phase = after.String(), string(after.Phase)
	}
	for key, value := range map[string]string{observed.GateKey(runtime): gate, observed.ReadyKey(runtime): ready, observed.PhaseKey(runtime): phase} {
		if value == "" {
			node.Labels = node.Labels.Without(key)
		} else {
			node.Labels = node.Labels.With(key, value)
		}
	}
	node.Index()
}

// round makes one decision come true, and tells whether there may be more to come.
func (f *forecaster) round() bool {
	f.count++
	if f.count > mostRounds {
		f.out.Cut = true
		return false
	}
	plan := desired.Of(f.snap, f.parse, desired.DefaultOptions())
	f.snap.Mismatch = plan.Mismatches(f.snap)
	if f.prepare(plan) {
		return true
	}
	decision := rollout.Decide(f.snap, plan)
	if decision.Rebuild {
		f.snap.Turns = observed.Turns{Exists: true, Booked: rollout.Rebuild(f.snap.Nodes)}
		return true
	}
	changed := f.installers(decision)
	// Nobody knows when pods leave: no node has any in the way.
	for _, node := range decision.Looks {
		if f.snap.Look(node) == nil {
			f.snap.Looks, changed = append(f.snap.Looks, observed.Look{Node: node}), true
		}
	}
	if labels := strings.Join(decision.Objects.DoneLabels, "\n"); f.snap.DoneLabels == nil || *f.snap.DoneLabels != labels {
		f.snap.DoneLabels = &labels
	}
	for _, bad := range decision.Bad {
		f.mark(bad.Runtime, bad.Revision, map[string]string{observed.AnnotationBad: observed.Bad{To: bad.To, Reason: bad.Reason, Time: f.snap.Time}.Text()})
		changed = true
	}
	for _, proven := range decision.Proven {
		// That changes what comes later, and asks for no other round.
		f.mark(proven.Runtime, proven.Revision, map[string]string{observed.AnnotationProven: f.snap.Time.Format(time.RFC3339)})
	}
	if decision.Turns != nil {
		f.snap.Turns.Booked, changed = decision.Turns, true
	}
	f.snap.Turns.ResourceVersion = fmt.Sprintf("forecast-%d", f.count)
	for i := range decision.Moves {
		if len(f.out.Begins) == f.limit && decision.Moves[i].Kind == rollout.OpenGate {
			f.out.Cut = true
			f.refused(plan)
			return false
		}
		f.move(plan, &decision.Moves[i])
		changed = true
	}
	if changed {
		return true
	}
	if decision.Again.After(f.snap.Time) && decision.Again.Before(f.end) {
		f.snap.Time = decision.Again
		return true
	}
	f.out.Waiting = decision.Holds
	for i := range decision.Runtimes {
		for _, failed := range decision.Runtimes[i].FailedNodes {
			f.out.Waiting = append(f.out.Waiting, rollout.Hold{Node: failed.Node, Runtime: decision.Runtimes[i].Runtime, Reason: rollout.Reason(failed.Reason), Message: failed.Message})
		}
	}
	f.refused(plan)
	return false
}

// refused says what is not in force although somebody asks for it.
func (f *forecaster) refused(plan *desired.Plan) {
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		switch {
		case len(r.Errors) > 0:
			f.out.Refused = append(f.out.Refused, fmt.Sprintf("runtime %q: %s", r.Name, errorsText(r.Errors)))
		case r.Conflict != "":
			f.out.Refused = append(f.out.Refused, fmt.Sprintf("runtime %q: %s", r.Name, r.Conflict))
		}
	}
	for i := range plan.Pools {
		if p := &plan.Pools[i]; len(p.Errors) > 0 {
			f.out.Refused = append(f.out.Refused, fmt.Sprintf("pool %q: %s", p.Source.Pool, errorsText(p.Errors)))
		}
	}
}

// prepare writes down what specs ask for, as the controller does before it acts on it.
func (f *forecaster) prepare(plan *desired.Plan) bool {
	did := false
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		switch p := r.Prepare; {
		case p == nil:
		case p.New != nil:
			f.snap.Revisions = append(f.snap.Revisions, revisionFor(r, p, f.snap.Time))
			slices.SortFunc(f.snap.Revisions, func(a, b observed.Revision) int { return cmp.Compare(a.Name, b.Name) })
			did = true
		default:
			f.mark(r.Name, p.Revision.Revision, p.Annotations)
			for j := range f.snap.Revisions {
				if rev := &f.snap.Revisions[j]; rev.Name == p.Revision.Name {
					rev.Number = p.Number
				}
			}
			did = true
		}
	}
	return did
}

// revisionFor is a ControllerRevision as far as decisions look at it.
func revisionFor(r *desired.Runtime, p *desired.Prepare, now time.Time) observed.Revision {
	revision := p.New.Revision()
	classes := make([]observed.Class, 0, len(p.New.RuntimeClasses))
	for _, c := range p.New.RuntimeClasses {
		classes = append(classes, observed.Class{Name: c.Name, Handler: c.Handler})
	}
	operations := []observed.Operation{observed.Install}
	if len(p.New.UninstallCmd) > 0 {
		operations = append(operations, observed.Uninstall)
	}
	annotations := maps.Clone(p.Annotations)
	maps.DeleteFunc(annotations, func(_, value string) bool { return value == "" })
	return observed.Revision{
		Name: observed.RevisionName(r.Name, revision), Runtime: r.Name, Revision: revision, Number: p.Number, Created: now, Annotations: annotations,
		Content: plainContent(classes, operations),
	}
}

func (f *forecaster) mark(runtime, revision string, annotations map[string]string) {
	for i := range f.snap.Revisions {
		rev := &f.snap.Revisions[i]
		if rev.Runtime != runtime || rev.Revision != revision {
			continue
		}
		rev.Annotations = maps.Clone(rev.Annotations)
		if rev.Annotations == nil {
			rev.Annotations = map[string]string{}
		}
		for key, value := range annotations {
			if value == "" {
				delete(rev.Annotations, key)
			} else {
				rev.Annotations[key] = value
			}
		}
	}
}

// installers makes the DaemonSets that a decision needs, and tells whether one was missing.
func (f *forecaster) installers(decision *rollout.Decision) bool {
	there := map[string]bool{}
	for i := range f.snap.DaemonSets {
		there[f.snap.DaemonSets[i].Name] = true
	}
	made := false
	for _, want := range decision.Objects.Installers {
		if !there[want.Name()] {
			f.snap.DaemonSets = append(f.snap.DaemonSets, observed.DaemonSet{Name: want.Name(), Runtime: want.Runtime, Revision: want.Revision, Step: want.Step})
			made = true
		}
	}
	slices.SortFunc(f.snap.DaemonSets, func(a, b observed.DaemonSet) int { return cmp.Compare(a.Name, b.Name) })
	return made
}

// move makes a transition; an operation that begins has ended at once.
func (f *forecaster) move(plan *desired.Plan, m *rollout.Move) {
	i := slices.IndexFunc(f.snap.Nodes, func(n observed.Node) bool { return n.UID == m.UID })
	node := &f.snap.Nodes[i]
	write(node, m.Runtime, m.After, m.Gate, m.Ready)
	for key, value := range m.Labels.Set {
		node.Labels = node.Labels.With(key, value)
	}
	for _, key := range m.Labels.Remove {
		node.Labels = node.Labels.Without(key)
	}
	if m.Taints != nil {
		node.Taints = m.Taints.After
	}
	if m.Cordon != "" {
		node.Unschedulable = m.Cordon == observed.Cordoning
	}
	node.Index()
	if m.Kind != rollout.OpenGate {
		return
	}
	f.out.Begins = append(f.out.Begins, Begin{
		Node: m.Node, Runtime: m.Runtime, Operation: m.After.Operation, Revision: m.After.Revision, Wave: waveOf(plan, m, node), At: f.snap.Time,
	})
	finish(f.snap, node, m.Runtime, m.After)
}

// waveOf names the wave by selector that a node goes in, "" for others: which node goes in a wave by number shows only as it happens.
func waveOf(plan *desired.Plan, m *rollout.Move, node *observed.Node) string {
	i := slices.IndexFunc(plan.Runtimes, func(r desired.Runtime) bool { return r.Name == m.Runtime })
	if r := &plan.Runtimes[i]; r.Spec != nil && m.After.Operation == observed.Install {
		at := slices.IndexFunc(r.Spec.Waves, func(w spec.Wave) bool { return w.Selector != nil && w.Selector.Matches(&node.Labels) })
		if at >= 0 {
			return r.Spec.Waves[at].Name
		}
	}
	return ""
}
