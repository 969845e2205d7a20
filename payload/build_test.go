package payload

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func base(t *testing.T, arch string) v1.Image {
	t.Helper()
	return imageOf(t, arch, busybox(t), layerOf(t,
		file{name: "payload/shim", mode: 0o755, content: "old"}, file{name: "payload/etc/a.toml", mode: 0o644, content: "a"}, file{name: "lib -> payload"},
	))
}

func build(t *testing.T, plan *Plan) (*Built, error) {
	t.Helper()
	return client().Build(t.Context(), plan)
}

func mustBuild(t *testing.T, plan *Plan) *Built {
	t.Helper()
	built, err := build(t, plan)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// contents are the entries of the topmost layer: name, mode and owner.
func topLayer(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	var found []string
	for r := tar.NewReader(rc); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d:%d %q, time %s", header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
		}
		found = append(found, header.FileInfo().Mode().String()+" "+header.Name)
	}
}

var epoch = time.Unix(0, 0)

func TestReplaceTakesThePlaceOfWhatIsThere(t *testing.T) {
	dir := hostDir(t, file{"shim", 0o755, "new"}, file{"etc/a.toml", 0o600, "aa"})
	built := mustBuild(t, &Plan{Base: &Artifact{image: base(t, "amd64")}, Created: epoch, Changes: []Change{
		change(t, RuleReplace, dir+"/shim=/payload/shim"), change(t, RuleReplace, dir+"/etc=/lib/etc"),
	}})
	got := built.Images[0].Files
	for i := range got {
		got[i].Host = strings.TrimPrefix(got[i].Host, dir)
		got[i].Before = &Entry{Mode: got[i].Before.Mode, Size: got[i].Before.Size}
	}
	// The base has /lib as a link to /payload, and a layer that goes through a link could end elsewhere.
	want := []Changed{
		{RuleReplace, "/etc/a.toml", "/payload/etc/a.toml", "0600", 2, &Entry{Mode: "0644", Size: 1}, 0o600},
		{RuleReplace, "/shim", "/payload/shim", "0755", 3, &Entry{Mode: "0755", Size: 3}, 0o755},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Entry{}, Changed{})); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"-rw------- payload/etc/a.toml", "-rwxr-xr-x payload/shim"}, topLayer(t, built.Artifact.image)); diff != "" {
		t.Errorf("layer, want (-), got (+):\n%s", diff)
	}
}

