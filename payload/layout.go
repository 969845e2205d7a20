package payload

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	layoutFile    = "oci-layout"
	layoutIndex   = "index.json"
	dockerIndex   = "manifest.json"
	refAnnotation = "org.opencontainers.image.ref.name"
)

// directory is an OCI layout in a directory.
type directory string

func (d directory) blob(digest v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(string(d), "blobs", digest.Algorithm, digest.Hex))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("blob %s is missing", digest)
	}
	return f, err
}

func (d directory) document(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), name))
}

// archive is an OCI layout in a tar, which is read where it is.
type archive struct {
	file  string
	parts map[string]part
}

type part struct{ offset, size int64 }

// scan finds out where the files of a tar are.
func scan(file string) (*archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	found := &archive{file: file, parts: map[string]part{}}
	for files := tar.NewReader(f); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("expected a tar that is not compressed: %w", cutOff(err))
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		// The reader of tar takes nothing more from the file than the header.
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		found.parts[path.Clean(header.Name)] = part{offset, header.Size}
	}
}

func (a *archive) has(name string) bool {
	_, ok := a.parts[name]
	return ok
}

// partOf is a part of a file, which is closed with it.
type partOf struct {
	io.Reader
	io.Closer
}

func (a *archive) open(name string) (io.ReadCloser, error) {
	p, ok := a.parts[name]
	if !ok {
		return nil, fmt.Errorf("%s is missing", name)
	}
	f, err := os.Open(a.file)
	if err != nil {
		return nil, err
	}
	return partOf{io.NewSectionReader(f, p.offset, p.size), f}, nil
}

func (a *archive) blob(digest v1.Hash) (io.ReadCloser, error) {
	rc, err := a.open("blobs/" + digest.Algorithm + "/" + digest.Hex)
	if err != nil {
		return nil, fmt.Errorf("blob %s is missing", digest)
	}
	return rc, nil
}

func (a *archive) document(name string) ([]byte, error) {
	rc, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	return io.ReadAll(io.LimitReader(rc, maxDocument))
}

// openTar opens an OCI archive, or one that `docker save` made.
func openTar(ref Ref) (*Artifact, error) {
	found, err := scan(ref.Path)
	switch {
	case err != nil:
		return nil, err
	case found.has(layoutIndex):
		return openLayout(ref, found)
	case !found.has(dockerIndex):
		return nil, fmt.Errorf("expected an OCI archive with %s, or a Docker archive with %s; found neither", layoutIndex, dockerIndex)
	}
	img, err := tarball.ImageFromPath(ref.Path, nil)
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	return &Artifact{Ref: ref, Digest: digest, image: img}, nil
}

// openLayout opens the one image of a layout, or the one with the tag that the reference asks for.
func openLayout(ref Ref, from blobs) (*Artifact, error) {
	raw, err := from.document(layoutIndex)
	if err != nil {
		return nil, fmt.Errorf("expected an OCI layout: %w", err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layoutIndex, err)
	}
	of, err := choose(index, ref.Tag)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Ref: ref, Digest: of.Digest}
	switch {
	case of.MediaType.IsIndex():
		a.index, err = openIndex(from, of)
	case of.MediaType.IsImage():
		a.image, err = openImage(from, of)
	default:
		err = fmt.Errorf("%s is a %s, expected an image or an index", of.Digest, of.MediaType)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func choose(index *v1.IndexManifest, tag string) (*v1.Descriptor, error) {
	var tags []string
	for i := range index.Manifests {
		of := &index.Manifests[i]
		name := of.Annotations[refAnnotation]
		if tag != "" && name == tag {
			return of, nil
		}
		tags = append(tags, fmt.Sprintf("%q", name))
	}
	switch {
	case tag != "":
		return nil, fmt.Errorf("has no image with the tag %q, only %s", tag, strings.Join(tags, ", "))
	case len(index.Manifests) == 0:
		return nil, fmt.Errorf("%s names no image", layoutIndex)
	case len(index.Manifests) > 1:
		return nil, fmt.Errorf("has %d images, name one as in oci:DIRECTORY:TAG: %s", len(tags), strings.Join(tags, ", "))
	}
	return &index.Manifests[0], nil
}
