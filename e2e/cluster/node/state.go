package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"longshore.dev/longshore/e2e/cluster/process"
)

// state is what Stop needs to know to remove everything; it is on disk before the things it names exist.
type state struct {
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"`
	Veth   string `json:"veth,omitempty"`
	NetNS  string `json:"netns,omitempty"`
	// PodCIDR is the route to the node in NetNS.
	PodCIDR string `json:"podCIDR,omitempty"`
	// Init is the node's first process; none before it was started.
	Init process.Identity `json:"init"`
}

const stateFile = "state.json"

func (s state) save(dir string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding state of node %q: %w", s.Name, err)
	}
	next := filepath.Join(dir, stateFile+".next")
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("saving state of node %q: %w", s.Name, err)
	}
	return os.Rename(next, filepath.Join(dir, stateFile))
}

func loadState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, fmt.Errorf("no node in %q: %w", dir, err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("state of the node in %q: %w", dir, err)
	}
	return s, nil
}
