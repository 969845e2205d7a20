package node

import (
	"maps"
	"slices"
	"strings"
)

const (
	kubeletConfigFile     = "/etc/kubernetes/kubelet.json"
	kubeletKubeconfigFile = "/etc/kubernetes/kubelet.conf"
	proxyConfigFile       = "/etc/kubernetes/kube-proxy.json"
	proxyKubeconfigFile   = "/etc/kubernetes/kube-proxy.conf"
	clientCAFile          = "/etc/kubernetes/pki/ca.crt"
	kubeletCertFile       = "/etc/kubernetes/pki/kubelet.crt"
	kubeletKeyFile        = "/etc/kubernetes/pki/kubelet.key"
)

// kubeletConfig differs from the defaults only where a node shares its machine with others (swap, disk, cgroup v1) or where waiting costs tests
// time (status updates). Plain maps instead of the kubelet's types: JSON is what it reads, and its module would be one more dependency.
func kubeletConfig(cfg Config) map[string]any {
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": false}, "x509": map[string]any{"clientCAFile": clientCAFile}},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              kubeletCertFile,
		"tlsPrivateKeyFile":        kubeletKeyFile,
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/",
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"resolvConf":               "",
		"registerWithTaints":       cfg.Taints,
		"serializeImagePulls":      false,
		"maxPods":                  60,
		"volumePluginDir":          "/var/lib/kubelet/volume-plugins",
		// The machine's memory and disk are everybody's: a node must not evict pods or delete images because a neighbour is busy.
		"imageGCHighThresholdPercent": 100,
		"evictionHard":                map[string]string{"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
		// How soon a new runtime handler or a lost runtime shows in the Node; the default of 10s is for clusters of thousands.
		"nodeStatusUpdateFrequency": "2s",
	}
}

func proxyConfig(cfg Config) map[string]any {
	return map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"clientConnection":   map[string]any{"kubeconfig": proxyKubeconfigFile},
		"hostnameOverride":   cfg.Name,
		"mode":               "nftables",
		"detectLocalMode":    "BridgeInterface",
		"detectLocal":        map[string]any{"bridgeInterface": podBridge},
		"healthzBindAddress": "127.0.0.1:10256",
		"metricsBindAddress": "127.0.0.1:10249",
		// Zero leaves the machine's connection tracking limits alone.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

func kubeletArgs(cfg Config) []string {
	args := []string{
		"/usr/bin/kubelet", "--config=" + kubeletConfigFile, "--kubeconfig=" + kubeletKubeconfigFile, "--hostname-override=" + cfg.Name,
		"--node-ip=" + cfg.IP.Addr().String(), "--v=2",
	}
	if len(cfg.Labels) > 0 {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(cfg.Labels)) {
			labels = append(labels, key+"="+cfg.Labels[key])
		}
		args = append(args, "--node-labels="+strings.Join(labels, ","))
	}
	return args
}
