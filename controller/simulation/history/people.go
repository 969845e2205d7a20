package history

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/observed"
)

// cordon is people's. Where Longshore has cordoned the node already they have nothing to do.
func (w *World) cordon(name string) bool {
	n := w.nodes.get(name).value
	for _, s := range n.seen.States() {
		if s.Progress != nil && s.Progress.Cordoned {
			return false
		}
	}
	if n.seen.Unschedulable {
		return false
	}
	w.machines[name].cordoner = "people"
	w.changeNode(name, func(n *corev1.Node) { n.Spec.Unschedulable = true })
	return true
}

func (w *World) uncordon(name string) bool {
	if !w.nodes.get(name).value.seen.Unschedulable {
		return false
	}
	w.machines[name].cordoner = ""
	w.changeNode(name, func(n *corev1.Node) { n.Spec.Unschedulable = false })
	return true
}

func (w *World) annotateNode(name, key, value string) {
	w.changeNode(name, func(n *corev1.Node) {
		if n.Annotations == nil {
			n.Annotations = map[string]string{}
		}
		n.Annotations[key] = value
		if value == "" {
			delete(n.Annotations, key)
		}
	})
}

func (w *World) someRuntime() string { return w.scene.Runtimes[w.below(len(w.scene.Runtimes))] }

func (w *World) hold(name string) bool {
	w.annotateNode(name, observed.HoldKey(w.someRuntime()), "disk swap, INC-4711")
	return true
}

func (w *World) release(name string) bool {
	key := observed.HoldKey(w.someRuntime())
	if _, held := w.nodes.get(name).value.object.Annotations[key]; !held {
		return false
	}
	w.annotateNode(name, key, "")
	return true
}

func (w *World) retry(name string) bool {
	w.born++
	w.annotateNode(name, observed.RetryKey(w.someRuntime()), fmt.Sprint(w.born))
	return true
}

// wipe takes everything off a node that stands there for one runtime.
func (w *World) wipe(name string) bool {
	rt := w.someRuntime()
	if !w.nodes.get(name).value.seen.State(rt).Carries() {
		return false
	}
	w.wiped[name] = true
	w.changeNode(name, func(n *corev1.Node) {
		for _, key := range []string{observed.GateKey(rt), observed.PhaseKey(rt), observed.ReadyKey(rt)} {
			delete(n.Labels, key)
		}
		delete(n.Annotations, observed.ProgressKey(rt))
	})
	return true
}

func (w *World) wipeProgress(name string) bool {
	rt := w.someRuntime()
	if w.nodes.get(name).value.seen.Progress(rt) == nil {
		return false
	}
	w.wiped[name] = true
	w.annotateNode(name, observed.ProgressKey(rt), "")
	return true
}

func (w *World) wipeGate(name string) bool {
	rt := w.someRuntime()
	if w.nodes.get(name).value.object.Labels[observed.GateKey(rt)] == "" {
		return false
	}
	w.changeNode(name, func(n *corev1.Node) { delete(n.Labels, observed.GateKey(rt)) })
	return true
}

// podArrives is the scheduler with a pod of others, which uses a runtime or none.
func (w *World) podArrives(name string) bool {
	n := w.nodes.get(name).value
	if n.seen.Unschedulable || !n.seen.Ready || len(w.workloads.now()) > 6 {
		return false
	}
	w.born++
	p := observed.Workload{Namespace: "default", Name: fmt.Sprintf("%s.pod-%d", name, w.born), UID: w.uid("workload"), Evictable: true}
	// It lands because its class sends it here, or for no reason.
	if rt := w.someRuntime(); !w.oneIn(3) && n.object.Labels[observed.ReadyKey(rt)] == "true" && w.classes.get(rt) != nil {
		p.Class = rt
	}
	if w.oneIn(6) {
		p.Evictable, p.Bare = false, true
	}
	w.workloads.put(w, p.Name, p)
	return true
}

// edit asks for another payload.
func (w *World) edit() bool {
	return w.editData("payloadImage", func(rt string) string {
		return "registry.example.com/" + rt + ":" + []string{"one", "two", "three"}[w.below(3)]
	})
}

func (w *World) editSelector() bool {
	return w.editData("nodeSelector", func(rt string) string {
		w.said[rt] = asked{edited: true, agreed: w.said[rt].agreed}
		return []string{"!never", "*", "none=at-all"}[w.below(3)]
	})
}

func (w *World) editData(key string, value func(rt string) string) bool {
	s := w.specOf(w.someRuntime())
	if s == nil {
		return false
	}
	data := map[string]string{}
	maps.Copy(data, s.Data)
	data[key] = value(s.Runtime)
	s.Data = data
	w.tell("people", "edit spec %s: %s is %s", s.Name, key, data[key])
	w.storeSpec(*s)
	return true
}

func (w *World) deleteSome() bool {
	s := w.specOf(w.someRuntime())
	if s == nil {
		return false
	}
	w.tell("people", "delete spec %s", s.Name)
	w.deleteSpec(*s)
	return true
}

