package observed

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Keys by which others say that they are at work on a node, or about to take it away. Each is documented by the project it is of.
const (
	// Cluster Autoscaler taints a node when it begins to remove it.
	taintClusterAutoscaler = "ToBeDeletedByClusterAutoscaler"
	// Karpenter taints a node when it has chosen it for disruption; the second key is that of its versions before 1.0.
	taintKarpenter       = "karpenter.sh/disrupted"
	taintKarpenterBefore = "karpenter.sh/disruption"
	// The cloud provider's node controller taints a node whose machine is shut down, and people one that is out of service (KEP-2268).
	taintShutdown     = "node.cloudprovider.kubernetes.io/shutdown"
	taintOutOfService = "node.kubernetes.io/out-of-service"
	// What clouds' notices that a machine is taken away become: AWS (a prefix, aws-node-termination-handler with --taint-node) and GKE.
	taintAWS = "aws-node-termination-handler/"
	taintGKE = "cloud.google.com/impending-node-termination"
	// The Machine Config Operator of OpenShift: a node is at rest where the state is Done and the two configurations are the same.
	machineConfigState   = "machineconfiguration.openshift.io/state"
	machineConfigCurrent = "machineconfiguration.openshift.io/currentConfig"
	machineConfigDesired = "machineconfiguration.openshift.io/desiredConfig"
	machineConfigDone    = "Done"
	// kured, where it runs with --annotate-nodes.
	kuredReboot = "weave.works/kured-reboot-in-progress"
	// The NVIDIA GPU Operator upgrades its driver by a state machine on a label.
	nvidiaUpgrade = "nvidia.com/gpu-driver-upgrade-state"
)

// nvidiaAtRest are the states in which the GPU Operator does nothing with a node: it has not begun, or has ended.
var nvidiaAtRest = map[string]bool{"": true, "upgrade-done": true, "upgrade-failed": true, "upgrade-required": true}

// Others says who else is at work on a node, or takes it away, "" if nobody does as far as is known.
func Others(n *corev1.Node) string {
	for _, t := range n.Spec.Taints {
		switch t.Key {
		case taintClusterAutoscaler:
			return "Cluster Autoscaler removes the node (taint " + t.Key + ")"
		case taintKarpenter, taintKarpenterBefore:
			return "Karpenter removes the node (taint " + t.Key + ")"
		case taintShutdown, taintOutOfService, taintGKE:
			return "the machine is being taken away (taint " + t.Key + ")"
		}
		if strings.HasPrefix(t.Key, taintAWS) {
			return "the machine is being taken away (taint " + t.Key + ")"
		}
	}
	state, current, wanted := n.Annotations[machineConfigState], n.Annotations[machineConfigCurrent], n.Annotations[machineConfigDesired]
	switch {
	case state != "" && state != machineConfigDone:
		return fmt.Sprintf("the Machine Config Operator is at work on the node (annotation %s is %q)", machineConfigState, state)
	case current != wanted:
		return fmt.Sprintf("the Machine Config Operator will update the node (annotations %s and %s differ)", machineConfigCurrent, machineConfigDesired[strings.Index(machineConfigDesired, "/")+1:])
	case n.Annotations[kuredReboot] != "":
		return "kured reboots the node (annotation " + kuredReboot + ")"
	case !nvidiaAtRest[n.Labels[nvidiaUpgrade]]:
		return fmt.Sprintf("the NVIDIA GPU Operator upgrades its driver on the node (label %s is %q)", nvidiaUpgrade, n.Labels[nvidiaUpgrade])
	}
	return ""
}
