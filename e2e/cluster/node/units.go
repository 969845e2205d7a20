package node

// unitsFile is what the init reads instead of systemd's unit files.
const unitsFile = partsDir + "/units.json"

// unit is one service of the node.
type unit struct {
	Name string   `json:"name"`
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"`
	// Notify means that the service says itself when it is up (sd_notify), otherwise it is up once it runs.
	Notify bool `json:"notify,omitempty"`
	// After names the unit that has to be up first at boot.
	After string `json:"after,omitempty"`
	// Once is run at boot and not kept alive; the node counts as booted when it is done.
	Once bool `json:"once,omitempty"`
}

// units lists the services in the order in which they are started. Smaller heaps cost a little CPU and buy room for one more node.
func units(cfg Config) []unit {
	small := []string{"GOGC=50"}
	list := []unit{
		{Name: "containerd", Argv: []string{"/usr/bin/containerd"}, Env: small, Notify: true},
		{Name: "pause-image", Argv: []string{"/usr/bin/ctr", "--namespace=k8s.io", "images", "import", "--digests=false", pauseArchive}, After: "containerd", Once: true},
	}
	if cfg.hasKubelet() {
		list = append(list,
			unit{Name: "kubelet", Argv: kubeletArgs(cfg), Env: small, After: "containerd", Notify: true},
			unit{Name: "kube-proxy", Argv: []string{"/usr/bin/kube-proxy", "--config=" + proxyConfigFile, "--v=2"}, Env: small},
		)
	}
	return list
}
