package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

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

// The most that is waited before it is tried again to find out whether nodes are gone.
const lastListing = 30 * time.Second

// maybeThere are the nodes of turns that no watch shows, and of which it cannot be said that they are gone: a watch that is late takes a node to be gone that somebody else has booked a
// moment after it came. Where the API server does not say, their turns stay, and nothing else waits for that.
func (c *Controller) maybeThere(ctx context.Context, snap *observed.Snapshot) map[types.UID]bool {
	unseen := map[types.UID]bool{}
	for _, t := range snap.Turns.Booked {
		unseen[t.Node] = true
	}
	for i := range snap.Nodes {
		delete(unseen, snap.Nodes[i].UID)
	}
	// No node comes back under a uid.
	maps.DeleteFunc(c.gone, func(uid types.UID, _ bool) bool { return !unseen[uid] })
	maps.DeleteFunc(unseen, func(uid types.UID, _ bool) bool { return c.gone[uid] })
	if len(unseen) == 0 {
		c.listed = 0
		return nil
	}
	if snap.Time.Before(c.listAt) {
		return unseen
	}
	nodes, err := c.Reader.ConsistentNodes(ctx)
	if err != nil {
		c.outrunBy(fmt.Errorf("see whether nodes are gone that have turns; until then these stay booked: %w", err))
		c.listAt = snap.Time.Add(min(time.Second<<min(c.listed, 10), lastListing))
		c.listed++
		return unseen
	}
	there := map[types.UID]bool{}
	for i := range nodes {
		there[nodes[i].UID] = true
	}
	for uid := range unseen {
		if !there[uid] {
			c.gone[uid] = true
			delete(unseen, uid)
		}
	}
	if len(unseen) > 0 {
		c.outrunBy(fmt.Errorf("%d nodes are there that have turns, and the watch does not show them yet", len(unseen)))
	}
	return unseen
}

// nodeNames names nodes by uid; one that is gone has only that.
func nodeNames(snap *observed.Snapshot) func(observed.Turn) string {
	names := make(map[types.UID]string, len(snap.Nodes))
	for i := range snap.Nodes {
		names[snap.Nodes[i].UID] = snap.Nodes[i].Name
	}
	return func(t observed.Turn) string { return cmp.Or(names[t.Node], string(t.Node)) }
}
