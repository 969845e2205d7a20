package history

import (
	"context"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/observed"
)

// Snapshot is what the leader sees.
func (l *leader) Snapshot(now time.Time) *observed.Snapshot {
	s := &observed.Snapshot{Time: now, Namespace: "longshore", DoneLabels: &l.w.doneLabels, Rights: &observed.Rights{Pods: true, Evictions: true}}
	l.seeBooked()
	for _, e := range l.specs.list() {
		if e.value.Pool != "" {
			s.Pools = append(s.Pools, e.value)
			continue
		}
		s.Specs = append(s.Specs, e.value)
	}
	for _, e := range l.nodes.list() {
		s.Nodes = append(s.Nodes, e.value.seen)
	}
	for _, e := range l.pods.list() {
		s.Pods = append(s.Pods, e.value.seen)
	}
	for _, e := range l.sets.list() {
		s.DaemonSets = append(s.DaemonSets, e.value.seen)
	}
	for _, e := range l.revisions.list() {
		s.Revisions = append(s.Revisions, e.value)
	}
	for _, e := range l.classes.list() {
		s.RuntimeClasses = append(s.RuntimeClasses, e.value)
	}
	for _, e := range l.turns.list() {
		s.Turns = e.value
	}
	s.PoolMemory = &observed.PoolMemory{}
	for _, e := range l.memory.list() {
		s.PoolMemory = &e.value
	}
	s.Looks = l.seen()
	l.view = s
	return s
}

// seeBooked has it know the nodes that turns name. Known and left out: an old leader whose watch of nodes is behind that of turns, and that has never heard of a node that another leader has
// booked, takes that for gone and ends its turn.
func (l *leader) seeBooked() {
	for _, e := range l.turns.list() {
		for _, t := range e.value.Booked {
			known := func(n *entry[*node]) bool { return n.value.seen.UID == t.Node }
			if !slices.ContainsFunc(l.nodes.list(), known) && slices.ContainsFunc(l.w.nodes.now(), known) {
				l.nodes.advance(l.nodes.behind())
			}
		}
	}
}

// seen are the pods on the nodes that it looks at.
func (l *leader) seen() []observed.Look {
	looks := make([]observed.Look, 0, len(l.looks))
	for _, name := range l.looks {
		look := observed.Look{Node: name}
		for _, e := range l.workloads.list() {
			if on, _, _ := strings.Cut(e.name, "."); on == name {
				look.Pods = append(look.Pods, e.value)
			}
		}
		looks = append(looks, look)
	}
	return looks
}

// ConsistentNodes reads past every cache.
func (l *leader) ConsistentNodes(context.Context) ([]observed.Node, error) {
	l.nodes.advance(l.nodes.behind())
	var nodes []observed.Node
	for _, e := range l.nodes.list() {
		nodes = append(nodes, e.value.seen)
	}
	return nodes, nil
}

// CatchUp is never asked for in a pass; that it fails ends [controller.Controller.Run].
func (l *leader) CatchUp(context.Context) error { return errDead }

// Look watches the pods of these nodes.
func (l *leader) Look(_ context.Context, nodes []string) error {
	if !slices.Equal(l.looks, nodes) {
		l.looks, l.dirty = slices.Clone(nodes), true
	}
	return nil
}

// Turns writes the bookings.
func (l *leader) Turns(_ context.Context, before observed.Turns, booked []observed.Turn) error {
	l.flush()
	nodes := l.view.Nodes
	return l.wait(&write{what: func() string { return "turns " + before.ResourceVersion + turnsText(nodes, booked) }, do: func(l *leader) error {
		was := l.w.turns.get(observed.TurnsName)
		e, err := l.w.storeTurns(before, booked)
		if err != nil {
			return err
		}
		c := change{by: l, turnsAfter: &e.value}
		if was != nil {
			c.turnsBefore = &was.value
		}
		l.w.last = append(l.w.last, c)
		l.turns.wrote(e)
		return nil
	}})
}

// Node carries a transition out, a moment later: see [leader.flush].
func (l *leader) Node(_ context.Context, seen *observed.Node, t observed.Transition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moves = append(l.moves, &write{
		what: func() string { return "node " + t.Node + " " + t.Runtime + " " + moveText(&t) }, order: t.Node + " " + t.Runtime,
		do: func(l *leader) error {
			patch, err := apply.NodePatch(seen, t)
			if err != nil {
				return err
			}
			before := l.w.nodes.get(t.Node)
			e, err := l.w.patchNode(t.Node, patch)
			if err != nil {
				return err
			}
			l.w.last = append(l.w.last, change{by: l, before: before.value, after: e.value})
			l.nodes.wrote(e)
			l.w.cordoned(l, &t)
			l.w.closedUnseen(l, before.value, e.value, t.Runtime)
			if t.After == nil {
				l.w.machines[t.Node].cleared[t.Runtime] = l.w.version
			}
			return nil
		},
	})
	return nil
}

