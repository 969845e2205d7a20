// Package deploy answers: how does Longshore itself come into a test cluster?
//
// Just as with a user: its image is pushed to a registry, and kustomize/default is built with that image and applied.
package deploy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/parts"
)

// Source is the product's own tree: the folder above this module.
func Source() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module longshore.dev/longshore\n")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no folder above has the go.mod of longshore.dev/longshore")
}

// Program compiles the longshore binary as it is shipped.
func Program(ctx context.Context) (string, error) {
	source, err := Source()
	if err != nil {
		return "", err
	}
	cache, err := parts.CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	output := filepath.Join(cache, "longshore-program")
	return output, images.Compile{Dir: source, Package: "./cmd/longshore", Tags: []string{"timetzdata"}}.To(ctx, output)
}

// Longshore builds and pushes the controller's image, applies kustomize/default with it and with further arguments for the
// controller, and waits until all of its replicas are ready.
func Longshore(ctx context.Context, c *cluster.Cluster, progress io.Writer, args ...string) (ref string, err error) {
	fmt.Fprintln(progress, "building the controller's image")
	source, err := Source()
	if err != nil {
		return "", err
	}
	image, err := images.Controller(ctx, source, "e2e")
	if err != nil {
		return "", err
	}
	ref, err = images.Push(ctx, images.Target{Ref: c.Registry() + "/longshore:e2e", PlainHTTP: true}, image)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(progress, "pushed "+ref)
	if err := Apply(ctx, c, ref, args...); err != nil {
		return "", err
	}
	out, err := c.Kubectl(ctx, "--namespace=longshore-system", "rollout", "status", "deployment/longshore", "--timeout=3m")
	if err != nil {
		return "", err
	}
	fmt.Fprint(progress, out)
	return ref, nil
}

// Apply builds kustomize/default with the image and with the rights for the pods of others, as an overlay of a user's would, and applies it.
func Apply(ctx context.Context, c *cluster.Cluster, ref string, args ...string) error {
	source, err := Source()
	if err != nil {
		return err
	}
	overlay, err := os.MkdirTemp("", "longshore-overlay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(overlay) }()
	// kustomize takes relative paths only.
	base, err := filepath.Rel(overlay, filepath.Join(source, "kustomize"))
	if err != nil {
		return err
	}
	name, digest, _ := strings.Cut(ref, "@")
	var text strings.Builder
	fmt.Fprintf(&text, "resources:\n- %[1]s/default\ncomponents:\n- %[1]s/components/workloads\nimages:\n- name: longshore\n  newName: %[2]s\n  digest: %[3]s\n", base, name, digest)
	if len(args) > 0 {
		text.WriteString("patches:\n- target: {kind: Deployment, name: longshore}\n  patch: |\n")
		for _, arg := range args {
			fmt.Fprintf(&text, "    - {op: add, path: /spec/template/spec/containers/0/args/-, value: %q}\n", arg)
		}
	}
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text.String()), 0o600); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "apply", "--server-side", "--kustomize", overlay)
	return err
}

// Payload builds and pushes a payload and returns its reference by digest.
func Payload(ctx context.Context, c *cluster.Cluster, name string, content images.Image) (string, error) {
	image, err := images.Build(content)
	if err != nil {
		return "", fmt.Errorf("payload %s: %w", name, err)
	}
	return images.Push(ctx, images.Target{Ref: c.Registry() + "/payloads/" + name, PlainHTTP: true}, image)
}
