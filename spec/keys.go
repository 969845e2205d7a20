package spec

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reader reads the text of one key into what is described: a runtime or a pool.
type reader[S any] func(into *S, path *field.Path, text string) field.ErrorList

// key is one data key.
type key[S any] struct {
	name string
	value[S]
	// otherwise is the text that means the same as leaving the key out; "" where there is none.
	otherwise string
	// about is what editors show of the key.
	about string
}

// keys is every key that a spec may have, in the order of docs/spec.md, which is also the order of errors.
var keys = []key[Runtime]{
	{
		"payloadImage", scalar(func(r *Runtime) *string { return &r.PayloadImage }, anImage), "",
		"The image with the artifacts and the commands that install them.",
	},
	{
		"installerImage", scalar(func(r *Runtime) *string { return &r.InstallerImage }, anImage), "",
		"The image of a pod that fetches the payload itself. Without it, the payload image is the installer.",
	},
	{
		"installCmd", object(func(r *Runtime) *[]string { return &r.InstallCmd }, checkCommand), "",
		"The command that installs on a node, as a list of strings. It runs without a shell and has to be idempotent.",
	},
	{
		"uninstallCmd", object(func(r *Runtime) *[]string { return &r.UninstallCmd }, checkCommand), "",
		"The command that takes back what installCmd did. Required unless deletionPolicy is Orphan.",
	},
	{
		"cleanupCmd", object(func(r *Runtime) *[]string { return &r.CleanupCmd }, checkCommand), "",
		"A command that runs after uninstallCmd.",
	},
	{
		"installerVolumes", object(func(r *Runtime) *[]corev1.Volume { return &r.Volumes }, checkVolumes), "",
		"The volumes of the installer pod: a list of core/v1 Volume.",
	},
	{
		"installerVolumeMounts", object(func(r *Runtime) *[]corev1.VolumeMount { return &r.VolumeMounts }, checkMounts), "",
		"What the installer container mounts: a list of core/v1 VolumeMount.",
	},
	{
		"environmentVariables", object(func(r *Runtime) *[]corev1.EnvVar { return &r.Env }, checkEnv), "",
		"Variables of every command: a list of core/v1 EnvVar. Longshore sets those that begin with LONGSHORE_ itself.",
	},
	{
		"preInstall", object(func(r *Runtime) **Hook { return &r.PreInstall }, checkHook), "",
		"A command that runs before installCmd: image, cmd, environmentVariables, volumes, volumeMounts, doneLabel.",
	},
	{
		"postUninstall", object(func(r *Runtime) **Hook { return &r.PostUninstall }, checkHook), "",
		"A command that runs after cleanupCmd: image, cmd, environmentVariables, volumes, volumeMounts, doneLabel.",
	},
	{
		"imagePullPolicy", scalar(func(r *Runtime) *corev1.PullPolicy { return &r.ImagePullPolicy },
			oneOf(corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)), "IfNotPresent",
		"When images are pulled.",
	},
	{
		"imagePullSecrets", object(func(r *Runtime) *[]corev1.LocalObjectReference { return &r.ImagePullSecrets },
			checkPullSecrets), "",
		"Secrets that images are pulled with: a list of core/v1 LocalObjectReference.",
	},
	{
		"completion", scalar(func(r *Runtime) *Completion { return &r.Completion },
			oneOf(CompletionExit, CompletionReady, CompletionNodeLabel)), "Exit",
		"How a step is known to be done: the command exits with 0, the pod is Ready, or the payload sets a label on its node.",
	},
	{
		"installDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.InstallDoneLabel }, aDoneLabel), "",
		"The node label by which the payload says that installCmd is done. Only with completion: NodeLabel.",
	},
	{
		"uninstallDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.UninstallDoneLabel }, aDoneLabel), "",
		"The node label by which the payload says that uninstallCmd is done. Only with completion: NodeLabel.",
	},
	{
		"cleanupDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.CleanupDoneLabel }, aDoneLabel), "",
		"The node label by which the payload says that cleanupCmd is done. Only with completion: NodeLabel.",
	},
	{
		"nodeAccess", scalar(func(r *Runtime) *NodeAccess { return &r.NodeAccess },
			oneOf(NodeAccessNone, NodeAccessOwn)), "",
		"Own gives installer pods a token for the done labels of their own node. It is the default of completion: NodeLabel.",
	},
	{
		"podSecurity", object(func(r *Runtime) *PodSecurity { return &r.PodSecurity }, checkPodSecurity),
		"{privileged: true, hostPID: true}",
		"What installer pods may do: privileged, hostPID, hostNetwork, capabilities and so on.",
	},
	{
		"patches", object(func(r *Runtime) *[]Patch { return &r.Patches }, checkPatches), "",
		"Kustomize patches on the rendered objects: a list of patch, target and options.",
	},

	{
		"nodeSelector",
		value[Runtime]{readNodeSelector, aSelector},
		"",
		"The nodes to install on, as for kubectl get nodes -l; * is every node. Always Linux nodes, never virtual kubelets.",
	},
	{
		"runtimeClasses", object(func(r *Runtime) *[]RuntimeClass { return &r.RuntimeClasses }, checkClasses), "",
		"The RuntimeClasses that the runtime offers: a list of name, handler, overhead, tolerations, scheduling.",
	},
	{
		"verify", object(func(r *Runtime) **Verify { return &r.Verify }, checkVerify), "",
		"A pod of the first RuntimeClass that has to exit with 0 before a node counts as ready: image and cmd.",
	},

	{
		"maxUnavailable", scalar(func(r *Runtime) *intstr.IntOrString { return &r.MaxUnavailable }, aBudget), "1",
		"How many nodes may be out of service at once because of this runtime. Percentages are rounded down, to at least 1.",
	},
	{
		"waves", yamlText[Runtime, []waveText](readWaves), "",
		"Groups of nodes that go first, in order: a list of name, nodeSelector or nodes, maxUnavailable, soak.",
	},
	{
		"soak", scalar(func(r *Runtime) *time.Duration { return &r.Soak }, aDuration), "60s",
		"How long an installed node is watched before it counts as done.",
	},
	{
		"onFailure", scalar(func(r *Runtime) *OnFailure { return &r.OnFailure },
			oneOf(OnFailureHalt, OnFailureContinue, OnFailureRollback)), "Halt",
		"What happens when more than maxFailed nodes failed.",
	},
	{
		"maxFailed", scalar(func(r *Runtime) *intstr.IntOrString { return &r.MaxFailed }, aTolerance), "0",
		"How many nodes may fail before onFailure acts.",
	},
	{
		"attempts", scalar(func(r *Runtime) *int { return &r.Attempts }, aCount), "3",
		"How many times an operation is tried on a node before the node counts as failed.",
	},
	{
		"installTimeout", scalar(func(r *Runtime) *time.Duration { return &r.InstallTimeout }, aTimeout), "15m",
		"The time for one operation on a node.",
	},
	{
		"drain", scalar(func(r *Runtime) *Drain { return &r.Drain },
			oneOf(DrainNone, DrainCordon, DrainDrain)), "None",
		"What happens to the other pods of a node before an operation.",
	},
	{
		"paused", scalar(func(r *Runtime) *bool { return &r.Paused }, aTruth), "false",
		"If true, no node begins. Nodes under way finish.",
	},
	{
		"deletionPolicy", scalar(func(r *Runtime) *DeletionPolicy { return &r.DeletionPolicy },
			oneOf(DeletionBackground, DeletionForeground, DeletionOrphan)), "Background",
		"What happens to nodes when the spec is deleted. With Foreground the ConfigMap stays until they are uninstalled.",
	},
	{
		"inUsePolicy", scalar(func(r *Runtime) *InUsePolicy { return &r.InUsePolicy },
			oneOf(InUseWait, InUseEvict, InUseIgnore)), "Wait",
		"What an uninstall does while pods use the runtime on the node.",
	},
	{
		"deletionGrace", scalar(func(r *Runtime) **time.Duration { return &r.DeletionGrace }, aGrace), "",
		"How long the runtime may be without a spec before nodes are uninstalled. The default is the flag --vanish-grace.",
	},
	{
		"deselectionGrace", scalar(func(r *Runtime) **time.Duration { return &r.DeselectionGrace }, aGrace), "",
		"How long a node's labels must not match before it is uninstalled. The default is the flag --mismatch-grace.",
	},
}

