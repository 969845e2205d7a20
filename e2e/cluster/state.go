package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// StateEnv names the environment variable that moves the state directories.
const StateEnv = "LONGSHORE_STATE"

// baseDir holds one directory for each cluster of this user; it exists only while there are any.
func baseDir() (string, error) {
	dir := os.Getenv(StateEnv)
	if dir == "" {
		dir = fmt.Sprintf("/var/tmp/longshore-%d", os.Getuid())
	}
	return filepath.Abs(dir)
}

func makeBaseDir() (string, error) {
	dir, err := baseDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// /var/tmp is everybody's: a directory that somebody else made there is not ours to trust with keys.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() || !info.IsDir() {
		return "", fmt.Errorf("%s is no directory of this user's; set %s to one that is", dir, StateEnv)
	}
	return dir, nil
}

// lock holds a lock file until the returned function is called. The file is removed with the lock, so that nothing is left behind; the
// comparison of the inode catches a file that its last holder removed while we waited.
func lock(ctx context.Context, path string) (func(), error) {
	for {
		file, err := openLock(path)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && stillThere(file, path) {
			return func() { _ = os.Remove(path); _ = file.Close() }, nil
		}
		_ = file.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another process that holds %s: %w", path, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// openLock makes the directory again when whoever took the last cluster down just removed it.
func openLock(path string) (*os.File, error) {
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
}

func stillThere(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(held, now)
}

// lockCluster keeps two processes from making or removing the same cluster at once.
func lockCluster(ctx context.Context, dir string) (func(), error) { return lock(ctx, dir+".lock") }

// lockBase guards what clusters share: the choice of networks and the machine's sysctls.
func lockBase(ctx context.Context, base string) (func(), error) {
	return lock(ctx, filepath.Join(base, ".lock"))
}
