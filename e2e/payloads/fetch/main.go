// Command fetch answers: what does an installer do that pulls its payload itself?
//
//	fetch DIR    pull KATA_PAYLOAD_IMAGE and write its files below DIR
//
// PAYLOAD_REGISTRY_USERNAME and PAYLOAD_REGISTRY_PASSWORD are the credentials where they are set. The registry is spoken to without TLS, as
// the tests' registries are.
package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: fetch DIR")
	}
	ref, err := name.ParseReference(os.Getenv("KATA_PAYLOAD_IMAGE"), name.Insecure)
	if err != nil {
		return err
	}
	login := authn.Anonymous
	if user := os.Getenv("PAYLOAD_REGISTRY_USERNAME"); user != "" {
		login = authn.FromConfig(authn.AuthConfig{Username: user, Password: strings.TrimRight(os.Getenv("PAYLOAD_REGISTRY_PASSWORD"), "\r\n")})
	}
	image, err := remote.Image(ref, remote.WithAuth(login), remote.WithContext(ctx))
	if err != nil {
		return err
	}
	files := mutate.Extract(image)
	defer func() { _ = files.Close() }()
	root, err := os.OpenRoot(args[0])
	if err != nil {
		return err
	}
	return errors.Join(unpack(root, files), root.Close())
}

// unpack writes the regular files of a tar; a path cannot leave the root.
func unpack(root *os.Root, files io.Reader) error {
	for entries := tar.NewReader(files); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		path := strings.TrimPrefix(filepath.Clean("/"+header.Name), "/")
		if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, entries)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
}