func (w *World) recreate() bool {
	rt := w.someRuntime()
	if w.specOf(rt) != nil {
		return false
	}
	w.tell("people", "create a spec of %s", rt)
	w.said[rt] = asked{edited: true}
	w.addSpec(rt, []string{"one", "two"}[w.below(2)])
	return true
}

// rename creates the spec under another name, and deletes the one before, in either order.
func (w *World) rename() bool {
	rt := w.someRuntime()
	s := w.specOf(rt)
	if s == nil {
		return false
	}
	w.tell("people", "rename spec %s", s.Name)
	if s.Data["nodeSelector"] != w.scene.data(rt, "two")["nodeSelector"] {
		w.said[rt] = asked{edited: true}
	}
	w.addSpec(rt, "two")
	w.deleteSpec(*s)
	return true
}

func (w *World) say(key, value string) bool {
	s := w.specOf(w.someRuntime())
	if s == nil {
		return false
	}
	return w.sayOn(s, key, value)
}

func (w *World) sayOn(s *observed.Spec, key, value string) bool {
	people := map[string]string{key: value}
	for k, v := range s.People {
		if k != key {
			people[k] = v
		}
	}
	s.People = people
	w.tell("people", "annotate spec %s: %s=%s", s.Name, key, value)
	w.storeSpec(*s)
	return true
}

// agree is people's word that nodes which lost their labels are to be uninstalled.
func (w *World) agree() bool {
	w.born++
	rt := w.someRuntime()
	s := w.specOf(rt)
	if s == nil {
		return false
	}
	w.said[rt] = asked{edited: w.said[rt].edited, agreed: true}
	return w.sayOn(s, observed.AnnotationUninstallDeselected, fmt.Sprint(w.born))
}

// replaceSpec is a tool that writes the whole of a ConfigMap: what people wrote on it is gone.
func (w *World) replaceSpec() bool {
	s := w.specOf(w.someRuntime())
	if s == nil {
		return false
	}
	w.tell("people", "replace spec %s, without its annotations", s.Name)
	s.People, s.Annotations = nil, nil
	w.storeSpec(*s)
	return true
}

func (w *World) pause() bool  { return w.say(observed.AnnotationPause, "INC-4711") }
func (w *World) resume() bool { return w.say(observed.AnnotationPause, observed.Resumed) }
func (w *World) retryAll() bool {
	w.born++
	return w.say(observed.AnnotationRetry, fmt.Sprint(w.born))
}

func (w *World) setPool(key, value string) bool {
	e := w.specs.get("zone-1")
	if e == nil {
		return false
	}
	s := e.value
	s.Data = map[string]string{key: value}
	for k, v := range e.value.Data {
		if k != key {
			s.Data[k] = v
		}
	}
	w.storeSpec(s)
	return true
}

func (w *World) loseTurns() bool {
	// Whoever deletes it while two leaders are at work takes away what keeps them apart.
	if w.turns.get(observed.TurnsName) == nil || len(w.leaders) > 1 {
		return false
	}
	w.turns.remove(w, observed.TurnsName)
	return true
}

func (w *World) leaderDies() bool {
	l := w.leaders[w.below(len(w.leaders))]
	if l.deposed {
		return false
	}
	w.crash(l, "between two writes")
	return true
}

// secondLeader has another leader take over, while the old one goes on with what it saw.
func (w *World) secondLeader() bool {
	if w.scene.Tame || len(w.leaders) > 1 {
		return false
	}
	w.leaders[0].deposed = true
	w.leaders = append(w.leaders, w.newLeader())
	w.tell("election", "%s takes over, %s does not know yet", w.leaders[1].name, w.leaders[0].name)
	return true
}

func (w *World) oldLeaderDies() bool {
	for _, l := range w.leaders {
		if l.deposed {
			w.crash(l, "at last")
			return true
		}
	}
	return false
}

func (w *World) clockJumps() bool {
	if w.scene.Tame {
		return false
	}
	l := w.leaders[w.below(len(w.leaders))]
	l.skew, l.dirty = time.Duration(w.below(600)-300)*time.Second, true
	w.fastest = max(w.fastest, l.skew)
	w.tell(l.name, "its clock is wrong by %s", l.skew)
	return true
}

// mendNode takes back what people did to a node, and asks for another try.
func (w *World) mendNode(name string) {
	w.uncordonForeign(name)
	w.othersEnd(name)
	w.changeNode(name, func(n *corev1.Node) { delete(n.Labels, "never") })
	for _, rt := range w.scene.Runtimes {
		if _, held := w.nodes.get(name).value.object.Annotations[observed.HoldKey(rt)]; held {
			w.annotateNode(name, observed.HoldKey(rt), "")
		}
		w.born++
		w.annotateNode(name, observed.RetryKey(rt), fmt.Sprint(w.born))
	}
}

// uncordonForeign opens a node that nobody knows any more why it is closed: people cordoned it, or wiped what says that it was Longshore.
func (w *World) uncordonForeign(name string) {
	for _, s := range w.nodes.get(name).value.seen.States() {
		if s.Progress != nil && s.Progress.Cordoned {
			return
		}
	}
	w.uncordon(name)
}
