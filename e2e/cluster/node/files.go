package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	pauseImage       = "localhost/longshore-node/pause:1"
	pauseArchive     = partsDir + "/pause.tar"
	containerdSocket = "/run/containerd/containerd.sock"
	podBridge        = "cni0"
)

// writeFiles lays down the configuration of everything that runs on the node.
func writeFiles(layer string, cfg Config) error {
	files := map[string]string{
		"/etc/hostname":               cfg.Name + "\n",
		"/etc/hosts":                  hosts(cfg),
		"/etc/machine-id":             machineID(cfg) + "\n",
		"/etc/resolv.conf":            "",
		"/etc/containerd/config.toml": containerdConfig(cfg.Flavor),
	}
	for _, registry := range cfg.Registries {
		files[filepath.Join("/etc/containerd/certs.d", registry, "hosts.toml")] = plainRegistry(registry)
	}
	values := map[string]any{unitsFile: units(cfg)}
	if cfg.PodCIDR.IsValid() {
		values["/etc/cni/net.d/10-pods.conflist"] = podNetwork(cfg)
	}
	if cfg.hasKubelet() {
		values[kubeletConfigFile], values[proxyConfigFile] = kubeletConfig(cfg), proxyConfig(cfg)
		maps.Copy(files, map[string]string{
			kubeletKubeconfigFile: string(cfg.KubeletKubeconfig), proxyKubeconfigFile: string(cfg.ProxyKubeconfig),
			clientCAFile: string(cfg.CA), kubeletCertFile: string(cfg.KubeletCert), kubeletKeyFile: string(cfg.KubeletKey),
		})
	}
	for name, value := range values {
		data, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		files[name] = string(data) + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(layer, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(files[name]), fileMode(name)); err != nil {
			return err
		}
	}
	return nil
}

// plainRegistry tells containerd, which reads this at every pull, to speak HTTP with a registry.
func plainRegistry(address string) string {
	return fmt.Sprintf("server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", address)
}

// fileMode keeps keys and credentials to root, as on any node.
func fileMode(name string) os.FileMode {
	if strings.HasPrefix(name, "/etc/kubernetes/") {
		return 0o600
	}
	return 0o644
}

func hosts(cfg Config) string {
	text := "127.0.0.1 localhost\n"
	if cfg.IP.IsValid() {
		text += cfg.IP.Addr().String() + " " + cfg.Name + "\n"
	}
	return text
}

func machineID(cfg Config) string {
	if cfg.MachineID != "" {
		return cfg.MachineID
	}
	sum := sha256.Sum256([]byte(cfg.Name + "\n" + cfg.Dir))
	return hex.EncodeToString(sum[:16])
}

// containerdConfig is what a distribution would ship, and restrict_oom_score_adj: without it no pod starts where root lacks CAP_SYS_RESOURCE.
// Only containerd 2 imports drop-ins: 1.6 would let a drop-in replace the whole table of its plugin. There runc is written out, as in the output of
// "containerd config default": a second runtime beside an unwritten one would replace it, and a runtime is what installers append here.
func containerdConfig(flavor Flavor) string {
	if flavor == Containerd16 {
		return `version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "` + pauseImage + `"
    restrict_oom_score_adj = true
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
`
	}
	return `version = 3
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "` + pauseImage + `"

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/etc/containerd/certs.d"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
`
}

// podNetwork bridges the node's pods; other nodes' pods are reached through the node's default route.
func podNetwork(cfg Config) any {
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": podBridge, "isDefaultGateway": true, "hairpinMode": true,
				"ipam": map[string]any{"type": "host-local", "ranges": []any{[]any{map[string]any{"subnet": cfg.PodCIDR.Masked().String()}}}},
			},
			map[string]any{"type": "portmap", "backend": "nftables", "capabilities": map[string]any{"portMappings": true}},
		},
	}
}
