package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Pull says which registries the credentials of payload-secret are for.
type Pull struct {
	// Registries are sorted, as a pull secret names them; empty while the credentials are for none.
	Registries []string
	// Errors are what is wrong with the Secret; nothing is pulled with it then.
	Errors field.ErrorList
}

// payloads reads what payload-config says of the runtimes that have a spec.
func payloads(snap *observed.Snapshot, runtimes []Runtime) spec.Payloads {
	if snap.PayloadConfig == nil || snap.PayloadConfig.Deleting {
		return spec.Payloads{}
	}
	// One whose spec is away for a moment counts: what was meant for it is meant for no other.
	var names []string
	for i := range runtimes {
		if runtimes[i].Source != nil || len(runtimes[i].History) > 0 {
			names = append(names, runtimes[i].Name)
		}
	}
	return spec.ParsePayloads(snap.PayloadConfig.Data, snap.PayloadConfig.BinaryData, names)
}

// unmeant are the names that payload-config has an image for and no spec.
func unmeant(runtimes []Runtime, payloads spec.Payloads) []string {
	var names []string
	named := maps.Clone(payloads.Images)
	for name := range payloads.Errors {
		if named != nil {
			named[name] = ""
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !slices.ContainsFunc(runtimes, func(r Runtime) bool { return r.Name == name && (r.Source != nil || len(r.History) > 0) }) {
			names = append(names, name)
		}
	}
	return names
}

// Overridden says in words that the payload in force is not the spec's, "" where it is.
func (r *Runtime) Overridden() string {
	if r.Spec == nil || !r.Spec.Overridden {
		return ""
	}
	return fmt.Sprintf("tainted: ConfigMap %q has the payload replaced by %s", observed.PayloadConfigName, r.Spec.PayloadImage)
}

// pull says what the credentials are for: what payload-config has named is pulled again for an uninstall, long after it names something else.
func pull(snap *observed.Snapshot, runtimes []Runtime) Pull {
	secret := snap.PayloadSecret
	if secret == nil || !secret.Exists {
		return Pull{}
	}
	var images []string
	for i := range runtimes {
		r := &runtimes[i]
		if p := r.Prepare; p != nil && p.New != nil && p.New.Overridden && p.New.InstallerImage == "" {
			images = append(images, p.New.PayloadImage)
		}
		for _, h := range r.History {
			if h.Content == nil {
				continue
			}
			if image, overridden := h.Content.Payload(); overridden && h.Content.PullsPayload() {
				images = append(images, image)
			}
		}
	}
	registries, errs := spec.Credentials(secret.Registry, secret.Username.Reveal(), secret.Password.Reveal(), images)
	return Pull{Registries: registries, Errors: errs}
}

// refusals are how registries, and those who ask them, word that somebody has to say who they are.
var refusals = []string{
	"401 unauthorized", "403 forbidden", "unauthorized:", "authorization failed", "authentication required", "access denied", "denied: denied",
	"access to the resource is denied", "no basic auth credentials", "insufficient_scope",
}

// refused tells whether a message about an image says that somebody has to say who they are. The name of an image may say anything.
func refused(image, message string) bool {
	text := strings.ToLower(strings.ReplaceAll(message, image, ""))
	return image != "" && slices.ContainsFunc(refusals, func(word string) bool { return strings.Contains(text, word) })
}

// Advice says what a pull by the kubelet would have needed that the registry refused, "" where a message tells of something else.
func (p *Plan) Advice(snap *observed.Snapshot, image, message string) string {
	if !refused(image, message) {
		return ""
	}
	name, registry := secretIn(snap), spec.RegistryOf(image)
	switch secret := snap.PayloadSecret; {
	case secret == nil:
		return "the registry wants other credentials: those of " + name + ", or of the spec's imagePullSecrets there"
	case !secret.Exists:
		return "there is no " + name + ", and the spec's imagePullSecrets did not do"
	case len(p.Pull.Errors) > 0:
		return name + " cannot be used: " + p.Pull.Errors[0].Error()
	case spec.PulledWith(p.Pull.Registries, image):
		return "the registry refuses the credentials of " + name
	case secret.Registry != "":
		return name + " is for " + strings.Join(p.Pull.Registries, ", ") + " only; name a pull secret for " + registry + " in the spec's imagePullSecrets"
	}
	return name + " is not for this registry: add the key registry: " + registry
}

// FetchAdvice is Advice for an installer that pulls the payload itself, with the variables that it gets of the Secret.
func (p *Plan) FetchAdvice(snap *observed.Snapshot, image, message string) string {
	name := secretIn(snap)
	switch secret := snap.PayloadSecret; {
	case secret == nil || !refused(image, message):
		return ""
	case !secret.Exists:
		return "there is no " + name
	case len(p.Pull.Errors) > 0:
		return name + " cannot be used: " + p.Pull.Errors[0].Error()
	}
	return "the registry refuses the credentials of " + name
}

func secretIn(snap *observed.Snapshot) string {
	return fmt.Sprintf("Secret %q in namespace %q", observed.PayloadSecretName, snap.Namespace)
}
