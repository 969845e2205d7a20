package payload

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Plan is a new layer on a base.
type Plan struct {
	// Base is what the layer is put on; nil is an empty image.
	Base *Artifact
	// Platforms chooses images of an index; none chooses all. An empty base gets an image for each.
	Platforms []v1.Platform
	Changes   []Change
	// Created is the time that every file of the layer and the image have. The same plan with the same files has the same digest.
	Created time.Time
}

// Built says what a build made.
type Built struct {
	Artifact *Artifact    `json:"-"`
	Digest   string       `json:"digest"`
	Images   []BuiltImage `json:"images"`
}

// BuiltImage is one platform's image of a build.
type BuiltImage struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	// Layer is the digest of the new layer; empty for an image that was left as it is.
	Layer string    `json:"layer,omitempty"`
	Files []Changed `json:"files,omitempty"`
}

// Changed is a file of the new layer, with what stood there before.
type Changed struct {
	Rule Rule   `json:"rule"`
	Host string `json:"host"`
	Path string `json:"path"`
	Mode string `json:"mode"`
	Size int64  `json:"size"`
	// Before is what was replaced; nil where something was added.
	Before *Entry `json:"before,omitempty"`

	perm fs.FileMode
}

// Lost says whether a file took the place of one that could be executed and cannot be itself.
func (c *Changed) Lost() bool {
	return c.Before != nil && c.Before.Type == TypeFile && c.Before.executable() && c.perm&0o111 == 0
}

// Build makes an image, or an index, with a new layer, and writes it nowhere yet. It refuses to replace what the base does not have and to
// add what it has; every such problem is told at once.
func (c *Client) Build(ctx context.Context, plan *Plan) (*Built, error) {
	files, err := collect(plan.Changes)
	if err != nil {
		return nil, err
	}
	b := &building{client: c, plan: plan, files: files}
	switch {
	case plan.Base == nil:
		err = b.fromNothing(ctx)
	case plan.Base.index != nil:
		err = b.fromIndex(ctx)
	default:
		err = b.fromImage(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &b.built, nil
}

// building is one build under way.
type building struct {
	client *Client
	plan   *Plan
	files  []hostFile
	built  Built
}

func (b *building) done(a *Artifact, get func() (v1.Hash, error)) error {
	digest, err := get()
	if err != nil {
		return b.client.explain("pull", a.Ref, err)
	}
	a.Digest = digest
	b.built.Artifact, b.built.Digest = a, digest.String()
	return nil
}

func (b *building) fromNothing(ctx context.Context) error {
	base := &Artifact{Ref: Ref{Place: PlaceTar, text: "the empty base"}}
	var images []mutate.IndexAddendum
	for _, p := range b.plan.Platforms {
		config := &v1.ConfigFile{
			OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Created: v1.Time{Time: b.plan.Created}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		}
		img, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
		if err != nil {
			return err
		}
		if base.image, err = b.image(ctx, base, img, p); err != nil {
			return err
		}
		images = append(images, mutate.IndexAddendum{Add: base.image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	switch len(images) {
	case 0:
		return errors.New("an empty base needs a platform")
	case 1:
		return b.done(base, base.image.Digest)
	}
	index := &Artifact{Ref: base.Ref, index: mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), images...)}
	return b.done(index, index.index.Digest)
}

func (b *building) fromImage(ctx context.Context) error {
	base := b.plan.Base
	platform, err := configured(base.image)
	if err != nil {
		return b.client.explain("pull", base.Ref, err)
	}
	for _, p := range b.plan.Platforms {
		if !platform.Satisfies(p) {
			return fmt.Errorf("%s is for %s, expected %s", base.Ref, platform, p)
		}
	}
	img, err := b.image(ctx, base, base.image, platform)
	if err != nil {
		return err
	}
	return b.done(&Artifact{Ref: base.Ref, image: img}, img.Digest)
}

// fromIndex keeps the index: images of other platforms stay as they are, in their places.
func (b *building) fromIndex(ctx context.Context) error {
	base := b.plan.Base
	all, err := b.client.Platforms(base)
	if err != nil {
		return err
	}
	for _, want := range b.plan.Platforms {
		if !slices.ContainsFunc(all, func(p Platform) bool { return p.Platform.Satisfies(want) }) {
			_, err := b.client.Image(base, want)
			return err
		}
	}
	platforms := map[v1.Hash]v1.Platform{}
	for _, p := range all {
		platforms[p.Digest] = p.Platform
	}
	manifest, err := base.index.IndexManifest()
	if err != nil {
		return b.client.explain("pull", base.Ref, err)
	}
	changed := map[string]bool{}
	var adds []mutate.IndexAddendum
	for i := range manifest.Manifests {
		of := manifest.Manifests[i]
		img, err := base.index.Image(of.Digest)
		if err != nil {
			return b.client.explain("pull", base.Ref, err)
		}
		platform, runs := platforms[of.Digest]
		switch {
		case runs && b.chosen(platform):
			if img, err = b.image(ctx, base, img, platform); err != nil {
				return err
			}
			changed[of.Digest.String()] = true
			of.Digest, of.Size, of.Data = v1.Hash{}, 0, nil
		case runs:
			b.built.Images = append(b.built.Images, BuiltImage{Platform: platform.String(), Digest: of.Digest.String()})
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: of})
	}
	// What attests to an image says nothing about the one that takes its place.
	adds = slices.DeleteFunc(adds, func(a mutate.IndexAddendum) bool { return changed[a.Annotations["vnd.docker.reference.digest"]] })
	index := mutate.AppendManifests(mutate.RemoveManifests(base.index, func(v1.Descriptor) bool { return true }), adds...)
	return b.done(&Artifact{Ref: base.Ref, index: index}, index.Digest)
}

func (b *building) chosen(platform v1.Platform) bool {
	return len(b.plan.Platforms) == 0 || slices.ContainsFunc(b.plan.Platforms, platform.Satisfies)
}

// image puts the layer onto one image.
func (b *building) image(ctx context.Context, base *Artifact, img v1.Image, platform v1.Platform) (v1.Image, error) {
	tree, err := b.client.Tree(ctx, base, img)
	if err != nil {
		return nil, err
	}
	files, changed, err := settle(b.files, tree)
	if err != nil {
		return nil, prefixed(fmt.Sprintf("%s (%s)", base.Ref, platform), err)
	}
	kind, err := img.MediaType()
	if err != nil {
		return nil, b.client.explain("pull", base.Ref, err)
	}
	layerType := types.OCILayer
	if kind == types.DockerManifestSchema2 {
		layerType = types.DockerLayer
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return pack(files, b.plan.Created), nil }, tarball.WithMediaType(layerType), tarball.WithCompressionLevel(gzip.DefaultCompression))
	if err != nil {
		return nil, fmt.Errorf("new layer: %w", err)
	}
	history := v1.History{Created: v1.Time{Time: b.plan.Created}, CreatedBy: "longshore payload build"}
	made, err := mutate.Append(img, mutate.Addendum{Layer: l, History: history})
	if err != nil {
		return nil, fmt.Errorf("new layer: %w", err)
	}
	digest, err := made.Digest()
	if err != nil {
		return nil, b.client.explain("pull", base.Ref, err)
	}
	layerDigest, err := l.Digest()
	if err != nil {
		return nil, fmt.Errorf("new layer: %w", err)
	}
	b.built.Images = append(b.built.Images, BuiltImage{Platform: platform.String(), Digest: digest.String(), Layer: layerDigest.String(), Files: changed})
	return made, nil
}

// settle finds the place of every file in the tree of a base, through its links, and refuses what the rules do not allow.
func settle(files []hostFile, tree *Tree) (placed []hostFile, changed []Changed, err error) {
	var errs []error
	for _, f := range files {
		before, err := f.settle(tree)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s %s: %w", f.Rule, f.Path, err))
			continue
		}
		if f.typ == TypeDir && before != nil {
			continue // the base has it, with an owner and permissions that are its own business
		}
		placed = append(placed, f)
		if f.typ == TypeDir {
			continue
		}
		changed = append(changed, Changed{Rule: f.Rule, Host: f.Host, Path: f.Path, Mode: fmt.Sprintf("%04o", f.perm), Size: f.size, Before: before, perm: f.perm})
	}
	slices.SortFunc(placed, func(a, b hostFile) int { return strings.Compare(a.Path, b.Path) })
	return placed, changed, errors.Join(errs...)
}

