package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
)

// event is something that people do, or that goes wrong. It tells whether it could happen.
type event struct {
	name string
	// often is its weight.
	often int
	// node is what happens to a node; do is what happens to everything.
	node func(w *World, name string) bool
	do   func(w *World) bool
}

// events are what people do and what goes wrong, besides what becomes of writes and commands.
var events = []event{
	{name: "node goes NotReady", often: 3, node: func(w *World, n string) bool { return w.down(n) }},
	{name: "node comes back", often: 5, node: func(w *World, n string) bool { return w.up(n) }},
	{name: "node reboots", often: 2, node: (*World).reboot},
	{name: "machine is replaced", often: 1, node: (*World).replaceMachine},
	{name: "node is replaced", often: 1, node: (*World).replaceNode},
	{name: "node is deleted", often: 1, node: func(w *World, n string) bool { return len(w.nodes.now()) > 2 && w.deleteNode(n) }},
	{name: "node is added", often: 1, do: (*World).addAnother},
	{name: "label changes", often: 3, node: (*World).relabel},
	{name: "labels vanish", often: 2, do: (*World).loseLabels},
	{name: "others begin", often: 3, node: (*World).othersBegin},
	{name: "others end", often: 6, node: (*World).othersEnd},
	{name: "people agree", often: 4, do: (*World).agree},
	{name: "spec is replaced", often: 3, do: (*World).replaceSpec},
	{name: "handler vanishes", often: 2, node: (*World).loseHandler},
	{name: "people cordon", often: 2, node: (*World).cordon},
	{name: "people uncordon", often: 5, node: (*World).uncordon},
	{name: "people hold", often: 2, node: (*World).hold},
	{name: "people release", often: 9, node: (*World).release},
	{name: "people retry", often: 4, node: (*World).retry},
	{name: "keys are wiped", often: 1, node: (*World).wipe},
	{name: "progress is wiped", often: 2, node: (*World).wipeProgress},
	{name: "gate is wiped", often: 2, node: (*World).wipeGate},
	{name: "pod arrives", often: 6, node: (*World).podArrives},
	{name: "spec is edited", often: 3, do: (*World).edit},
	{name: "selector is edited", often: 2, do: (*World).editSelector},
	{name: "spec is deleted", often: 2, do: (*World).deleteSome},
	{name: "spec is recreated", often: 3, do: (*World).recreate},
	{name: "spec is renamed", often: 1, do: (*World).rename},
	{name: "people pause", often: 2, do: (*World).pause},
	{name: "people resume", often: 3, do: (*World).resume},
	{name: "people retry all", often: 2, do: (*World).retryAll},
	{name: "pool is paused", often: 3, do: func(w *World) bool { return w.setPool("paused", "true") }},
	{name: "pool is resumed", often: 3, do: func(w *World) bool { return w.setPool("paused", "false") }},
	{name: "turns are lost", often: 1, do: (*World).loseTurns},
	{name: "leader dies", often: 4, do: (*World).leaderDies},
	{name: "second leader", often: 2, do: (*World).secondLeader},
	{name: "old leader dies", often: 4, do: (*World).oldLeaderDies},
	{name: "clock jumps", often: 3, do: (*World).clockJumps},
	{name: "evictions are refused", often: 2, do: func(w *World) bool {
		w.budgeted = !w.budgeted
		return w.scene.Drain == "Drain" || w.scene.InUse == "Evict"
	}},
}

// Events are the names of all that is counted in the coverage: the table above, and what the world does by itself.
func Events() []string {
	names := []string{"pod made", "pod gone", "command begins", "command done", "command fails", "command hangs", "write fails", "conflict", "answer lost", "crash during a write"}
	for i := range events {
		if e := &events[i]; !slices.Contains(names, e.name) {
			names = append(names, e.name)
		}
	}
	return names
}

// accident has one of the events happen.
func (w *World) accident() {
	total := 0
	for i := range events {
		total += events[i].often
	}
	at := w.below(total)
	for i := range events {
		e := &events[i]
		if at -= e.often; at >= 0 {
			continue
		}
		if e.do != nil {
			if before := len(w.story); e.do(w) {
				if len(w.story) == before {
					w.tell("accident", "%s", e.name)
				}
				w.meetAll(e.name)
			}
			return
		}
		names := w.nodeNames()
		if len(names) == 0 {
			return
		}
		name := names[w.below(len(names))]
		if rare, _ := w.rare(); len(rare) > 0 && !w.oneIn(3) {
			name = rare[w.below(len(rare))]
		}
		phases := w.phases(name)
		if e.node(w, name) {
			w.tell("accident", "%s: %s (%s)", e.name, name, strings.Join(phases, ", "))
			for _, phase := range phases {
				w.coverage.counts[[2]string{e.name, phase}]++
			}
		}
		return
	}
}