func TestWhatTheRulesDoNotAllowIsToldAtOnce(t *testing.T) {
	dir := hostDir(t, file{"f", 0o755, "new"}, file{"d/new", 0o644, ""})
	_, err := build(t, &Plan{Base: &Artifact{Ref: refOf(t, "oci:base"), image: base(t, "amd64")}, Changes: []Change{
		change(t, RuleReplace, dir+"/f=/payload/missing"),
		change(t, RuleReplace, dir+"/f=/nowhere/shim"),
		change(t, RuleReplace, dir+"/d=/payload"),
		change(t, RuleReplace, dir+"/f=/payload/etc"),
		change(t, RuleAdd, dir+"/f=/payload/shim"),
		change(t, RuleAdd, dir+"/f=/payload/shim/below"),
		change(t, RuleAdd, dir+"/d=/bin/sh"),
	}})
	if err == nil {
		t.Fatal("no error")
	}
	prefix := "oci:base (linux/amd64): "
	for _, want := range []string{
		"--replace /payload/missing: the base has no such file: replace what is there, or use --add",
		"--replace /nowhere/shim: the base has no such file",
		"--replace /payload/new: the base has no such file",
		"--replace /payload/etc: is a directory in the base, expected a file",
		"--add /payload/shim: the base has it already: use --replace",
		`--add /payload/shim/below: "/payload/shim" is no directory`,
		"--add /bin/sh: is a file in the base, expected a directory",
	} {
		if !strings.Contains(err.Error(), prefix+want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
}

func TestAddBringsWhatIsNotThere(t *testing.T) {
	dir := hostDir(t, file{"d/b", 0o755, "b"}, file{"d/a/c", 0o644, "c"})
	if err := errors.Join(os.Symlink("a/c", filepath.Join(dir, "d", "link")), os.Chmod(filepath.Join(dir, "d", "b"), 0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	built := mustBuild(t, &Plan{Base: &Artifact{image: base(t, "amd64")}, Created: epoch, Changes: []Change{change(t, RuleAdd, dir+"/d=/payload/new")}})
	want := []string{"drwxr-xr-x payload/new/", "drwxr-xr-x payload/new/a/", "-rw-r--r-- payload/new/a/c", "urwxr-xr-x payload/new/b", "Lrwxrwxrwx payload/new/link"}
	if diff := cmp.Diff(want, topLayer(t, built.Artifact.image)); diff != "" {
		t.Errorf("layer, want (-), got (+):\n%s", diff)
	}
}

func TestWhatCannotGoIntoAnImageIsRefused(t *testing.T) {
	dir := hostDir(t, file{"f", 0o644, ""})
	if err := os.Symlink("../../../etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		dir + "/gone=/x": "no such file or directory",
		dir + "=/x":      `--add ` + dir + `/out: link to "../../../etc/passwd" leaves the root of the image`,
	} {
		_, err := build(t, &Plan{Base: &Artifact{image: base(t, "amd64")}, Changes: []Change{change(t, RuleAdd, text)}})
		says(t, err, want)
	}
	_, err := build(t, &Plan{Base: &Artifact{image: base(t, "amd64")}, Changes: []Change{change(t, RuleAdd, dir+"/f=/x"), change(t, RuleAdd, dir+"/f=/x")}})
	says(t, err, "/x is given twice")
	for _, text := range []string{"", "a", "a=b", "=/a", "a=/", "a=/../b"} {
		_, err := ParseChange(RuleAdd, text)
		says(t, err, "--add")
	}
}

func TestTheSameFilesMakeTheSameDigest(t *testing.T) {
	r := newRegistry(t)
	from := r.push(t, "base:1", base(t, "amd64"))
	var digests []string
	for i := range 2 {
		// Another directory, files made in another order and at another time, by another user as far as a test can.
		dir := hostDir(t, file{"b", 0o644, "2"}, file{"a", 0o755, "1"})
		if err := os.Chtimes(filepath.Join(dir, "a"), time.Unix(int64(i), 0), time.Unix(int64(i)*1000, 0)); err != nil {
			t.Fatal(err)
		}
		changes := []Change{change(t, RuleAdd, dir+"/a=/a"), change(t, RuleAdd, dir+"/b=/b")}
		if i == 1 {
			slices.Reverse(changes)
		}
		built := mustBuild(t, &Plan{Base: open(t, from), Created: epoch, Changes: changes})
		digests = append(digests, built.Digest)
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %s", digests)
	}
	later := mustBuild(t, &Plan{Base: open(t, from), Created: time.Unix(1, 0), Changes: []Change{change(t, RuleAdd, hostDir(t)+"=/a")}})
	if later.Digest == digests[0] {
		t.Error("the time is not in the digest")
	}
}

func TestAnIndexStaysOne(t *testing.T) {
	r := newRegistry(t)
	from := r.push(t, "base:1", indexOf(t, map[string]v1.Image{"amd64": base(t, "amd64"), "arm64": base(t, "arm64")}))
	dir := hostDir(t, file{"shim", 0o755, "new"})
	for name, c := range map[string]struct {
		platforms []v1.Platform
		changed   []string
	}{
		"all platforms": {nil, []string{"linux/amd64", "linux/arm64"}},
		"only one":      {[]v1.Platform{{OS: "linux", Architecture: "arm64"}}, []string{"linux/arm64"}},
	} {
		t.Run(name, func(t *testing.T) {
			built := mustBuild(t, &Plan{Base: open(t, from), Created: epoch, Platforms: c.platforms, Changes: []Change{change(t, RuleReplace, dir+"/shim=/payload/shim")}})
			for _, to := range []string{r.host + "/new:1", "oci:" + filepath.Join(t.TempDir(), "new"), "tar:" + filepath.Join(t.TempDir(), "new.tar")} {
				if err := client().Write(t.Context(), built.Artifact, refOf(t, to)); err != nil {
					t.Fatal(err)
				}
				a := open(t, refOf(t, to))
				if a.Digest.String() != built.Digest {
					t.Errorf("%s: digest %s, want %s", to, a.Digest, built.Digest)
				}
				all, err := client().Platforms(a)
				if err != nil {
					t.Fatal(err)
				}
				var changed []string
				for _, p := range all {
					report, err := client().Inspect(t.Context(), a.Ref, p.Platform)
					if err != nil {
						t.Fatal(err)
					}
					if len(report.Layers) == 3 {
						changed = append(changed, p.Platform.String())
					}
				}
				if len(all) != 2 || !slices.Equal(changed, c.changed) {
					t.Errorf("%s: changed %s of %+v, want %s", to, changed, all, c.changed)
				}
			}
		})
	}
	_, err := build(t, &Plan{Base: open(t, from), Platforms: []v1.Platform{{OS: "linux", Architecture: "s390x"}}})
	says(t, err, "has no image for linux/s390x, only for linux/amd64, linux/arm64")
}

func TestAnAttestationGoesWithTheImageItSpeaksOf(t *testing.T) {
	img := base(t, "amd64")
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	attestation := mutate.IndexAddendum{Add: imageOf(t, "amd64", layerOf(t, file{name: "sbom"})), Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String()},
	}}
	index := mutate.AppendManifests(indexOf(t, map[string]v1.Image{"amd64": img, "arm64": base(t, "arm64")}), attestation)
	for arch, want := range map[string]int{"amd64": 2, "arm64": 3} {
		built := mustBuild(t, &Plan{
			Base: &Artifact{index: index}, Platforms: []v1.Platform{{OS: "linux", Architecture: arch}},
			Changes: []Change{change(t, RuleAdd, hostDir(t)+"=/new")},
		})
		manifest, err := built.Artifact.index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(manifest.Manifests) != want {
			t.Errorf("%s changed: %d manifests, want %d", arch, len(manifest.Manifests), want)
		}
	}
}

func TestAnEmptyBaseIsAnImageOfTheNewLayerAlone(t *testing.T) {
	dir := hostDir(t, file{"install", 0o755, programFor(elf.EM_X86_64, "")})
	plan := &Plan{Platforms: []v1.Platform{amd64}, Created: epoch, Changes: []Change{change(t, RuleAdd, dir+"/install=/payload/install")}}
	ref := stored(t, mustBuild(t, plan).Artifact)
	report, err := client().Inspect(t.Context(), refOf(t, ref), v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Platform != "linux/amd64" || len(report.Layers) != 1 || report.Layers[0].MediaType != string(types.OCILayer) {
		t.Errorf("%+v", report)
	}
	if got := judged(t, ref, Command{About: "it", Words: []string{"/payload/install"}}); got != "" {
		t.Error(got)
	}
	plan.Changes[0].Rule = RuleReplace
	_, err = build(t, plan)
	says(t, err, "the empty base (linux/amd64): --replace /payload/install: the base has no such file")
	plan.Changes[0].Rule, plan.Platforms = RuleAdd, append(plan.Platforms, v1.Platform{OS: "linux", Architecture: "arm64"})
	if all, err := client().Platforms(mustBuild(t, plan).Artifact); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestADockerArchiveIsReadAndTheDockerKindIsKept(t *testing.T) {
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layerOf(t, file{name: "payload/shim", mode: 0o755, content: "old"})); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "saved.tar")
	if err := tarball.WriteToFile(saved, refOf(t, "example.com/kata:1").Name, img); err != nil {
		t.Fatal(err)
	}
	dir := hostDir(t, file{"shim", 0o755, "new"})
	built := mustBuild(t, &Plan{Base: open(t, refOf(t, "tar:"+saved)), Created: epoch, Changes: []Change{change(t, RuleReplace, dir+"/shim=/payload/shim")}})
	to := filepath.Join(t.TempDir(), "new.tar")
	if err := client().Write(t.Context(), built.Artifact, refOf(t, "tar:"+to)); err != nil {
		t.Fatal(err)
	}
	// Programs that know Docker archives only load it too.
	again, err := tarball.ImageFromPath(to, nil)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := again.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Layers) != 2 || manifest.MediaType != types.DockerManifestSchema2 {
		t.Errorf("%+v", manifest)
	}
	if l := layersOf(t, built.Artifact.image); l[1].MediaType != types.DockerLayer {
		t.Errorf("the new layer is a %s", l[1].MediaType)
	}
}

func layersOf(t *testing.T, img v1.Image) []v1.Descriptor {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Layers
}

func TestTheSameArtifactIsTheSameTar(t *testing.T) {
	var tars [][]byte
	for range 2 {
		file := filepath.Join(t.TempDir(), "a.tar")
		if err := client().Write(t.Context(), &Artifact{image: base(t, "amd64")}, refOf(t, "tar:"+file)); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tars = append(tars, raw)
	}
	if !slices.Equal(tars[0], tars[1]) {
		t.Error("they differ")
	}
}

func TestALayoutKeepsItsOtherImages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	first, second := base(t, "amd64"), base(t, "arm64")
	for _, step := range []struct {
		tag string
		img v1.Image
	}{{"1", first}, {"2", first}, {"2", second}} {
		if err := client().Write(t.Context(), &Artifact{image: step.img}, refOf(t, "oci:"+dir+":"+step.tag)); err != nil {
			t.Fatal(err)
		}
	}
	for tag, img := range map[string]v1.Image{"1": first, "2": second} {
		want, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if a := open(t, refOf(t, "oci:"+dir+":"+tag)); a.Digest != want {
			t.Errorf("%s is %s, want %s", tag, a.Digest, want)
		}
	}
	_, err := client().Open(t.Context(), refOf(t, "oci:"+dir))
	says(t, err, `oci:`+dir+`: has 2 images, name one as in oci:DIRECTORY:TAG: "1", "2"`)
	_, err = client().Open(t.Context(), refOf(t, "oci:"+dir+":3"))
	says(t, err, `has no image with the tag "3", only "1", "2"`)
}

