package manifests

import (
	appsv1 "k8s.io/api/apps/v1"
	nodev1 "k8s.io/api/node/v1"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// Verification is one more step of an install, and the only one that runs under the runtime itself. What it is made of is not part of the revision: it changes
// nothing on a node. So it is rendered from the spec in force, as RuntimeClasses are, and no ControllerRevision has it.

// verifier is the DaemonSet of the verification: the spec's command under the first RuntimeClass's handler, with nothing of the host.
func (f *filler) verifier() *appsv1.DaemonSet {
	plain := *f.runtime
	plain.NodeAccess, plain.PodSecurity = spec.NodeAccessNone, spec.PodSecurity{}
	unprivileged := *f
	unprivileged.runtime = &plain
	set := unprivileged.daemonSet(step{name: observed.StepVerify, commands: []command{{name: ContainerVerify, image: f.runtime.Verify.Image, cmd: f.runtime.Verify.Cmd}}})
	pod := &set.Spec.Template.Spec
	pod.RuntimeClassName = new(f.runtime.VerifyClass())
	for i := range pod.InitContainers {
		pod.InitContainers[i].SecurityContext = nil
	}
	return set
}

// verifyClass is a class with the first class's handler that lets pods onto nodes which are not ready for the others yet.
func (f *filler) verifyClass() *nodev1.RuntimeClass {
	first := f.runtime.RuntimeClasses[0]
	first.Name, first.Scheduling = f.runtime.VerifyClass(), spec.SchedulingNone
	return f.runtimeClass(&first)
}
