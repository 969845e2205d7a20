package payload

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh."

	// headSize is how much of an executable is kept: compilers put ELF's program headers and the name of the loader there.
	headSize = 1024
)

// apply lays one layer, an uncompressed tar, over the tree. Layers are numbered from 1. The error names the entry that is wrong: one that
// leaves the root of the image, a hard link to nothing, a tar that ends too early.
func (t *Tree) apply(ctx context.Context, layer int, r io.Reader) error {
	files := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return cutOff(err)
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := t.applyEntry(layer, header, files); err != nil {
			return fmt.Errorf("entry %q: %w", header.Name, cutOff(err))
		}
	}
}

// cutOff says in words that a stream ended too early.
func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the blob is truncated: it ends in the middle")
	}
	return err
}

func (t *Tree) applyEntry(layer int, header *tar.Header, content io.Reader) error {
	file, err := inside(header.Name)
	if err != nil {
		return err
	}
	if file == "/" {
		t.root.perm, t.root.Layer = permissions(header), layer
		return nil
	}
	dir, name := path.Split(file)
	if strings.HasPrefix(name, whiteout) {
		return t.whiteout(layer, dir, name)
	}
	parent, err := t.walk(dir, t.makeDir)
	if err != nil {
		return err
	}
	if parent.Type != TypeDir {
		return fmt.Errorf("%q is no directory", parent.path())
	}
	e := Entry{Mode: "", UID: header.Uid, GID: header.Gid, Layer: layer, perm: permissions(header)}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeCont: //nolint:staticcheck // old images have the old type of files
		e.Type, e.Size = TypeFile, header.Size
		if e.executable() {
			if e.head, err = beginning(content, header.Size); err != nil {
				return err
			}
		}
	case tar.TypeDir:
		e.Type = TypeDir
	case tar.TypeSymlink:
		e.Type, e.Link, e.perm = TypeSymlink, header.Linkname, 0o777
		if err := stays(parent.path(), header.Linkname); err != nil {
			return err
		}
	case tar.TypeLink:
		return t.hardLink(parent, name, layer, header.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		e.Type = TypeDevice
	case tar.TypeFifo:
		e.Type = TypePipe
	default:
		return fmt.Errorf("has the unknown type %q", header.Typeflag)
	}
	_, err = t.put(parent, name, e)
	return err
}

// makeDir makes a directory that no layer speaks of, as container runtimes do.
func (t *Tree) makeDir(parent *node, name string) (*node, error) {
	return t.put(parent, name, Entry{Type: TypeDir, perm: 0o755})
}

func (t *Tree) hardLink(parent *node, name string, layer int, target string) error {
	file, err := inside(target)
	if err != nil {
		return fmt.Errorf("hard link to %w", err)
	}
	dir, last := path.Split(file)
	from, err := t.walk(dir, nil)
	if err != nil || from.children[last] == nil || from.children[last].Type == TypeDir {
		return fmt.Errorf("hard link to %q, which is no file of the image", target)
	}
	e := from.children[last].Entry
	e.Layer = layer
	_, err = t.put(parent, name, e)
	return err
}

// whiteout hides what the layers below have: one name, or all that is in a directory.
func (t *Tree) whiteout(layer int, dir, name string) error {
	hidden := strings.TrimPrefix(name, whiteout)
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout that names nothing")
	}
	parent, err := t.walk(dir, nil)
	if err != nil {
		return nil //nolint:nilerr // what is not there is hidden already
	}
	if name == opaqueWhiteout {
		for child, n := range parent.children {
			if !n.hide(layer) {
				delete(parent.children, child)
			}
		}
		return nil
	}
	if strings.HasPrefix(name, aufsPrefix) {
		return nil // bookkeeping of an old storage driver
	}
	if n := parent.children[hidden]; n != nil && !n.hide(layer) {
		delete(parent.children, hidden)
	}
	return nil
}

// inside is the absolute path of a name in a layer; a name that climbs out of the root is an error.
func inside(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("path of %d bytes, expected at most %d", len(name), maxPath)
	}
	if climbs(0, name) {
		return "", fmt.Errorf("%q leaves the root of the image", name)
	}
	return path.Clean("/" + name), nil
}

// stays says whether a symbolic link in a directory leads out of the root, however it is resolved.
func stays(dir, target string) error {
	depth := strings.Count(strings.Trim(dir, "/"), "/") + 1
	if dir == "/" || strings.HasPrefix(target, "/") {
		depth = 0
	}
	if len(target) > maxPath {
		return fmt.Errorf("link of %d bytes, expected at most %d", len(target), maxPath)
	}
	if climbs(depth, target) {
		return fmt.Errorf("link to %q leaves the root of the image", target)
	}
	return nil
}

// climbs says whether a path that begins at a depth below the root goes above it.
func climbs(depth int, name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
			if depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// permissions are the bits that chmod knows, in their places of Unix.
func permissions(header *tar.Header) fs.FileMode { return fs.FileMode(header.Mode & 0o7777) }

func beginning(r io.Reader, size int64) ([]byte, error) {
	head := make([]byte, min(size, headSize))
	_, err := io.ReadFull(r, head)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return head, err
}
