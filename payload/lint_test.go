package payload

import (
	"debug/elf"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"longshore.dev/longshore/spec"
)

var amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}

// stored is an image in a layout of this test.
func stored(t *testing.T, a *Artifact) string {
	t.Helper()
	ref := "oci:" + filepath.Join(t.TempDir(), "layout")
	if err := client().Write(t.Context(), a, refOf(t, ref)); err != nil {
		t.Fatal(err)
	}
	return ref
}

// busybox is a base with a static shell for amd64.
func busybox(t *testing.T) v1.Layer {
	t.Helper()
	return layerOf(t,
		file{name: "bin/busybox", mode: 0o755, content: programFor(elf.EM_X86_64, "")}, file{name: "bin/sh => bin/busybox"}, file{name: "bin/cp -> busybox"},
		file{name: "usr/bin/env -> /bin/busybox"}, file{name: "tmp/"},
	)
}

func TestACommandThatWouldNotStartIsAProblem(t *testing.T) {
	ref := stored(t, &Artifact{image: imageOf(t, "amd64", busybox(t), layerOf(t,
		file{name: "p/install.sh", mode: 0o755, content: "#!/bin/sh\nexit 0\n"},
		file{name: "p/link -> install.sh"},
		file{name: "p/dangling -> /p/gone"},
		file{name: "p/plain.sh", mode: 0o644, content: "#!/bin/sh\n"},
		file{name: "p/bash.sh", mode: 0o755, content: "#!/bin/bash\n"},
		file{name: "p/env.sh", mode: 0o755, content: "#!/usr/bin/env bash\n"},
		file{name: "p/env-ok.sh", mode: 0o755, content: "#!/usr/bin/env sh\n"},
		file{name: "p/windows.sh", mode: 0o755, content: "#!/bin/sh\r\nexit 0\r\n"},
		file{name: "p/nameless.sh", mode: 0o755, content: "echo\n"},
		file{name: "p/empty", mode: 0o755},
		file{name: "p/static", mode: 0o755, content: programFor(elf.EM_X86_64, "")},
		file{name: "p/dynamic", mode: 0o755, content: programFor(elf.EM_X86_64, "/lib64/ld-linux-x86-64.so.2")},
		file{name: "p/arm", mode: 0o755, content: programFor(elf.EM_AARCH64, "")},
		file{name: "p/by-arm.sh", mode: 0o755, content: "#!/p/arm\n"},
		file{name: "p/round", mode: 0o755, content: "#!/p/round\n"},
		file{name: "p/cut", mode: 0o755, content: elf.ELFMAG},
	))})
	for command, want := range map[string]string{
		"/p/install.sh":         "",
		"/p/link --now":         "",
		"/p/static":             "",
		"/p/env-ok.sh":          "",
		"p/install.sh":          "", // the working directory is /
		"sh -c /p/anything":     "",
		"cp -a /p /host":        "",
		"sh /p/plain.sh":        "",
		"/bin/sh /p/missing.sh": `"/p/missing.sh" is not there in the image`,
		"/p/missing.sh":         `"/p/missing.sh" is not there in the image`,
		"/p/dangling":           `"/p/dangling" leads to "/p/gone", which is not there in the image`,
		"/p":                    `"/p" is a dir, expected a file`,
		"bash -c true":          `"bash" is not in the image: none of /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin has it`,
		"/p/plain.sh":           `"/p/plain.sh" is not executable: mode 0644`,
		"/p/bash.sh":            `script "/p/bash.sh" needs "/bin/bash": "/bin/bash" is not there in the image`,
		"/p/env.sh":             `script "/p/env.sh" needs "bash": "bash" is not in the image: none of /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin has it`,
		"/p/windows.sh":         `"/p/windows.sh" its first line ends as on Windows, so that Linux looks for "/bin/sh\r"`,
		"/p/nameless.sh":        `"/p/nameless.sh" is neither a program (ELF) nor a script (#!)`,
		"/p/empty":              `"/p/empty" is empty`,
		"/p/dynamic":            `"/p/dynamic" needs the dynamic linker "/lib64/ld-linux-x86-64.so.2": "/lib64/ld-linux-x86-64.so.2" is not there in the image`,
		"/p/arm":                `"/p/arm" is a program for aarch64, expected one for amd64`,
		"/p/by-arm.sh":          `script "/p/by-arm.sh" needs "/p/arm": "/p/arm" is a program for aarch64, expected one for amd64`,
		"/p/cut":                `"/p/cut" is a program (ELF) of 4 bytes, which is cut off`,
		"/p/round":              `more than 4 interpreters`,
		"/host/bin/x":           `note: "/host/bin/x" is on a volume that is mounted there, so the image does not tell`,
		"$(SHELL) -c true":      `note: "$(SHELL)" is on a volume`,
	} {
		t.Run(command, func(t *testing.T) {
			got := judged(t, ref, Command{About: "it", Words: strings.Fields(command), Mounts: []string{"/host/"}})
			if (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	// The PATH of the spec's environment goes before that of the image.
	if got := judged(t, ref, Command{About: "it", Words: []string{"sh"}, Path: "/p"}); got != `"sh" is not in the image: none of /p has it` {
		t.Errorf("got %s", got)
	}
}

// judged is what is found about a command in an image for amd64, but for the programs nobody asked about.
func judged(t *testing.T, ref string, command Command) string {
	t.Helper()
	found, err := client().Lint(t.Context(), &Expectation{Image: ref, About: "image", Commands: []Command{command}}, []v1.Platform{amd64})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range found[0].Findings {
		if f.About == "it" {
			texts = append(texts, strings.TrimPrefix(string(f.Level)+": ", "problem: ")+f.Text)
		}
	}
	return strings.Join(texts, "\n")
}

func TestEveryProblemOfAnImageIsToldAtOnce(t *testing.T) {
	ref := stored(t, &Artifact{image: imageOf(t, "arm64", busybox(t), layerOf(t, file{name: "empty"}))})
	found, err := client().Lint(t.Context(), &Expectation{
		Image: ref, About: "data[payloadImage]", Paths: []string{"/opt/kata", "/empty", "/bin/sh"},
		Commands: []Command{{About: "data[installCmd]", Words: []string{"/install.sh"}}, {About: "data[uninstallCmd]", Words: []string{"/bin/sh"}}},
	}, []v1.Platform{{OS: "linux", Architecture: "arm64"}, amd64})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range found {
		for _, f := range found[i].Findings {
			got = append(got, found[i].Platform+" "+f.About+": "+f.Text)
		}
	}
	want := []string{
		`linux/arm64 data[installCmd]: "/install.sh" is not there in the image`,
		`linux/arm64 data[uninstallCmd]: "/bin/sh" is a program for x86_64, expected one for arm64`,
		`linux/arm64 path: "/opt/kata" is not there in the image`,
		`linux/arm64 path: "/empty" is empty`,
		`linux/arm64 data[payloadImage]: 1 programs are not for arm64, first "/bin/busybox"`,
		`linux/amd64 data[payloadImage]: the image is for linux/arm64, expected linux/amd64`,
		`linux/amd64 data[installCmd]: "/install.sh" is not there in the image`,
		`linux/amd64 path: "/opt/kata" is not there in the image`,
		`linux/amd64 path: "/empty" is empty`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestAnImageThatCannotBeOpenedIsAFinding(t *testing.T) {
	found, err := client().Lint(t.Context(), &Expectation{Image: "oci:" + t.TempDir(), About: "image"}, []v1.Platform{amd64})
	if err != nil || len(found) != 1 || len(found[0].Problems()) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if text := found[0].Findings[0].Text; !strings.Contains(text, "expected an OCI layout") {
		t.Error(text)
	}
}

func TestAnIndexWithoutThePlatformSaysWhichItHas(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "kata:1", indexOf(t, map[string]v1.Image{"amd64": imageOf(t, "amd64", busybox(t))}))
	found, err := client().Lint(t.Context(), &Expectation{Image: ref.String(), About: "image"}, []v1.Platform{{OS: "linux", Architecture: "s390x"}, amd64})
	if err != nil {
		t.Fatal(err)
	}
	want := ref.String() + " has no image for linux/s390x, only for linux/amd64"
	if len(found[0].Findings) != 1 || found[0].Findings[0].Text != want || len(found[1].Findings) != 0 {
		t.Errorf("got %+v, want %s", found, want)
	}
}

func TestTheEnvironmentOfTheImageIsUsed(t *testing.T) {
	img, err := mutate.Config(imageOf(t, "amd64", layerOf(t, file{name: "opt/tools/go", mode: 0o755, content: programFor(elf.EM_X86_64, "")})),
		v1.Config{Env: []string{"PATH=/usr/bin:/opt/tools"}, WorkingDir: "opt/tools"})
	if err != nil {
		t.Fatal(err)
	}
	ref := stored(t, &Artifact{image: img})
	for _, word := range []string{"go", "./go", "/opt/tools/go"} {
		if got := judged(t, ref, Command{About: "it", Words: []string{word}}); got != "" {
			t.Errorf("%s: %s", word, got)
		}
	}
}

func TestASpecExpectsItsImagesAndCommands(t *testing.T) {
	selector, err := labels.Parse("kubernetes.io/arch in (arm64,amd64),kubernetes.io/os=linux")
	if err != nil {
		t.Fatal(err)
	}
	r := &spec.Runtime{
		PayloadImage: "example.com/payload:1", InstallerImage: "example.com/installer:1",
		InstallCmd: []string{"/install.sh"}, UninstallCmd: []string{"/uninstall.sh"},
		VolumeMounts: []corev1.VolumeMount{{Name: "host", MountPath: "/host"}}, Env: []corev1.EnvVar{{Name: "PATH", Value: "/p"}},
		PreInstall:   &spec.Hook{Image: "example.com/hook:1", Cmd: []string{"/hook"}},
		Verify:       &spec.Verify{Image: "example.com/verify:1", Cmd: []string{"/verify"}},
		NodeSelector: selector,
	}
	mounted := Command{Mounts: []string{"/host"}, Path: "/p"}
	install, uninstall := mounted, mounted
	install.About, install.Words = "data[installCmd]", []string{"/install.sh"}
	uninstall.About, uninstall.Words = "data[uninstallCmd]", []string{"/uninstall.sh"}
	want := []Expectation{
		{Image: "example.com/payload:1", About: "data[payloadImage]"},
		{Image: "example.com/installer:1", About: "data[installerImage]", Commands: []Command{install, uninstall}},
		{Image: "example.com/hook:1", About: "data[preInstall].image", Commands: []Command{{About: "data[preInstall].cmd", Words: []string{"/hook"}, Path: "/p"}}},
		{Image: "example.com/verify:1", About: "data[verify].image", Commands: []Command{{About: "data[verify].cmd", Words: []string{"/verify"}}}},
	}
	if diff := cmp.Diff(want, Of(r)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if diff := cmp.Diff([]v1.Platform{amd64, {OS: "linux", Architecture: "arm64"}}, PlatformsOf(r)); diff != "" {
		t.Errorf("platforms, want (-), got (+):\n%s", diff)
	}
}
