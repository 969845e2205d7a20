package images

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// NewRegistry is a registry with its blobs in dir and its manifests in memory.
func NewRegistry(dir string) (http.Handler, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)), registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)),
	), nil
}

// BasicAuth lets through who knows the user and the password.
func BasicAuth(next http.Handler, username, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		givenName, givenPassword, ok := r.BasicAuth()
		same := subtle.ConstantTimeCompare([]byte(givenName), []byte(username)) & subtle.ConstantTimeCompare([]byte(givenPassword), []byte(password))
		if ok && same == 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	})
}

// Target is a place to push to.
type Target struct {
	// Ref is host:port/repository:tag.
	Ref string
	// PlainHTTP speaks to the registry without TLS.
	PlainHTTP bool
	// Username and Password are empty for a registry that wants none.
	Username, Password string
}

// Push writes the image to a registry and returns its reference by digest.
func Push(ctx context.Context, target Target, image v1.Image) (string, error) {
	var options []name.Option
	if target.PlainHTTP {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(target.Ref, options...)
	if err != nil {
		return "", fmt.Errorf("pushing: %w", err)
	}
	auth := authn.Anonymous
	if target.Username != "" {
		auth = &authn.Basic{Username: target.Username, Password: target.Password}
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithAuth(auth)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", target.Ref, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	return ref.Context().Digest(digest.String()).String(), nil
}

// Save writes the image to a tar file that `docker load`, `podman load` and `ctr images import` read.
func Save(path, ref string, image v1.Image) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("saving: %w", err)
	}
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		return fmt.Errorf("saving %s to %s: %w", ref, path, err)
	}
	return nil
}
