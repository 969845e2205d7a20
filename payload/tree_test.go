package payload

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// laid is what layers become, a line an entry.
func laid(t testing.TB, layers ...[]byte) (*Tree, error) {
	t.Helper()
	tree := newTree()
	for i, l := range layers {
		if err := tree.apply(t.Context(), i+1, bytes.NewReader(l)); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

func lines(tree *Tree) string {
	var b strings.Builder
	for e := range tree.All("/") {
		switch e.Type {
		case TypeDir:
			fmt.Fprintf(&b, "%s/\n", strings.TrimSuffix(e.Path, "/"))
		case TypeSymlink:
			fmt.Fprintf(&b, "%s -> %s\n", e.Path, e.Link)
		default:
			fmt.Fprintf(&b, "%s %d\n", e.Path, e.Size)
		}
	}
	return b.String()
}

func TestLayersLieOnTopOfEachOther(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]file
		want   string
	}{
		"a later file replaces an earlier one": {
			[][]file{{{name: "a/b", content: "1"}}, {{name: "a/b", content: "333"}}},
			"/\n/a/\n/a/b 3\n",
		},
		"a directory over a directory keeps what is in it": {
			[][]file{{{name: "a/b", content: "1"}}, {{name: "a/", mode: 0o700}, {name: "a/c"}}},
			"/\n/a/\n/a/b 1\n/a/c 0\n",
		},
		"a file over a directory takes all of it away": {
			[][]file{{{name: "a/b/c"}}, {{name: "a", content: "12"}}},
			"/\n/a 2\n",
		},
		"a whiteout hides what the layers below have": {
			[][]file{{{name: "a/b/c"}, {name: "a/d"}}, {{name: "a/.wh.b"}}},
			"/\n/a/\n/a/d 0\n",
		},
		"an opaque directory has only what its own layer brings, in whatever order": {
			[][]file{{{name: "a/old"}, {name: "a/sub/old"}}, {{name: "a/"}, {name: "a/new"}, {name: "a/sub/new"}, {name: "a/.wh..wh..opq"}}},
			"/\n/a/\n/a/new 0\n/a/sub/\n/a/sub/new 0\n",
		},
		"a whiteout of nothing is nothing": {
			[][]file{{{name: "a"}}, {{name: "x/y/.wh.b"}, {name: ".wh..wh.plnk"}}},
			"/\n/a 0\n",
		},
		"an entry below a link goes to where the link leads": {
			[][]file{{{name: "usr/lib/"}, {name: "lib -> usr/lib"}}, {{name: "lib/x", content: "1"}}},
			"/\n/lib -> usr/lib\n/usr/\n/usr/lib/\n/usr/lib/x 1\n",
		},
		"a hard link is the file that it leads to": {
			[][]file{{{name: "bin/busybox", content: "12345"}}, {{name: "bin/sh => bin/busybox"}}},
			"/\n/bin/\n/bin/busybox 5\n/bin/sh 5\n",
		},
		"names may begin with / or ./": {
			[][]file{{{name: "./"}, {name: "./a"}, {name: "/b"}, {name: "c/../d"}}},
			"/\n/a 0\n/b 0\n/d 0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range c.layers {
				layers = append(layers, tarOf(t, l...))
			}
			tree, err := laid(t, layers...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, lines(tree)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestWhatLeavesTheRootIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		files []file
		want  string
	}{
		"a file above the root":                  {[]file{{name: "../etc/passwd"}}, `entry "../etc/passwd": "../etc/passwd" leaves the root of the image`},
		"an absolute one as well":                {[]file{{name: "/../etc/passwd"}}, `leaves the root of the image`},
		"in the middle of a path":                {[]file{{name: "a/../../b"}}, `entry "a/../../b": "a/../../b" leaves the root`},
		"a whiteout":                             {[]file{{name: "a/../../.wh.b"}}, `leaves the root`},
		"a symbolic link":                        {[]file{{name: "a/b -> ../../etc"}}, `entry "a/b": link to "../../etc" leaves the root`},
		"an absolute symbolic link":              {[]file{{name: "a/b -> /x/../../etc"}}, `entry "a/b": link to "/x/../../etc" leaves the root`},
		"a hard link":                            {[]file{{name: "a => ../../etc/shadow"}}, `entry "a": hard link to "../../etc/shadow" leaves the root`},
		"a hard link to what is not there":       {[]file{{name: "a => /etc/shadow"}}, `entry "a": hard link to "/etc/shadow", which is no file of the image`},
		"a file in a file":                       {[]file{{name: "a"}, {name: "a/b"}}, `entry "a/b": "/a" is no directory`},
		"links that go round":                    {[]file{{name: "a -> b"}, {name: "b -> a"}, {name: "a/c"}}, `more than 40 links`},
		"a whiteout without a name":              {[]file{{name: "a/.wh."}}, `a whiteout that names nothing`},
		"a whiteout of the directory it is in":   {[]file{{name: "a/.wh.."}}, `a whiteout that names nothing`},
		"a whiteout of the directory above that": {[]file{{name: "a/.wh..."}}, `a whiteout that names nothing`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := laid(t, tarOf(t, c.files...))
			says(t, err, c.want)
		})
	}
}

