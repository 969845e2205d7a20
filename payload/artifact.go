package payload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Artifact is what a reference leads to: one image, or an index of one image a platform.
type Artifact struct {
	Ref    Ref
	Digest v1.Hash

	image v1.Image
	index v1.ImageIndex
}

// Platform is an image of an artifact, and the platform that it is for.
type Platform struct {
	Platform v1.Platform
	Digest   v1.Hash
}

// Open finds an image or an index. Of a registry only the manifest is read yet. The error is one line that names the reference.
func (c *Client) Open(ctx context.Context, ref Ref) (*Artifact, error) {
	var a *Artifact
	var err error
	switch ref.Place {
	case PlaceTar:
		a, err = openTar(ref)
	case PlaceLayout:
		a, err = openLayout(ref, directory(ref.Path))
	case PlaceRegistry:
		return c.openRemote(ctx, ref)
	default:
		err = errors.New("expected an image in a registry, a layout or a tar")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return a, nil
}

func (c *Client) openRemote(ctx context.Context, ref Ref) (*Artifact, error) {
	named, options, err := c.remote(ctx, ref)
	if err != nil {
		return nil, err
	}
	found, err := remote.Get(named, options...)
	if err != nil {
		return nil, c.explain("pull", ref, err)
	}
	a := &Artifact{Ref: ref, Digest: found.Digest}
	switch {
	case found.MediaType.IsIndex():
		a.index, err = found.ImageIndex()
	case found.MediaType.IsImage():
		a.image, err = found.Image()
	default:
		return nil, fmt.Errorf("%s is a %q, expected an image or an index", ref, oneLine(string(found.MediaType)))
	}
	if err != nil {
		return nil, c.explain("pull", ref, err)
	}
	return a, nil
}

// IsIndex says whether there is an image for each of several platforms.
func (a *Artifact) IsIndex() bool { return a.index != nil }

// Platforms are the images of the artifact, in its own order. What an index has besides images, such as attestations, is left out.
func (c *Client) Platforms(a *Artifact) ([]Platform, error) {
	if a.index == nil {
		platform, err := configured(a.image)
		if err != nil {
			return nil, c.explain("pull", a.Ref, err)
		}
		return []Platform{{Platform: platform, Digest: a.Digest}}, nil
	}
	index, err := a.index.IndexManifest()
	if err != nil {
		return nil, c.explain("pull", a.Ref, err)
	}
	var found []Platform
	for i := range index.Manifests {
		of := &index.Manifests[i]
		switch {
		case of.MediaType.IsIndex():
			return nil, fmt.Errorf("%s: %s is an index inside of an index, expected images", a.Ref, of.Digest)
		case !of.MediaType.IsImage() || isAttestation(of):
			continue
		case of.Platform != nil:
			found = append(found, Platform{Platform: *of.Platform, Digest: of.Digest})
			continue
		}
		img, err := a.index.Image(of.Digest)
		if err != nil {
			return nil, c.explain("pull", a.Ref, err)
		}
		platform, err := configured(img)
		if err != nil {
			return nil, c.explain("pull", a.Ref, err)
		}
		found = append(found, Platform{Platform: platform, Digest: of.Digest})
	}
	return found, nil
}

// isAttestation says whether a manifest speaks about another one instead of being an image that runs.
func isAttestation(of *v1.Descriptor) bool {
	return of.Annotations["vnd.docker.reference.type"] != "" || (of.Platform != nil && of.Platform.OS == "unknown")
}

// configured is the platform that an image says it is for.
func configured(img v1.Image) (v1.Platform, error) {
	config, err := configOf(img)
	if err != nil {
		return v1.Platform{}, err
	}
	return *config.Platform(), nil
}

// configOf is the configuration of an image, as long as it is one.
func configOf(img v1.Image) (*v1.ConfigFile, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if !manifest.Config.MediaType.IsConfig() {
		return nil, fmt.Errorf("its configuration is a %q, expected that of a container image", oneLine(string(manifest.Config.MediaType)))
	}
	return img.ConfigFile()
}

// Image is the artifact's image for a platform. An artifact that is only one image is that image, whatever it is for: what follows says
// whether it fits.
func (c *Client) Image(a *Artifact, want v1.Platform) (v1.Image, error) {
	if a.index == nil {
		return a.image, nil
	}
	all, err := c.Platforms(a)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range all {
		if p.Platform.Satisfies(want) {
			img, err := a.index.Image(p.Digest)
			if err != nil {
				return nil, c.explain("pull", a.Ref, err)
			}
			return img, nil
		}
		names = append(names, p.Platform.String())
	}
	return nil, fmt.Errorf("%s has no image for %s, only for %s", a.Ref, want, strings.Join(names, ", "))
}

// Tree lays the layers of one of the artifact's images on top of each other. Every blob is read and checked; the error names the layer
// and the entry that is wrong.
func (c *Client) Tree(ctx context.Context, a *Artifact, img v1.Image) (*Tree, error) {
	config, err := configOf(img)
	if err != nil {
		return nil, c.explain("pull", a.Ref, err)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, c.explain("pull", a.Ref, err)
	}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%s: %d layers, but the configuration has %d diff_ids", a.Ref, len(layers), len(config.RootFS.DiffIDs))
	}
	meter, err := c.meter("pull "+a.Ref.String(), layers)
	if err != nil {
		return nil, c.explain("pull", a.Ref, err)
	}
	tree := newTree()
	for i, l := range layers {
		if err := c.lay(ctx, tree, i+1, layer{l, config.RootFS.DiffIDs[i], a.Ref.Place}, meter); err != nil {
			digest, _ := l.Digest()
			return nil, c.explain("pull", a.Ref, fmt.Errorf("layer %d of %d (%s): %w", i+1, len(layers), digest, err))
		}
	}
	return tree, nil
}

// layer is a layer, the digest that it has to have when it is unpacked, and where it comes from.
type layer struct {
	v1.Layer
	diffID v1.Hash
	place  Place
}

// open reads the layer unpacked; the meter sees what crosses the network.
func (l layer) open(meter *meter) (io.ReadCloser, error) {
	opened := l.Layer
	if l.place == PlaceRegistry {
		// What is metered is what is transferred, so unpacking is done over the meter.
		over, err := partial.CompressedToLayer(&meteredLayer{l.Layer, meter})
		if err != nil {
			return nil, err
		}
		opened = over
	}
	rc, err := opened.Uncompressed()
	if err != nil {
		return nil, err
	}
	return verify(rc, l.diffID, -1)
}

func (c *Client) lay(ctx context.Context, tree *Tree, number int, l layer, meter *meter) error {
	rc, err := l.open(meter)
	if err != nil {
		return cutOff(err)
	}
	defer func() { _ = rc.Close() }()
	if err := tree.apply(ctx, number, rc); err != nil {
		return err
	}
	// What stands behind the end of the tar has to be read for the digests.
	_, err = io.Copy(io.Discard, rc)
	return cutOff(err)
}
