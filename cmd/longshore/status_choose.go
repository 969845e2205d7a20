package main

import (
	"fmt"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// wanted are the runtimes and nodes that the arguments of `longshore status` name; no runtimes are all.
type wanted struct {
	runtimes, nodes []string
}

// choose reads arguments: runtime/NAME, node/NAME, or a NAME that only one of both has.
func (v *view) choose(args []string) (wanted, error) {
	var w wanted
	for _, arg := range args {
		kind, name, typed := strings.Cut(arg, "/")
		if !typed {
			kind, name = "", arg
		}
		runtime, node := v.hasRuntime(name), v.hasNode(name)
		switch {
		case typed && kind != "runtime" && kind != "node":
			return w, usageError{fmt.Errorf("argument %q: %q is not one of runtime, node", arg, kind)}
		case kind == "runtime" && !runtime:
			return w, fmt.Errorf("runtime %q: no spec, no snapshot and no node of that name is in the cluster", name)
		case kind == "node" && !node:
			return w, fmt.Errorf("node %q: the cluster has no node of that name", name)
		case !runtime && !node:
			return w, fmt.Errorf("%q: no runtime (spec, snapshot or node that carries it) and no node of that name is in the cluster", name)
		case kind == "" && runtime && node:
			return w, usageError{fmt.Errorf("argument %q is a runtime and a node: write runtime/%s or node/%s", arg, name, name)}
		case kind == "node", kind == "" && node:
			w.nodes = append(w.nodes, name)
		default:
			w.runtimes = append(w.runtimes, name)
		}
	}
	return w, nil
}

func (v *view) hasRuntime(name string) bool {
	return slices.ContainsFunc(v.report.Runtimes, func(r status.RuntimeReport) bool { return r.Name == name })
}

func (v *view) hasNode(name string) bool {
	return slices.ContainsFunc(v.snap.Nodes, func(n observed.Node) bool { return n.Name == name })
}

// runtimes are the reports on the runtimes that are wanted, in the order of the arguments.
func (v *view) runtimes(w wanted) []status.RuntimeReport {
	if len(w.runtimes) == 0 {
		return v.report.Runtimes
	}
	var kept []status.RuntimeReport
	for _, name := range w.runtimes {
		for _, r := range v.report.Runtimes {
			if r.Name == name {
				kept = append(kept, r)
			}
		}
	}
	return kept
}

// stories are those of the nodes that are wanted, with the runtimes that are.
func (v *view) stories(w wanted) []status.Story {
	stories := make([]status.Story, 0, len(w.nodes))
	for _, name := range w.nodes {
		story := status.StoryOf(v.snap, v.plan, v.decision, name)
		if len(w.runtimes) > 0 {
			story.Runtimes = slices.DeleteFunc(story.Runtimes, func(c status.Chapter) bool { return !slices.Contains(w.runtimes, c.Runtime) })
		}
		stories = append(stories, *story)
	}
	return stories
}
