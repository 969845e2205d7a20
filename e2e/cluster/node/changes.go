package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// deleted stands for a file that was there when the node was made and is not there any more.
const deleted = "deleted"

// Changes compares the node's disk with the moment it was made: each changed path with what is there now, as mode and digest or link target, or
// "deleted". It reads Upper and leaves out what is there only because overlayfs copies a file up before it is touched: what is the same below is no
// change. Upper is the truth, Changes is what a person would say about it.
func (n *Node) Changes() (map[string]string, error) {
	disk := filepath.Dir(n.Upper())
	changes := map[string]string{}
	err := filepath.WalkDir(n.Upper(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(n.Upper(), path)
		if err != nil || name == "." {
			return err
		}
		now, err := fingerprint(path)
		if err != nil {
			return err
		}
		before := ""
		if below := lowerPath(disk, name); below != "" {
			if before, err = fingerprint(below); err != nil {
				return err
			}
		}
		if now != before {
			changes["/"+name] = now
		}
		if entry.IsDir() && isOpaque(path) {
			for _, gone := range missing(path, disk, name) {
				changes["/"+gone] = deleted
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("changes on node %q: %w", n.state.Name, err)
	}
	return changes, nil
}

// fingerprint is all that a comparison looks at: kind and mode, content of files, target of links.
func fingerprint(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	switch {
	case isWhiteout(info):
		return deleted, nil
	case info.Mode().IsRegular():
		sum, err := sumFile(path)
		return info.Mode().String() + " sha256:" + sum, err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "-> " + target, err
	default:
		return info.Mode().String(), nil
	}
}

// isWhiteout recognises how overlayfs writes down that a name of a lower layer is gone.
func isWhiteout(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0
}

func sumFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// lowerPath finds what the overlay shows of name when the upper directory is left out, "" for nothing: the layer first, then the machine, unless
// the layer hides the machine's there.
func lowerPath(disk, name string) string {
	inLayer, hidden := filepath.Join(disk, "layer"), false
	for element := range strings.SplitSeq(name, "/") {
		if isOpaque(inLayer) {
			hidden = true
		}
		inLayer = filepath.Join(inLayer, element)
		info, err := os.Lstat(inLayer)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil || isWhiteout(info) {
			return ""
		}
	}
	if _, err := os.Lstat(filepath.Join(disk, "layer", name)); err == nil {
		return filepath.Join(disk, "layer", name)
	}
	if _, err := os.Lstat("/" + name); hidden || err != nil {
		return ""
	}
	return "/" + name
}

// missing lists what a directory that was removed and made again does not have any more: overlayfs writes no whiteouts into such a directory.
func missing(dir, disk, name string) []string {
	var gone []string
	for _, lower := range []string{filepath.Join(disk, "layer"), "/"} {
		entries, err := os.ReadDir(filepath.Join(lower, name))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			child := filepath.Join(name, entry.Name())
			_, err := os.Lstat(filepath.Join(dir, entry.Name()))
			if errors.Is(err, fs.ErrNotExist) && lowerPath(disk, child) != "" {
				gone = append(gone, child)
			}
		}
	}
	return gone
}

func isOpaque(dir string) bool {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, overlayOpaque, value)
	return err == nil && n == 1 && value[0] == 'y'
}
