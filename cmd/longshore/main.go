// Command longshore answers: who runs it?
//
// It wires the packages together: `longshore controller` runs in the cluster, the other commands are for people and pipelines.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with an exit code.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookup: os.Getenv}
	if err := rootCommand(&env).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(env.stderr, "longshore: "+explain(err))
		return exitCode(err)
	}
	return 0
}
