package images

import (
	"archive/tar"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func sample(t *testing.T) Image {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("not really one"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Image{
		Layers: [][]File{
			{Program("/opt/bin/program", program), Link("/opt/bin/alias", "program")},
			{Script("/install.sh", "#!/bin/sh\necho hello\n")},
		},
		Entrypoint: []string{"/opt/bin/program"}, User: "65532", Env: []string{"A=b"},
	}
}

func build(t *testing.T, image Image) v1.Image {
	t.Helper()
	built, err := Build(image)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// listing is the root file system of an image, a line for each entry.
func listing(t *testing.T, image v1.Image) []string {
	t.Helper()
	reader := mutate.Extract(image)
	defer func() { _ = reader.Close() }()
	var lines []string
	for archive := tar.NewReader(reader); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(strings.Join([]string{
			header.FileInfo().Mode().String(), header.Name, header.Linkname, string(data), header.ModTime.UTC().Format("2006"),
		}, "|")))
	}
}

func TestAnImageHoldsItsFilesAndTheDirectoriesAbove(t *testing.T) {
	image := build(t, sample(t))
	want := []string{
		"-rwxr-xr-x|install.sh||#!/bin/sh\necho hello\n|1970",
		"drwxr-xr-x|opt|||1970", "drwxr-xr-x|opt/bin|||1970",
		"Lrwxrwxrwx|opt/bin/alias|program||1970", "-rwxr-xr-x|opt/bin/program||not really one|1970",
	}
	if diff := cmp.Diff(want, listing(t, image)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Config.User != "65532" || !cmp.Equal(config.Config.Entrypoint, []string{"/opt/bin/program"}) {
		t.Errorf("config = %+v", config)
	}
}

func TestEqualContentGivesAnEqualDigest(t *testing.T) {
	first, second := sample(t), sample(t)
	// Another order of the files and another place of the source are no difference.
	second.Layers[0][0], second.Layers[0][1] = second.Layers[0][1], second.Layers[0][0]
	if a, b := digest(t, build(t, first)), digest(t, build(t, second)); a != b {
		t.Errorf("digests %s and %s of equal images", a, b)
	}
	second.Layers[1][0].Data = []byte("other")
	if a, b := digest(t, build(t, first)), digest(t, build(t, second)); a == b {
		t.Error("another content has the same digest")
	}
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestBadPathsAreRefused(t *testing.T) {
	for path, want := range map[string]string{"etc/x": "clean absolute path", "/a/../b": "clean absolute path"} {
		if _, err := Build(Image{Layers: [][]File{{{Path: path}}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error = %v, want %q", path, err, want)
		}
	}
	if _, err := Build(Image{Layers: [][]File{{{Path: "/a"}, {Path: "/a"}}}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a file given twice: error = %v", err)
	}
}

func TestAPushedImageCanBePulled(t *testing.T) {
	registry, err := NewRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry)
	defer server.Close()
	image := build(t, sample(t))
	ref, err := Push(t.Context(), Target{Ref: strings.TrimPrefix(server.URL, "http://") + "/payload:1", PlainHTTP: true}, image)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(parsed, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, image), listing(t, pulled)); diff != "" {
		t.Errorf("pulled (-pushed +pulled):\n%s", diff)
	}
}

func TestAPrivateRegistryWantsTheRightPassword(t *testing.T) {
	registry, err := NewRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(BasicAuth(registry, "user", "secret"))
	defer server.Close()
	image := build(t, sample(t))
	target := Target{Ref: strings.TrimPrefix(server.URL, "http://") + "/payload:1", PlainHTTP: true}
	for _, wrong := range []Target{target, {Ref: target.Ref, PlainHTTP: true, Username: "user", Password: "Secret"}} {
		if _, err := Push(t.Context(), wrong, image); err == nil || !strings.Contains(err.Error(), "401") && !strings.Contains(err.Error(), "UNAUTHORIZED") {
			t.Errorf("user %q, password %q: error = %v, want it refused", wrong.Username, wrong.Password, err)
		}
	}
	target.Username, target.Password = "user", "secret"
	ref, err := Push(t.Context(), target, image)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(parsed, remote.WithAuth(&authn.Basic{Username: "user", Password: "secret"})); err != nil {
		t.Errorf("with the right password: %v", err)
	}
}

func TestASavedImageCanBeLoaded(t *testing.T) {
	image, file := build(t, sample(t)), filepath.Join(t.TempDir(), "image.tar")
	if err := Save(file, "example.com/longshore:dev", image); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.com/longshore:dev")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, image), listing(t, loaded)); diff != "" {
		t.Errorf("loaded (-saved +loaded):\n%s", diff)
	}
}