func TestNothingIsLeftOfAWriteThatFails(t *testing.T) {
	r := newRegistry(t)
	from := r.push(t, "base:1", base(t, "amd64"))
	a := open(t, from)
	layers := layersOf(t, a.image)
	r.breaks(answers(500, "", layers[1].Digest.String()))
	for _, kind := range []string{"tar", "oci"} {
		dir := t.TempDir()
		err := client().Write(t.Context(), a, refOf(t, kind+":"+filepath.Join(dir, "new")))
		says(t, err, "pull "+from.String()+": registry "+r.host+" answered 500 Internal Server Error", layers[1].Digest.String())
		if kind == "tar" {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "new", "index.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is an index: %v", err)
		}
	}
}

func TestProgressIsTold(t *testing.T) {
	r := newRegistry(t)
	from := r.push(t, "base:1", base(t, "amd64"))
	last := map[string]Transfer{}
	c := client()
	c.Progress = func(now Transfer) { last[now.What] = now }
	a := open(t, from)
	if _, err := c.Inspect(t.Context(), from, amd64); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), a, refOf(t, "oci:"+filepath.Join(t.TempDir(), "new"))); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), a, r.ref(t, "other:1")); err != nil {
		t.Fatal(err)
	}
	if len(last) != 3 {
		t.Errorf("told of %v", slices.Sorted(maps.Keys(last)))
	}
	for what, end := range last {
		if end.Done != end.Total || end.Total == 0 {
			t.Errorf("%s ended at %d of %d", what, end.Done, end.Total)
		}
	}
}