// DaemonSet applies an installer.
func (l *leader) DaemonSet(_ context.Context, object *appsv1.DaemonSet, opts metav1.PatchOptions) error {
	if len(opts.DryRun) > 0 {
		return nil
	}
	return l.apply(text("DaemonSet ", object.Name), func(l *leader) error { l.sets.wrote(l.w.applySet(object)); return nil })
}

// RuntimeClass applies a class.
func (l *leader) RuntimeClass(_ context.Context, object *nodev1.RuntimeClass, opts metav1.PatchOptions) error {
	if len(opts.DryRun) > 0 {
		return l.w.checkClass(object)
	}
	return l.apply(text("RuntimeClass ", object.Name), func(l *leader) error {
		e, err := l.w.applyClass(object)
		if err == nil {
			l.classes.wrote(e)
		}
		return err
	})
}

// Delete removes an object.
func (l *leader) Delete(_ context.Context, kind, name string, uid types.UID) error {
	return l.do(text("delete ", kind, " ", name), func(l *leader) error {
		err := l.w.deleteObject(kind, name, uid)
		if err == nil {
			l.w.last = append(l.w.last, change{by: l, deleted: kind + " " + name})
		}
		return err
	})
}

// CreateRevision stores a snapshot.
func (l *leader) CreateRevision(_ context.Context, object *appsv1.ControllerRevision) error {
	return l.do(text("ControllerRevision ", object.Name), func(l *leader) error { l.revisions.wrote(l.w.createRevision(object)); return nil })
}

// MarkRevision changes its marks.
func (l *leader) MarkRevision(_ context.Context, before *observed.Revision, number int64, annotations map[string]string) error {
	return l.do(text("mark ControllerRevision ", before.Name), func(l *leader) error {
		e, err := l.w.markRevision(before, number, annotations)
		if err == nil {
			l.revisions.wrote(e)
			l.w.last = append(l.w.last, change{by: l, marked: &e.value, wasGood: before.Bad() == nil})
		}
		return err
	})
}

// Status writes the status of a spec.
func (l *leader) Status(_ context.Context, s *observed.Spec, annotations map[string]string) error {
	if l.scribe {
		// In small worlds nobody reads it.
		return nil
	}
	return l.do(text("status ", s.Name, " ", annotations[observed.SpecPhase], ": ", annotations[observed.SpecMessage]), func(l *leader) error {
		e, err := l.w.storeStatus(s, annotations)
		if err == nil {
			l.specs.wrote(e)
		}
		return err
	})
}

// Pools writes what is remembered of pools.
func (l *leader) Pools(_ context.Context, before observed.PoolMemory, data map[string]string) error {
	return l.do(text("memory of pools ", before.ResourceVersion), func(l *leader) error {
		e, err := l.w.storeMemory(before, data)
		if err == nil {
			l.memory.wrote(e)
		}
		return err
	})
}

// Finalizers writes the finalizers of a spec.
func (l *leader) Finalizers(_ context.Context, s *observed.Spec, want []string) error {
	return l.do(text("finalizers ", s.Name, " ", strings.Join(want, ",")), func(l *leader) error {
		e, err := l.w.storeFinalizers(s, want)
		if err == nil && e != nil {
			l.specs.wrote(e)
		}
		return err
	})
}

// DoneLabels writes which labels payloads may change.
func (l *leader) DoneLabels(_ context.Context, keys string) error {
	return l.do(text("done labels"), func(l *leader) error { l.w.doneLabels = keys; return nil })
}

// PullSecret is not needed by any payload here.
func (l *leader) PullSecret(context.Context, []string, observed.Hidden, observed.Hidden) error {
	return nil
}

// Evict has a pod leave, a moment later: see [leader.flush]. Whether a budget forbids it is answered at once.
func (l *leader) Evict(_ context.Context, p *observed.Workload) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w.budgeted {
		return "it would violate the pod's disruption budget", nil
	}
	name, uid := p.Name, p.UID
	l.moves = append(l.moves, &write{what: text("evict ", name), order: "evict " + name, do: func(l *leader) error {
		l.w.last = append(l.w.last, change{by: l, evicted: name})
		l.w.evict(name, uid)
		return nil
	}})
	return "", nil
}
