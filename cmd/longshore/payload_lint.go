package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"longshore.dev/longshore/payload"
)

type lintOptions struct {
	registryOptions
	files    []string
	commands []string
	paths    []string
}

// asked is an image to check, and who named it.
type asked struct {
	payload.Expectation
	by        string
	platforms []v1.Platform
}

// linted is the JSON of a check.
type linted struct {
	Problems int           `json:"problems"`
	Images   []lintedImage `json:"images"`
}

type lintedImage struct {
	// By is the file and the ConfigMap that names the image; empty for one of the command line.
	By string `json:"by,omitempty"`
	payload.Checked
}

func payloadLintCommand(env *environment) *cobra.Command {
	o := &lintOptions{}
	cmd := &cobra.Command{
		Use:   "lint [FILE|IMAGE…]",
		Short: "Check that images have what specs expect: the commands, their interpreters, permissions, the right architecture",
		Long: `Check that the images of specs, or images by themselves, have what is expected of them. Of every command it is checked that it is in the image,
is a file, may be executed, is for the right architecture, and has the interpreter or the dynamic linker that it needs; of every program that it
is for the right architecture. Every problem of every image is printed; exit code 1 if there is any.

What ends in .yaml, .yml or .json, a directory, and - for standard input are specs; everything else is an image. A spec's selector on
kubernetes.io/arch says which platforms are checked, unless --platform does.`,
		Example: `  longshore payload lint kata.yaml
  kustomize build overlay | longshore payload lint -
  longshore payload lint --platform linux/arm64 --cmd /payload/install.sh --path /opt/kata/bin registry.example.com/kata:3.20`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args, env) },
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file or directory with specs; - for standard input")
	f.StringSliceVar(&o.platforms, "platform", nil, "platforms to check; by default those of the spec's selector, else linux on the architecture of this machine")
	f.StringArrayVar(&o.commands, "cmd", nil, "a command that images of the command line have to have, with its arguments")
	f.StringArrayVar(&o.paths, "path", nil, "a path that images of the command line have to have")
	return cmd
}

func (o *lintOptions) run(ctx context.Context, args []string, env *environment) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	files, images := slices.Clone(o.files), []string(nil)
	for _, arg := range args {
		if isSpecFile(arg) {
			files = append(files, arg)
		} else {
			images = append(images, arg)
		}
	}
	switch {
	case len(files)+len(images) == 0:
		return usageError{errors.New("expected an image, or a file with specs")}
	case len(images) == 0 && len(o.commands)+len(o.paths) > 0:
		return usageError{errors.New("--cmd and --path are for images of the command line, and there is none")}
	}
	found, err := o.fromImages(images)
	if err != nil {
		return err
	}
	named, wrong := o.fromSpecs(files, env.stdin)
	if _, ok := errors.AsType[usageError](wrong); ok {
		return wrong
	}
	result, err := o.lint(ctx, append(found, named...), env)
	if err != nil {
		return err
	}
	return o.print(env, result, wrong)
}

// isSpecFile tells files from images by their names, and directories by looking.
func isSpecFile(arg string) bool {
	if arg == "-" || slices.ContainsFunc([]string{".yaml", ".yml", ".json"}, func(end string) bool { return strings.HasSuffix(arg, end) }) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.IsDir()
}

func (o *lintOptions) fromImages(images []string) ([]asked, error) {
	platforms, err := o.wanted(here())
	if err != nil {
		return nil, err
	}
	var found []asked
	for _, text := range images {
		if _, err := image(text); err != nil {
			return nil, err
		}
		want := payload.Expectation{Image: text, About: "image", Paths: o.paths}
		for _, words := range o.commands {
			fields := strings.Fields(words)
			if len(fields) == 0 {
				return nil, usageError{errors.New("--cmd: expected a command")}
			}
			want.Commands = append(want.Commands, payload.Command{About: "--cmd", Words: fields})
		}
		found = append(found, asked{Expectation: want, platforms: platforms})
	}
	return found, nil
}

// fromSpecs are the images of specs. What is wrong with specs is returned beside what could be read.
func (o *lintOptions) fromSpecs(files []string, stdin io.Reader) ([]asked, error) {
	if len(files) == 0 {
		return nil, nil
	}
	documents, err := readSpecs(files, stdin)
	errs := []error{err}
	var found []asked
	for i := range documents {
		d := &documents[i]
		runtime, wrong := d.parse()
		if len(wrong) > 0 {
			errs = append(errs, d.wrong(wrong))
			continue
		}
		if runtime == nil {
			continue // a pool, which names no image
		}
		platforms := payload.PlatformsOf(runtime)
		if len(platforms) == 0 {
			platforms = []v1.Platform{here()}
		}
		platforms, err := o.wanted(platforms...)
		if err != nil {
			return nil, err
		}
		for _, want := range payload.Of(runtime) {
			found = append(found, asked{Expectation: want, by: d.String(), platforms: platforms})
		}
	}
	return found, errors.Join(errs...)
}

func (o *lintOptions) lint(ctx context.Context, all []asked, env *environment) (*linted, error) {
	var refs []payload.Ref
	for i := range all {
		// What cannot be read is a finding of its image.
		if ref, err := payload.ParseRef(all[i].Image); err == nil {
			refs = append(refs, ref)
		}
	}
	told := newProgress(env)
	client, err := o.client(env, told, refs...)
	if err != nil {
		return nil, err
	}
	result := &linted{Images: []lintedImage{}}
	for i := range all {
		checked, err := client.Lint(ctx, &all[i].Expectation, all[i].platforms)
		told.end()
		if err != nil {
			return nil, err
		}
		for _, c := range checked {
			result.Problems += len(c.Problems())
			result.Images = append(result.Images, lintedImage{By: all[i].by, Checked: c})
		}
	}
	return result, nil
}

// print shows the result; wrong is what could not be checked because the specs are wrong.
func (o *lintOptions) print(env *environment, result *linted, wrong error) error {
	if o.output != "table" {
		if err := printData(env.stdout, o.output, result); err != nil {
			return err
		}
	}
	if wrong != nil {
		fmt.Fprintln(env.stderr, wrong)
	}
	if o.output == "table" {
		for i := range result.Images {
			printLinted(env, &result.Images[i])
		}
	}
	switch {
	case result.Problems > 0:
		return fmt.Errorf("not everything is as expected: problems found: %d", result.Problems)
	case wrong != nil:
		return errors.New("not every spec could be checked")
	}
	return nil
}

func printLinted(env *environment, c *lintedImage) {
	where := fmt.Sprintf("%s (%s)", plain(c.Image), c.Platform)
	for _, f := range c.Findings {
		about := f.About
		if c.By != "" {
			about = c.By + ": " + about
		}
		if f.Level == payload.LevelNote {
			fmt.Fprintf(env.stdout, "%s: %s: note: %s\n", plain(about), where, plain(f.Text))
			continue
		}
		fmt.Fprintf(env.stderr, "%s: %s: %s\n", plain(about), where, plain(f.Text))
	}
	if len(c.Problems()) == 0 {
		fmt.Fprintf(env.stdout, "%s: as expected: commands checked: %d, files in the image: %d, %s\n", where, c.Commands, c.Files, c.Digest)
	}
}
