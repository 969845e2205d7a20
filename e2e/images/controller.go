package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Controller builds the controller's image from the repository at source: nothing but the static program, which brings its time zones along
// and runs as a user that is not root. It needs no authorities: the only server it speaks to is the API server, whose authority it is given.
func Controller(ctx context.Context, source, version string) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "longshore-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	output := filepath.Join(dir, "longshore")
	program := Compile{Dir: source, Package: "./cmd/longshore", Tags: []string{"timetzdata"}, LDFlags: []string{"-X main.version=" + version}}
	if err := program.To(ctx, output); err != nil {
		return nil, fmt.Errorf("controller image: %w", err)
	}
	// In memory, because the image outlives the temporary directory.
	data, err := os.ReadFile(output)
	if err != nil {
		return nil, err
	}
	return Build(Image{
		Layers:     [][]File{{{Path: "/longshore", Mode: 0o755, Data: data}}},
		Entrypoint: []string{"/longshore"},
		User:       "65532:65532",
		Labels:     map[string]string{"org.opencontainers.image.title": "longshore", "org.opencontainers.image.version": version},
	})
}
