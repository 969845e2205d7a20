package informers_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/informers"
)

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func texts(files map[string][]byte) map[string]string {
	out := map[string]string{}
	for name, content := range files {
		out[name] = string(content)
	}
	return out
}

// mount makes the directory what a kubelet makes of a ConfigMap: the files are links into `..data`, itself a link that is swapped.
func mount(t *testing.T, dir, generation string, files map[string]string) {
	t.Helper()
	folder := filepath.Join(dir, "..2026_"+generation)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		put(t, folder, name, content)
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(folder), fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestTheFilesOfADirectoryAreReadAsAConfigMapIsMounted(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "1", map[string]string{"kustomization.yaml": "kind: Component", "patch.yaml": "x"})
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "not-mounted", "y")
	files, err := informers.NewFiles(dir, 0).Read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"kustomization.yaml": "kind: Component", "patch.yaml": "x"}, texts(files)); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

// TestFilesAreNeverOfTwoVersions reads while versions are swapped and old ones removed, as fast as both can.
func TestFilesAreNeverOfTwoVersions(t *testing.T) {
	dir := t.TempDir()
	version := func(n int) map[string]string {
		return map[string]string{"a": strconv.Itoa(n), "b": strconv.Itoa(n), "c": strconv.Itoa(n)}
	}
	mount(t, dir, "0", version(0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; n <= 500; n++ {
			mount(t, dir, strconv.Itoa(n), version(n))
			if err := os.RemoveAll(filepath.Join(dir, "..2026_"+strconv.Itoa(n-1))); err != nil {
				t.Error(err)
			}
		}
	}()
	reads := 0
	for ended := false; !ended; reads++ {
		select {
		case <-done:
			ended = true
		default:
		}
		files, err := informers.NewFiles(dir, 0).Read()
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(files); len(got) != 3 || got["a"] != got["b"] || got["b"] != got["c"] {
			t.Fatalf("a mixture of versions: %v", got)
		}
	}
	t.Logf("%d reads", reads)
}

func TestADirectoryThatIsNotThereHasNoFiles(t *testing.T) {
	if files, err := informers.NewFiles(filepath.Join(t.TempDir(), "no"), 0).Read(); err != nil || len(files) != 0 {
		t.Errorf("read %v, %v", files, err)
	}
}

func TestADirectoryThatCannotBeReadIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	put(t, dir, "file", "x")
	if _, err := informers.NewFiles(file, 0).Read(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in place of a directory: %v", err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if _, err := informers.NewFiles(dir, 0).Read(); err == nil || !strings.Contains(err.Error(), dangling) {
		t.Errorf("a link to nowhere: %v", err)
	}
}

func TestADirectoryHasNoMoreThanAConfigMapHolds(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", strings.Repeat("x", 1<<20))
	if _, err := informers.NewFiles(dir, 0).Read(); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	put(t, dir, "b", "x")
	if _, err := informers.NewFiles(dir, 0).Read(); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("1 MiB and a byte: %v", err)
	}
}

// watching watches a directory until the test ends. Inotify has no virtual time: events are waited for, up to a limit.
type watching struct {
	t        *testing.T
	changes  chan map[string]string
	problems chan error
}

func watchDir(t *testing.T, dir string, tick time.Duration) *watching {
	w := &watching{t: t, changes: make(chan map[string]string, 100), problems: make(chan error, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- informers.NewFiles(dir, tick).Watch(ctx, func(files map[string][]byte) { w.changes <- texts(files) }, func(err error) {
			select {
			case w.problems <- err:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// until waits for the content; what was read between two writes is passed over.
func (w *watching) until(want map[string]string) {
	w.t.Helper()
	var last map[string]string
	for {
		select {
		case last = <-w.changes:
			if maps.Equal(last, want) {
				return
			}
		case <-time.After(10 * time.Second):
			w.t.Fatalf("the last content is %v, want %v", last, want)
		}
	}
}

func (w *watching) problem(says string) {
	w.t.Helper()
	for {
		select {
		case err := <-w.problems:
			if strings.Contains(err.Error(), says) {
				return
			}
		case <-time.After(10 * time.Second):
			w.t.Fatalf("no problem says %q", says)
		}
	}
}

func TestAMountedConfigMapIsReadAgainWhenTheKubeletSwapsIt(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "1", map[string]string{"kustomization.yaml": "one"})
	w := watchDir(t, dir, time.Hour)
	w.until(map[string]string{"kustomization.yaml": "one"})
	mount(t, dir, "2", map[string]string{"kustomization.yaml": "two"})
	w.until(map[string]string{"kustomization.yaml": "two"})
	mount(t, dir, "3", map[string]string{"kustomization.yaml": "three", "patch.yaml": "x"})
	w.until(map[string]string{"kustomization.yaml": "three", "patch.yaml": "x"})
}

func TestADirectoryThatAppearsLaterIsFoundByTheTick(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	w := watchDir(t, dir, 20*time.Millisecond)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "kustomization.yaml", "one")
	w.until(map[string]string{"kustomization.yaml": "one"})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.until(map[string]string{})
}

func TestBadContentIsReportedAndTheLastOneStays(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "kustomization.yaml", "one")
	w := watchDir(t, dir, time.Hour)
	w.until(map[string]string{"kustomization.yaml": "one"})
	// Moved in, so that nothing in between is seen.
	aside := t.TempDir()
	put(t, aside, "large", strings.Repeat("x", 1<<20))
	if err := os.Rename(filepath.Join(aside, "large"), filepath.Join(dir, "large")); err != nil {
		t.Fatal(err)
	}
	w.problem("which is more than a ConfigMap holds")
	select {
	case files := <-w.changes:
		t.Errorf("changed to %d files", len(files))
	default:
	}
	if err := os.Remove(filepath.Join(dir, "large")); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "kustomization.yaml", "two")
	w.until(map[string]string{"kustomization.yaml": "two"})
}

func TestAWriteThatChangesNothingIsNoChange(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "one")
	w := watchDir(t, dir, 5*time.Millisecond)
	w.until(map[string]string{"a": "one"})
	mark := filepath.Join(dir, "..mark")
	for range 20 {
		put(t, dir, "..mark", "x")
		if err := os.Remove(mark); err != nil {
			t.Fatal(err)
		}
	}
	// The next change comes after all of the events before it.
	put(t, dir, "b", "two")
	for {
		files := <-w.changes
		if maps.Equal(files, map[string]string{"a": "one", "b": "two"}) {
			return
		}
		if !maps.Equal(files, map[string]string{"a": "one", "b": ""}) {
			t.Fatalf("changed to %v", files)
		}
	}
}
