package history

import (
	"cmp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// backOff is how long a kubelet waits before it runs a failed command again.
const backOff = 10 * time.Second

// process is what really goes on in a pod, whether the kubelet can tell of it or not.
type process struct {
	uid                     types.UID
	pod, node               string
	runtime, revision, step string
	at                      int
	// daemon is true of a payload that stays: its last container is the pod's main one, and never ends.
	daemon  bool
	running bool
	hangs   bool
	code    int
	until   time.Time
	steps   []observed.Container
	main    observed.Container
	ready   bool
	// leaves is true once the kubelet knows that the pod is to go.
	leaves bool
}

// busy tells whether a command is at work that changes its node.
func (p *process) busy() bool { return p.running && !p.ready }

func (p *process) done() bool { return p.at == len(p.steps) || p.ready }

// place has the DaemonSet controller make a pod.
func (w *World) place(s *set, n *node) {
	w.born++
	name := s.object.Name + "-" + w.number(10000+w.born)
	template := &s.object.Spec.Template
	p := &process{
		uid: types.UID("pod-" + w.number(w.born)), pod: name, node: n.seen.Name, runtime: s.seen.Runtime, revision: s.seen.Revision, step: s.seen.Step, daemon: true,
	}
	for i := range template.Spec.InitContainers {
		p.steps = append(p.steps, observed.Container{Name: template.Spec.InitContainers[i].Name})
	}
	for i := range template.Spec.Containers {
		if template.Spec.Containers[i].Name == observed.PauseContainer {
			p.main, p.daemon = observed.Container{Name: observed.PauseContainer, Waiting: "PodInitializing"}, false
			continue
		}
		p.steps = append(p.steps, observed.Container{Name: template.Spec.Containers[i].Name})
	}
	w.processes[p.uid] = p
	if p.step == observed.StepInstall {
		w.machines[p.node].maybe[p.runtime] = p.revision
	}
	w.pods.put(w, name, &pod{
		set: s.seen.UID, step: s.seen.Step,
		seen: observed.Pod{
			Name: name, UID: p.uid, Node: p.node, Runtime: p.runtime, DaemonSet: s.object.Name, Created: w.now.Truncate(time.Second),
			Template: template.Annotations[observed.AnnotationTemplate], Steps: slices.Clone(p.steps), Main: p.main,
		},
	})
	w.tell("DaemonSet controller", "makes pod %s on %s", name, p.node)
	w.meet("pod made", p.node)
}

func matches(s *appsv1.DaemonSet, n *corev1.Node) bool {
	for key, value := range s.Spec.Template.Spec.NodeSelector {
		if n.Labels[key] != value {
			return false
		}
	}
	return true
}

// chores are what the DaemonSet controller and the kubelets have to do now.
func (w *World) chores() []func() {
	var out []func()
	for _, se := range w.sets.now() {
		s := se.value
		for _, ne := range w.nodes.now() {
			n := ne.value
			if matches(s.object, n.object) && !slices.ContainsFunc(w.pods.now(), func(p *entry[*pod]) bool { return p.value.set == s.seen.UID && p.value.seen.Node == n.seen.Name }) {
				out = append(out, func() { w.place(s, n) })
			}
		}
	}
	for _, pe := range w.pods.now() {
		p := pe.value
		n := w.nodes.get(p.seen.Node)
		proc := w.processes[p.seen.UID]
		switch {
		case n == nil:
			out = append(out, func() { w.gone(p, "with its node") })
			continue
		case !p.seen.Deleting && !w.wanted(p, n.value):
			out = append(out, func() {
				w.tell("DaemonSet controller", "deletes pod %s", p.seen.Name)
				w.deletePod(p)
			})
		}
		if w.machines[p.seen.Node].down {
			continue
		}
		switch {
		case p.seen.Deleting && !proc.leaves:
			out = append(out, func() { w.learn(proc) })
			fallthrough
		case !proc.leaves:
			if !proc.done() && !proc.hangs && !w.now.Before(proc.until) {
				out = append(out, func() { w.play(proc) })
			} else if proc.at == len(proc.steps) && !proc.main.Running && proc.main.Name != "" {
				out = append(out, func() { w.startMain(proc) })
			}
		case !w.now.Before(proc.until):
			out = append(out, func() { w.gone(p, "") })
		}
	}
	return w.leavers(out)
}

// leavers are the pods of others that leave: those that are evicted, and when it is calm all of them, in their time.
func (w *World) leavers(out []func()) []func() {
	for _, e := range w.workloads.now() {
		node, _, _ := strings.Cut(e.name, ".")
		if m := w.machines[node]; m.down || (!e.value.Deleting && !w.calm) {
			continue
		}
		out = append(out, func() {
			w.tell("kubelet "+node, "pod %s ends", e.name)
			w.workloads.remove(w, e.name)
		})
	}
	return out
}

// learn has a kubelet see whether a pod is to go. It sees that before it sees a later pod.
func (w *World) learn(p *process) {
	if e := w.pods.get(p.pod); e != nil && e.value.seen.Deleting && !p.leaves {
		p.leaves, p.until = true, w.now.Add(time.Second)
	}
}

func (w *World) wanted(p *pod, n *node) bool {
	s := w.sets.get(p.seen.DaemonSet)
	return s != nil && s.value.seen.UID == p.set && matches(s.value.object, n.object)
}

func (w *World) gone(p *pod, how string) {
	if proc := w.processes[p.seen.UID]; proc.busy() {
		w.tell("kubelet "+p.seen.Node, "kills the command of pod %s", p.seen.Name)
	}
	w.tell("kubelet "+p.seen.Node, "pod %s is gone %s", p.seen.Name, how)
	delete(w.processes, p.seen.UID)
	w.pods.remove(w, p.seen.Name)
	w.meet("pod gone", p.seen.Node)
}

// play begins the next command of a pod, or ends the one that runs. What goes on without the kubelet's knowledge goes on all the same.
func (w *World) play(p *process) {
	if p.running {
		w.endCommand(p)
	} else {
		w.beginCommand(p)
	}
	w.report(p)
}

func (w *World) beginCommand(p *process) {
	for _, before := range w.onNode(p.node) {
		if before != p {
			w.learn(before)
		}
	}
	c, m := &p.steps[p.at], w.machines[p.node]
	if c.Exit != nil || c.Done {
		c.Restarts++
	}
	c.Running, c.Done, c.Waiting, c.Started = true, false, "", w.now.Truncate(time.Second)
	p.running, p.code = true, 0
	p.until = w.now.Add(2 * time.Second)
	outcome := "ends well"
	if !w.calm && w.dice != nil {
		p.until = w.now.Add(time.Duration(1+w.below(20)) * time.Second)
		switch w.below(w.scene.Luck) {
		case 0, 1:
			p.code, outcome = 1, "fails"
		case 2:
			p.code, outcome = 137, "is killed"
		case 3:
			p.hangs, outcome = true, "hangs"
		}
	}
	w.tell("kubelet "+p.node, "step %s of %s %s begins (it %s)", c.Name, p.runtime, p.revision, outcome)
	if p.at == 0 {
		switch p.step {
		case observed.StepUninstall:
			delete(m.installed, p.runtime)
			w.uninstalls(p)
		case observed.StepInstall:
			m.begun[p.runtime] = p.revision
			m.late[p.runtime] = w.gateClosed(p)
		}
	}
	w.meet("command begins", p.node)
	if p.hangs {
		w.meet("command hangs", p.node)
	}
}

// gateClosed tells whether the gate is closed that a pod is there for.
func (w *World) gateClosed(p *process) bool {
	e := w.nodes.get(p.node)
	return e == nil || e.value.object.Labels[observed.GateKey(p.runtime)] != observed.GateValue(p.revision, p.step)
}

func (w *World) endCommand(p *process) {
	c, m := &p.steps[p.at], w.machines[p.node]
	if p.code != 0 {
		p.running, c.Running = false, false
		c.Exit = &observed.Exit{Code: p.code, Reason: "Error", Message: "bad luck", At: w.now.Truncate(time.Second)}
		c.Waiting, p.until = "CrashLoopBackOff", w.now.Add(backOff)
		w.tell("kubelet "+p.node, "step %s of %s %s exits %d", c.Name, p.runtime, p.revision, p.code)
		w.meet("command fails", p.node)
		return
	}
	w.tell("kubelet "+p.node, "step %s of %s %s is done", c.Name, p.runtime, p.revision)
	w.meet("command done", p.node)
	if p.daemon && p.at == len(p.steps)-1 {
		p.ready = true
	} else {
		p.running, c.Running, c.Done = false, false, true
		p.at++
	}
	if !p.done() {
		return
	}
	switch p.step {
	case observed.StepInstall:
		m.installed[p.runtime] = p.revision
		m.handlers[p.runtime] = true
	case observed.StepUninstall:
		delete(m.begun, p.runtime)
		delete(m.handlers, p.runtime)
	}
	w.reportHandlers(p.node)
}

func (w *World) startMain(p *process) {
	p.main = observed.Container{Name: observed.PauseContainer, Running: true, Started: w.now.Truncate(time.Second)}
	w.tell("kubelet "+p.node, "main container of %s runs", p.pod)
	w.report(p)
}

// report has a kubelet write what it sees of a pod, if it can.
func (w *World) report(p *process) {
	e := w.pods.get(p.pod)
	if e == nil || w.machines[p.node].down {
		return
	}
	next := *e.value
	next.seen.Steps, next.seen.Main, next.seen.Ready = slices.Clone(p.steps), p.main, p.ready
	w.pods.put(w, p.pod, &next)
}

// reportHandlers has a kubelet write which handlers there are.
func (w *World) reportHandlers(name string) {
	m := w.machines[name]
	if m == nil || m.down {
		return
	}
	w.changeNode(name, func(n *corev1.Node) {
		n.Status.RuntimeHandlers = []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "runc"}}
		for _, rt := range w.scene.Runtimes {
			if m.handlers[rt] {
				n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: rt})
			}
		}
	})
}

