package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// standing is what people can see of the rollout: the spec's annotations and the nodes' keys.
type standing struct {
	phase, message, progress, revision string
	// nodes tells a line a node.
	nodes map[string]string
	// carried is true while any node has a key of the runtime; revisions counts the snapshots left.
	carried   bool
	revisions int
}

const runtime = "crun"

func (d *demo) standing(ctx context.Context) (standing, error) {
	s := standing{nodes: map[string]string{}}
	spec, err := d.kube.CoreV1().ConfigMaps("longshore").Get(ctx, runtime, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return s, err
	}
	if err == nil {
		a := spec.Annotations
		s.phase, s.message, s.progress, s.revision = a["longshore.dev/phase"], a["longshore.dev/message"], a["longshore.dev/progress"], a["longshore.dev/revision"]
	}
	list, err := d.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, err
	}
	for i := range list.Items {
		node := &list.Items[i]
		text, ok := node.Annotations[runtime+".longshore.dev/progress"]
		for key := range node.Labels {
			s.carried = s.carried || strings.HasPrefix(key, runtime+".longshore.dev/")
		}
		if !ok {
			s.nodes[node.Name] = "-"
			continue
		}
		s.carried = true
		var p struct{ Phase, Revision, Reason, Message string }
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return s, fmt.Errorf("progress of node %s: %w", node.Name, err)
		}
		line := p.Phase + " " + p.Revision
		if p.Message != "" {
			line += "  (" + p.Message + ")"
		}
		s.nodes[node.Name] = line
	}
	revisions, err := d.kube.AppsV1().ControllerRevisions("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + runtime})
	if err != nil {
		return s, err
	}
	s.revisions = len(revisions.Items)
	return s, nil
}

// patience is how long a step of the rollout may take.
const patience = 5 * time.Minute

// follow prints every change until the rollout stands as wanted.
func (d *demo) follow(ctx context.Context, done func(standing) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last standing
	for {
		s, err := d.standing(ctx)
		if err != nil {
			return err
		}
		d.changes(time.Since(start), last, s)
		if done(s) {
			return nil
		}
		last = s
		select {
		case <-ctx.Done():
			return fmt.Errorf("the rollout did not come to its end in %s: spec %s %q, nodes %v", patience, s.phase, s.message, s.nodes)
		case <-tick.C:
		}
	}
}

func (d *demo) changes(at time.Duration, before, now standing) {
	for _, name := range slices.Sorted(maps.Keys(now.nodes)) {
		if before.nodes[name] != now.nodes[name] && (before.nodes != nil || now.nodes[name] != "-") {
			fmt.Fprintf(d.out, "%6.1fs  %-8s %s\n", at.Seconds(), name, now.nodes[name])
		}
	}
	if now.phase != "" && (before.phase != now.phase || before.message != now.message) {
		fmt.Fprintf(d.out, "%6.1fs  spec     %s %s  %s\n", at.Seconds(), now.phase, now.progress, now.message)
	}
}
