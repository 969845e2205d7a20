package payload

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// layoutSink writes an OCI layout into a directory, beside what is in it already.
type layoutSink struct {
	dir, tag string
	tidy     []string
}

func newLayoutSink(to Ref) *layoutSink { return &layoutSink{dir: to.Path, tag: to.Tag} }

func (s *layoutSink) put(of *v1.Descriptor, content io.Reader) error {
	return s.write(filepath.Join("blobs", of.Digest.Algorithm, of.Digest.Hex), content)
}

// write puts a file into its place as a whole, or not at all.
func (s *layoutSink) write(name string, content io.Reader) error {
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	s.tidy = append(s.tidy, f.Name())
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

func (s *layoutSink) commit(root *v1.Descriptor) error {
	var old *v1.IndexManifest
	raw, err := os.ReadFile(filepath.Join(s.dir, layoutIndex))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if old, err = v1.ParseIndexManifest(bytes.NewReader(raw)); err != nil {
			return fmt.Errorf("%s: %w", layoutIndex, err)
		}
	}
	index, err := newIndex(old, root, s.tag)
	if err != nil {
		return err
	}
	if err := s.write(layoutFile, bytes.NewReader([]byte(layoutVersion))); err != nil {
		return err
	}
	return s.write(layoutIndex, bytes.NewReader(index))
}

func (s *layoutSink) abort() {
	for _, name := range s.tidy {
		_ = os.Remove(name) // gone already, where it came to its place
	}
}

// tarSink writes an OCI archive; for a single image with the index of a Docker archive as well, so that either kind of program loads it.
type tarSink struct {
	file   string
	f      *os.File
	w      *tar.Writer
	layers map[v1.Hash][]byte
	names  map[v1.Hash]string
}

func newTarSink(to Ref) *tarSink {
	return &tarSink{file: to.Path, layers: map[v1.Hash][]byte{}, names: map[v1.Hash]string{}}
}

func (s *tarSink) put(of *v1.Descriptor, content io.Reader) error {
	name := "blobs/" + of.Digest.Algorithm + "/" + of.Digest.Hex
	s.names[of.Digest] = name
	if of.MediaType.IsImage() {
		raw, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		s.layers[of.Digest] = raw
		content = bytes.NewReader(raw)
	}
	return s.write(name, of.Size, content)
}

func (s *tarSink) write(name string, size int64, content io.Reader) error {
	if s.f == nil {
		f, err := os.CreateTemp(filepath.Dir(s.file), ".new-")
		if err != nil {
			return err
		}
		s.f, s.w = f, tar.NewWriter(f)
		if err := s.write(layoutFile, int64(len(layoutVersion)), bytes.NewReader([]byte(layoutVersion))); err != nil {
			return err
		}
	}
	if err := s.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err := io.Copy(s.w, content)
	return err
}

func (s *tarSink) commit(root *v1.Descriptor) error {
	index, err := newIndex(nil, root, "")
	if err != nil {
		return err
	}
	if err := s.write(layoutIndex, int64(len(index)), bytes.NewReader(index)); err != nil {
		return err
	}
	if err := s.docker(root); err != nil {
		return err
	}
	if err := errors.Join(s.w.Close(), s.f.Chmod(0o644), s.f.Close()); err != nil {
		return err
	}
	return os.Rename(s.f.Name(), s.file)
}

// docker writes the index of a Docker archive, which knows no multi-arch images.
func (s *tarSink) docker(root *v1.Descriptor) error {
	raw, ok := s.layers[root.Digest]
	if !ok {
		return nil
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(manifest.Layers, func(l v1.Descriptor) bool { return l.MediaType == types.OCILayerZStd }) {
		return nil // nothing that reads Docker archives knows zstd
	}
	image := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: s.names[manifest.Config.Digest]}
	for i := range manifest.Layers {
		image.Layers = append(image.Layers, s.names[manifest.Layers[i].Digest])
	}
	text, err := json.Marshal([]any{image})
	if err != nil {
		return err
	}
	return s.write(dockerIndex, int64(len(text)), bytes.NewReader(text))
}

func (s *tarSink) abort() {
	if s.f != nil {
		_ = s.f.Close()
		_ = os.Remove(s.f.Name()) // gone already, where it came to its place
	}
}
