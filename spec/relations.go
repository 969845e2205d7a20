package spec

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkRelations checks the keys against each other, and fills in the defaults that depend on other keys.
func (p *parser) checkRelations() {
	r := p.runtime
	p.checkRequired()
	p.checkDoneLabels()
	p.checkSelection()
	if r.Completion == CompletionNodeLabel && !p.has("nodeAccess") {
		r.NodeAccess = NodeAccessOwn
	}
	for i := range r.RuntimeClasses {
		if r.RuntimeClasses[i].Scheduling == "" {
			r.RuntimeClasses[i].Scheduling = SchedulingReady
		}
	}
	if p.sound("installerVolumes", "installerVolumeMounts") {
		p.add(checkMounted(p.root.Key("installerVolumeMounts"), r.VolumeMounts, r.Volumes)...)
	}
	for key, hook := range p.hooks() {
		if p.sound(key, "installerVolumes", "environmentVariables") {
			p.add(checkHookFits(p.root.Key(key), hook, r)...)
		}
	}
	if r.Verify != nil && len(r.RuntimeClasses) == 0 && p.sound("runtimeClasses") {
		p.add(field.Required(p.root.Key("runtimeClasses"), "verify runs a pod of the first RuntimeClass"))
	}
	if r.Verify != nil && p.sound("completion", "runtimeClasses") {
		p.checkVerification()
	}
}

// checkVerification finds what verification does not go together with.
func (p *parser) checkVerification() {
	r := p.runtime
	if r.Completion == CompletionReady {
		p.add(field.Forbidden(p.root.Key("verify"), "not with completion: Ready: the payload's own readiness probe, which a patch gives, is the proof there"))
	}
	for i, c := range r.RuntimeClasses {
		if c.Name == r.VerifyClass() {
			p.add(field.Invalid(p.root.Key("runtimeClasses").Index(i).Child("name"), c.Name, "is the name of the class that verify runs with: give it another one"))
		}
	}
}

// hooks yields the hooks that the spec gives.
func (p *parser) hooks() func(yield func(string, *Hook) bool) {
	return func(yield func(string, *Hook) bool) {
		if p.runtime.PreInstall != nil && !yield("preInstall", p.runtime.PreInstall) {
			return
		}
		if p.runtime.PostUninstall != nil {
			yield("postUninstall", p.runtime.PostUninstall)
		}
	}
}

func (p *parser) checkRequired() {
	require := func(key, detail string) {
		if !p.has(key) {
			p.add(field.Required(p.root.Key(key), detail))
		}
	}
	require("payloadImage", "the image with the artifacts and the commands that install them")
	require("installCmd", `the command that installs, as a list such as ["/bin/sh", "-c", "/opt/install.sh"]`)
	require("nodeSelector", `the nodes to install on, as for kubectl get nodes -l; "*" is every node`)
	if p.runtime.DeletionPolicy != DeletionOrphan {
		require("uninstallCmd", "the command that takes back what installCmd did; only deletionPolicy: Orphan does without")
	}
}

// checkDoneLabels checks that completion and done labels belong together: a label without NodeLabel would be ignored, and
// NodeLabel without a label would wait for ever.
func (p *parser) checkDoneLabels() {
	r := p.runtime
	if !p.sound("completion") {
		return
	}
	steps := []struct {
		label, command string
		given          *DoneLabel
	}{
		{"installDoneLabel", "installCmd", r.InstallDoneLabel},
		{"uninstallDoneLabel", "uninstallCmd", r.UninstallDoneLabel},
		{"cleanupDoneLabel", "cleanupCmd", r.CleanupDoneLabel},
	}
	for i, step := range steps {
		path := p.root.Key(step.label)
		switch wanted := r.Completion == CompletionNodeLabel; {
		case !wanted && p.has(step.label):
			p.add(field.Forbidden(path, "only with completion: NodeLabel, found completion: "+string(r.Completion)))
		case wanted && !p.has(step.label) && p.has(step.command):
			p.add(field.Required(path, "completion: NodeLabel waits for it after "+step.command))
		case wanted && p.has(step.label) && !p.has(step.command):
			p.add(field.Forbidden(path, "there is no "+step.command+" that could set it"))
		}
		for _, other := range steps[:i] {
			if step.given != nil && other.given != nil && step.given.String() == other.given.String() {
				p.add(duplicate(path, step.given.String(), other.label+" is the same: each step needs a label or value of its own"))
			}
		}
	}
	for key, hook := range p.hooks() {
		if hook.DoneLabel != nil && r.Completion != CompletionNodeLabel {
			p.add(field.Forbidden(p.root.Key(key).Child("doneLabel"), "only with completion: NodeLabel, found completion: "+string(r.Completion)))
		}
	}
}
