// Command demo answers: what does Longshore do for me?
//
// On a fresh machine it brings a real cluster up, deploys Longshore into it, installs, upgrades and uninstalls a runtime, and shows
// what happens as it happens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"longshore.dev/longshore/e2e/cluster"
)

func main() {
	cluster.Main()
	os.Exit(run())
}

func run() int {
	keep := flag.Bool("keep", false, "keep the cluster at the end")
	name := flag.String("name", "demo", "name of the cluster")
	flag.Parse()
	cluster.SayIgnored(os.Stderr, os.Getenv("KUBECONFIG"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{name: *name, keep: *keep, out: os.Stdout}
	if err := d.run(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted; everything was taken down")
		}
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}