func TestATarThatIsNone(t *testing.T) {
	dir := hostDir(t, file{"text", 0o644, strings.Repeat("x", 2000)}, file{"other.tar", 0o644, string(tarOf(t, file{name: "a"}))},
		file{"cut.tar", 0o644, string(tarOf(t, file{name: "index.json", content: strings.Repeat("x", 3000)})[:1000])})
	for name, want := range map[string]string{
		"text":      "expected a tar that is not compressed",
		"other.tar": "expected an OCI archive with index.json, or a Docker archive with manifest.json; found neither",
		"cut.tar":   "truncated",
		"gone.tar":  "no such file or directory",
	} {
		_, err := client().Open(t.Context(), refOf(t, "tar:"+filepath.Join(dir, name)))
		says(t, err, "tar:"+filepath.Join(dir, name)+": ", want)
	}
}

func TestReferences(t *testing.T) {
	for text, want := range map[string]Place{
		"busybox": PlaceRegistry, "registry.example.com:5000/a/b:1": PlaceRegistry, "oci:dir": PlaceLayout, "oci:dir:1.0": PlaceLayout, "tar:a.tar": PlaceTar,
	} {
		if ref := refOf(t, text); ref.Place != want || ref.String() != text {
			t.Errorf("%s: %+v", text, ref)
		}
	}
	for _, text := range []string{"", "tar:", "oci:", "oci::tag", "oci:dir:", "UPPER/case", "a b", "a@sha256:12"} {
		_, err := ParseRef(text)
		says(t, err, "image ", "expected")
	}
}
