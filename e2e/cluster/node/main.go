package node

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	// initName is what a node's first process calls itself.
	initName = "longshore-node"
	// initPart is the program itself, below partsDir.
	initPart = "init"
)

// Main is the entry of the processes inside a node: re-execs of the running binary under the names longshore-node and systemctl. Every program
// that starts nodes calls it first; it returns at once when the program runs under its own name.
func Main() {
	var code int
	switch filepath.Base(os.Args[0]) {
	case initName:
		code = initMain(os.Args[1:])
	case "systemctl":
		code = systemctlMain(os.Args[1:])
	default:
		return
	}
	os.Exit(code)
}

// initMain is a node's first process: boot prepares the namespaces and becomes run, which supervises.
func initMain(args []string) int {
	steps := map[string]func() error{"boot": boot, "run": run}
	if len(args) != 1 || steps[args[0]] == nil {
		fmt.Fprintf(os.Stderr, "%s is started by the test cluster, not by hand\n", initName)
		return 2
	}
	if err := steps[args[0]](); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		report(bootReport{Error: err.Error()})
		return 1
	}
	return 0
}