func TestLinksAreFollowedInsideTheImageOnly(t *testing.T) {
	tree, err := laid(t, tarOf(t,
		file{name: "bin -> usr/bin"}, file{name: "usr/bin/busybox", mode: 0o755, content: "x"}, file{name: "usr/bin/sh -> /bin/busybox"},
		file{name: "etc/up -> ../usr"}, file{name: "dangling -> /etc/nothing"},
	))
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		"/bin/sh": "/usr/bin/busybox", "/etc/up/bin/sh": "/usr/bin/busybox", "/../../bin/sh": "/usr/bin/busybox", "/": "/",
	} {
		if e, err := tree.Lookup(asked); err != nil || e.Path != want {
			t.Errorf("%s leads to %q, %v; want %q", asked, e.Path, err, want)
		}
	}
	_, err = tree.Lookup("/dangling")
	says(t, err, `"/dangling" leads to "/etc/nothing", which is not there`)
	_, err = tree.Lookup("/bin/sh/x")
	says(t, err, `"/usr/bin/busybox" is no directory`)
}

func TestALayerThatEndsInTheMiddleIsAnError(t *testing.T) {
	whole := tarOf(t, file{name: "a", mode: 0o755, content: strings.Repeat("x", 2000)})
	for _, n := range []int{100, 600, 1500} {
		_, err := laid(t, whole[:n])
		says(t, err, "truncated")
	}
}

// FuzzTree: whatever a layer has, the tree has only paths below its root, each once, and every one of them leads to itself or along a link.
func FuzzTree(f *testing.F) {
	f.Add(tarOf(f, file{name: "a/b", mode: 0o755, content: "#!/bin/sh\n"}, file{name: "c -> a"}, file{name: "c/d => a/b"}), tarOf(f, file{name: "a/.wh.b"}))
	f.Add(tarOf(f, file{name: "a/"}, file{name: "b -> /a"}), tarOf(f, file{name: "b/.wh..wh..opq"}, file{name: "b/x"}))
	f.Add(tarOf(f, file{name: "../x"}), []byte("no tar"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		tree, err := laid(t, first, second)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without words")
			}
			return
		}
		seen := map[string]bool{}
		for e := range tree.All("/") {
			if e.Path != path.Clean("/"+e.Path) || seen[e.Path] {
				t.Errorf("path %q", e.Path)
			}
			seen[e.Path] = true
			if found, err := tree.Lookup(e.Path); e.Type != TypeSymlink && (err != nil || found.Path != e.Path) {
				t.Errorf("%q leads to %q, %v", e.Path, found.Path, err)
			}
			_, _ = recognise(e.head)
		}
	})
}

func FuzzRecognise(f *testing.F) {
	f.Add([]byte("#!/usr/bin/env bash\n"))
	f.Add([]byte(programFor(62, "/lib64/ld-linux-x86-64.so.2")))
	f.Fuzz(func(t *testing.T, head []byte) {
		p, err := recognise(head)
		if err == nil && p.interpreter == "" && !bytes.HasPrefix(head, []byte("\x7fELF")) {
			t.Errorf("%q is said to be a program", head)
		}
	})
}
