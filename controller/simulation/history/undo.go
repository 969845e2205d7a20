package history

import (
	"fmt"

	"longshore.dev/longshore/observed"
)

// closedUnseen notes that an old leader has closed the gate of a command that it had not seen begin: nobody may ever know that it did.
func (w *World) closedUnseen(l *leader, before, after *node, rt string) {
	gate := observed.GateKey(rt)
	if l.deposed && before.object.Labels[gate] != "" && after.object.Labels[gate] == "" && underWay(before.seen.Progress(rt)) {
		w.machines[before.object.Name].late[rt] = true
	}
}

// uninstalls notes with which command an uninstall begins.
func (w *World) uninstalls(p *process) {
	m := w.machines[p.node]
	if begun := m.begun[p.runtime]; begun != "" && begun != p.revision && m.maybe[p.runtime] != p.revision && !m.late[p.runtime] && !w.wiped[p.node] {
		w.wrongUndo = fmt.Sprintf("%s is uninstalled from %s with the command of revision %s; %s was begun there last", p.runtime, p.node, p.revision, begun)
	}
}

func (w *World) undone() string { return w.wrongUndo }