// due is when the next thing in a kubelet is due, the zero time for nothing.
func (w *World) due() time.Time {
	var first time.Time
	for _, p := range w.processes {
		if m := w.machines[p.node]; m == nil || m.down || (p.hangs && !p.leaves) || !p.until.After(w.now) {
			continue
		}
		if first.IsZero() || p.until.Before(first) {
			first = p.until
		}
	}
	return first
}

// onNode are the processes on a node, sorted.
func (w *World) onNode(name string) []*process {
	var out []*process
	for _, p := range w.processes {
		if p.node == name {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *process) int { return cmp.Compare(a.pod, b.pod) })
	return out
}

// restart is a reboot for the pods of a node: what had not come to its end begins anew.
func (w *World) restart(name string) {
	for _, p := range w.onNode(name) {
		if p.main.Running {
			continue
		}
		p.running, p.hangs, p.ready, p.code, p.until = false, false, false, 0, w.now.Add(time.Second)
		for i := range p.steps {
			p.steps[i].Running = false
			if i < p.at || p.steps[i].Done {
				p.steps[i].Done, p.steps[i].Waiting = false, "PodInitializing"
				p.steps[i].Restarts++
			}
		}
		p.at = 0
		w.report(p)
	}
}

// evict marks a pod of others as leaving.
func (w *World) evict(name string, uid types.UID) {
	if e := w.workloads.get(name); e != nil && e.value.UID == uid && !e.value.Deleting {
		next := e.value
		next.Deleting = true
		w.workloads.put(w, name, next)
	}
}
