package controller

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// PoolMemory writes what is remembered of pools.
type PoolMemory interface {
	Pools(ctx context.Context, before observed.PoolMemory, data map[string]string) error
}

// remember writes down what is to be remembered of pools, before this pass does anything under what they say now. Where that fails, what was remembered before stands, and
// nothing waits for it.
func (c *Controller) remember(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan) error {
	want := plan.Memory()
	if snap.PoolMemory == nil || maps.Equal(snap.PoolMemory.Data, want) {
		return nil
	}
	ref := observed.ObjectRef{Kind: "ConfigMap", Name: observed.PoolsName}
	if did, err := c.attempt(ref, snap.PoolMemory.ResourceVersion, func() error { return c.Memory.Pools(ctx, *snap.PoolMemory, want) }); !did {
		return err
	}
	c.Log.Info("pools are remembered", zap.Strings("pools", slices.Sorted(maps.Keys(want))))
	for i := range plan.Pools {
		// What stands on a pool already goes when the memory was seen to hold it; what does not stand there is not needed any more.
		if p := &plan.Pools[i]; p.Unremembered == "" && p.Source.Annotations[observed.PoolLastGood] == "" {
			p.LastGood = ""
		}
	}
	return nil
}

// unremembered has pools say that the memory has no room for them.
func unremembered(plan *desired.Plan, report *status.Report) {
	for i := range plan.Pools {
		p := &plan.Pools[i]
		j := slices.IndexFunc(report.Pools, func(r status.PoolReport) bool { return r.ConfigMap == p.Source.Name })
		if p.Unremembered != "" && j >= 0 {
			report.Pools[j].Message += "; " + p.Unremembered
		}
	}
}
