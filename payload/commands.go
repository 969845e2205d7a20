package payload

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// defaultPath is where containers look for commands when nobody says.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// shells run the script that is their first argument.
var shells = []string{"sh", "bash", "ash", "dash", "ksh", "zsh"}

// container is an image as a command finds it.
type container struct {
	tree     *Tree
	platform v1.Platform
	path     string
	dir      string
}

func newContainer(tree *Tree, config *v1.ConfigFile) *container {
	c := &container{tree: tree, platform: *config.Platform(), path: defaultPath, dir: "/" + config.Config.WorkingDir}
	for _, variable := range config.Config.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			c.path = value
		}
	}
	return c
}

// errElsewhere is for a path that is not in the image but on something that is mounted over it.
var errElsewhere = errors.New("is on a volume that is mounted there, so the image does not tell")

// check says why a command would not start; nil if it would.
func (c *container) check(command *Command) error {
	word := command.Words[0]
	if strings.Contains(word, "$(") {
		return fmt.Errorf("%q %w", word, errElsewhere)
	}
	search := c.path
	if command.Path != "" {
		search = command.Path
	}
	file, err := c.find(word, search)
	if err != nil {
		return err
	}
	if mounted(file, command.Mounts) {
		return fmt.Errorf("%q %w", file, errElsewhere)
	}
	if err := c.runs(file, search, nil); err != nil {
		return err
	}
	// `sh /payload/install.sh`: the script needs no #! and no permission, but it has to be there.
	if len(command.Words) < 2 || !slices.Contains(shells, path.Base(word)) || strings.HasPrefix(command.Words[1], "-") {
		return nil
	}
	script := c.absolute(command.Words[1])
	if mounted(script, command.Mounts) {
		return fmt.Errorf("%q %w", script, errElsewhere)
	}
	_, err = c.file(script)
	return err
}

func (c *container) absolute(file string) string {
	if strings.HasPrefix(file, "/") {
		return path.Clean(file)
	}
	return path.Join(c.dir, file)
}

// find is the path of a command, which is searched where it has no slash.
func (c *container) find(word, search string) (string, error) {
	if strings.Contains(word, "/") {
		return c.absolute(word), nil
	}
	var almost string
	for dir := range strings.SplitSeq(search, ":") {
		file := c.absolute(path.Join(dir, word))
		e, err := c.tree.Lookup(file)
		switch {
		case err != nil || e.Type != TypeFile:
		case e.executable():
			return file, nil
		case almost == "":
			almost = file
		}
	}
	if almost != "" {
		return almost, nil
	}
	return "", fmt.Errorf("%q is not in the image: none of %s has it", word, search)
}

// file is the entry of a path that has to lead to a file.
func (c *container) file(file string) (Entry, error) {
	e, err := c.tree.Lookup(file)
	if err != nil {
		return e, fmt.Errorf("%w in the image", err)
	}
	if e.Type != TypeFile {
		return e, fmt.Errorf("%q is a %s, expected a file", file, e.Type)
	}
	return e, nil
}

// runs says why Linux would not run a file. Scripts may be run by scripts; by is the chain so far.
func (c *container) runs(file, search string, by []string) error {
	if len(by) > 4 {
		return fmt.Errorf("%q: more than 4 interpreters, one behind the other: %s", by[0], strings.Join(by, ", "))
	}
	e, err := c.file(file)
	if err != nil {
		return err
	}
	if !e.executable() {
		return fmt.Errorf("%q is not executable: mode %s", file, e.Mode)
	}
	p, err := recognise(e.head)
	if err != nil {
		return fmt.Errorf("%q %w", file, err)
	}
	if p.interpreter != "" {
		return c.interpreted(file, search, &p, by)
	}
	if !fits(p.machine, c.platform.Architecture) {
		return fmt.Errorf("%q is a program for %s, expected one for %s", file, machineName(p.machine), c.platform.Architecture)
	}
	if p.loader != "" {
		if _, err := c.file(c.absolute(p.loader)); err != nil {
			return fmt.Errorf("%q needs the dynamic linker %q: %w", file, p.loader, err)
		}
	}
	return nil
}

func (c *container) interpreted(file, search string, p *program, by []string) error {
	by = append(by, file)
	if err := c.runs(c.absolute(p.interpreter), search, by); err != nil {
		return fmt.Errorf("script %q needs %q: %w", file, p.interpreter, err)
	}
	if path.Base(p.interpreter) != "env" || p.argument == "" {
		return nil
	}
	// `#!/usr/bin/env bash` looks for the interpreter like a shell would.
	word := strings.Fields(strings.TrimPrefix(p.argument, "-S"))
	if len(word) == 0 || strings.HasPrefix(word[0], "-") || strings.Contains(word[0], "=") {
		return nil
	}
	found, err := c.find(word[0], search)
	if err == nil {
		err = c.runs(found, search, by)
	}
	if err != nil {
		return fmt.Errorf("script %q needs %q: %w", file, word[0], err)
	}
	return nil
}

// mounted says whether a path is at or below one of the mounts.
func mounted(file string, mounts []string) bool {
	return slices.ContainsFunc(mounts, func(mount string) bool {
		mount = path.Clean("/" + mount)
		return mount == "/" || file == mount || strings.HasPrefix(file, mount+"/")
	})
}
