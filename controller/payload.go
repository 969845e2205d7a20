package controller

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// repull is how long a pull may be refused before the pull secret is written again: an apply of the installation's manifests empties it.
const repull = time.Minute

// pullSecret hands the credentials of payload-secret to the kubelets, for the registries that they are for and no others, whenever one of
// them changed, once after a start, and while pulls are refused: nobody may read what stands there.
func (c *Controller) pullSecret(ctx context.Context, snap *observed.Snapshot, plan *desired.Plan) error {
	if snap.PayloadSecret == nil {
		return nil
	}
	registries := plan.Pull.Registries
	from := "none"
	if len(registries) > 0 {
		from = snap.PayloadSecret.ResourceVersion + " " + strings.Join(registries, " ")
	}
	again := len(registries) > 0 && snap.Time.Sub(c.pulledAt) >= repull && slices.ContainsFunc(snap.Pods, refused)
	if c.pulled == from && !again {
		return nil
	}
	if err := c.Pull.PullSecret(ctx, registries, snap.PayloadSecret.Username, snap.PayloadSecret.Password); err != nil {
		return err
	}
	if c.pulled != from && (c.pulled != "" || len(registries) > 0) {
		c.Log.Info("credentials of payload-secret are used for", zap.Strings("registries", registries))
	}
	c.pulled, c.pulledAt = from, snap.Time
	return nil
}

// refused tells whether the kubelet cannot pull an image of a pod.
func refused(pod observed.Pod) bool {
	waits := func(c observed.Container) bool { return strings.Contains(c.Waiting, "Image") }
	return waits(pod.Main) || slices.ContainsFunc(pod.Steps, waits)
}

// warned is what was said about payloads, so that each is said once, and again when it changed.
type warned struct {
	// tainted are the images that took the place of those of specs, by runtime.
	tainted map[string]string
	// unmeant are names in payload-config that no spec has, secret what is wrong with payload-secret.
	unmeant, secret string
}

// warn says what nobody should find out by chance: that a payload is not the one of its spec, and what is wrong with what people wrote about
// payloads.
func (c *Controller) warn(snap *observed.Snapshot, plan *desired.Plan) {
	before, now := c.warned, warned{tainted: map[string]string{}, unmeant: strings.Join(plan.Unmeant, ", ")}
	for i := range plan.Runtimes {
		r := &plan.Runtimes[i]
		if message := r.Overridden(); message != "" && r.Source != nil {
			now.tainted[r.Name] = r.Spec.PayloadImage
			if before.tainted[r.Name] != r.Spec.PayloadImage {
				// There may be no goal: what nodes are to go back to may be gone.
				revision := ""
				if r.Goal != nil {
					revision = r.Goal.Revision
				}
				c.Log.Warn("runtime is tainted", zap.String("runtime", r.Name), zap.String("revision", revision), zap.String("payload", r.Spec.PayloadImage), zap.String("message", message))
				c.Events.Spec(r.Source, corev1.EventTypeWarning, "Tainted", message)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.tainted)) {
		if now.tainted[name] == "" {
			c.Log.Info("runtime is not tainted any more", zap.String("runtime", name))
		}
	}
	if now.unmeant != "" && now.unmeant != before.unmeant {
		c.Log.Warn("payload-config names runtimes that have no spec", zap.Strings("runtimes", plan.Unmeant))
		config := &observed.Spec{Name: snap.PayloadConfig.Name, UID: snap.PayloadConfig.UID, ResourceVersion: snap.PayloadConfig.ResourceVersion}
		c.Events.Spec(config, corev1.EventTypeWarning, "NoSuchRuntime", "no spec has the name "+now.unmeant)
	}
	if err := plan.Pull.Errors.ToAggregate(); err != nil {
		now.secret = err.Error()
		if now.secret != before.secret {
			c.Log.Warn("payload-secret cannot be used", zap.Error(err))
		}
	}
	c.warned = now
}
