package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster"
)

func TestWhatSomebodyEditsOrDeletesComesBack(t *testing.T) {
	s := start(t, "edited")
	image := s.payload("edited:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "edited", image, "containerd=2") + "  runtimeClasses: '[{name: edited, handler: runc}]'\n")
	revision := s.ready("edited", 2)
	install := "edited-install-" + revision
	kubectl := func(args ...string) {
		t.Helper()
		if _, err := s.c.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}

	kubectl("delete", "runtimeclass", "edited")
	s.wait(t.Context(), "the RuntimeClass is back", func(ctx context.Context) (bool, string) {
		class, err := s.kube.NodeV1().RuntimeClasses().Get(ctx, "edited", metav1.GetOptions{})
		return err == nil && class.Handler == "runc", fmt.Sprint(err)
	})
	kubectl("label", "node", nodeA, "edited.longshore.dev/ready-", "edited.longshore.dev/phase=Nonsense", "--overwrite")
	s.wait(t.Context(), "the labels are right again", func(ctx context.Context) (bool, string) {
		ready, phase := s.label(ctx, nodeA, "ready"), s.label(ctx, nodeA, "phase")
		return ready == "true" && phase == "Ready", ready + " " + phase
	})
	kubectl("label", "node", nodeA, "edited.longshore.dev/gate="+revision+"-uninstall")
	s.wait(t.Context(), "the gate that nobody opened is gone", func(ctx context.Context) (bool, string) {
		gate := s.label(ctx, nodeA, "gate")
		return gate == "", gate
	})
	kubectl("--namespace=longshore", "delete", "daemonset", install)
	s.wait(t.Context(), "the DaemonSet is back", func(ctx context.Context) (bool, string) {
		set, err := s.kube.AppsV1().DaemonSets("longshore").Get(ctx, install, metav1.GetOptions{})
		return err == nil && set.DeletionTimestamp == nil, fmt.Sprint(err)
	})
	kubectl("--namespace=longshore", "patch", "daemonset", install, "--type=json", `--patch=[{"op":"replace","path":"/spec/template/spec/initContainers/0/image","value":"busybox"}]`)
	s.wait(t.Context(), "the DaemonSet's image is right again", func(ctx context.Context) (bool, string) {
		set, err := s.kube.AppsV1().DaemonSets("longshore").Get(ctx, install, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return set.Spec.Template.Spec.InitContainers[0].Image == image, set.Spec.Template.Spec.InitContainers[0].Image
	})
	kubectl("--namespace=longshore", "patch", "daemonset", install, "--type=merge", `--patch={"spec":{"template":{"spec":{"nodeSelector":{"nobody":"here"}}}}}`)
	kubectl("patch", "runtimeclass", "edited", "--type=merge", `--patch={"scheduling":{"nodeSelector":{"nobody":"here"}}}`)
	s.wait(t.Context(), "what somebody added is gone again", func(ctx context.Context) (bool, string) {
		set, err := s.kube.AppsV1().DaemonSets("longshore").Get(ctx, install, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		class, err := s.kube.NodeV1().RuntimeClasses().Get(ctx, "edited", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		selectors := fmt.Sprint(set.Spec.Template.Spec.NodeSelector, class.Scheduling)
		return !strings.Contains(selectors, "nobody"), selectors
	})
	kubectl("--namespace=longshore", "annotate", "controllerrevision", "edited-"+revision, "longshore.dev/spec-")
	s.wait(t.Context(), "the snapshot remembers the spec again", func(ctx context.Context) (bool, string) {
		object, err := s.kube.AppsV1().ControllerRevisions("longshore").Get(ctx, "edited-"+revision, metav1.GetOptions{})
		return err == nil && object.Annotations["longshore.dev/spec"] != "", fmt.Sprint(err)
	})
	kubectl("--namespace=longshore", "delete", "controllerrevision", "edited-"+revision)
	s.wait(t.Context(), "the snapshot is back", func(ctx context.Context) (bool, string) {
		_, err := s.kube.AppsV1().ControllerRevisions("longshore").Get(ctx, "edited-"+revision, metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	kubectl("--namespace=longshore-system", "delete", "configmap", "longshore-turns")
	s.wait(t.Context(), "the turns are back", func(ctx context.Context) (bool, string) {
		_, err := s.kube.CoreV1().ConfigMaps("longshore-system").Get(ctx, "longshore-turns", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	kubectl("annotate", "node", nodeB, "edited.longshore.dev/progress-")
	s.wait(t.Context(), "the wiped node is installed anew", func(ctx context.Context) (bool, string) {
		p := s.progress(ctx, nodeB)
		return p.Phase == "Ready", fmt.Sprintf("%+v", p)
	})
	s.ready("edited", 2)
	if out, err := s.exec(nodeA, "cat", "/opt/edited"); err != nil || out != nodeA+" install" {
		t.Errorf("node %s ran %q (%v), expected one install: nothing that was edited asked for another", nodeA, out, err)
	}
	if out, err := s.exec(nodeB, "cat", "/opt/edited"); err != nil || out != nodeB+" install\n"+nodeB+" install" {
		t.Errorf("node %s ran %q (%v), expected a second install after its progress was wiped", nodeB, out, err)
	}
}

func TestADeselectedNodeIsUninstalledAndATypoUninstallsNothing(t *testing.T) {
	s := start(t, "selected")
	for _, n := range []string{nodeA, nodeB} {
		if _, err := s.c.Kubectl(t.Context(), "label", "node", n, "selected=yes"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := s.c.Kubectl(context.Background(), "label", "node", nodeA, nodeB, "selected-"); err != nil {
			t.Error(err)
		}
	})
	image := s.payload("selected:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "selected", image, "selected=yes"))
	s.ready("selected", 2)
	if _, err := s.c.Kubectl(t.Context(), "label", "node", nodeA, "selected-"); err != nil {
		t.Fatal(err)
	}
	s.ready("selected", 1)
	if out, err := s.exec(nodeA, "ls", "/opt"); err != nil || out != "cni\ncontainerd" {
		t.Errorf("node %s has %q in /opt (%v) after it was deselected", nodeA, out, err)
	}
	// A typo in the selector takes nothing away.
	s.set("selected", "nodeSelector", "selected=yse")
	st := s.phase("selected", "Halted")
	if p := s.progress(t.Context(), nodeB); p.Phase != "Ready" {
		t.Errorf("node %s tells %+v after the selector matched nothing, and the spec %q", nodeB, p, st.message)
	}
	s.set("selected", "nodeSelector", "selected=yes")
	s.ready("selected", 1)
}

func TestAVanishedNodeBlocksNothingAndStartsFromNothingWhenItIsBack(t *testing.T) {
	s := start(t, "vanishing")
	labels := map[string]string{"vanishing": "yes"}
	if _, err := s.c.AddNode(t.Context(), cluster.NodeOptions{Name: "node-0", Labels: labels}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.c.RemoveNode(context.Background(), "node-0"); err != nil {
			t.Error(err)
		}
		if _, err := s.c.Kubectl(context.Background(), "label", "node", nodeA, "vanishing-"); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.c.Kubectl(t.Context(), "label", "node", nodeA, "vanishing=yes"); err != nil {
		t.Fatal(err)
	}
	// The first node in order hangs; it holds the only place of the budget.
	image := s.payload("vanishing:1", map[string]string{
		"/install.sh":   touchScript + "while [ -e /host/opt/vanishing-hangs ]; do sleep 0.1; done\n",
		"/uninstall.sh": removeScript,
	})
	if _, err := s.exec("node-0", "touch", "/opt/vanishing-hangs"); err != nil {
		t.Fatal(err)
	}
	s.apply(fmt.Sprintf(specText, "vanishing", image, "vanishing=yes"))
	s.wait(t.Context(), "the command runs on node-0", func(context.Context) (bool, string) {
		out, err := s.exec("node-0", "cat", "/opt/vanishing")
		return err == nil && out == "node-0 install", out
	})
	if p := s.progress(t.Context(), nodeA); p.Phase != "" {
		t.Errorf("node %s has %+v while the only place of the budget is taken", nodeA, p)
	}
	if err := s.c.RemoveNode(t.Context(), "node-0"); err != nil {
		t.Fatal(err)
	}
	s.ready("vanishing", 1)
	if _, err := s.c.AddNode(t.Context(), cluster.NodeOptions{Name: "node-0", Labels: labels}); err != nil {
		t.Fatal(err)
	}
	s.ready("vanishing", 2)
	if p := s.progress(t.Context(), "node-0"); p.Phase != "Ready" || p.Previous != "" {
		t.Errorf("node-0 tells %+v, expected a first install", p)
	}
}
