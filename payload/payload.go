// Package payload answers: what is in the image?
//
// It opens payload images where they are (a registry, an OCI layout, a tar), lays their layers on top of each other into one [Tree] of
// files, checks that tree against what a spec asks for, and puts new layers onto images. It needs no root, no Docker and no disk: layers
// are read as they come, and every blob is checked against its digest before anything is concluded from it.
package payload

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Place is the kind of place where an image is.
type Place string

// The places.
const (
	PlaceRegistry Place = "registry"
	PlaceLayout   Place = "oci"
	PlaceTar      Place = "tar"
)

// Ref says where an image is, or where it is to go.
type Ref struct {
	Place Place
	// Path is the directory of a layout, or the file of a tar; empty for a registry.
	Path string
	// Tag is the name of the image inside a layout; empty where it has only one.
	Tag string
	// Name is the reference in a registry; nil for the other places.
	Name name.Reference

	text string
}

// String is the reference as it was written.
func (r Ref) String() string { return r.text }

// Registry is the host that has to be asked, empty where none has to be.
func (r Ref) Registry() string {
	if r.Name == nil {
		return ""
	}
	return r.Name.Context().RegistryStr()
}

// ParseRef reads `registry/repository:tag`, `oci:DIR[:tag]` or `tar:FILE`. The error names the text and what was expected.
func ParseRef(text string) (Ref, error) {
	if file, ok := strings.CutPrefix(text, "tar:"); ok {
		if file == "" {
			return Ref{}, fmt.Errorf("image %q: expected tar:FILE", text)
		}
		return Ref{Place: PlaceTar, Path: file, text: text}, nil
	}
	if rest, ok := strings.CutPrefix(text, "oci:"); ok {
		dir, tag, tagged := strings.Cut(rest, ":")
		if dir == "" || (tagged && tag == "") {
			return Ref{}, fmt.Errorf("image %q: expected oci:DIRECTORY or oci:DIRECTORY:TAG", text)
		}
		return Ref{Place: PlaceLayout, Path: dir, Tag: tag, text: text}, nil
	}
	ref, err := name.ParseReference(text)
	if err != nil {
		return Ref{}, fmt.Errorf("image %q: %s; expected registry/repository:tag, oci:DIRECTORY or tar:FILE", text, oneLine(err.Error()))
	}
	return Ref{Place: PlaceRegistry, Name: ref, text: text}, nil
}

// oneLine makes one line of what others wrote, so that an error stays one.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
