package controller

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
)

// evict has pods leave, several at a time, and remembers what became of that. What is remembered of pods that nobody looks at any more is forgotten.
func (c *Controller) evict(ctx context.Context, snap *observed.Snapshot, evictions []rollout.Eviction) error {
	known := map[types.UID]observed.Eviction{}
	for i := range snap.Looks {
		for j := range snap.Looks[i].Pods {
			if asked, ok := c.evicted[snap.Looks[i].Pods[j].UID]; ok {
				known[snap.Looks[i].Pods[j].UID] = asked
			}
		}
	}
	// The one before is part of the snapshot, which is still read.
	c.evicted = known
	if len(evictions) == 0 {
		return nil
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	todo := make(chan *rollout.Eviction)
	for range min(workers, len(evictions)) {
		wg.Go(func() {
			for e := range todo {
				refused := ""
				err := c.guarded(e.Runtime, "eviction of "+e.Pod.String(), func() (err error) {
					refused, err = c.evictOne(ctx, e)
					return err
				})
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					c.evicted[e.Pod.UID] = observed.Eviction{At: snap.Time, Refused: refused}
				}
				mu.Unlock()
			}
		})
	}
	for i := range evictions {
		todo <- &evictions[i]
	}
	close(todo)
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Controller) evictOne(ctx context.Context, e *rollout.Eviction) (string, error) {
	refused, err := c.Evictions.Evict(ctx, &e.Pod)
	what := []zap.Field{zap.String("runtime", e.Runtime), zap.String("node", e.Node), zap.String("pod", e.Pod.String())}
	switch {
	case err != nil:
		c.Metrics.evicted(e.Runtime, "error")
	case refused != "":
		c.Metrics.evicted(e.Runtime, "refused")
		c.Log.Info("eviction is refused", append(what, zap.String("why", refused))...)
	default:
		c.Metrics.evicted(e.Runtime, "done")
		c.Log.Info("pod evicted", what...)
	}
	return refused, err
}
