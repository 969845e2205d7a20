// Package parts answers: which binaries does the test cluster need, and are they built?
//
// A part is a folder beside this file with a Go module of its own, because the modules of Kubernetes, containerd, runc and kwok exclude each
// other's dependencies. Its part.json says which packages become which binaries. What is built lies in a cache outside the repository, in a
// directory named by a hash of everything that decides its bytes, so a second build takes no time and two checkouts share one result.
package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
)

// CacheEnv names the environment variable that moves the cache.
const CacheEnv = "LONGSHORE_CACHE"

// Recipe is the part.json of a part: what `go build` has to be told besides the folder.
type Recipe struct {
	// Outputs maps the name of a binary to its package, "." for a main package in the folder itself.
	Outputs map[string]string `json:"outputs"`
	// Links maps further names to the output they stand for: a multi-call binary looks at the name it is called by.
	Links map[string]string `json:"links,omitempty"`
	// Files maps a name to a folder of a module that the part requires, as "<module path>//<folder>"; the folder is copied beside the binaries.
	Files map[string]string `json:"files,omitempty"`
	// LDFlags are added to -s -w, Tags are build tags.
	LDFlags []string `json:"ldflags,omitempty"`
	Tags    []string `json:"tags,omitempty"`
	// Cgo builds with the machine's C compiler, against the headers and static libraries of the Debian packages.
	Cgo    bool     `json:"cgo,omitempty"`
	Debian []string `json:"debian,omitempty"`
	// Cold is how long a first build took on two cores; it is only told to the one who waits.
	Cold string `json:"cold,omitempty"`
}

// part is a recipe with its place on this machine.
type part struct {
	name   string
	folder string
	recipe Recipe
}

// Build builds what is missing of the named parts and returns the absolute path of each output, link and folder by its name. The directory that
// holds a part's binaries is returned under the part's own name unless an output has that name. Progress gets lines of text.
func Build(ctx context.Context, progress io.Writer, names ...string) (map[string]string, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, fmt.Errorf("finding the parts: %w", err)
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, name := range names {
		p, err := load(filepath.Join(root, "parts", name))
		if err != nil {
			return nil, err
		}
		dir, err := p.ensure(ctx, progress, cache)
		if err != nil {
			return nil, fmt.Errorf("building part %q: %w", name, err)
		}
		maps.Copy(paths, p.paths(dir))
	}
	return paths, nil
}

// CacheDir is where built parts and unpacked packages lie.
func CacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no home for the cache of built parts, set %s: %w", CacheEnv, err)
	}
	return filepath.Join(base, "longshore", "parts"), nil
}

func load(folder string) (part, error) {
	file := filepath.Join(folder, "part.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return part{}, fmt.Errorf("reading the recipe of part %q: %w", filepath.Base(folder), err)
	}
	p := part{name: filepath.Base(folder), folder: folder}
	if err := json.Unmarshal(data, &p.recipe); err != nil {
		return part{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(p.recipe.Outputs) == 0 {
		return part{}, fmt.Errorf("%s: outputs is empty, expected at least one binary", file)
	}
	return p, nil
}

func (p part) paths(dir string) map[string]string {
	paths := map[string]string{p.name: dir}
	for _, names := range []map[string]string{p.recipe.Outputs, p.recipe.Links, p.recipe.Files} {
		for name := range names {
			paths[name] = filepath.Join(dir, name)
		}
	}
	return paths
}

// moduleRoot finds the folder of the e2e module: from the working directory upwards, so that a built program works in any checkout, or
// where this file was compiled.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		for _, root := range []string{dir, filepath.Join(dir, "e2e")} {
			if _, err := os.Stat(filepath.Join(root, "parts", "kubernetes", "part.json")); err == nil {
				return root, nil
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		return filepath.Dir(filepath.Dir(file)), nil
	}
	return "", errors.New("run this from inside the repository: no folder above has parts/kubernetes/part.json")
}
