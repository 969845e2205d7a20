package faulttests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster"
)

// smallNode has a disk that a test can fill.
const (
	smallNode = "node-s"
	smallDisk = 384 << 20
	// fullDisk is the story that takes place there.
	fullDisk = "full-disk"
)

func cordon(y *story) {
	y.kubectl("cordon", y.nodes[0])
	y.t.Cleanup(func() { y.kubectlLater("uncordon", y.nodes[0]) })
}

// machines are what happens to a node while the command runs on it.
var machines = map[string][]step{
	// What is under way is finished; nothing begins on a node that somebody cordoned.
	"cordoned": {
		{do: apply("1"), strike: cordon, ran: "install 1", version: "1"},
		{do: apply("2"), after: func(y *story) {
			y.wait(y.t.Context(), "the node waits because it is cordoned", func(ctx context.Context) (bool, string) {
				st := y.status(ctx, y.specName())
				return strings.HasSuffix(st.message, "; NodeCordoned 1"), fmt.Sprintf("%+v", st)
			})
			y.kubectl("uncordon", y.nodes[0])
		}, ran: "install 2", version: "2"},
		{do: remove, strike: cordon, ran: "uninstall 2"},
	},
	"tainted": always(func(y *story) {
		y.kubectl("taint", "node", y.nodes[0], "--overwrite", "maintenance=now:NoExecute", "maintenance=now:NoSchedule")
		y.t.Cleanup(func() { y.kubectlLater("taint", "node", y.nodes[0], "maintenance-") })
	}, "%s"),
	// The kubelet runs the command again after the machine has come up; that is nobody's failure.
	"rebooted": {
		{do: apply("1"), strike: rebootAtWork, after: doneInThisBoot, ran: "install 1, install 1", version: "1"},
		{do: apply("2"), strike: rebootAtWork, after: doneInThisBoot, ran: "install 2, install 2", version: "2"},
		// What is installed is not installed again. The next step would see it if it were, however late.
		{do: reboot, ran: "", version: "2"},
		{do: remove, strike: rebootAtWork, ran: "uninstall 2, uninstall 2"},
	},
	"kubelet-stopped": always(func(y *story) {
		y.onNode("systemctl stop kubelet")
		y.release()
		minute := time.NewTimer(time.Minute)
		y.wait(y.t.Context(), "the node is NotReady", func(ctx context.Context) (bool, string) { return !y.isReady(ctx), "" })
		<-minute.C
		y.onNode("systemctl start kubelet")
		y.hang()
	}, "%s"),
	// A Node that is deleted and registers again under its name has another uid: it starts from nothing. What ran there is interrupted.
	"registered-again": {
		{do: apply("1"), strike: reregister, ran: "install 1, install 1", version: "1"},
		{do: apply("2"), strike: reregister, ran: "install 2, install 2", version: "2"},
		{do: remove, strike: reregister, ran: "uninstall 2"},
	},
	// A node that does not match any more is uninstalled when the operation has ended, and one that matches again is installed anew. It is the only one of its runtime: people
	// have to agree to the uninstall.
	"relabelled": {
		{do: labelled("1"), strike: deselect, after: reselect, ran: "install 1, uninstall 1, install 1", version: "1"},
		{do: labelled("2"), strike: deselect, after: reselect, ran: "install 2, uninstall 2, install 2", version: "2"},
		{do: remove, strike: deselect, ran: "uninstall 2"},
	},
	// Away and back in the middle of an operation costs nothing.
	"relabelled-twice": {
		{do: labelled("1"), strike: both(deselect, reselectNow), ran: "install 1", version: "1"},
		{do: labelled("2"), strike: both(deselect, reselectNow), ran: "install 2", version: "2"},
		{do: remove, strike: both(deselect, reselectNow), ran: "uninstall 2", after: deselect},
	},
	fullDisk: {
		{do: apply("1"), strike: fill, after: freeAfterWords, ran: "install 1(, install 1)+", version: "1"},
		{do: apply("2"), strike: fill, after: freeAfterWords, ran: "install 2(, install 2)+", version: "2"},
		{do: remove, strike: fill, after: free, ran: "uninstall 2"},
	},
}