// rare are the nodes that are in the middle of something, those alone that are where nodes seldom are: more happens to them, or too little would ever meet them
// there.
func (w *World) rare() (nodes []string, seldom bool) {
	var rarest []string
	for _, e := range w.nodes.now() {
		for _, rt := range w.scene.Runtimes {
			switch w.phaseOf(&e.value.seen, rt) {
			case "Blocked", "Soaking", "Uninstalling":
				rarest = append(rarest, e.name)
			case "Draining", "Installing", "Failed":
				nodes = append(nodes, e.name)
			}
		}
	}
	if len(rarest) > 0 {
		return rarest, true
	}
	return nodes, false
}

func (w *World) phases(name string) []string {
	var out []string
	if e := w.nodes.get(name); e != nil {
		for _, rt := range w.scene.Runtimes {
			out = append(out, w.phaseOf(&e.value.seen, rt))
		}
	}
	return out
}

func (w *World) setReady(name string, status corev1.ConditionStatus) {
	w.changeNode(name, func(n *corev1.Node) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastTransitionTime: metav1.NewTime(w.now.Truncate(time.Second))}}
	})
}

func (w *World) down(name string) bool {
	if w.machines[name].down {
		return false
	}
	w.machines[name].down = true
	w.setReady(name, corev1.ConditionUnknown)
	return true
}

func (w *World) up(name string) bool {
	if !w.machines[name].down {
		return false
	}
	w.machines[name].down = false
	w.setReady(name, corev1.ConditionTrue)
	w.reportHandlers(name)
	for _, p := range w.onNode(name) {
		w.learn(p)
		w.report(p)
	}
	return true
}

func (w *World) reboot(name string) bool {
	w.born++
	boot := fmt.Sprintf("boot-%d", w.born)
	w.changeNode(name, func(n *corev1.Node) { n.Status.NodeInfo.BootID = boot })
	w.restart(name)
	return true
}

func (w *World) replaceMachine(name string) bool {
	w.born++
	id := fmt.Sprintf("machine-%d", w.born)
	w.machines[name].reset()
	w.changeNode(name, func(n *corev1.Node) { n.Status.NodeInfo.MachineID, n.Status.NodeInfo.BootID = id, "boot-of-"+id })
	w.reportHandlers(name)
	for _, p := range w.onNode(name) {
		p.main.Running = false
		for i := range p.steps {
			p.steps[i] = observed.Container{Name: p.steps[i].Name}
		}
		p.at, p.running, p.hangs, p.ready, p.until = 0, false, false, false, w.now.Add(time.Second)
		w.report(p)
	}
	return true
}

func (w *World) deleteNode(name string) bool {
	w.nodes.remove(w, name)
	for _, e := range w.workloads.now() {
		if on, _, _ := strings.Cut(e.name, "."); on == name {
			w.workloads.remove(w, e.name)
		}
	}
	for _, p := range w.onNode(name) {
		p.running = false
	}
	return true
}

func (w *World) replaceNode(name string) bool {
	w.deleteNode(name)
	for _, p := range w.onNode(name) {
		if e := w.pods.get(p.pod); e != nil {
			w.gone(e.value, "with its node")
		}
	}
	w.addNode(name)
	return true
}

func (w *World) addAnother( /* the next name */ ) bool {
	if len(w.nodes.now()) >= 5 {
		return false
	}
	w.born++
	name := fmt.Sprintf("node-%d", 100+w.born)
	w.addNode(name)
	w.tell("accident", "node %s is added", name)
	return true
}

// relabel takes a node out of what the runtimes select, or back.
func (w *World) relabel(name string) bool {
	w.changeNode(name, func(n *corev1.Node) {
		if n.Labels["never"] == "" {
			n.Labels["never"] = "true"
		} else {
			delete(n.Labels, "never")
		}
	})
	return true
}

// loseLabels takes the label that the runtimes select by off every node at once, or puts it back: as a program that labels nodes does when it starts anew.
func (w *World) loseLabels() bool {
	labelled := false
	for _, e := range w.nodes.now() {
		labelled = labelled || e.value.object.Labels["never"] == ""
	}
	for _, name := range w.nodeNames() {
		w.changeNode(name, func(n *corev1.Node) {
			if labelled {
				n.Labels["never"] = "true"
			} else {
				delete(n.Labels, "never")
			}
		})
	}
	return true
}

// othersBegin is an autoscaler that has chosen a node; often it goes NotReady then.
func (w *World) othersBegin(name string) bool {
	if w.nodes.get(name).value.seen.Others != "" {
		return false
	}
	w.changeNode(name, func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: othersTaint, Effect: corev1.TaintEffectNoSchedule})
	})
	if w.oneIn(2) {
		w.down(name)
	}
	return true
}

const othersTaint = "karpenter.sh/disrupted"

func (w *World) othersEnd(name string) bool {
	if w.nodes.get(name).value.seen.Others == "" {
		return false
	}
	w.changeNode(name, func(n *corev1.Node) {
		n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == othersTaint })
	})
	return true
}

func (w *World) loseHandler(name string) bool {
	m := w.machines[name]
	rt := w.scene.Runtimes[w.below(len(w.scene.Runtimes))]
	if !m.handlers[rt] || m.down {
		return false
	}
	delete(m.handlers, rt)
	delete(m.installed, rt)
	w.reportHandlers(name)
	return true
}
