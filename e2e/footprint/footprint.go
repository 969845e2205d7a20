// Package footprint answers: what stands on a node, and what has an installation left there?
package footprint

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster/node"
)

// Exceptions are the facts that change on a node without Longshore, each with the reason. A key that ends in * is a prefix.
var Exceptions = map[string]string{
	"annotation volumes.kubernetes.io/controller-managed-attach-detach": "the kubelet's own",
	"annotation node.alpha.kubernetes.io/ttl":                           "the controller manager's own, follows the size of the cluster",
	"mount /var/lib/kubelet/pods/*":                                     "volumes of pods that come and go",
	"mount /run/containerd/*":                                           "containers of pods that come and go",
	"mount /run/netns/*":                                                "network namespaces of pods that come and go",
	"mount /var/lib/containerd/*":                                       "images being unpacked",
}

// Footprint is everything that is compared, one line a fact.
type Footprint map[string]string

// Of reads a node: its whole upper layer by path, mode and digest, its mounts, and its object in the API server.
func Of(ctx context.Context, kube kubernetes.Interface, n *node.Node, name string) (Footprint, error) {
	f := Footprint{}
	changes, err := n.Changes()
	if err != nil {
		return nil, fmt.Errorf("files of node %s: %w", name, err)
	}
	for path, what := range changes {
		f["file "+path] = what
	}
	if err := f.mounts(ctx, n); err != nil {
		return nil, fmt.Errorf("mounts of node %s: %w", name, err)
	}
	object, err := kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	f.object(object)
	maps.DeleteFunc(f, func(key, _ string) bool { return excepted(key) })
	return f, nil
}

func excepted(fact string) bool {
	for key := range Exceptions {
		prefix, wild := strings.CutSuffix(key, "*")
		if fact == key || (wild && strings.HasPrefix(fact, prefix)) {
			return true
		}
	}
	return false
}

func (f Footprint) mounts(ctx context.Context, n *node.Node) error {
	var out strings.Builder
	if err := n.Exec(ctx, []string{"cat", "/proc/1/mountinfo"}, nil, &out, os.Stderr); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		words := strings.Fields(line)
		if len(words) > 5 {
			f["mount "+words[4]] = words[3]
		}
	}
	return nil
}

func (f Footprint) object(object *corev1.Node) {
	for key, value := range object.Labels {
		f["label "+key] = value
	}
	for key, value := range object.Annotations {
		f["annotation "+key] = value
	}
	for _, t := range object.Spec.Taints {
		f["taint "+t.Key+":"+string(t.Effect)] = t.Value
	}
	f["unschedulable"] = fmt.Sprint(object.Spec.Unschedulable)
	for _, h := range object.Status.RuntimeHandlers {
		f["handler "+h.Name] = "reported"
	}
}

// Diff lists what differs, a line a fact; nothing when both are the same.
func Diff(before, after Footprint) []string {
	keys := map[string]bool{}
	for _, f := range []Footprint{before, after} {
		for key := range f {
			keys[key] = true
		}
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		old, had := before[key]
		now, has := after[key]
		switch {
		case had && !has:
			lines = append(lines, fmt.Sprintf("- %s: %s", key, old))
		case !had && has:
			lines = append(lines, fmt.Sprintf("+ %s: %s", key, now))
		case old != now:
			lines = append(lines, fmt.Sprintf("~ %s: %s, before %s", key, now, old))
		}
	}
	return lines
}
