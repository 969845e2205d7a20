package payload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Write puts an artifact where the reference says. Blobs go first, what names them goes last: whatever fails on the way, there is no new
// tag, and a tag that was there before leads to what it led to.
func (c *Client) Write(ctx context.Context, a *Artifact, to Ref) error {
	switch to.Place {
	case PlaceRegistry:
		return c.push(ctx, a, to)
	case PlaceLayout:
		return c.store(ctx, a, to, newLayoutSink(to))
	case PlaceTar:
		return c.store(ctx, a, to, newTarSink(to))
	default:
		return fmt.Errorf("%s: expected a registry, a layout or a tar", to)
	}
}

func (c *Client) push(ctx context.Context, a *Artifact, to Ref) error {
	named, options, err := c.remote(ctx, to)
	if err != nil {
		return err
	}
	if _, ok := named.(name.Tag); !ok {
		return fmt.Errorf("push %s: expected a tag, found a digest, which nobody can choose", to)
	}
	updates := make(chan v1.Update, 64)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for u := range updates {
			if c.Progress != nil && u.Error == nil {
				c.Progress(Transfer{What: "push " + to.String(), Done: u.Complete, Total: u.Total})
			}
		}
	}()
	var what remote.Taggable = a.image
	if a.index != nil {
		what = a.index
	}
	err = remote.Push(named, what, append(options, remote.WithProgress(updates))...)
	<-drained
	if err != nil {
		return c.explain("push", to, err)
	}
	return nil
}

// sink is a place for blobs; nothing of it can be seen before it is closed well.
type sink interface {
	// put stores a blob that has to be what the descriptor says.
	put(of *v1.Descriptor, content io.Reader) error
	// commit makes what was put visible, under a name.
	commit(root *v1.Descriptor) error
	// abort forgets what is not committed.
	abort()
}

// store walks through an artifact, the leaves first.
func (c *Client) store(ctx context.Context, a *Artifact, to Ref, s sink) error {
	defer s.abort()
	w := &storing{ctx: ctx, sink: s, seen: map[v1.Hash]bool{}, meter: &meter{Transfer: Transfer{What: "write " + to.String()}, tell: c.Progress}}
	root, err := w.artifact(a)
	if err == nil {
		err = s.commit(root)
	}
	var unread unreadable
	switch {
	case errors.As(err, &unread):
		return c.explain("pull", a.Ref, err)
	case err != nil:
		return c.explain("write", to, err)
	}
	return nil
}

// unreadable is an error of the place where an artifact comes from, not of the one where it goes.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// source is a stream whose errors are those of where it comes from.
type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = unreadable{cutOff(err)}
	}
	return n, err
}

// storing is one walk.
type storing struct {
	ctx   context.Context //nolint:containedctx // it lives as long as the walk
	sink  sink
	seen  map[v1.Hash]bool
	meter *meter
}

func (w *storing) artifact(a *Artifact) (*v1.Descriptor, error) {
	if a.index == nil {
		return w.image(a.image)
	}
	return w.index(a.index)
}

func (w *storing) index(index v1.ImageIndex) (*v1.Descriptor, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for i := range manifest.Manifests {
		of := &manifest.Manifests[i]
		switch {
		case of.MediaType.IsIndex():
			child, err := index.ImageIndex(of.Digest)
			if err != nil {
				return nil, err
			}
			if _, err := w.index(child); err != nil {
				return nil, err
			}
		case of.MediaType.IsImage():
			img, err := index.Image(of.Digest)
			if err != nil {
				return nil, err
			}
			if _, err := w.image(img); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is a %q, expected an image or an index", of.Digest, oneLine(string(of.MediaType)))
		}
	}
	raw, err := index.RawManifest()
	if err != nil {
		return nil, err
	}
	kind, err := index.MediaType()
	if err != nil {
		return nil, err
	}
	return w.bytes(kind, raw)
}

func (w *storing) image(img v1.Image) (*v1.Descriptor, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		of, err := partial.Descriptor(l)
		if err != nil {
			return nil, err
		}
		if err := w.put(of, l.Compressed); err != nil {
			return nil, fmt.Errorf("layer %s: %w", of.Digest, err)
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	if _, err := w.bytes("", config); err != nil {
		return nil, err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	kind, err := img.MediaType()
	if err != nil {
		return nil, err
	}
	return w.bytes(kind, raw)
}

func (w *storing) bytes(kind types.MediaType, content []byte) (*v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	of := &v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
	return of, w.put(of, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
}

func (w *storing) put(of *v1.Descriptor, open func() (io.ReadCloser, error)) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.seen[of.Digest] {
		return nil
	}
	w.seen[of.Digest] = true
	w.meter.Total += of.Size
	rc, err := open()
	if err != nil {
		return unreadable{err}
	}
	defer func() { _ = rc.Close() }()
	checked, err := verify(&metered{rc, w.meter}, of.Digest, of.Size)
	if err != nil {
		return err
	}
	return w.sink.put(of, source{checked})
}

// newIndex is the index.json of a layout with one more image: another one of the same name has to go.
func newIndex(old *v1.IndexManifest, root *v1.Descriptor, tag string) ([]byte, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	if old != nil {
		for i := range old.Manifests {
			if of := &old.Manifests[i]; of.Annotations[refAnnotation] != tag {
				index.Manifests = append(index.Manifests, *of)
			}
		}
	}
	of := *root
	if tag != "" {
		of.Annotations = map[string]string{refAnnotation: tag}
	}
	index.Manifests = append(index.Manifests, of)
	return json.MarshalIndent(index, "", "  ")
}
