package payload

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Rule says what a change may meet in the base.
type Rule string

// The rules: a path that the base has, or one that it lacks.
const (
	RuleReplace Rule = "replace"
	RuleAdd     Rule = "add"
)

// Change brings a file or directory of this machine into an image.
type Change struct {
	Rule Rule
	// Host is a file or a directory here, which is walked.
	Host string
	// Path is where it goes in the image, beginning with /.
	Path string
}

// ParseChange reads `host/path=/path/in/image`. The error names the text and what was expected.
func ParseChange(rule Rule, text string) (Change, error) {
	at := strings.LastIndex(text, "=/")
	if at <= 0 {
		return Change{}, fmt.Errorf("--%s %q: expected host/path=/path/in/image", rule, text)
	}
	file, err := inside(text[at+1:])
	if err != nil {
		return Change{}, fmt.Errorf("--%s %q: %w", rule, text, err)
	}
	if file == "/" {
		return Change{}, fmt.Errorf("--%s %q: expected a path below the root of the image", rule, text)
	}
	return Change{Rule: rule, Host: text[:at], Path: file}, nil
}

// hostFile is a file of this machine on its way into an image.
type hostFile struct {
	Change
	typ  Type
	perm fs.FileMode
	size int64
	link string
}

// collect walks the changes: every file, link and directory, in the order of their paths. Every problem is told at once.
func collect(changes []Change) ([]hostFile, error) {
	var found []hostFile
	var errs []error
	for _, change := range changes {
		// Walking does not follow a link, which is what whoever names one wants.
		root, err := filepath.EvalSymlinks(change.Host)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s %s=%s: %w", change.Rule, change.Host, change.Path, pathless(err)))
			continue
		}
		err = filepath.WalkDir(root, func(host string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			f, err := look(host, d)
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s %s: %w", change.Rule, host, err))
				return nil
			}
			f.Rule, f.Host = change.Rule, host
			f.Path = path.Join(change.Path, filepath.ToSlash(strings.TrimPrefix(host, root)))
			if f.typ == TypeSymlink {
				err = stays(path.Dir(f.Path), f.link)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s %s: %w", change.Rule, host, err))
				return nil
			}
			found = append(found, f)
			return nil
		})
		errs = append(errs, err)
	}
	slices.SortStableFunc(found, func(a, b hostFile) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(found); i++ {
		if a, b := &found[i-1], &found[i]; a.Path == b.Path && (a.typ != TypeDir || b.typ != TypeDir) {
			errs = append(errs, fmt.Errorf("%s is given twice: by %s and by %s", a.Path, a.Host, b.Host))
		}
	}
	return found, errors.Join(errs...)
}

// pathless is the error of a file without its name, which the message has already.
func pathless(err error) error {
	if wrong, ok := errors.AsType[*fs.PathError](err); ok {
		return wrong.Err
	}
	return err
}

func look(host string, d fs.DirEntry) (hostFile, error) {
	info, err := d.Info()
	if err != nil {
		return hostFile{}, pathless(err)
	}
	f := hostFile{perm: bits(info.Mode()), size: info.Size()}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		f.typ = TypeFile
	case mode.IsDir():
		f.typ, f.size = TypeDir, 0
	case mode&fs.ModeSymlink != 0:
		f.typ, f.size, f.perm = TypeSymlink, 0, 0o777
		if f.link, err = os.Readlink(host); err != nil {
			return hostFile{}, pathless(err)
		}
	default:
		return hostFile{}, fmt.Errorf("is a %s, expected a file, a directory or a link", mode.Type())
	}
	return f, nil
}

// bits are the permissions with setuid, setgid and sticky in their places of Unix.
func bits(mode fs.FileMode) fs.FileMode {
	perm := mode.Perm()
	for bit, unix := range map[fs.FileMode]fs.FileMode{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			perm |= unix
		}
	}
	return perm
}

// write puts the file into a layer: no owner, no time of its own, nothing that differs from machine to machine.
func (f *hostFile) write(w *tar.Writer, header *tar.Header) error {
	header.Name, header.Mode = strings.TrimPrefix(f.Path, "/"), int64(f.perm)
	switch f.typ {
	case TypeDir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return w.WriteHeader(header)
	case TypeSymlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		return w.WriteHeader(header)
	default:
	}
	header.Typeflag, header.Size = tar.TypeReg, f.size
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	content, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if _, err := io.Copy(w, content); err != nil {
		return fmt.Errorf("%s changed while it was read: %w", f.Host, err)
	}
	return nil
}
