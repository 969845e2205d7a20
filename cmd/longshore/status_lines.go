package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// lines tells a line for everything that is not as it was: for logs and pipes.
type lines struct {
	out      io.Writer
	troubles *troubles

	// By pool, by runtime, and by runtime and node: what was told last.
	pools    map[string]string
	runtimes map[string]string
	nodes    map[[2]string]string
	trouble  string
	err      error
}

func (l *lines) show(v *view, w wanted) error {
	at := moment(v.snap.Time)
	first := l.runtimes == nil
	if first {
		l.pools, l.runtimes, l.nodes = map[string]string{}, map[string]string{}, map[[2]string]string{}
	}
	l.tellPools(at, v.report.Pools)
	there := map[[2]string]bool{}
	for _, r := range v.runtimes(w) {
		if text := fmt.Sprintf("%s %d/%d: %s", r.Phase, r.Done, r.Total, r.Message); len(w.nodes) == 0 && l.runtimes[r.Name] != text {
			l.runtimes[r.Name] = text
			l.tell(at, "runtime "+r.Name+" "+text)
		}
		underWay, failed := nodesOf(&r)
		for i := range r.Nodes {
			n := &r.Nodes[i]
			if len(w.nodes) > 0 && !slices.Contains(w.nodes, n.Node) {
				continue
			}
			key := [2]string{r.Name, n.Node}
			there[key] = true
			busy := slices.Contains(underWay, n) || slices.Contains(failed, n)
			// Nodes that wait are counted in the runtime's line, and those that were done before were done before.
			quiet := !busy && len(w.nodes) == 0 && (first || !n.Done)
			l.node(at, key, n, quiet)
		}
	}
	for key := range l.nodes {
		if !there[key] {
			delete(l.nodes, key)
			l.tell(at, fmt.Sprintf("node %s %s: nothing of the runtime is left", key[1], key[0]))
		}
	}
	if text, _ := l.troubles.last(v.snap.Time); text != l.trouble {
		l.trouble = text
		l.tell(at, "trouble: "+cmp.Or(text, "over"))
	}
	return l.err
}

func (l *lines) tellPools(at string, pools []status.PoolReport) {
	there := map[string]bool{}
	for _, p := range pools {
		there[p.Name] = true
		if text := poolWords(&p); l.pools[p.Name] != text {
			l.pools[p.Name] = text
			l.tell(at, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.pools)) {
		if !there[name] {
			delete(l.pools, name)
			l.tell(at, "pool "+name+" is gone")
		}
	}
}

// node tells a node if it is another than it was, and remembers it. Of a quiet one it only remembers.
//
//nolint:revive // flag-parameter: quiet nodes are remembered all the same
func (l *lines) node(at string, key [2]string, n *status.NodeReport, quiet bool) {
	text := fmt.Sprintf("node %s %s %s", n.Node, key[0], n.Phase)
	if step := stepOf(n); step != "" && n.Phase != string(observed.PhaseReady) {
		text += " " + step
	}
	// The words of those that wait name others and change with every one of them.
	id := text + " " + n.Reason
	if l.nodes[key] == id {
		return
	}
	l.nodes[key] = id
	if !quiet {
		l.tell(at, text+" "+n.Reason+": "+n.Message)
	}
}

func (l *lines) tell(at, text string) {
	if _, err := fmt.Fprintln(l.out, at+" "+plain(text)); err != nil && l.err == nil {
		l.err = err
	}
}

func (l *lines) end() {}
