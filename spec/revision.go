package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// revisionLength is the length of a revision: the letter of its format and 45 bits of a hash.
const revisionLength = 10

// format is one way to turn a runtime into a hash. Old formats stay for ever: nodes carry their revisions.
type format struct {
	// letter begins every revision of the format.
	letter string
	// content is what the hash is over.
	content func(*Runtime) []byte
}

// formats are the known formats, the newest first.
var formats = []format{
	{letter: "a", content: (*Runtime).contentA},
}

// Hashed is the canonical JSON of what changes a node: equal meaning gives equal bytes, and what has its default is left out,
// so that a key that a later version adds changes no hash.
func (r *Runtime) Hashed() []byte { return formats[0].content(r) }

// Revision is the short hash of [Runtime.Hashed]: ten characters, fit for label values and object names.
func (r *Runtime) Revision() string { return formats[0].revision(r) }

// Revisions are the revisions of the same content in every known format, the newest first. A node at any of them is current.
func (r *Runtime) Revisions() []string {
	revisions := make([]string, len(formats))
	for i, f := range formats {
		revisions[i] = f.revision(r)
	}
	return revisions
}

// alphabet has 32 digits and small letters, without those that are mistaken for others.
var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func (f format) revision(r *Runtime) string {
	sum := sha256.Sum256(append([]byte("longshore "+f.letter+"\n"), f.content(r)...))
	return (f.letter + alphabet.EncodeToString(sum[:]))[:revisionLength]
}

// hashedA is the content of format a. Its fields and their JSON never change; new keys are added with omitzero.
type hashedA struct {
	PayloadImage   string               `json:"payloadImage,omitzero"`
	Overridden     bool                 `json:"overridden,omitzero"`
	InstallerImage string               `json:"installerImage,omitzero"`
	InstallCmd     []string             `json:"installCmd,omitempty"`
	UninstallCmd   []string             `json:"uninstallCmd,omitempty"`
	CleanupCmd     []string             `json:"cleanupCmd,omitempty"`
	Volumes        []corev1.Volume      `json:"installerVolumes,omitempty"`
	VolumeMounts   []corev1.VolumeMount `json:"installerVolumeMounts,omitempty"`
	Env            []corev1.EnvVar      `json:"environmentVariables,omitempty"`
	PreInstall     *Hook                `json:"preInstall,omitempty"`
	PostUninstall  *Hook                `json:"postUninstall,omitempty"`

	Completion         Completion     `json:"completion,omitzero"`
	InstallDoneLabel   *DoneLabel     `json:"installDoneLabel,omitempty"`
	UninstallDoneLabel *DoneLabel     `json:"uninstallDoneLabel,omitempty"`
	CleanupDoneLabel   *DoneLabel     `json:"cleanupDoneLabel,omitempty"`
	NodeAccess         NodeAccess     `json:"nodeAccess,omitzero"`
	PodSecurity        podSecurityA   `json:"podSecurity,omitzero"`
	Handlers           []string       `json:"handlers,omitempty"`
	Patches            []hashedPatchA `json:"patches,omitempty"`
}

// podSecurityA has what differs from the defaults.
type podSecurityA struct {
	Privileged                    *bool                `json:"privileged,omitempty"`
	HostPID                       *bool                `json:"hostPID,omitempty"`
	HostNetwork                   bool                 `json:"hostNetwork,omitzero"`
	Capabilities                  *corev1.Capabilities `json:"capabilities,omitempty"`
	ReadOnlyRootFilesystem        bool                 `json:"readOnlyRootFilesystem,omitzero"`
	TerminationGracePeriodSeconds *int64               `json:"terminationGracePeriodSeconds,omitempty"`
}

// hashedPatchA is a patch with its body as JSON.
type hashedPatchA struct {
	Patch  json.RawMessage `json:"patch"`
	Target *PatchTarget    `json:"target,omitempty"`
}

func (r *Runtime) contentA() []byte {
	h := hashedA{
		PayloadImage: r.PayloadImage, Overridden: r.Overridden, InstallerImage: r.InstallerImage,
		InstallCmd: r.InstallCmd, UninstallCmd: r.UninstallCmd, CleanupCmd: r.CleanupCmd,
		Volumes: r.Volumes, VolumeMounts: r.VolumeMounts, Env: r.Env,
		PreInstall: r.PreInstall, PostUninstall: r.PostUninstall,
		Completion: r.Completion, NodeAccess: r.NodeAccess, PodSecurity: podSecurityOf(r.PodSecurity),
		InstallDoneLabel: r.InstallDoneLabel, UninstallDoneLabel: r.UninstallDoneLabel, CleanupDoneLabel: r.CleanupDoneLabel,
		Handlers: slices.Sorted(slices.Values(r.Handlers())),
	}
	if h.Completion == CompletionExit {
		h.Completion = ""
	}
	if h.NodeAccess == defaultNodeAccess(r.Completion) {
		h.NodeAccess = ""
	}
	for _, p := range r.Patches {
		if !p.onlyRuntimeClasses() {
			h.Patches = append(h.Patches, hashedPatchA{Patch: p.canonicalBody(), Target: p.Target})
		}
	}
	return canonical(h)
}

func defaultNodeAccess(c Completion) NodeAccess {
	if c == CompletionNodeLabel {
		return NodeAccessOwn
	}
	return NodeAccessNone
}

func podSecurityOf(s PodSecurity) podSecurityA {
	h := podSecurityA{
		HostNetwork: s.HostNetwork, Capabilities: s.Capabilities, ReadOnlyRootFilesystem: s.ReadOnlyRootFilesystem,
		TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds,
	}
	if normal := defaultPodSecurity(); s.Privileged != normal.Privileged {
		h.Privileged = &s.Privileged
	}
	if normal := defaultPodSecurity(); s.HostPID != normal.HostPID {
		h.HostPID = &s.HostPID
	}
	return h
}

// onlyRuntimeClasses says whether a patch can change nothing but RuntimeClasses. Only what is plain to see counts: a regular
// expression that happens to match them alone does not.
func (p Patch) onlyRuntimeClasses() bool {
	if p.Target != nil {
		return p.Target.Kind == kindRuntimeClass
	}
	var body struct {
		Kind string `json:"kind"`
	}
	return json.Unmarshal(p.canonicalBody(), &body) == nil && body.Kind == kindRuntimeClass
}

const kindRuntimeClass = "RuntimeClass"

// canonicalBody is the body as JSON with sorted keys, or as a JSON string where it is no YAML.
func (p Patch) canonicalBody() json.RawMessage {
	var d decoder
	root, err := readYAML(nil, p.Patch, "")
	if err == nil {
		d.value(nil, root, reflect.TypeFor[any]())
	}
	if err != nil || len(d.errs) > 0 {
		d.json = nil
		d.text(strings.TrimSpace(p.Patch))
	}
	return d.json
}

// canonical is JSON with sorted keys and without spaces.
func canonical(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data: nothing in it can fail to be written
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		panic(err)
	}
	sorted, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	return sorted
}
