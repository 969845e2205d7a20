package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"longshore.dev/longshore/observed"
)

// podIndex are the installer pods on each node, by the node's place in the snapshot.
type podIndex [][]*observed.Pod

func indexPods(snap *observed.Snapshot) podIndex {
	index := make(podIndex, len(snap.Nodes))
	for i := range snap.Pods {
		n, found := slices.BinarySearchFunc(snap.Nodes, snap.Pods[i].Node, func(n observed.Node, name string) int { return cmp.Compare(n.Name, name) })
		if found {
			index[n] = append(index[n], &snap.Pods[i])
		}
	}
	return index
}

// operationOf is the operation and the revision that a pod of a runtime was made for.
func operationOf(pod *observed.Pod) (operation observed.Operation, revision string) {
	step, revision, _ := strings.Cut(strings.TrimPrefix(pod.DaemonSet, pod.Runtime+"-"), "-")
	return observed.OperationOf(step), revision
}

// of returns the newest pod of a DaemonSet on a node that is not on its way out, nil if there is none.
func (p podIndex) of(n int, daemonSet string) *observed.Pod {
	var found *observed.Pod
	for _, pod := range p[n] {
		if pod.DaemonSet != daemonSet || pod.Deleting {
			continue
		}
		if found == nil || cmp.Or(pod.Created.Compare(found.Created), cmp.Compare(pod.Name, found.Name)) > 0 {
			found = pod
		}
	}
	return found
}

// started tells whether any command of the pod has ever begun.
func started(pod *observed.Pod) bool {
	for i := range pod.Steps {
		c := &pod.Steps[i]
		if c.Running || c.Done || c.Restarts > 0 || c.Exit != nil {
			return true
		}
	}
	return pod.Main.Running
}

// finished tells whether every command exited 0 and the pause container was started by the runtime afterwards.
func finished(pod *observed.Pod) bool {
	for i := range pod.Steps {
		if !pod.Steps[i].Done {
			return false
		}
	}
	return pod.Main.Running
}

// current is the step that the pod is at: the first that is not done, nil when all are.
func current(pod *observed.Pod) *observed.Container {
	for i := range pod.Steps {
		if !pod.Steps[i].Done {
			return &pod.Steps[i]
		}
	}
	return nil
}

// exits counts how often commands of the pod ended with something other than 0. A command that had exited 0 is run again when the
// machine was rebooted before the pod's main container ran: that is no failure.
func exits(pod *observed.Pod) int {
	count := 0
	for i := range pod.Steps {
		c := &pod.Steps[i]
		if c.Exit != nil {
			count += c.Restarts
		}
		// The kubelet counts a restart when the next try begins.
		if !c.Running && !c.Done && c.Exit != nil {
			count++
		}
	}
	return count
}

// lastExit is the latest failed end of a command of the pod, nil if there was none.
func lastExit(pod *observed.Pod) (step string, exit *observed.Exit) {
	for i := range pod.Steps {
		c := &pod.Steps[i]
		if c.Exit != nil && (exit == nil || !c.Exit.At.Before(exit.At)) {
			step, exit = c.Name, c.Exit
		}
	}
	return step, exit
}

// killed tells whether an end looks like that of a command that was killed by the restart it asked for: SIGKILL, SIGTERM, or an
// end that the restarted runtime could not tell.
func killed(exit *observed.Exit) bool {
	switch exit.Code {
	case 137, 143, 255:
		return true
	}
	return exit.Reason == "ContainerStatusUnknown" || exit.Reason == "Unknown"
}

// waiting says in words what a pod waits for, nil pod included, and what a refused pull would have needed.
func (d *decider) waiting(pod *observed.Pod) (Reason, string) {
	reason, words := waiting(pod)
	if reason != PodNotStarted && reason != WaitingForMain {
		return reason, words
	}
	at := &pod.Main
	if step := current(pod); step != nil {
		at = step
	}
	if !strings.Contains(at.Waiting, "Image") {
		return reason, words
	}
	if advice := d.plan.Advice(d.snap, at.Image, at.WaitingMessage); advice != "" {
		// It comes first: kubelets name the image three times, and a message has an end.
		words = strings.TrimSuffix(words, because(*at)) + ": " + advice + because(*at)
	}
	return reason, words
}

// fetchAdvice says what an installer would have needed whose command failed because a registry refused it the payload.
func (d *decider) fetchAdvice(v *visit, revision string, exit *observed.Exit) string {
	content := d.content(v, revision)
	if content == nil || content.PullsPayload() {
		return ""
	}
	image, _ := content.Payload()
	if advice := d.plan.FetchAdvice(d.snap, image, exit.Message); advice != "" {
		return "; " + advice
	}
	return ""
}

func waiting(pod *observed.Pod) (Reason, string) {
	if pod == nil {
		return WaitingForPod, "waiting for the DaemonSet controller to make the installer pod"
	}
	step := current(pod)
	switch {
	case step == nil:
		return WaitingForMain, "every step exited 0; waiting for the container runtime to start the pod's main container" + because(pod.Main)
	case step.Running:
		return CommandRunning, fmt.Sprintf("step %s is running", step.Name)
	case step.Exit != nil:
		return CommandFailed, fmt.Sprintf("step %s %s; the kubelet runs it again", step.Name, words(step.Exit))
	case pod.Reason != "":
		return PodNotStarted, fmt.Sprintf("pod %s: %s: %s", pod.Name, pod.Reason, pod.Message)
	}
	return PodNotStarted, fmt.Sprintf("step %s has not started%s", step.Name, because(*step))
}

func because(c observed.Container) string {
	switch {
	case c.Waiting == "":
		return ""
	case c.WaitingMessage == "":
		return ": " + c.Waiting
	}
	return ": " + c.Waiting + ": " + c.WaitingMessage
}

// words tells how a command ended, with its own words.
func words(exit *observed.Exit) string {
	text := fmt.Sprintf("exited %d", exit.Code)
	if exit.Reason != "" && exit.Reason != "Error" {
		text += " (" + exit.Reason + ")"
	}
	if exit.Message != "" {
		text += ": " + exit.Message
	}
	return text
}
