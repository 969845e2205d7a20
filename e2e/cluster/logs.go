package cluster

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Logs finds the logs of the named cluster, running or crashed: by unit for the control plane, by node/unit for real nodes.
func Logs(name string) (map[string]string, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	base, err := baseDir()
	if err != nil {
		return nil, err
	}
	l, logs := layout{filepath.Join(base, name)}, map[string]string{}
	for prefix, pattern := range map[string]string{"": l.log("*"), "keeper": l.file("keeper.log"), "node": l.node("*/*/*.log")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			unit := strings.TrimSuffix(filepath.Base(file), ".log")
			if prefix == "node" {
				unit = filepath.Base(filepath.Dir(filepath.Dir(file))) + "/" + unit
			}
			logs[unit] = file
		}
	}
	if len(logs) == 0 {
		return nil, fmt.Errorf("cluster %q has no logs: %w", name, fs.ErrNotExist)
	}
	return logs, nil
}
