package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/observed"
)

func releaseCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	return o.command(env, &cobra.Command{
		Use:   "release RUNTIME",
		Short: "Let a deleted spec go that a finalizer holds",
		Long: `Let a deleted spec go that a finalizer holds, because its deletionPolicy is Foreground: when no controller is there any more to take the runtime off the nodes, or when nobody
wants to wait for that. Nodes that still carry the runtime keep it as it is; a controller that runs goes on to uninstall it.`,
		Example: `  longshore release kata`,
		Args:    cobra.ExactArgs(1),
	}, (*person).release)
}

func (p *person) release(ctx context.Context) error {
	var errs []error
	held := 0
	for i := range p.view.snap.Specs {
		s := &p.view.snap.Specs[i]
		if s.Runtime != p.r.Name || !s.Held() {
			continue
		}
		held++
		if !s.Deleting {
			errs = append(errs, p.say("ConfigMap %q is not deleted; its finalizer does nothing before it is", s.Name))
			continue
		}
		errs = append(errs, p.letGo(ctx, s))
	}
	if held == 0 {
		return p.say("no finalizer of Longshore holds a spec of runtime %q", p.r.Name)
	}
	return errors.Join(errs...)
}

func (p *person) letGo(ctx context.Context, s *observed.Spec) error {
	others := slices.DeleteFunc(slices.Clone(s.Finalizers), func(name string) bool { return name == observed.Finalizer })
	patch, err := apply.FinalizerPatch(s, others)
	if err != nil {
		return err
	}
	if _, err := p.kube.CoreV1().ConfigMaps(p.namespace).Patch(ctx, s.Name, types.JSONPatchType, patch, p.patchOptions()); err != nil {
		return fmt.Errorf("take the finalizer off ConfigMap %s/%s: %w", p.namespace, s.Name, err)
	}
	carrying := ""
	if p.r.Carrying > 0 {
		carrying = fmt.Sprintf("; %d nodes still carry the runtime", p.r.Carrying)
	}
	return p.say("ConfigMap %q is let go%s", s.Name, carrying)
}
