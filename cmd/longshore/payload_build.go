package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/payload"
)

type buildOptions struct {
	registryOptions
	from      string
	tag       string
	replace   []string
	add       []string
	timestamp string
	dryRun    bool
}

// builtReport is the JSON of a build.
type builtReport struct {
	// Target is where it was written, empty for nowhere; Reference names it by digest where it is in a registry.
	Target    string `json:"target,omitempty"`
	Reference string `json:"reference,omitempty"`
	payload.Built
}

func payloadBuildCommand(env *environment) *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Put files into a payload image, as one new layer, and push it or write it to a file",
		Long: `Put files of this machine into a payload image, as one new layer on a base or on nothing, and push it, or write an OCI layout or a tar.

--replace takes the place of a file that the base has and refuses a path that it lacks; --add is the other way round. Directories are walked. Of a
multi-arch base every platform's image gets the layer, or those that --platform names; the others stay in the index as they are. The same base,
files, modes and timestamp make the same digest on every machine.`,
		Example: `  longshore payload build --from registry.example.com/kata:3.20 --replace ./shim=/opt/kata/bin/containerd-shim-kata-v2 -t registry.example.com/kata:fix
  longshore payload build --add ./payload=/payload --platform linux/amd64 -t oci:layout:1.0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVar(&o.from, "from", "", "the image to build on; none, or scratch, is an empty one")
	f.StringVarP(&o.tag, "tag", "t", "", "where to put it: registry/repository:tag, oci:DIRECTORY[:TAG] or tar:FILE")
	f.StringArrayVar(&o.replace, "replace", nil, "host/path=/path/in/image: the base has the path, and gets another file there")
	f.StringArrayVar(&o.add, "add", nil, "host/path=/path/in/image: the base lacks the path")
	f.StringSliceVar(&o.platforms, "platform", nil, "which images of a multi-arch base; of an empty base, what it is for: by default linux on the architecture of this machine")
	f.StringVar(&o.timestamp, "timestamp", "", "time of the files and of the image, in seconds since 1970; by default $SOURCE_DATE_EPOCH, else 0")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be built, and write nothing")
	return cmd
}

func (o *buildOptions) run(ctx context.Context, env *environment) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	plan, refs, err := o.plan(env)
	if err != nil {
		return err
	}
	told := newProgress(env)
	client, err := o.client(env, told, refs...)
	if err != nil {
		return err
	}
	defer told.end()
	if o.scratch() {
		if plan.Platforms, err = o.wanted(here()); err != nil {
			return err
		}
	} else if plan.Base, err = client.Open(ctx, refs[len(refs)-1]); err != nil {
		return err
	}
	built, err := client.Build(ctx, plan)
	if err != nil {
		return err
	}
	report := builtReport{Built: *built}
	if !o.dryRun {
		if err := client.Write(ctx, built.Artifact, refs[0]); err != nil {
			return err
		}
		report.Target = refs[0].String()
		if refs[0].Name != nil {
			report.Reference = refs[0].Name.Context().Name() + "@" + built.Digest
		}
	}
	told.end()
	return o.print(env, &report)
}

func (o *buildOptions) scratch() bool { return o.from == "" || o.from == "scratch" }

// plan reads the command line: what to build, and the references of it, the target first and the base last.
func (o *buildOptions) plan(env *environment) (*payload.Plan, []payload.Ref, error) {
	plan := &payload.Plan{}
	var refs []payload.Ref
	var errs []error
	switch {
	case o.tag != "":
		ref, err := image(o.tag)
		errs = append(errs, err)
		if strings.Contains(o.tag, "@") && ref.Name != nil {
			errs = append(errs, fmt.Errorf("--tag %q: expected a tag, found a digest, which nobody can choose", o.tag))
		}
		refs = append(refs, ref)
	case !o.dryRun:
		errs = append(errs, errors.New("expected --tag: where to put the image"))
	}
	if !o.scratch() {
		ref, err := image(o.from)
		refs, errs = append(refs, ref), append(errs, err)
	}
	for _, texts := range []struct {
		rule payload.Rule
		list []string
	}{{payload.RuleReplace, o.replace}, {payload.RuleAdd, o.add}} {
		for _, text := range texts.list {
			change, err := payload.ParseChange(texts.rule, text)
			plan.Changes, errs = append(plan.Changes, change), append(errs, err)
		}
	}
	if len(o.replace)+len(o.add) == 0 {
		errs = append(errs, errors.New("expected --replace or --add: nothing is changed"))
	}
	platforms, err := o.wanted()
	plan.Platforms, errs = platforms, append(errs, err)
	plan.Created, err = o.created(env)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, nil, usageError{err}
	}
	return plan, refs, nil
}

// created is the time that everything in the image gets.
func (o *buildOptions) created(env *environment) (time.Time, error) {
	text, from := o.timestamp, "--timestamp"
	if text == "" {
		text, from = env.lookup("SOURCE_DATE_EPOCH"), "$SOURCE_DATE_EPOCH"
	}
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("%s: expected seconds since 1970, found %q", from, text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (o *buildOptions) print(env *environment, report *builtReport) error {
	for _, img := range report.Images {
		for i := range img.Files {
			if f := &img.Files[i]; f.Lost() {
				fmt.Fprintf(env.stderr, "note: %s (%s) could be executed, mode %s, and cannot any more: mode %s\n", plain(f.Path), img.Platform, f.Before.Mode, f.Mode)
			}
		}
	}
	if o.output != "table" {
		return printData(env.stdout, o.output, report)
	}
	return printBuilt(env.stdout, report)
}

func printBuilt(out io.Writer, report *builtReport) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, img := range report.Images {
		if img.Layer == "" {
			fmt.Fprintf(w, "%s\tas it was\t\t\t%s\n", img.Platform, img.Digest)
			continue
		}
		for i := range img.Files {
			f := &img.Files[i]
			mode, bytes := f.Mode, size(f.Size)
			if f.Before != nil {
				mode, bytes = f.Before.Mode+" -> "+mode, size(f.Before.Size)+" -> "+bytes
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", img.Platform, f.Rule, mode, bytes, plain(f.Path))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case report.Target == "":
		fmt.Fprintf(out, "would be %s\n", report.Digest)
	case report.Reference != "":
		fmt.Fprintf(out, "pushed %s as %s\n", report.Target, report.Reference)
	default:
		fmt.Fprintf(out, "wrote %s as %s\n", report.Target, report.Digest)
	}
	return nil
}
