package payload

import (
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Type is what an entry of an image is.
type Type string

// The types of entries.
const (
	TypeFile    Type = "file"
	TypeDir     Type = "dir"
	TypeSymlink Type = "link"
	TypeDevice  Type = "device"
	TypePipe    Type = "pipe"
)

const (
	maxPath    = 4096
	maxLinks   = 40      // as many as Linux follows
	maxEntries = 1 << 20 // a whole distribution has a tenth of it
)

// Entry is one file, directory or link of an image.
type Entry struct {
	// Path is where it is, beginning with /.
	Path string `json:"path"`
	Type Type   `json:"type"`
	// Mode has the permissions with setuid, setgid and sticky, in octal.
	Mode string `json:"mode"`
	// Size is the number of bytes of a file.
	Size int64 `json:"size,omitempty"`
	// Link is where a symbolic link points to.
	Link string `json:"link,omitempty"`
	UID  int    `json:"uid,omitempty"`
	GID  int    `json:"gid,omitempty"`
	// Layer is the number of the layer that it comes from, beginning with 1; 0 where no layer speaks of it.
	Layer int `json:"layer,omitempty"`

	perm fs.FileMode
	head []byte // the beginning of an executable file, enough for #! and for the headers of ELF
}

func (e *Entry) executable() bool { return e.perm&0o111 != 0 }

// node is an entry at its place.
type node struct {
	Entry
	name     string
	parent   *node
	children map[string]*node
}

// Tree is what the layers of an image become when they lie on top of each other.
type Tree struct {
	root    *node
	entries int
}

func newTree() *Tree {
	return &Tree{root: &node{Entry: Entry{Type: TypeDir, perm: 0o755}}}
}

func (n *node) path() string {
	if n.parent == nil {
		return "/"
	}
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// entry is a copy that knows its path.
func (n *node) entry() Entry {
	e := n.Entry
	e.Path, e.Mode = n.path(), fmt.Sprintf("%04o", n.perm)
	return e
}

// Lookup finds what a path leads to, through every link on the way; links never leave the image. The error says where the way ends.
func (t *Tree) Lookup(file string) (Entry, error) {
	n, err := t.walk(file, nil)
	if err != nil {
		return Entry{}, err
	}
	return n.entry(), nil
}

// All are the entries at and below a path, parents before children, in the order of their names.
func (t *Tree) All(below string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if n, err := t.walk(below, nil); err == nil {
			n.each(yield)
		}
	}
}

func (n *node) each(yield func(Entry) bool) bool {
	if !yield(n.entry()) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if !n.children[name].each(yield) {
			return false
		}
	}
	return true
}

// walk goes along a path and follows every link, the last one too, inside the root: .. of the root is the root, as in a container. A
// name that is not there is an error, unless missing makes it.
func (t *Tree) walk(file string, missing func(parent *node, name string) (*node, error)) (*node, error) {
	at, links := t.root, 0
	rest := strings.Split(file, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if at.Type != TypeDir {
			return nil, fmt.Errorf("%q is no directory", at.path())
		}
		if part == ".." {
			if at.parent != nil {
				at = at.parent
			}
			continue
		}
		next := at.children[part]
		switch {
		case next == nil && missing == nil:
			return nil, notThere(file, path.Join(at.path(), part), links)
		case next == nil:
			made, err := missing(at, part)
			if err != nil {
				return nil, err
			}
			at = made
		case next.Type == TypeSymlink:
			links++
			if links > maxLinks {
				return nil, fmt.Errorf("%q has more than %d links on its way", file, maxLinks)
			}
			if strings.HasPrefix(next.Link, "/") {
				at = t.root
			}
			rest = append(strings.Split(next.Link, "/"), rest...)
		default:
			at = next
		}
	}
	return at, nil
}

func notThere(asked, found string, links int) error {
	if links == 0 || asked == found {
		return fmt.Errorf("%q is not there", asked)
	}
	return fmt.Errorf("%q leads to %q, which is not there", asked, found)
}

// put places an entry under a name. A directory over a directory keeps what is in it.
func (t *Tree) put(parent *node, name string, e Entry) (*node, error) {
	old := parent.children[name]
	n := &node{Entry: e, name: name, parent: parent}
	switch {
	case old == nil:
		t.entries++
		if t.entries > maxEntries {
			return nil, fmt.Errorf("has more than %d files", maxEntries)
		}
	case old.Type == TypeDir && e.Type == TypeDir:
		n.children = old.children
		for _, child := range n.children {
			child.parent = n
		}
	}
	if parent.children == nil {
		parent.children = map[string]*node{}
	}
	parent.children[name] = n
	return n, nil
}

// hide takes away what layers below the given one have put at and below a node, and says whether anything of it stays.
func (n *node) hide(layer int) bool {
	for name, child := range n.children {
		if !child.hide(layer) {
			delete(n.children, name)
		}
	}
	return n.Layer >= layer || len(n.children) > 0
}
