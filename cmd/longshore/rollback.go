package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

func rollbackCommand(env *environment) *cobra.Command {
	o := &peopleOptions{}
	cmd := &cobra.Command{
		Use:   "rollback RUNTIME",
		Short: "Take nodes back to an earlier revision",
		Long: `Take nodes back to an earlier revision, within the budget. The revision that the spec asks for is given up until its data changes or longshore retry has it tried again; the
spec in Git stays as it is.

Without --to, nodes go back to the newest other revision that is not given up and that works as far as is known: it is proven, or a node offers it or did so before. A spec that
is Invalid or Conflict has to be mended first.`,
		Example: `  longshore history kata
  longshore rollback kata --to a1b2c3d4e5`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.to, "to", "", "the revision; by default the newest other one that is proven or that a node offered, and that is not given up")
	return o.command(env, cmd, (*person).rollback)
}

func (p *person) rollback(ctx context.Context) error {
	s, err := p.spec()
	if err != nil {
		return err
	}
	if phase, why := p.notInForce(); phase != "" && !p.hearsRollback() {
		return fmt.Errorf("runtime %q is not rolled back: ConfigMap %q is %s; mend that first: %s", p.r.Name, s.Name, phase, why)
	}
	if len(p.r.History) == 0 || p.r.Prepare != nil {
		return fmt.Errorf("runtime %q: the controller has not prepared what the spec asks for yet; look again in a moment, or at longshore status %s", p.r.Name, p.r.Name)
	}
	from := p.r.History[0]
	before := p.before
	if p.to != "" {
		before = p.chosen
	}
	to, err := before(from)
	if err != nil {
		return err
	}
	if err := p.annotateSpec(ctx, s, map[string]any{observed.AnnotationRollback: from.Revision + " " + to + " " + p.now()}); err != nil {
		return err
	}
	return p.say("runtime %q goes back from revision %s to %s, within its budget. To have %s tried again: longshore retry %s%s",
		p.r.Name, from.Revision, to, from.Revision, p.r.Name, p.whilePaused())
}

// notInForce says that the spec is not in force as it stands, and why; the phase is "" where it is.
func (p *person) notInForce() (phase status.Phase, why string) {
	if message, refused := refusedByCluster(p.r); refused {
		return status.Invalid, message
	}
	for i := range p.view.report.Runtimes {
		r := &p.view.report.Runtimes[i]
		if r.Name == p.r.Name && (r.Phase == status.Invalid || r.Phase == status.Conflict || p.r.Waiting || p.r.Panic != "") {
			return r.Phase, r.Message
		}
	}
	return "", ""
}

// hearsRollback reports whether the controller would obey a rollback now. It does so where all that is wrong is in payload-config: its own functions tell.
func (p *person) hearsRollback() bool {
	const probe = "probe"
	if _, refused := refusedByCluster(p.r); refused {
		return false
	}
	snap := *p.view.snap
	snap.Specs = slices.Clone(snap.Specs)
	for i := range snap.Specs {
		if s := &snap.Specs[i]; s.UID == p.r.Source.UID {
			said := map[string]string{}
			maps.Copy(said, s.People)
			said[observed.AnnotationRollback] = probe
			s.People = said
		}
	}
	return slices.ContainsFunc(desired.Of(&snap, spec.Parse, desired.DefaultOptions()).Runtimes, func(r desired.Runtime) bool {
		return r.Name == p.r.Name && r.Prepare != nil && r.Prepare.Annotations[observed.AnnotationRollback] == probe
	})
}

// before is the revision to go back to where people name none: the newest other one that works as far as is known.
func (p *person) before(from *observed.Revision) (string, error) {
	same, offered := sameAs(from), p.offered()
	var others []string
	for _, rev := range p.r.History[1:] {
		bad := rev.Bad()
		switch {
		case slices.Contains(same, rev.Revision):
		case rev.Content == nil:
			others = append(others, rev.Revision+" (its snapshot cannot be read)")
		case bad != nil:
			others = append(others, fmt.Sprintf("%s (given up: %s)", rev.Revision, bad.Reason))
		case !offered[rev.Revision]:
			others = append(others, rev.Revision+" (no node is known to have offered it)")
		default:
			return rev.Revision, nil
		}
	}
	if len(others) == 0 {
		return "", fmt.Errorf("runtime %q has no revision before %s to go back to", p.r.Name, from.Revision)
	}
	return "", fmt.Errorf("runtime %q has no revision before %s that is known to work; the others are %s; to go back to one of them all the same, name it with --to", p.r.Name, from.Revision, strings.Join(others, ", "))
}

// chosen is the revision that people named.
func (p *person) chosen(from *observed.Revision) (string, error) {
	rev := p.r.Revision(p.to)
	switch {
	case slices.Contains(sameAs(from), p.to):
		return "", fmt.Errorf("--to: revision %s is the one that the spec asks for", p.to)
	case rev == nil:
		return "", fmt.Errorf("--to: runtime %q has no revision %q; longshore history %s lists those that there are", p.r.Name, p.to, p.r.Name)
	case rev.Content == nil:
		return "", fmt.Errorf("--to: the snapshot of revision %s cannot be read: %s", p.to, rev.Problem)
	}
	if bad := rev.Bad(); bad != nil {
		p.warn("revision %s was given up itself: %s", p.to, bad.Reason)
	}
	if !p.offered()[p.to] {
		p.warn("no node is known to have offered revision %s: it may fail as well", p.to)
	}
	return p.to, nil
}

// offered are the revisions that work as far as is known: they are proven, or a node offers them or did so before.
func (p *person) offered() map[string]bool {
	offered := map[string]bool{}
	for _, rev := range p.r.History {
		offered[rev.Revision] = rev.Proven()
	}
	for i := range p.view.snap.Nodes {
		progress := p.view.snap.Nodes[i].Progress(p.r.Name)
		if progress == nil {
			continue
		}
		offered[progress.Previous] = true
		if progress.Phase == observed.PhaseReady || progress.FailedAfter() {
			offered[progress.Revision] = true
		}
	}
	return offered
}

// sameAs are the names that what a revision installs has in every known format: nobody goes back from one of them to another.
func sameAs(rev *observed.Revision) []string {
	names := []string{rev.Revision}
	var data map[string]string
	if json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &data) != nil {
		return names
	}
	parsed, errs := spec.Parse(rev.Runtime, data, nil)
	if len(errs) > 0 {
		return names
	}
	if image := rev.Annotations[observed.AnnotationPayload]; image != "" {
		parsed = parsed.WithPayload(image)
	}
	return append(names, parsed.Revisions()...)
}
