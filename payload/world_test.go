package payload

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file is an entry of a layer. What is a link or a directory says its name: "a -> b", "a => b" for a hard link, "a/" for a directory.
type file struct {
	name    string
	mode    int64
	content string
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Typeflag: tar.TypeReg, Size: int64(len(f.content))}
		if name, target, ok := strings.Cut(f.name, " -> "); ok {
			header = &tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
		} else if name, target, ok := strings.Cut(f.name, " => "); ok {
			header = &tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
		} else if strings.HasSuffix(f.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(t testing.TB, files ...file) v1.Layer {
	t.Helper()
	content := tarOf(t, files...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// imageOf is an OCI image for linux and an architecture.
func imageOf(t testing.TB, arch string, layers ...v1.Layer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		t.Fatal(err)
	}
	return img
}

func indexOf(t testing.TB, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		if img, ok := images[arch]; ok {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
		}
	}
	return index
}

// program is an ELF program for a machine, as far as headers go, with a dynamic linker or none.
func programFor(machine elf.Machine, loader string) string {
	head := make([]byte, 64+56)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	binary.LittleEndian.PutUint16(head[18:], uint16(machine))
	binary.LittleEndian.PutUint64(head[32:], 64)
	binary.LittleEndian.PutUint16(head[54:], 56)
	if loader == "" {
		return string(head)
	}
	binary.LittleEndian.PutUint16(head[56:], 1)
	binary.LittleEndian.PutUint32(head[64:], uint32(elf.PT_INTERP))
	binary.LittleEndian.PutUint64(head[64+8:], uint64(len(head)))
	binary.LittleEndian.PutUint64(head[64+32:], uint64(len(loader)+1))
	return string(head) + loader + "\x00"
}

// aRegistry is a real one on loopback, with faults in front of it.
type aRegistry struct {
	host string

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool
	seen  []string
}

func newRegistry(t *testing.T) *aRegistry {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // nobody's credentials
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &aRegistry{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, req.Method+" "+req.URL.Path)
		fault := r.fault
		r.mu.Unlock()
		if fault == nil || !fault(w, req) {
			handler.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// breaks puts a fault in front of the registry; it says whether it has answered. nil mends it.
func (r *aRegistry) breaks(fault func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

func (r *aRegistry) ref(t *testing.T, name string) Ref { return refOf(t, r.host+"/"+name) }

func refOf(t *testing.T, text string) Ref {
	t.Helper()
	ref, err := ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// hasTag asks the registry itself.
func (r *aRegistry) hasTag(t *testing.T, name string) bool {
	t.Helper()
	r.breaks(nil)
	_, err := remote.Head(r.ref(t, name).Name)
	return err == nil
}

func (r *aRegistry) push(t *testing.T, name string, what remote.Taggable) Ref {
	t.Helper()
	ref := r.ref(t, name)
	if err := remote.Push(ref.Name, what); err != nil {
		t.Fatal(err)
	}
	return ref
}

// client tries again at once.
func client() *Client {
	return &Client{Timeout: 10 * time.Second, Backoff: remote.Backoff{Duration: time.Microsecond, Factor: 1, Steps: 2}}
}

func open(t *testing.T, ref Ref) *Artifact {
	t.Helper()
	a, err := client().Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// hostDir is a directory of this machine with files: name, mode, content.
func hostDir(t *testing.T, files ...file) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f.content), os.FileMode(f.mode)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, os.FileMode(f.mode)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func change(t *testing.T, rule Rule, text string) Change {
	t.Helper()
	c, err := ParseChange(rule, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says checks that an error is one line and has every one of the words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected one that says %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line:\n%v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q\nlacks %q", err, word)
		}
	}
}
