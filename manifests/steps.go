package manifests

import (
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// step is one installer of a runtime: the commands that its pod runs, one after the other.
type step struct {
	name     string
	commands []command
	// stays is true where the last command is the pod's main container, which may run for as long as the gate is open: a daemon, or a payload that
	// says by a label that it is done. Elsewhere every command is an init container, and what is left in the end is the pause container.
	stays bool
}

func (s step) operation() observed.Operation { return observed.OperationOf(s.name) }

// steps are the installers of a runtime:
//
//	completion   step        init containers                       main container
//	Exit, Ready  uninstall   uninstall, cleanup, post-uninstall    pause
//	Exit         install     pre-install, install                  pause
//	Ready        install     pre-install                           install
//	NodeLabel    install, uninstall, cleanup: each one             the command
//	NodeLabel    pre, post   with a done label                     the command
//	NodeLabel    pre, post   without one: the command              pause
func (f *filler) steps() []step {
	if f.runtime.Completion == spec.CompletionNodeLabel {
		return f.labelSteps()
	}
	install := step{name: StepInstall, commands: f.installCommands(), stays: f.runtime.Completion == spec.CompletionReady}
	steps := []step{install}
	if len(f.runtime.UninstallCmd) > 0 {
		steps = append(steps, step{name: StepUninstall, commands: f.uninstallCommands()})
	}
	return steps
}

func (f *filler) installCommands() []command {
	var commands []command
	if f.runtime.PreInstall != nil {
		commands = append(commands, f.hook(ContainerPreInstall, f.runtime.PreInstall))
	}
	return append(commands, f.step(ContainerInstall, f.runtime.InstallCmd))
}

func (f *filler) uninstallCommands() []command {
	commands := []command{f.step(ContainerUninstall, f.runtime.UninstallCmd)}
	if len(f.runtime.CleanupCmd) > 0 {
		commands = append(commands, f.step(ContainerCleanup, f.runtime.CleanupCmd))
	}
	if f.runtime.PostUninstall != nil {
		commands = append(commands, f.hook(ContainerPostUninstall, f.runtime.PostUninstall))
	}
	return commands
}

// labelSteps are the installers of a runtime whose payload says by labels that it is done.
func (f *filler) labelSteps() []step {
	rt := f.runtime
	var steps []step
	add := func(name string, c command, label *spec.DoneLabel) {
		steps = append(steps, step{name: name, commands: []command{c}, stays: label != nil})
	}
	if rt.PreInstall != nil {
		add(observed.StepPre, f.hook(ContainerPreInstall, rt.PreInstall), rt.PreInstall.DoneLabel)
	}
	add(StepInstall, f.step(ContainerInstall, rt.InstallCmd), rt.InstallDoneLabel)
	if len(rt.UninstallCmd) == 0 {
		return steps
	}
	add(StepUninstall, f.step(ContainerUninstall, rt.UninstallCmd), rt.UninstallDoneLabel)
	if len(rt.CleanupCmd) > 0 {
		add(observed.StepCleanup, f.step(ContainerCleanup, rt.CleanupCmd), rt.CleanupDoneLabel)
	}
	if rt.PostUninstall != nil {
		add(observed.StepPost, f.hook(ContainerPostUninstall, rt.PostUninstall), rt.PostUninstall.DoneLabel)
	}
	return steps
}

// doneLabels are the labels that steps say by that they are done, by step. Without an uninstall command none of the uninstall's steps has an
// installer.
func (o *Objects) doneLabels(rt *spec.Runtime) map[string]string {
	labels := map[string]string{}
	note := func(step string, label *spec.DoneLabel) {
		if label != nil && o.DaemonSets[step] != nil {
			labels[step] = label.String()
		}
	}
	if rt.PreInstall != nil {
		note(observed.StepPre, rt.PreInstall.DoneLabel)
	}
	note(StepInstall, rt.InstallDoneLabel)
	note(StepUninstall, rt.UninstallDoneLabel)
	note(observed.StepCleanup, rt.CleanupDoneLabel)
	if rt.PostUninstall != nil {
		note(observed.StepPost, rt.PostUninstall.DoneLabel)
	}
	if len(labels) == 0 {
		return nil
	}
	return labels
}
