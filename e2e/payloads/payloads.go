// Package payloads answers: what do the tests and the demo install?
package payloads

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/parts"
)

var (
	//go:embed crun/install.sh
	crunInstall string
	//go:embed crun/uninstall.sh
	crunUninstall string
	//go:embed crun/containerd.sh
	crunContainerd string
	//go:embed crun/crun.sh
	crunWrapper string
)

// crunPackages are Debian's crun and the libraries it needs, without the C library.
var crunPackages = []string{
	"crun", "libyajl2", "libseccomp2", "libcap2", "libsystemd0", "libgcrypt20", "liblzma5", "libzstd1", "liblz4-1", "libgpg-error0",
}

// Crun is a payload with a real runtime: crun, an implementation of the OCI runtime in C. Its commands are /payload/install.sh and
// /payload/uninstall.sh; they want the host's /opt/crun and /etc/containerd below /host. The version is only a name, by which one
// payload differs from the next.
func Crun(ctx context.Context, progress io.Writer, version string) (images.Image, error) {
	dir, err := parts.Debian(ctx, progress, crunPackages...)
	if err != nil {
		return images.Image{}, fmt.Errorf("crun: %w", err)
	}
	shell, err := images.Shell(ctx, progress)
	if err != nil {
		return images.Image{}, err
	}
	files := []images.File{
		images.Script("/payload/install.sh", crunInstall),
		images.Script("/payload/uninstall.sh", crunUninstall),
		images.Script("/payload/containerd.sh", crunContainerd),
		images.Script("/payload/crun", crunWrapper),
		images.Program("/payload/crun.bin", filepath.Join(dir, "usr/bin/crun")),
		{Path: "/payload/VERSION", Mode: 0o644, Data: []byte(version + "\n")},
	}
	libraries, err := sharedLibraries(dir)
	if err != nil {
		return images.Image{}, fmt.Errorf("crun: %w", err)
	}
	for _, library := range libraries {
		files = append(files, images.Program("/payload/lib/"+library.name, library.path))
	}
	return images.Image{Layers: [][]images.File{shell, files}, Entrypoint: []string{"/payload/install.sh"}}, nil
}

// library is a shared library by the name that programs ask for.
type library struct{ name, path string }

// sharedLibraries finds the libraries below a directory by their short names (libx.so.1), which are links as a rule.
func sharedLibraries(dir string) ([]library, error) {
	var found []library
	for _, pattern := range []string{"lib/*-linux-gnu/*.so.*", "usr/lib/*-linux-gnu/*.so.*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			name := filepath.Base(path)
			if _, version, _ := strings.Cut(name, ".so."); strings.Contains(version, ".") {
				continue
			}
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				return nil, err
			}
			if info, err := os.Stat(target); err != nil || !info.Mode().IsRegular() {
				continue
			}
			found = append(found, library{name: name, path: target})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no shared libraries below %s", dir)
	}
	return found, nil
}

// Script is a payload that consists of a shell and the given scripts, by path.
func Script(ctx context.Context, progress io.Writer, scripts map[string]string) (images.Image, error) {
	shell, err := images.Shell(ctx, progress)
	if err != nil {
		return images.Image{}, err
	}
	var files []images.File
	for path, text := range scripts {
		files = append(files, images.Script(path, text))
	}
	return images.Image{Layers: [][]images.File{shell, files}, Entrypoint: []string{"/bin/sh"}}, nil
}

// Workshop is where programs for payloads are built.
type Workshop struct {
	// Source is the directory of this module, Dir one to build into.
	Source, Dir string
}

// Label is a payload of a shell, scripts and /bin/node, with which they change labels of their node.
func (w Workshop) Label(ctx context.Context, scripts map[string]string) (images.Image, error) {
	return w.with(ctx, "node", scripts)
}

// Fetch is an installer of a shell, scripts and /bin/fetch, with which they pull a payload.
func (w Workshop) Fetch(ctx context.Context, scripts map[string]string) (images.Image, error) {
	return w.with(ctx, "fetch", scripts)
}

// with is a payload of a shell, scripts and one of the programs below this package.
func (w Workshop) with(ctx context.Context, name string, scripts map[string]string) (images.Image, error) {
	image, err := Script(ctx, io.Discard, scripts)
	if err != nil {
		return images.Image{}, err
	}
	program := filepath.Join(w.Dir, name)
	if err := (images.Compile{Dir: w.Source, Package: "./payloads/" + name}).To(ctx, program); err != nil {
		return images.Image{}, err
	}
	image.Layers = append(image.Layers, []images.File{images.Program("/bin/"+name, program)})
	return image, nil
}

//go:embed crun/spec.yaml
var crunSpec string

// CrunSpec is the spec that installs crun from a payload image.
func CrunSpec(image string) string {
	return strings.Replace(crunSpec, "payloadImage: PAYLOAD", "payloadImage: "+image, 1)
}

// CrunProof is a command that succeeds in a container that crun made and fails in one that runc made. It looks at how the directory
// /sys/firmware is hidden from the container: crun mounts a tmpfs with size=0k there, runc one with size=4k and one inode.
var CrunProof = []string{"grep", "/sys/firmware .*size=0k", "/proc/self/mountinfo"}
