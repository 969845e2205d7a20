// Package images answers: how do programs and scripts become images that a node can pull, without Docker?
package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image says what an image consists of. Equal content gives an equal digest, on any day and machine.
type Image struct {
	// Layers are laid over each other in this order.
	Layers [][]File
	// Entrypoint, Command, Env, User, WorkDir and Labels are what the image's configuration says.
	Entrypoint, Command, Env []string
	User, WorkDir            string
	Labels                   map[string]string
}

// File is one entry of a layer: its content is Data, or the file Source, or it is a symbolic link to Link.
type File struct {
	// Path is absolute in the image. The directories above are made as needed.
	Path string
	Mode fs.FileMode
	Data []byte
	// Source is a path on this machine; it must not change while the image is in use.
	Source string
	Link   string
}

// Script is an executable text file.
func Script(path, text string) File { return File{Path: path, Mode: 0o755, Data: []byte(text)} }

// Program is an executable that lies on this machine.
func Program(path, source string) File { return File{Path: path, Mode: 0o755, Source: source} }

// Link is a symbolic link.
func Link(path, target string) File { return File{Path: path, Link: target} }

// epoch is the time of everything in an image.
var epoch = time.Unix(0, 0).UTC()

// Build makes the image. Layers are read from their sources when the image is pushed or saved.
func Build(image Image) (v1.Image, error) {
	built := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for i, files := range image.Layers {
		layer, err := newLayer(files)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		entry := mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "longshore"}, MediaType: types.OCILayer}
		if built, err = mutate.Append(built, entry); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", runtime.GOARCH, v1.Time{Time: epoch}
	config.Config = v1.Config{
		Entrypoint: image.Entrypoint, Cmd: image.Command, Env: image.Env, User: image.User, WorkingDir: image.WorkDir, Labels: image.Labels,
	}
	return mutate.ConfigFile(built, config)
}

// newLayer compresses lightly: these layers travel over loopback.
func newLayer(files []File) (v1.Layer, error) {
	entries, err := withParents(files)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(writeTar(writer, entries)) }()
		return reader, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
}

// withParents sorts the files and puts each directory before what lies in it.
func withParents(files []File) ([]File, error) {
	entries := map[string]File{}
	for _, file := range files {
		if !path.IsAbs(file.Path) || path.Clean(file.Path) != file.Path {
			return nil, fmt.Errorf("file %q: expected a clean absolute path", file.Path)
		}
		if _, twice := entries[file.Path]; twice {
			return nil, fmt.Errorf("file %q is there twice", file.Path)
		}
		entries[file.Path] = file
		for dir := path.Dir(file.Path); dir != "/"; dir = path.Dir(dir) {
			if _, known := entries[dir]; !known {
				entries[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	sorted := make([]File, 0, len(entries))
	for _, file := range entries {
		sorted = append(sorted, file)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return sorted, nil
}

func writeTar(to io.Writer, files []File) error {
	archive := tar.NewWriter(to)
	for _, file := range files {
		if err := writeEntry(archive, file); err != nil {
			return fmt.Errorf("file %q: %w", file.Path, err)
		}
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, file File) error {
	header := &tar.Header{Name: strings.TrimPrefix(file.Path, "/"), Mode: int64(file.Mode.Perm()), ModTime: epoch, Format: tar.FormatPAX}
	switch {
	case file.Mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return archive.WriteHeader(header)
	case file.Link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, file.Link, 0o777
		return archive.WriteHeader(header)
	}
	content, size, err := file.open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	header.Typeflag, header.Size = tar.TypeReg, size
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}

func (f File) open() (io.ReadCloser, int64, error) {
	if f.Source == "" {
		return io.NopCloser(bytes.NewReader(f.Data)), int64(len(f.Data)), nil
	}
	source, err := os.Open(f.Source)
	if err != nil {
		return nil, 0, err
	}
	info, err := source.Stat()
	if err != nil {
		_ = source.Close()
		return nil, 0, err
	}
	return source, info.Size(), nil
}
