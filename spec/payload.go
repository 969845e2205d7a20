package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The ConfigMap that names other payload images.
const (
	payloadConfig   = "payload-config"
	payloadSuffix   = ".payload"
	payloadOfOnly   = "daemon" + payloadSuffix
	payloadSecret   = "payload-secret"
	exampleRegistry = "registry.example.com"
)

// WithPayload is the runtime with another payload image than its spec's: for development, and a revision of its own.
func (r *Runtime) WithPayload(image string) *Runtime {
	other := *r
	other.PayloadImage, other.Overridden = image, true
	return &other
}

// Payloads are the images that payload-config names, by runtime.
type Payloads struct {
	// Images take the place of the spec's.
	Images map[string]string
	// Errors are what is wrong for a runtime: what it had stays in force.
	Errors map[string]field.ErrorList
}

// ParsePayloads reads payload-config for the runtimes that there are:
//
//	<runtime>.payload   is for the runtime of that name, which need not be there yet
//	daemon.payload      is for the only runtime there is; with several nobody knows which is meant, and those not named say so
//
// Anything else is an error of every runtime: whoever wrote it meant something.
func ParsePayloads(data map[string]string, binaryData map[string][]byte, runtimes []string) Payloads {
	p := Payloads{Images: map[string]string{}, Errors: map[string]field.ErrorList{}}
	root := field.NewPath("ConfigMap " + payloadConfig)
	blame := func(names []string, err *field.Error) {
		for _, name := range names {
			p.Errors[name] = append(p.Errors[name], err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(binaryData)) {
		blame(runtimes, field.Forbidden(root.Child("binaryData").Key(key), "an image is text: put the key into data"))
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		path := root.Child("data").Key(key)
		name, ok := strings.CutSuffix(key, payloadSuffix)
		if !ok || name == "" {
			blame(runtimes, field.Forbidden(path, fmt.Sprintf("unknown key, expected %s or <runtime>%s", payloadOfOnly, payloadSuffix)))
			continue
		}
		meant := []string{name}
		if key == payloadOfOnly && !slices.Contains(runtimes, name) {
			meant = slices.DeleteFunc(slices.Clone(runtimes), func(runtime string) bool { return data[runtime+payloadSuffix] != "" && len(runtimes) > 1 })
			if len(runtimes) > 1 {
				if len(meant) == 0 {
					meant = runtimes
				}
				blame(meant, field.Forbidden(path, fmt.Sprintf("there are %d runtimes: name the one that is meant, such as %s%s, not %s",
					len(runtimes), cmp.Or(first(meant), runtimes[0]), payloadSuffix, payloadOfOnly)))
				continue
			}
		}
		// The line that a text editor ends a file with is no part of an image.
		text, err := image(path, strings.TrimSpace(data[key]))
		if err != nil {
			blame(meant, err)
			continue
		}
		for _, runtime := range meant {
			if _, named := data[runtime+payloadSuffix]; named && key == payloadOfOnly && runtime+payloadSuffix != key {
				continue // the more exact one counts
			}
			p.Images[runtime] = text
		}
	}
	return p
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// Credentials says which registries the credentials of payload-secret are for, as a pull secret names them, and what is wrong with them.
// registry is the key of that name; without one they are for the registries of the given images only, never for every registry.
func Credentials(registry, username, password string, images []string) ([]string, field.ErrorList) {
	root := field.NewPath("Secret " + payloadSecret).Child("data")
	var errs field.ErrorList
	for _, c := range []struct{ key, value string }{{"username", username}, {"password", password}} {
		// What ends a line at the end is what `echo` and editors put there.
		switch value := strings.TrimRight(c.value, "\r\n"); {
		case value == "":
			errs = append(errs, field.Required(root.Key(c.key), "without it no payload can be pulled with this Secret"))
		case strings.ContainsAny(value, "\r\n"):
			errs = append(errs, field.Invalid(root.Key(c.key), field.OmitValueType{}, "has a line break inside, expected one line"))
		case c.key == "username" && strings.Contains(value, ":"):
			errs = append(errs, field.Invalid(root.Key(c.key), field.OmitValueType{}, "has a colon in it, which ends a user name (RFC 7617)"))
		}
	}
	var registries []string
	if registry = strings.TrimSpace(registry); registry == "index.docker.io" || registry == "https://index.docker.io/v1/" {
		registry = "docker.io"
	}
	if registry != "" {
		named, err := reference.ParseNormalizedNamed(registry + "/x")
		if err != nil || !strings.HasPrefix(reference.Domain(named)+"/"+reference.Path(named), registry+"/") {
			errs = append(errs, field.Invalid(root.Key("registry"), registry, "expected a registry without https://, such as "+exampleRegistry))
		} else {
			registries = []string{keyring(registry)}
		}
		images = nil
	}
	for _, image := range images {
		if named, err := reference.ParseNormalizedNamed(image); err == nil {
			registries = append(registries, keyring(reference.Domain(named)))
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	slices.Sort(registries)
	return slices.Compact(registries), nil
}

// keyring is a registry as the kubelet looks it up in a pull secret: Docker Hub has another name there.
func keyring(registry string) string {
	if registry == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return registry
}

// PulledWith tells whether an image is pulled with a pull secret for the registries, which may be followed by a path.
func PulledWith(registries []string, image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(registries, func(registry string) bool {
		return keyring(reference.Domain(named)) == registry || strings.HasPrefix(named.Name(), registry+"/")
	})
}

// RegistryOf is the registry of an image.
func RegistryOf(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.Domain(named)
}
