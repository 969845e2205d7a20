package controller_test

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

type errorList = field.ErrorList

// step is one thing that may happen in a small world.
type step struct {
	// who does it, or whom it happens to: a leader, a pod, a node; what is done.
	who, what string
	// node and runtime are where, "" for everywhere.
	node, runtime string
	take          func(*small) string
}

func (s *step) String() string { return s.who + ": " + s.what }

// steps are all things that may happen next, in a fixed order. What a step breaks it says.
func (w *small) steps() []step {
	var steps []step
	for leader := range w.views {
		steps = append(steps, w.leaderSteps(leader)...)
	}
	return append(steps, w.clusterSteps()...)
}

// clusterSteps are what the DaemonSet controller and the kubelets may do.
func (w *small) clusterSteps() []step {
	var steps []step
	for _, node := range w.nodes {
		for _, runtime := range smallRuntimes {
			steps = append(steps, w.daemonSetSteps(node, runtime)...)
		}
	}
	for i := range w.pods {
		steps = append(steps, w.podSteps(i)...)
	}
	return steps
}

// leaderSteps: a leader looks, or carries out any one write of what it decides from what it saw, with or without hearing the answer. That a leader dies is that it makes no further step, or looks anew.
func (w *small) leaderSteps(leader int) []step {
	who := fmt.Sprintf("leader %d", leader+1)
	steps := []step{{who: who, what: "looks", take: func(w *small) string {
		w.looks(leader)
		return w.views[leader].evicts()
	}}}
	view := w.views[leader]
	d := view.decides()
	if d == nil {
		return steps
	}
	for _, answered := range []bool{true, false} {
		end := map[bool]string{true: "", false: ", and the answer is lost"}[answered]
		for i := range d.Moves {
			m := &d.Moves[i]
			steps = append(steps, step{who: who, what: fmt.Sprintf("%s %s on %s%s", m.Kind, m.Runtime, m.Node, end), node: m.Node, runtime: m.Runtime, take: func(w *small) string {
				if !w.write(leader, view, m, answered) {
					w.looks(leader)
					return ""
				}
				return breaks(view, m)
			}})
		}
		if d.Turns != nil {
			steps = append(steps, step{who: who, what: "books" + end, take: func(w *small) string {
				if !w.book(leader, view, d.Turns, answered) {
					w.looks(leader)
				}
				return ""
			}})
		}
	}
	return steps
}

// evicts says which promise an eviction breaks that a leader decides on: a pod that nobody would make anew is never evicted, and none but on a node that is being emptied.
func (v *view) evicts() string {
	for _, e := range v.decides().Evictions {
		i := slices.IndexFunc(v.Nodes, func(n observed.Node) bool { return n.Name == e.Node })
		if p := v.Nodes[i].Progress(e.Runtime); e.Pod.Bare || p == nil || (p.Phase != observed.PhaseDraining && p.Phase != observed.PhaseBlocked) {
			return fmt.Sprintf("Evictions: pod %s is evicted from node %s", e.Pod.String(), e.Node)
		}
	}
	return ""
}

// breaks says which promise a write breaks by what its leader has seen: a gate is closed on a command that runs, a node is called ready that is not, a cordon of somebody else's is taken off, or a node is begun with that people
// hold, or while they have paused the runtime. Who sees late, writes late: what is not so any more is put right by the next look.
func breaks(view *view, m *rollout.Move) string {
	i := slices.IndexFunc(view.Nodes, func(n observed.Node) bool { return n.Name == m.Node })
	node := &view.Nodes[i]
	state := node.State(m.Runtime)
	begins := (m.Kind == rollout.OpenGate || m.Kind == rollout.Drain) && (state == nil || state.Progress == nil || (state.Progress.Phase != observed.PhaseDraining && state.Progress.Phase != observed.PhaseBlocked))
	at := slices.IndexFunc(view.Specs, func(s observed.Spec) bool { return s.Runtime == m.Runtime })
	switch {
	case m.Ready != "" && !slices.Contains(node.Handlers, m.Runtime):
		return fmt.Sprintf("Truth: %s calls node %s ready for %s, which it does not offer", m.Kind, m.Node, m.Runtime)
	case m.Cordon == observed.Uncordoning && (state == nil || state.Progress == nil || !state.Progress.Cordoned):
		return fmt.Sprintf("Cordons: %s uncordons node %s, which somebody else has cordoned", m.Kind, m.Node)
	case begins && state != nil && state.Held:
		return fmt.Sprintf("Held: %s begins with node %s, which people hold", m.Kind, m.Node)
	case begins && at >= 0 && view.Specs[at].Data["paused"] == "true":
		return fmt.Sprintf("Paused: %s begins with node %s while the runtime is paused", m.Kind, m.Node)
	case state == nil || state.Gate == "" || m.Gate != "" || m.Kind == rollout.Fail:
		return ""
	}
	for i := range view.Pods {
		if p := &view.Pods[i]; p.Node == m.Node && p.Runtime == m.Runtime && p.Steps[0].Running && !p.Deleting {
			return fmt.Sprintf("Finish: %s closes the gate on node %s while the command of %s runs", m.Kind, m.Node, m.Runtime)
		}
	}
	return ""
}

