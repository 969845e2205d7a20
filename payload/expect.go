package payload

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/selection"

	"longshore.dev/longshore/spec"
)

// Expectation is what somebody wants to find in one image.
type Expectation struct {
	// Image is a reference as [ParseRef] reads it, and About where it was named.
	Image, About string
	// Commands run in the image, Paths have to be in it.
	Commands []Command
	Paths    []string
}

// Command is a command line, as a container gets it.
type Command struct {
	// About is where it stands, for messages.
	About string
	Words []string
	// Mounts are the paths that other things than the image are mounted at.
	Mounts []string
	// Path is the environment variable PATH of the container; empty for that of the image.
	Path string
}

// Of is what a spec expects: of the payload, of the installer where that is another image, of the hooks and of the check afterwards.
func Of(r *spec.Runtime) []Expectation {
	installer := Expectation{Image: r.PayloadImage, About: "data[payloadImage]"}
	var expected []Expectation
	if r.InstallerImage != "" {
		expected = append(expected, installer)
		installer = Expectation{Image: r.InstallerImage, About: "data[installerImage]"}
	}
	for _, step := range []struct {
		key   string
		words []string
	}{{"installCmd", r.InstallCmd}, {"uninstallCmd", r.UninstallCmd}, {"cleanupCmd", r.CleanupCmd}} {
		if len(step.words) > 0 {
			installer.Commands = append(installer.Commands, Command{
				About: "data[" + step.key + "]", Words: step.words, Mounts: mounts(r.VolumeMounts), Path: pathOf(r.Env),
			})
		}
	}
	expected = append(expected, installer)
	for _, hook := range []struct {
		key string
		*spec.Hook
	}{{"preInstall", r.PreInstall}, {"postUninstall", r.PostUninstall}} {
		if hook.Hook == nil {
			continue
		}
		about := "data[" + hook.key + "]"
		expected = append(expected, Expectation{Image: hook.Image, About: about + ".image", Commands: []Command{{
			About: about + ".cmd", Words: hook.Cmd, Mounts: mounts(hook.VolumeMounts), Path: pathOf(slices.Concat(r.Env, hook.Env)),
		}}})
	}
	if r.Verify != nil {
		expected = append(expected, Expectation{Image: r.Verify.Image, About: "data[verify].image", Commands: []Command{{About: "data[verify].cmd", Words: r.Verify.Cmd}}})
	}
	return expected
}

// PlatformsOf are the platforms that a spec's selector asks for by `kubernetes.io/arch`; none where it does not say.
func PlatformsOf(r *spec.Runtime) []v1.Platform {
	var found []v1.Platform
	requirements, _ := r.NodeSelector.Requirements()
	for _, q := range requirements {
		if q.Key() != corev1.LabelArchStable || !slices.Contains([]selection.Operator{selection.Equals, selection.DoubleEquals, selection.In}, q.Operator()) {
			continue
		}
		for _, arch := range q.Values().List() {
			found = append(found, v1.Platform{OS: "linux", Architecture: arch})
		}
	}
	return found
}

// ParsePlatform reads `os/architecture` or `os/architecture/variant`.
func ParsePlatform(text string) (v1.Platform, error) {
	p, err := v1.ParsePlatform(text)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("platform %q: expected one such as linux/amd64 or linux/arm64/v8", text)
	}
	return *p, nil
}

func mounts(list []corev1.VolumeMount) []string {
	var found []string
	for i := range list {
		found = append(found, list[i].MountPath)
	}
	return found
}

// pathOf is the last PATH of an environment, as in a container.
func pathOf(env []corev1.EnvVar) string {
	found := ""
	for i := range env {
		if env[i].Name == "PATH" {
			found = env[i].Value
		}
	}
	return found
}
