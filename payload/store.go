package payload

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// manifests and configurations larger than this are no such things.
const maxDocument = 16 << 20

// blobs is where the blobs of an OCI layout are: a directory, or a tar of one.
type blobs interface {
	// blob opens a blob; what it reads has not been checked.
	blob(digest v1.Hash) (io.ReadCloser, error)
	// document reads a file at the top.
	document(name string) ([]byte, error)
}

// document reads a small blob, checked against its descriptor.
func document(from blobs, of *v1.Descriptor) ([]byte, error) {
	if of.Size > maxDocument {
		return nil, fmt.Errorf("blob %s has %d bytes, expected a manifest or a configuration of at most %d", of.Digest, of.Size, maxDocument)
	}
	rc, err := from.blob(of.Digest)
	if err != nil {
		return nil, err
	}
	if rc, err = verify(rc, of.Digest, of.Size); err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	return io.ReadAll(rc)
}

// storedImage is an image in a layout; every blob is checked as it is read.
type storedImage struct {
	from     blobs
	of       v1.Descriptor
	raw      []byte
	manifest *v1.Manifest
}

func openImage(from blobs, of *v1.Descriptor) (v1.Image, error) {
	raw, err := document(from, of)
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", of.Digest, err)
	}
	return partial.CompressedToImage(&storedImage{from: from, of: *of, raw: raw, manifest: manifest})
}

// MediaType implements the core of an image.
func (i *storedImage) MediaType() (types.MediaType, error) { return i.of.MediaType, nil }

// RawManifest implements the core of an image.
func (i *storedImage) RawManifest() ([]byte, error) { return i.raw, nil }

// RawConfigFile implements the core of an image.
func (i *storedImage) RawConfigFile() ([]byte, error) { return document(i.from, &i.manifest.Config) }

// LayerByDigest implements the core of an image.
func (i *storedImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	if digest == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for at := range i.manifest.Layers {
		if l := &i.manifest.Layers[at]; l.Digest == digest {
			return &storedLayer{i.from, l}, nil
		}
	}
	return nil, fmt.Errorf("layer %s is not in the manifest", digest)
}

type storedLayer struct {
	from blobs
	of   *v1.Descriptor
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.of.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.of.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.of.MediaType, nil }
func (l *storedLayer) Descriptor() (*v1.Descriptor, error) { return l.of, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.from.blob(l.of.Digest)
	if err != nil {
		return nil, err
	}
	return verify(rc, l.of.Digest, l.of.Size)
}

// storedIndex is a multi-arch index in a layout.
type storedIndex struct {
	from  blobs
	of    v1.Descriptor
	raw   []byte
	index *v1.IndexManifest
}

func openIndex(from blobs, of *v1.Descriptor) (v1.ImageIndex, error) {
	raw, err := document(from, of)
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", of.Digest, err)
	}
	return &storedIndex{from: from, of: *of, raw: raw, index: index}, nil
}

// MediaType implements an index.
func (i *storedIndex) MediaType() (types.MediaType, error) { return i.of.MediaType, nil }

// Digest implements an index.
func (i *storedIndex) Digest() (v1.Hash, error) { return i.of.Digest, nil }

// Size implements an index.
func (i *storedIndex) Size() (int64, error) { return i.of.Size, nil }

// IndexManifest implements an index.
func (i *storedIndex) IndexManifest() (*v1.IndexManifest, error) { return i.index.DeepCopy(), nil }

// RawManifest implements an index.
func (i *storedIndex) RawManifest() ([]byte, error) { return i.raw, nil }

// Image implements an index.
func (i *storedIndex) Image(digest v1.Hash) (v1.Image, error) {
	of, err := i.child(digest)
	if err != nil {
		return nil, err
	}
	return openImage(i.from, of)
}

// ImageIndex implements an index.
func (i *storedIndex) ImageIndex(digest v1.Hash) (v1.ImageIndex, error) {
	of, err := i.child(digest)
	if err != nil {
		return nil, err
	}
	return openIndex(i.from, of)
}

func (i *storedIndex) child(digest v1.Hash) (*v1.Descriptor, error) {
	for at := range i.index.Manifests {
		if of := &i.index.Manifests[at]; of.Digest == digest {
			return of, nil
		}
	}
	return nil, fmt.Errorf("manifest %s is not in the index", digest)
}
