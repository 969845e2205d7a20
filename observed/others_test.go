package observed

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOthersAreKnownByWhatTheyDocument(t *testing.T) {
	taint := func(key string) *corev1.Node {
		return &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "example.com/other"}, {Key: key, Effect: corev1.TaintEffectNoSchedule}}}}
	}
	annotated := func(pairs ...string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}}
		for i := 0; i < len(pairs); i += 2 {
			n.Annotations[pairs[i]] = pairs[i+1]
		}
		return n
	}
	labelled := func(state string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"nvidia.com/gpu-driver-upgrade-state": state}}}
	}
	const mco = "machineconfiguration.openshift.io/"
	for name, c := range map[string]struct {
		node *corev1.Node
		want string
	}{
		"nobody":                        {&corev1.Node{}, ""},
		"a taint of somebody else":      {taint("node.kubernetes.io/unschedulable"), ""},
		"Cluster Autoscaler":            {taint("ToBeDeletedByClusterAutoscaler"), "Cluster Autoscaler removes the node"},
		"a machine that is shut down":   {taint("node.cloudprovider.kubernetes.io/shutdown"), "the machine is being taken away"},
		"a node out of service":         {taint("node.kubernetes.io/out-of-service"), "the machine is being taken away"},
		"a spot machine of AWS":         {taint("aws-node-termination-handler/spot-itn"), "the machine is being taken away"},
		"a spot machine of GKE":         {taint("cloud.google.com/impending-node-termination"), "the machine is being taken away"},
		"its candidate is none yet":     {taint("DeletionCandidateOfClusterAutoscaler"), ""},
		"Karpenter":                     {taint("karpenter.sh/disrupted"), "Karpenter removes the node"},
		"Karpenter before 1.0":          {taint("karpenter.sh/disruption"), "Karpenter removes the node"},
		"MCO at rest":                   {annotated(mco+"state", "Done", mco+"currentConfig", "a", mco+"desiredConfig", "a"), ""},
		"MCO at work":                   {annotated(mco+"state", "Working", mco+"currentConfig", "a", mco+"desiredConfig", "b"), `the Machine Config Operator is at work on the node (annotation machineconfiguration.openshift.io/state is "Working")`},
		"MCO about to begin":            {annotated(mco+"state", "Done", mco+"currentConfig", "a", mco+"desiredConfig", "b"), "the Machine Config Operator will update the node (annotations machineconfiguration.openshift.io/currentConfig and desiredConfig differ)"},
		"kured":                         {annotated("weave.works/kured-reboot-in-progress", "2026-11-20T12:00:00Z"), "kured reboots the node"},
		"kured, which only would":       {annotated("weave.works/kured-most-recent-reboot-needed", "2026-11-20T12:00:00Z"), ""},
		"a driver that is up to date":   {labelled("upgrade-done"), ""},
		"a driver that waits":           {labelled("upgrade-required"), ""},
		"a driver that could not":       {labelled("upgrade-failed"), ""},
		"a driver that is being loaded": {labelled("pod-restart-required"), `the NVIDIA GPU Operator upgrades its driver on the node (label nvidia.com/gpu-driver-upgrade-state is "pod-restart-required")`},
	} {
		if got := Others(c.node); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
}