// settle moves the file to where its directory really is, and returns what stands in its place.
func (f *hostFile) settle(tree *Tree) (*Entry, error) {
	dir, name := path.Split(f.Path)
	parent, err := tree.walk(dir, func(parent *node, name string) (*node, error) {
		return &node{Entry: Entry{Type: TypeDir, perm: 0o755}, name: name, parent: parent}, nil
	})
	if err != nil {
		return nil, err
	}
	if parent.Type != TypeDir {
		return nil, fmt.Errorf("%q is no directory in the base", parent.path())
	}
	f.Path = path.Join(parent.path(), name)
	old := parent.children[name]
	switch {
	case old == nil && f.Rule == RuleReplace:
		return nil, fmt.Errorf("the base has no such %s: replace what is there, or use --add", f.typ)
	case old == nil:
		return nil, nil
	case f.typ == TypeDir && old.Type != TypeDir:
		return nil, fmt.Errorf("is a %s in the base, expected a directory", old.Type)
	case f.typ != TypeDir && old.Type == TypeDir:
		return nil, errors.New("is a directory in the base, expected a file")
	case f.typ != TypeDir && f.Rule == RuleAdd:
		return nil, errors.New("the base has it already: use --replace")
	}
	before := old.entry()
	return &before, nil
}

// pack is the layer as a tar that is made while it is read.
func pack(files []hostFile, created time.Time) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		layer := tar.NewWriter(w)
		var err error
		for i := range files {
			if err = files[i].write(layer, &tar.Header{ModTime: created, Format: tar.FormatPAX}); err != nil {
				break
			}
		}
		if err == nil {
			err = layer.Close()
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return r
}
