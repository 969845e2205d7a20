package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// turns writes the bookings by compare-and-swap.
func (c *Controller) turns(ctx context.Context, snap *observed.Snapshot, decision *rollout.Decision) (bool, error) {
	if decision.Turns == nil {
		return false, nil
	}
	if err := c.areGone(ctx, snap, decision.Freed); err != nil {
		c.outrunBy(err)
		return false, nil
	}
	if err := c.Rollout.Turns(ctx, snap.Turns, decision.Turns); err != nil {
		if apply.Outrun(err) {
			c.Log.Debug("turns were changed by somebody else; looking again", zap.Error(err))
			c.outrunBy(err)
			return false, nil
		}
		return false, err
	}
	name := nodeNames(snap)
	for _, t := range decision.Booked {
		c.Log.Info("turn booked", zap.String("runtime", t.Runtime), zap.String("node", name(t)), zap.String("revision", t.Revision), zap.String("operation", string(t.Operation)))
	}
	for _, t := range decision.Freed {
		c.Log.Info("turn freed", zap.String("runtime", t.Runtime), zap.String("node", name(t)))
	}
	return true, nil
}

// areGone is an error where the turn of a node would end that only a watch which is late takes to be gone: somebody else may have booked it a moment after the node came.
func (c *Controller) areGone(ctx context.Context, snap *observed.Snapshot, freed []observed.Turn) error {
	seen := map[types.UID]bool{}
	for i := range snap.Nodes {
		seen[snap.Nodes[i].UID] = true
	}
	unseen := slices.DeleteFunc(slices.Clone(freed), func(t observed.Turn) bool { return seen[t.Node] })
	if len(unseen) == 0 {
		return nil
	}
	nodes, err := c.Reader.ConsistentNodes(ctx)
	if err != nil {
		return fmt.Errorf("see whether nodes are gone whose turns end: %w", err)
	}
	for i := range nodes {
		if slices.ContainsFunc(unseen, func(t observed.Turn) bool { return t.Node == nodes[i].UID }) {
			return fmt.Errorf("node %s is there, and the watch does not show it yet: its turn does not end", nodes[i].Name)
		}
	}
	return nil
}

// nodeNames names nodes by uid; one that is gone has only that.
func nodeNames(snap *observed.Snapshot) func(observed.Turn) string {
	names := make(map[types.UID]string, len(snap.Nodes))
	for i := range snap.Nodes {
		names[snap.Nodes[i].UID] = snap.Nodes[i].Name
	}
	return func(t observed.Turn) string { return cmp.Or(names[t.Node], string(t.Node)) }
}