// namesOf are the names of keys, in the same order.
func namesOf[S any](table []key[S]) []string {
	names := make([]string, len(table))
	for i, k := range table {
		names[i] = k.name
	}
	return names
}

// defaults is what a spec says that gives no key at all.
func defaults(name string) *Runtime {
	return &Runtime{
		Name:            name,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Completion:      CompletionExit,
		NodeAccess:      NodeAccessNone,
		PodSecurity:     defaultPodSecurity(),
		MaxUnavailable:  intstr.FromInt32(1),
		Soak:            time.Minute,
		OnFailure:       OnFailureHalt,
		MaxFailed:       intstr.FromInt32(0),
		Attempts:        3,
		InstallTimeout:  15 * time.Minute,
		Drain:           DrainNone,
		DeletionPolicy:  DeletionBackground,
		InUsePolicy:     InUseWait,
	}
}

func defaultPodSecurity() PodSecurity { return PodSecurity{Privileged: true, HostPID: true} }

// object is the reader of a key with a YAML value: it decodes into a field and then checks what was decoded.
func object[S, T any](in func(*S) *T, check func(*field.Path, T) field.ErrorList) value[S] {
	return yamlText[S, T](func(s *S, path *field.Path, text string) field.ErrorList {
		into := in(s)
		errs := decode(path, text, into)
		if len(errs) == maxErrors {
			return errs // what was refused is not known in full, so the checks would complain about it again
		}
		return append(errs, unrelated(errs, check(path, *into))...)
	})
}

// unrelated drops the complaints about fields that were already refused while decoding, and are zero for that reason.
func unrelated(known, complaints field.ErrorList) field.ErrorList {
	if len(known) == 0 {
		return complaints
	}
	var kept field.ErrorList
	for _, complaint := range complaints {
		related := false
		for _, err := range known {
			related = related || below(complaint.Field, err.Field) || below(err.Field, complaint.Field)
		}
		if !related {
			kept = append(kept, complaint)
		}
	}
	return kept
}
