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
	read reader[S]
}

// keys is every key that a spec may have, in the order of docs/spec.md, which is also the order of errors.
var keys = []key[Runtime]{
	{"payloadImage", scalar(func(r *Runtime) *string { return &r.PayloadImage }, image)},
	{"installerImage", scalar(func(r *Runtime) *string { return &r.InstallerImage }, image)},
	{"installCmd", object(func(r *Runtime) *[]string { return &r.InstallCmd }, checkCommand)},
	{"uninstallCmd", object(func(r *Runtime) *[]string { return &r.UninstallCmd }, checkCommand)},
	{"cleanupCmd", object(func(r *Runtime) *[]string { return &r.CleanupCmd }, checkCommand)},
	{"installerVolumes", object(func(r *Runtime) *[]corev1.Volume { return &r.Volumes }, checkVolumes)},
	{"installerVolumeMounts", object(func(r *Runtime) *[]corev1.VolumeMount { return &r.VolumeMounts }, checkMounts)},
	{"environmentVariables", object(func(r *Runtime) *[]corev1.EnvVar { return &r.Env }, checkEnv)},
	{"preInstall", object(func(r *Runtime) **Hook { return &r.PreInstall }, checkHook)},
	{"postUninstall", object(func(r *Runtime) **Hook { return &r.PostUninstall }, checkHook)},
	{"imagePullPolicy", scalar(func(r *Runtime) *corev1.PullPolicy { return &r.ImagePullPolicy }, oneOf(corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever))},
	{"imagePullSecrets", object(func(r *Runtime) *[]corev1.LocalObjectReference { return &r.ImagePullSecrets }, checkPullSecrets)},
	{"completion", scalar(func(r *Runtime) *Completion { return &r.Completion }, oneOf(CompletionExit, CompletionReady, CompletionNodeLabel))},
	{"installDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.InstallDoneLabel }, doneLabel)},
	{"uninstallDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.UninstallDoneLabel }, doneLabel)},
	{"cleanupDoneLabel", scalar(func(r *Runtime) **DoneLabel { return &r.CleanupDoneLabel }, doneLabel)},
	{"nodeAccess", scalar(func(r *Runtime) *NodeAccess { return &r.NodeAccess }, oneOf(NodeAccessNone, NodeAccessOwn))},
	{"podSecurity", object(func(r *Runtime) *PodSecurity { return &r.PodSecurity }, checkPodSecurity)},
	{"patches", object(func(r *Runtime) *[]Patch { return &r.Patches }, checkPatches)},

	{"nodeSelector", readNodeSelector},
	{"runtimeClasses", object(func(r *Runtime) *[]RuntimeClass { return &r.RuntimeClasses }, checkClasses)},
	{"verify", object(func(r *Runtime) **Verify { return &r.Verify }, checkVerify)},

	{"maxUnavailable", scalar(func(r *Runtime) *intstr.IntOrString { return &r.MaxUnavailable }, budget)},
	{"waves", readWaves},
	{"soak", scalar(func(r *Runtime) *time.Duration { return &r.Soak }, duration)},
	{"onFailure", scalar(func(r *Runtime) *OnFailure { return &r.OnFailure }, oneOf(OnFailureHalt, OnFailureContinue, OnFailureRollback))},
	{"maxFailed", scalar(func(r *Runtime) *intstr.IntOrString { return &r.MaxFailed }, tolerance)},
	{"attempts", scalar(func(r *Runtime) *int { return &r.Attempts }, count)},
	{"installTimeout", scalar(func(r *Runtime) *time.Duration { return &r.InstallTimeout }, timeout)},
	{"drain", scalar(func(r *Runtime) *Drain { return &r.Drain }, oneOf(DrainNone, DrainCordon, DrainDrain))},
	{"paused", scalar(func(r *Runtime) *bool { return &r.Paused }, truth)},
	{"deletionPolicy", scalar(func(r *Runtime) *DeletionPolicy { return &r.DeletionPolicy }, oneOf(DeletionBackground, DeletionForeground, DeletionOrphan))},
	{"inUsePolicy", scalar(func(r *Runtime) *InUsePolicy { return &r.InUsePolicy }, oneOf(InUseWait, InUseEvict, InUseIgnore))},
	{"deletionGrace", scalar(func(r *Runtime) **time.Duration { return &r.DeletionGrace }, grace)},
	{"deselectionGrace", scalar(func(r *Runtime) **time.Duration { return &r.DeselectionGrace }, grace)},
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
func object[S, T any](in func(*S) *T, check func(*field.Path, T) field.ErrorList) reader[S] {
	return func(s *S, path *field.Path, text string) field.ErrorList {
		into := in(s)
		errs := decode(path, text, into)
		if len(errs) == maxErrors {
			return errs // what was refused is not known in full, so the checks would complain about it again
		}
		return append(errs, unrelated(errs, check(path, *into))...)
	}
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
