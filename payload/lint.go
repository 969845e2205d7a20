package payload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Level says how bad a finding is.
type Level string

// A problem would make an installer fail; a note is what cannot be told from the image alone.
const (
	LevelProblem Level = "problem"
	LevelNote    Level = "note"
)

// Finding is one thing that was found in an image.
type Finding struct {
	Level Level `json:"level"`
	// About is what expected it: the key of a spec, or a flag.
	About string `json:"about"`
	Text  string `json:"text"`
}

// Checked is what a check of one image for one platform found.
type Checked struct {
	Image    string `json:"image"`
	Platform string `json:"platform"`
	// Digest is that of the image, empty where it could not be opened.
	Digest string `json:"digest,omitempty"`
	// Commands and Files say how much was checked.
	Commands int       `json:"commands"`
	Files    int       `json:"files"`
	Findings []Finding `json:"findings,omitempty"`
}

// Problems are the findings that have to be mended.
func (c *Checked) Problems() []Finding {
	var found []Finding
	for _, f := range c.Findings {
		if f.Level == LevelProblem {
			found = append(found, f)
		}
	}
	return found
}

func (c *Checked) problem(about string, err error) {
	for line := range strings.Lines(err.Error()) {
		c.Findings = append(c.Findings, Finding{LevelProblem, about, oneLine(line)})
	}
}

// Lint checks an image against what is expected of it, for each platform. An image that cannot be opened is a finding like any other. The
// error is the context's.
func (c *Client) Lint(ctx context.Context, want *Expectation, platforms []v1.Platform) ([]Checked, error) {
	var all []Checked
	for _, p := range platforms {
		checked := Checked{Image: want.Image, Platform: p.String()}
		if err := c.lint(ctx, want, p, &checked); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			checked.problem(want.About, err)
		}
		all = append(all, checked)
	}
	return all, nil
}

func (c *Client) lint(ctx context.Context, want *Expectation, platform v1.Platform, checked *Checked) error {
	ref, err := ParseRef(want.Image)
	if err != nil {
		return err
	}
	a, err := c.Open(ctx, ref)
	if err != nil {
		return err
	}
	img, err := c.Image(a, platform)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return c.explain("pull", ref, err)
	}
	checked.Digest = digest.String()
	config, err := configOf(img)
	if err != nil {
		return c.explain("pull", ref, err)
	}
	if has := *config.Platform(); !has.Satisfies(platform) {
		checked.problem(want.About, fmt.Errorf("the image is for %s, expected %s", has, platform))
	}
	tree, err := c.Tree(ctx, a, img)
	if err != nil {
		return err
	}
	inspected := newContainer(tree, config)
	inspected.platform = platform
	checked.judge(want, inspected)
	return nil
}

// judge checks what is in the image.
func (c *Checked) judge(want *Expectation, in *container) {
	c.Commands = len(want.Commands)
	for i := range want.Commands {
		command := &want.Commands[i]
		err := in.check(command)
		switch {
		case errors.Is(err, errElsewhere):
			c.Findings = append(c.Findings, Finding{LevelNote, command.About, err.Error()})
		case err != nil:
			c.problem(command.About, err)
		}
	}
	for _, path := range want.Paths {
		e, err := in.tree.Lookup(path)
		switch {
		case err != nil:
			c.problem("path", fmt.Errorf("%w in the image", err))
		case e.Type == TypeFile && e.Size == 0:
			c.problem("path", fmt.Errorf("%q is empty", path))
		}
	}
	strangers := c.sweep(in)
	if len(strangers) == 0 {
		return
	}
	// A command that is such a program has been told already, with where it is named.
	strangers = slices.DeleteFunc(strangers, func(path string) bool {
		return slices.ContainsFunc(c.Findings, func(f Finding) bool { return strings.Contains(f.Text, fmt.Sprintf("%q is a program for", path)) })
	})
	if n := len(strangers); n > 0 {
		c.problem(want.About, fmt.Errorf("%d programs are not for %s, first %q", n, in.platform.Architecture, strangers[0]))
	}
}

// sweep counts the files and finds the programs that are for another architecture.
func (c *Checked) sweep(in *container) []string {
	var strangers []string
	for e := range in.tree.All("/") {
		if e.Type != TypeFile {
			continue
		}
		c.Files++
		if p, err := recognise(e.head); err == nil && p.interpreter == "" && !fits(p.machine, in.platform.Architecture) {
			strangers = append(strangers, e.Path)
		}
	}
	if c.Files == 0 {
		c.problem("image", errors.New("the image has no files at all"))
	}
	return strangers
}
