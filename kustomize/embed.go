// Package kustomize answers: where is the YAML itself?
//
// Everything under this folder can be read and built by people with plain kustomize. Only the base of an installer is part
// of the binary, because a render needs it wherever the binary runs.
package kustomize

import "embed"

// Installer holds the base that every installer is made from, under the folder `installer`.
//
//go:embed installer
var Installer embed.FS