// reboot returns when the API server knows of it.
func reboot(y *story) {
	y.t.Helper()
	before := y.node(y.t.Context(), y.nodes[0]).Status.NodeInfo.BootID
	if err := y.machine(y.nodes[0]).Reboot(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
	y.wait(y.t.Context(), "the node shows another boot", func(ctx context.Context) (bool, string) {
		now := y.node(ctx, y.nodes[0])
		return now.Status.NodeInfo.BootID != before && nodeReady(now), now.Status.NodeInfo.BootID
	})
}

func rebootAtWork(y *story) {
	y.t.Helper()
	began := len(y.log())
	reboot(y)
	y.begun(began + 1)
}

// doneInThisBoot waits until an operation is done that a reboot has interrupted.
func doneInThisBoot(y *story) {
	y.t.Helper()
	y.wait(y.t.Context(), "the node became Ready in its present boot", func(ctx context.Context) (bool, string) {
		st, boot := y.standing(ctx, y.nodes[0], y.runtime), y.node(ctx, y.nodes[0]).Status.NodeInfo.BootID
		return st.Phase == "Ready" && st.BootID == boot, fmt.Sprintf("%+v in boot %s", st, boot)
	})
	if st := y.standing(y.t.Context(), y.nodes[0], y.runtime); st.Attempt != 1 {
		y.t.Errorf("the node shows %+v, expected the first attempt: a reboot is nobody's failure", st)
	}
}

func both(first, second func(*story)) func(*story) {
	return func(y *story) { first(y); second(y) }
}

// kubectlLater is for cleaning up, when the test's own context is over.
func (y *story) kubectlLater(args ...string) {
	ctx, cancel := within()
	defer cancel()
	if _, err := y.c.Kubectl(ctx, args...); err != nil && !strings.Contains(err.Error(), "not found") {
		y.t.Error(err)
	}
}

func (y *story) isReady(ctx context.Context) bool {
	y.t.Helper()
	return nodeReady(y.node(ctx, y.nodes[0]))
}

// reregister deletes the Node. The kubelet registers again when it starts.
func reregister(y *story) {
	y.kubectl("delete", "node", y.nodes[0])
	y.release()
	y.onNode("systemctl restart kubelet")
	y.wait(y.t.Context(), "the node is there again", func(ctx context.Context) (bool, string) {
		n, err := y.kube.CoreV1().Nodes().Get(ctx, y.nodes[0], metav1.GetOptions{})
		return err == nil && n.DeletionTimestamp == nil, fmt.Sprint(err)
	})
	y.hang()
}

// labelled selects the node by a label of its own.
func labelled(version string) func(*story) {
	return func(y *story) {
		y.selector = y.runtime + "=yes"
		reselectNow(y)
		apply(version)(y)
	}
}

func deselect(y *story) { y.kubectl("label", "node", y.nodes[0], y.runtime+"-") }

func reselectNow(y *story) { y.kubectl("label", "node", y.nodes[0], "--overwrite", y.runtime+"=yes") }

// reselect agrees to the uninstall, and waits until the node is uninstalled. Before that nothing is done to it, for no node is selected any more.
func reselect(y *story) {
	y.says(y.specName(), "Halted")
	st := y.shows(y.nodes[0], y.runtime, "Ready")
	if st.ready != "true" {
		y.t.Errorf("the node shows %+v, expected it to keep the runtime until people agree to the uninstall", st)
	}
	// A value that the revision before had is not heard twice.
	y.kubectl("--namespace=longshore", "annotate", "configmap", y.specName(), "--overwrite", "longshore.dev/uninstall-deselected="+st.Revision)
	y.shows(y.nodes[0], y.runtime, "")
	reselectNow(y)
}

// fill leaves no byte on the node's disk.
func fill(y *story) {
	y.t.Cleanup(func() {
		ctx, cancel := within()
		defer cancel()
		if out, err := y.sh(ctx, y.nodes[0], "rm -rf /var/tmp/fill"); err != nil {
			y.t.Errorf("%v: %s", err, out)
		}
	})
	y.said = len(y.machine(y.nodes[0]).Logs("containerd"))
	y.onNode("mkdir -p /var/tmp/fill; dd if=/dev/zero of=/var/tmp/fill/all bs=65536 2>/dev/null; dd if=/dev/zero of=/var/tmp/fill/rest bs=4096 2>/dev/null; true")
}

// free waits until the command has ended, and until what comes after it has hit the full disk if it does.
func free(y *story) {
	y.finishOr(func(p *corev1.Pod) bool { return outOfSpace(p) || y.unrecorded() })
	y.onNode("rm -r /var/tmp/fill")
}

// unrecorded tells whether containerd says that it cannot write down how the command ended. Nobody else learns that it did before there is space again.
func (y *story) unrecorded() bool {
	for line := range strings.Lines(y.machine(y.nodes[0]).Logs("containerd")[y.said:]) {
		if strings.Contains(line, "TaskExit") && strings.Contains(line, "no space left") {
			return true
		}
	}
	return false
}

// freeAfterWords waits until the command has failed and somebody says why: the node, or, as long as the log has no room for the command's
// words, the kubelet that cannot run it again, or containerd, that cannot even write down the failure.
func freeAfterWords(y *story) {
	y.wait(y.t.Context(), "the failure is counted and explained", func(ctx context.Context) (bool, string) {
		st := y.standing(ctx, y.nodes[0], y.runtime)
		if y.unrecorded() {
			return true, ""
		}
		if st.Attempt < 2 {
			return false, fmt.Sprintf("%+v", st)
		}
		pods, err := y.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + y.runtime})
		if err != nil {
			return false, err.Error()
		}
		explained := strings.Contains(strings.ToLower(st.Message), "no space left") || slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return outOfSpace(&p) })
		return explained, fmt.Sprintf("%+v", st)
	})
	y.onNode("rm -r /var/tmp/fill")
}

