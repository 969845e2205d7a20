package controller

import (
	"context"
	"errors"
	"maps"
	"slices"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/observed"
)

// disown takes what is ours off ConfigMaps that nobody speaks for any more:
//
//	the label that made it a spec or pool is gone   the finalizer goes, and the status
//	the same, and it is being deleted               the finalizer goes, and with that most likely the ConfigMap
//	the spec has become a pool                      the finalizer goes; the status is that of the pool
//
// Each counts as deleted since its label went, and nothing has to hold it.
func (c *Controller) disown(ctx context.Context, snap *observed.Snapshot) error {
	var errs []error
	for i := range snap.Pools {
		p := &snap.Pools[i]
		isSpec := slices.ContainsFunc(snap.Specs, func(s observed.Spec) bool { return s.Name == p.Name })
		if p.Held() && !isSpec {
			errs = append(errs, c.letGo(ctx, p))
		}
	}
	there := map[types.UID]bool{}
	for i := range snap.Unlabelled {
		s := &snap.Unlabelled[i]
		there[s.UID] = true
		if s.Held() {
			errs = append(errs, c.letGo(ctx, s))
		}
		if !s.Deleting && len(s.Annotations) > 0 {
			errs = append(errs, c.untell(ctx, s))
		}
	}
	maps.DeleteFunc(c.untold, func(uid types.UID, _ string) bool { return !there[uid] })
	return errors.Join(errs...)
}

// letGo takes our finalizer off.
func (c *Controller) letGo(ctx context.Context, s *observed.Spec) error {
	left := slices.DeleteFunc(slices.Clone(s.Finalizers), func(f string) bool { return f == observed.Finalizer })
	ref := observed.ObjectRef{Kind: "finalizers of ConfigMap", Name: s.Name}
	if did, err := c.attempt(ref, s.ResourceVersion, func() error { return c.Finalizer.Finalizers(ctx, s, left) }); !did {
		return err
	}
	c.Log.Info("the finalizer is taken off: the ConfigMap is no spec any more", zap.String("configMap", s.Name))
	return nil
}

// untell takes our status off, once for each version of the ConfigMap: annotations that somebody else has applied as well are theirs, and stay.
func (c *Controller) untell(ctx context.Context, s *observed.Spec) error {
	if c.untold[s.UID] == s.ResourceVersion {
		return nil
	}
	ref := observed.ObjectRef{Kind: "status of ConfigMap", Name: s.Name}
	if did, err := c.attempt(ref, s.ResourceVersion, func() error { return c.Status.Status(ctx, s, nil) }); !did {
		return err
	}
	if c.untold == nil {
		c.untold = map[types.UID]string{}
	}
	c.untold[s.UID] = s.ResourceVersion
	c.Log.Info("the status is taken off: the ConfigMap is neither spec nor pool any more", zap.String("configMap", s.Name))
	return nil
}