// daemonSetSteps: the DaemonSet controller makes the pod that a gate asks for, and takes away one that none does.
func (w *small) daemonSetSteps(node *corev1.Node, runtime string) []step {
	revision, name, ok := observed.ParseGate(node.Labels[observed.GateKey(runtime)])
	there := slices.ContainsFunc(w.pods, func(p smallPod) bool {
		return p.node == node.Name && p.runtime == runtime && p.revision == revision && p.step == name
	})
	if !ok || there {
		return nil
	}
	return []step{{who: "DaemonSet controller", what: fmt.Sprintf("makes the %s pod of %s on %s", name, runtime, node.Name), node: node.Name, runtime: runtime, take: func(w *small) string {
		w.pods = append(w.pods, smallPod{id: w.id(), node: node.Name, runtime: runtime, revision: revision, step: name, state: podCreated})
		return ""
	}}}
}

// podSteps: a command begins, ends well or badly, is run again; a pod that no gate asks for leaves.
func (w *small) podSteps(i int) []step {
	p := w.pods[i]
	do := func(what string, take func(*small, *smallPod)) step {
		return step{who: "kubelet", what: fmt.Sprintf("%s (%s of %s on %s)", what, p.step, p.runtime, p.node), node: p.node, runtime: p.runtime, take: func(w *small) string {
			take(w, &w.pods[i])
			return ""
		}}
	}
	gone := func(w *small, _ *smallPod) { w.pods = slices.Delete(slices.Clone(w.pods), i, i+1) }
	switch {
	case p.leaving:
		return []step{do("pod is gone", gone)}
	case !w.gated(&p):
		leave := do("pod leaves", func(_ *small, p *smallPod) { p.leaving = true })
		if p.state == podCreated {
			// It may begin in this very moment.
			return []step{leave, do("command begins", func(_ *small, p *smallPod) { p.state = podRunning })}
		}
		return []step{leave}
	}
	switch p.state {
	case podCreated:
		return []step{do("command begins", func(_ *small, p *smallPod) { p.state = podRunning })}
	case podRunning:
		return []step{
			do("command exits 0", (*small).succeed),
			do("command fails", func(_ *small, p *smallPod) {
				p.state = podFailed
				p.exits++
			}),
		}
	case podFailed:
		return []step{do("command is run again", func(_ *small, p *smallPod) { p.state = podRunning })}
	case podDone:
	}
	return nil
}

// succeed ends a command well: the handler is there, or gone.
func (w *small) succeed(p *smallPod) {
	p.state = podDone
	i, node := w.node(p.node)
	node = node.DeepCopy()
	node.Status.RuntimeHandlers = slices.DeleteFunc(node.Status.RuntimeHandlers, func(h corev1.NodeRuntimeHandler) bool { return h.Name == p.runtime })
	if p.step == "install" {
		node.Status.RuntimeHandlers = append(node.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: p.runtime})
	}
	node.ResourceVersion = w.id()
	w.nodes[i] = node
}

// pass is time going by.
func (w *small) pass(d time.Duration) { w.now = w.now.Add(d) }
