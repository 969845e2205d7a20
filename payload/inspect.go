package payload

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Report is what an image is and has.
type Report struct {
	Image string `json:"image"`
	// Digest is what the reference leads to: an index where Platforms has several.
	Digest    string           `json:"digest"`
	Platforms []PlatformReport `json:"platforms"`
	// Platform, ImageDigest and everything below are those of the platform that was asked for.
	Platform    string        `json:"platform"`
	ImageDigest string        `json:"imageDigest"`
	MediaType   string        `json:"mediaType"`
	Config      v1.Config     `json:"config"`
	Layers      []LayerReport `json:"layers"`
	// Size is how much is transferred, Unpacked how much it is on a node.
	Size     int64   `json:"size"`
	Unpacked int64   `json:"unpacked"`
	Entries  []Entry `json:"entries"`
}

// PlatformReport is one image of an index.
type PlatformReport struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
}

// LayerReport is one layer.
type LayerReport struct {
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
	CreatedBy string `json:"createdBy,omitempty"`
}

// Inspect reads all of an image for a platform. Of an artifact that is for another platform only, that one is reported.
func (c *Client) Inspect(ctx context.Context, ref Ref, platform v1.Platform) (*Report, error) {
	a, err := c.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	all, err := c.Platforms(a)
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		platform = all[0].Platform
	}
	img, err := c.Image(a, platform)
	if err != nil {
		return nil, err
	}
	report := &Report{Image: ref.String(), Digest: a.Digest.String()}
	for _, p := range all {
		report.Platforms = append(report.Platforms, PlatformReport{p.Platform.String(), p.Digest.String()})
	}
	if err := report.describe(img); err != nil {
		return nil, c.explain("pull", ref, err)
	}
	tree, err := c.Tree(ctx, a, img)
	if err != nil {
		return nil, err
	}
	for e := range tree.All("/") {
		report.Unpacked += e.Size
		report.Entries = append(report.Entries, e)
	}
	return report, nil
}

// describe fills in what the manifest and the configuration say.
func (r *Report) describe(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	config, err := configOf(img)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	r.ImageDigest, r.MediaType, r.Platform, r.Config = digest.String(), string(manifest.MediaType), config.Platform().String(), config.Config
	var by []string
	for i := range config.History {
		if !config.History[i].EmptyLayer {
			by = append(by, oneLine(config.History[i].CreatedBy))
		}
	}
	for i := range manifest.Layers {
		of := &manifest.Layers[i]
		l := LayerReport{Digest: of.Digest.String(), MediaType: string(of.MediaType), Size: of.Size}
		if len(by) == len(manifest.Layers) {
			l.CreatedBy = by[i]
		}
		r.Size += of.Size
		r.Layers = append(r.Layers, l)
	}
	return nil
}
