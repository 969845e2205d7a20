package informers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Files watches the files of a directory, a mounted ConfigMap as a rule.
type Files struct {
	dir string
	// tick is how often the directory is read even if no event came: some file systems have none.
	tick time.Duration
}

// NewFiles returns a watcher of the directory, which need not exist yet.
func NewFiles(dir string, tick time.Duration) *Files { return &Files{dir: dir, tick: tick} }

// maxSite is the most that is read: a ConfigMap holds no more.
const maxSite = 1 << 20

// current is the symlink in a mounted ConfigMap that the kubelet swaps when the content changes (AtomicWriter in k8s.io/kubernetes/pkg/volume/util).
const current = "..data"

// Read returns the regular files of the directory by name; a directory that does not exist has none. Of a mounted ConfigMap the symlink `..data`
// is followed once, so that all files are of one version.
func (f *Files) Read() (map[string][]byte, error) {
	for {
		dir, err := f.version()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(f.dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		files, err := readDir(dir)
		// The kubelet removes an old version as soon as the next one is in place: what was read of it may lack files.
		if now, changed := f.version(); changed == nil && now == dir {
			return files, err
		}
	}
}

// version is the directory with the files as they are now: what `..data` points to, or the directory itself where there is no such link.
func (f *Files) version() (string, error) {
	target, err := filepath.EvalSymlinks(filepath.Join(f.dir, current))
	if errors.Is(err, fs.ErrNotExist) {
		return f.dir, nil
	}
	if err != nil {
		return "", fmt.Errorf("read directory %q: %w", f.dir, err)
	}
	return target, nil
}

// readDir returns the regular files of a directory by name. Names with two dots in front are the kubelet's own.
func readDir(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", dir, err)
	}
	files, size := map[string][]byte{}, int64(0)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", path, err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if size += info.Size(); size > maxSite {
			return nil, fmt.Errorf("directory %q has more than %d bytes, which is more than a ConfigMap holds", dir, maxSite)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", path, err)
		}
		files[e.Name()] = content
	}
	return files, nil
}

// Watch calls changed with the content at the start and whenever it is another one, until the context ends. The directory is
// watched and not its files, no kind of event is left out, and the content decides: an editor and the kubelet replace files in
// their own ways. problem is called with what could not be read; the last content stays what it was.
func (f *Files) Watch(ctx context.Context, changed func(map[string][]byte), problem func(error)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %q: %w", f.dir, err)
	}
	defer func() {
		if err := watcher.Close(); err != nil {
			problem(err)
		}
	}()
	ticker := time.NewTicker(f.tick)
	defer ticker.Stop()
	var last map[string][]byte
	look := func() {
		// The directory may appear, or be replaced, at any time; adding it again is harmless.
		if err := watcher.Add(f.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem(fmt.Errorf("watch %q: %w", f.dir, err))
		}
		files, err := f.Read()
		if err != nil {
			problem(err)
			return
		}
		if !maps.EqualFunc(files, last, func(a, b []byte) bool { return string(a) == string(b) }) {
			last = files
			changed(files)
		}
	}
	look()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			look()
		case err := <-watcher.Errors:
			problem(fmt.Errorf("watch %q: %w", f.dir, err))
		case <-ticker.C:
			look()
		}
	}
}
