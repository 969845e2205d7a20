package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// `longshore status` as people type it, on the cluster that was saved in testdata/cluster.json; UPDATE=1 writes what it prints into the scripts.
func TestScriptsOfStatus(t *testing.T) {
	file, err := filepath.Abs(filepath.Join("testdata", "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "status"), RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CLUSTER", file)
			return nil
		},
	})
}
