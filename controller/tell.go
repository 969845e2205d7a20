package controller

import (
	"context"
	"errors"
	"maps"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// told is the last status written on a spec, kept as long as the next one has to wait for it.
type told struct {
	at time.Time
}

// tell writes status annotations where they changed, each spec and pool at most every StatusInterval, and Events where the phase
// did. It returns when a change that had to wait is due.
func (c *Controller) tell(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan, report *status.Report) (time.Time, error) {
	var errs []error
	var later time.Time
	toldAsPool := map[types.UID]bool{}
	one := func(s *observed.Spec, annotations map[string]string) {
		if toldAsPool[s.UID] {
			// Two statuses on one ConfigMap would overwrite each other for ever.
			return
		}
		errs = append(errs, c.guarded(s.Runtime, "status of ConfigMap "+s.Name, func() error {
			due, err := c.tellOne(ctx, snap.Time, s, annotations)
			later = earliest(later, due)
			return err
		}))
	}
	for i := range plan.Pools {
		s := plan.Pools[i].Source
		for j := range report.Pools {
			if report.Pools[j].ConfigMap == s.Name {
				one(s, report.Pools[j].Annotations(s))
				toldAsPool[s.UID] = true
			}
		}
	}
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		for _, s := range r.Ending {
			for j := range report.Runtimes {
				if report.Runtimes[j].Name == r.Name && r.Source == nil {
					one(s, report.Runtimes[j].Annotations(s))
				}
			}
		}
		if r.Source == nil {
			continue
		}
		for j := range report.Runtimes {
			if report.Runtimes[j].Name == r.Name {
				one(r.Source, report.Runtimes[j].Annotations(r.Source))
			}
		}
		for _, s := range r.Superseded {
			one(s, status.SupersededAnnotations(s, r.Source.Name))
		}
	}
	maps.DeleteFunc(c.told, func(_ types.UID, t told) bool { return snap.Time.Sub(t.at) >= StatusInterval })
	return later, errors.Join(errs...)
}

func (c *Controller) tellOne(ctx context.Context, now time.Time, s *observed.Spec, annotations map[string]string) (time.Time, error) {
	if maps.Equal(s.Annotations, annotations) {
		return time.Time{}, nil
	}
	if due := c.told[s.UID].at.Add(StatusInterval); now.Before(due) {
		return due, nil
	}
	ref := observed.ObjectRef{Kind: "status of ConfigMap", Name: s.Name, Runtime: s.Runtime}
	if did, err := c.attempt(ref, s.ResourceVersion, func() error { return c.Status.Status(ctx, s, annotations) }); !did {
		return time.Time{}, err
	}
	c.told[s.UID] = told{at: now}
	phase, message := annotations[observed.SpecPhase], annotations[observed.SpecMessage]
	if s.Annotations[observed.SpecPhase] == phase {
		return time.Time{}, nil
	}
	kind := corev1.EventTypeNormal
	switch status.Phase(phase) {
	case status.Invalid, status.Halted, status.Conflict, status.RollingBack, status.Superseded:
		kind = corev1.EventTypeWarning
	default:
	}
	c.Events.Spec(s, kind, phase, message)
	what := zap.String("runtime", s.Runtime)
	if s.Pool != "" {
		what = zap.String("pool", s.Pool)
	}
	c.Log.Info("spec phase", zap.String("spec", s.Name), what, zap.String("phase", phase), zap.String("message", message))
	return time.Time{}, nil
}