// outOfSpace tells whether the kubelet cannot go on with a pod because there is no space left.
func outOfSpace(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses), func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && strings.Contains(c.State.Waiting.Reason+c.State.Waiting.Message, "no space left")
	})
}

// TestNodesThatComeAndGoInTheMiddleOfAnOperation has the node at work vanish, and another one come, in the middle of each operation.
func TestNodesThatComeAndGoInTheMiddleOfAnOperation(t *testing.T) {
	s := start(t)
	y := &story{suite: s, image: s.payload("members:1", ""), runtime: "members", selector: "members=yes"}
	add := func(name string) {
		t.Helper()
		s.extra(cluster.NodeOptions{Name: name, Labels: map[string]string{"members": "yes"}})
		y.nodes = append(y.nodes, name)
	}
	vanish := func() {
		t.Helper()
		if err := s.c.RemoveNode(t.Context(), y.nodes[0]); err != nil {
			t.Fatal(err)
		}
		y.nodes = y.nodes[1:]
	}
	add("member-1")
	s.run()
	within := s.budget(y.runtime)

	// member-1 is at work and vanishes, two others come.
	y.hang()
	y.do(0)
	y.begun(1)
	add("member-2")
	add("member-3")
	vanish()
	y.installed("1")
	y.ran("install 1")

	// member-2 is at work on the upgrade and vanishes, member-4 comes and is installed at once with the new version.
	y.hang()
	y.do(1)
	y.begun(2)
	add("member-4")
	s.ranOn("member-4", y.runtime)
	vanish()
	y.installed("2")
	s.ranOn("member-3", y.runtime, "install 1", "install 2")
	s.ranOn("member-4", y.runtime, "install 2")

	// member-3 is at work on the uninstall and vanishes, member-5 comes and has nothing to do with it.
	y.hang()
	y.do(2)
	y.begun(3)
	add("member-5")
	vanish()
	s.gone(t.Context())
	s.ranOn("member-4", y.runtime, "install 2", "uninstall 2")
	s.ranOn("member-5", y.runtime)
	within()
}
