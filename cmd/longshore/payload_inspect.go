package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"longshore.dev/longshore/payload"
)

type inspectOptions struct {
	registryOptions
	platform string
	below    string
	depth    int
}

func payloadInspectCommand(env *environment) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what is in an image: platforms, configuration, layers, and every file with its size",
		Example: `  longshore payload inspect registry.example.com/kata:3.20
  longshore payload inspect --below /opt/kata --depth 2 oci:layout:3.20
  longshore payload inspect -o json tar:kata.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0], env) },
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVar(&o.platform, "platform", "", "which image of a multi-arch index; by default linux on the architecture of this machine")
	f.StringVar(&o.below, "below", "/", "only what is in this directory of the image")
	f.IntVar(&o.depth, "depth", 0, "how deep below it; 0 shows all")
	return cmd
}

func (o *inspectOptions) run(ctx context.Context, text string, env *environment) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	if o.platform != "" {
		o.platforms = []string{o.platform}
	}
	platforms, err := o.wanted(here())
	if err != nil {
		return err
	}
	ref, err := image(text)
	if err != nil {
		return err
	}
	told := newProgress(env)
	client, err := o.client(env, told, ref)
	if err != nil {
		return err
	}
	report, err := client.Inspect(ctx, ref, platforms[0])
	told.end()
	if err != nil {
		return err
	}
	totals := sums(report.Entries)
	if report.Entries = o.chosen(report.Entries); len(report.Entries) == 0 {
		return fmt.Errorf("%s has no %q", ref, o.below)
	}
	if o.output != "table" {
		return printData(env.stdout, o.output, report)
	}
	return printInspected(env.stdout, report, totals)
}

// chosen are the entries that were asked for.
func (o *inspectOptions) chosen(all []payload.Entry) []payload.Entry {
	below := path.Clean("/" + o.below)
	var found []payload.Entry
	for i := range all {
		rest, ok := strings.CutPrefix(all[i].Path, strings.TrimSuffix(below, "/"))
		if !ok || (rest != "" && !strings.HasPrefix(rest, "/")) {
			continue
		}
		if depth := strings.Count(strings.TrimSuffix(rest, "/"), "/"); o.depth == 0 || depth <= o.depth {
			found = append(found, all[i])
		}
	}
	return found
}

// sums is how much directories have in them.
func sums(all []payload.Entry) map[string]int64 {
	found := map[string]int64{}
	for i := range all {
		for dir := all[i].Path; dir != "/"; {
			dir = path.Dir(dir)
			found[dir] += all[i].Size
		}
	}
	return found
}

func printInspected(out io.Writer, r *payload.Report, totals map[string]int64) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, plain(value))
		}
	}
	line("Image", r.Image)
	line("Digest", r.Digest)
	if len(r.Platforms) > 1 || r.Digest != r.ImageDigest {
		for _, p := range r.Platforms {
			line("  "+plain(p.Platform), p.Digest)
		}
	}
	line("Platform", r.Platform)
	line("Size", fmt.Sprintf("%s to transfer, %s unpacked", size(r.Size), size(r.Unpacked)))
	line("Entrypoint", strings.Join(r.Config.Entrypoint, " "))
	line("Cmd", strings.Join(r.Config.Cmd, " "))
	line("User", r.Config.User)
	line("Directory", r.Config.WorkingDir)
	for _, variable := range r.Config.Env {
		line("Env", variable)
	}
	fmt.Fprintln(w, "\nLAYER\tSIZE\tDIGEST\tMADE BY")
	for i, l := range r.Layers {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", i+1, size(l.Size), l.Digest, plain(cut(l.CreatedBy, 80)))
	}
	fmt.Fprintln(w, "\nMODE\tSIZE\tLAYER\tPATH")
	for i := range r.Entries {
		e := &r.Entries[i]
		bytes, name := e.Size, plain(e.Path)
		switch e.Type {
		case payload.TypeDir:
			bytes, name = totals[e.Path], strings.TrimSuffix(name, "/")+"/"
		case payload.TypeSymlink:
			name += " -> " + plain(e.Link)
		default:
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", e.Mode, size(bytes), e.Layer, name)
	}
	return w.Flush()
}
