package faulttests

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hands are what people do by hand to what is Longshore's, while the command runs. Nothing of it stays wrong; and only what takes the
// installer's pod away has the command run again.
var hands = map[string][]step{
	"daemonset-gone": always(func(y *story) {
		began := len(y.log())
		y.kubectl("--namespace=longshore", "delete", "daemonset", "--selector=longshore.dev/runtime-of="+y.runtime)
		y.begun(began + 1)
	}, "%[1]s, %[1]s"),
	"daemonset-edited": always(func(y *story) {
		y.kubectl("--namespace=longshore", "set", "image", "daemonset", "--selector=longshore.dev/runtime-of="+y.runtime, "*=busybox:1")
	}, "%s"),
	// The DaemonSet controller may or may not have seen that the gate was gone.
	"gate-gone":  always(func(y *story) { y.unlabel("gate") }, "%[1]s(, %[1]s)?"),
	"gate-other": always(func(y *story) { y.label("gate=nonsense") }, "%[1]s(, %[1]s)?"),
	"ready-gone": always(func(y *story) { y.unlabel("ready") }, "%s"),
	// Nobody makes a node ready, or not ready, by hand.
	"ready-forged": always(func(y *story) {
		was := y.standing(y.t.Context(), y.nodes[0], y.runtime).ready
		for _, forged := range []string{"true", "false"} {
			y.label("ready=" + forged)
			y.wait(y.t.Context(), "the ready label is as before it was "+forged, func(ctx context.Context) (bool, string) {
				st := y.standing(ctx, y.nodes[0], y.runtime)
				return st.ready == was, fmt.Sprintf("%+v", st)
			})
		}
	}, "%s"),
	"progress-gone": always(func(y *story) { y.annotate("progress-") }, "%s"),
	// It is left alone until somebody takes it off.
	"progress-spoilt": always(func(y *story) {
		y.annotate("progress={")
		y.release()
		y.finish()
		if st := y.node(y.t.Context(), y.nodes[0]).Annotations[y.runtime+".longshore.dev/progress"]; st != "{" {
			y.t.Errorf("progress that nobody can read became %q", st)
		}
		y.annotate("progress-")
		y.hang()
	}, "%s"),
	"snapshot-edited": always(func(y *story) {
		y.kubectl("--namespace=longshore", "annotate", "controllerrevision", "--selector=longshore.dev/runtime-of="+y.runtime+",!longshore.dev/installer",
			"longshore.dev/spec-", "longshore.dev/source-", "longshore.dev/vanished-")
	}, "%s"),
	// What nobody can read is as good as nothing.
	"snapshot-spoilt": always(func(y *story) {
		y.kubectl("--namespace=longshore", "annotate", "controllerrevision", "--selector=longshore.dev/runtime-of="+y.runtime+",!longshore.dev/installer", "--overwrite",
			"longshore.dev/spec={", "longshore.dev/source=nonsense", "longshore.dev/vanished=yesterday")
	}, "%s"),
	"turns-gone": always(func(y *story) {
		y.kubectl("--namespace=longshore-system", "delete", "configmap", "longshore-turns")
	}, "%s"),
	"turns-emptied": always(func(y *story) {
		y.kubectl("--namespace=longshore-system", "patch", "configmap", "longshore-turns", "--type=json", `--patch=[{"op":"replace","path":"/data","value":{"nobody":"nonsense"}}]`)
	}, "%s"),
	"class-gone": always(func(y *story) {
		y.kubectl("delete", "runtimeclass", y.runtime, "--ignore-not-found")
	}, "%s"),
	"class-edited": always(func(y *story) {
		y.class(`{"scheduling":{"nodeSelector":{"nobody":"here"}},"overhead":{"podFixed":{"memory":"77Mi"}}}`)
	}, "%s"),
	// Whose it is stands in its label. A class without it is not Longshore's, until it is handed over.
	"class-disowned": {
		{do: apply("1"), strike: disown, ran: "install 1", version: "1"},
		{do: apply("2"), strike: disown, ran: "install 2", version: "2"},
		{do: remove, ran: "uninstall 2"},
	},
}

func disown(y *story) {
	y.class(`{"metadata":{"labels":{"longshore.dev/runtime-of":null},"annotations":{"longshore.dev/adopt":"` + y.runtime + `"}}}`)
}

// always has the same happen in the middle of an install, an upgrade and an uninstall. What the command ran is a format with the operation.
func always(strike func(*story), ran string) []step {
	return []step{
		{do: apply("1"), strike: strike, ran: fmt.Sprintf(ran, "install 1"), version: "1"},
		{do: apply("2"), strike: strike, ran: fmt.Sprintf(ran, "install 2"), version: "2"},
		{do: remove, strike: strike, ran: fmt.Sprintf(ran, "uninstall 2")},
	}
}

// label, unlabel and annotate change a key of the runtime on the node.
func (y *story) label(key string) {
	y.t.Helper()
	y.kubectl("label", "node", y.nodes[0], "--overwrite", y.runtime+".longshore.dev/"+key)
}

func (y *story) unlabel(key string) {
	y.t.Helper()
	y.label(key + "-")
}

func (y *story) annotate(key string) {
	y.t.Helper()
	y.kubectl("annotate", "node", y.nodes[0], "--overwrite", y.runtime+".longshore.dev/"+key)
}

// class changes the RuntimeClass, where there is one.
func (y *story) class(patch string) {
	y.t.Helper()
	if _, err := y.kube.NodeV1().RuntimeClasses().Get(y.t.Context(), y.runtime, metav1.GetOptions{}); err == nil {
		y.kubectl("patch", "runtimeclass", y.runtime, "--type=merge", "--patch="+patch)
	}
}

// finish waits until the command has ended and the pod runs.
func (y *story) finish() {
	y.t.Helper()
	y.finishOr(func(*corev1.Pod) bool { return false })
}

// finishOr is content with something else that the pod shows.
func (y *story) finishOr(enough func(*corev1.Pod) bool) {
	y.t.Helper()
	y.wait(y.t.Context(), "the command has ended", func(ctx context.Context) (bool, string) {
		pods, err := y.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + y.runtime})
		if err != nil || len(pods.Items) == 0 {
			return false, fmt.Sprint(err)
		}
		pod := &pods.Items[0]
		return pod.Status.Phase == corev1.PodRunning || enough(pod), string(pod.Status.Phase)
	})
}
