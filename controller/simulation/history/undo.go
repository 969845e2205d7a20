package history

import (
	"fmt"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
)

// closedUnseen notes that a leader has closed the gate of a command that it had not seen begin: should the pod be gone before anybody looks again, nobody will ever know that it did
// (decision 19).
func (w *World) closedUnseen(l *leader, before, after *node, rt string) {
	gate := observed.GateKey(rt)
	if before.object.Labels[gate] == "" || after.object.Labels[gate] != "" || !underWay(before.seen.Progress(rt)) {
		return
	}
	for i := range l.view.Pods {
		p := &l.view.Pods[i]
		begun := func(c observed.Container) bool { return c.Running || c.Done || c.Exit != nil }
		if p.Node == before.object.Name && p.Runtime == rt && slices.ContainsFunc(p.Steps, begun) {
			return
		}
	}
	w.machines[before.object.Name].late[rt] = true
}

// uninstalls notes with which command an uninstall begins.
func (w *World) uninstalls(p *process) {
	m := w.machines[p.node]
	if begun := m.begun[p.runtime]; begun != "" && begun != p.revision && m.maybe[p.runtime] != p.revision && !m.late[p.runtime] && !w.wiped[p.node] {
		w.wrongUndo = fmt.Sprintf("%s is uninstalled from %s with the command of revision %s; %s was begun there last", p.runtime, p.node, p.revision, begun)
	}
}

func (w *World) undone() string { return w.wrongUndo }

func (w *World) installersStay() string {
	for i := range w.last {
		kind, name, _ := strings.Cut(w.last[i].deleted, " ")
		if kind != "DaemonSet" && kind != "ControllerRevision" {
			continue
		}
		view := w.last[i].by.view
		for n := range view.Nodes {
			for _, s := range view.Nodes[n].States() {
				revision, step, open := observed.ParseGate(s.Gate)
				if kind == "DaemonSet" && open && observed.DaemonSetName(s.Runtime, step, revision) == name {
					return fmt.Sprintf("%s is deleted, and the gate of %s names it", name, view.Nodes[n].Name)
				}
				if kind == "ControllerRevision" && s.Progress != nil && s.Progress.Phase != observed.PhasePending && observed.RevisionName(s.Runtime, s.Progress.Revision) == name {
					return fmt.Sprintf("%s is deleted, and the progress of %s names it", name, view.Nodes[n].Name)
				}
			}
		}
	}
	return ""
}
