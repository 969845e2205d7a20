package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"longshore.dev/longshore/e2e/cluster/keeper"
	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/images"
)

// Main is the entry of the processes that a cluster starts as copies of the running program. Every program that uses this package, tests
// included, calls it first; it returns at once when the program runs under its own name.
func Main() {
	node.Main()
	if filepath.Base(os.Args[0]) != keeper.Program || len(os.Args) != 2 {
		return
	}
	if err := keep(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func keep(ctx context.Context, dir string) error {
	p, err := loadPlan(dir)
	if err != nil {
		return err
	}
	return keeper.Run(ctx, dir, keeper.Hooks{
		Serve: func(ctx context.Context) error { return serveRegistries(ctx, p, layout{dir}) },
		Abandoned: func(ctx context.Context) error {
			unlock, err := lockCluster(ctx, dir)
			if err != nil {
				return err
			}
			defer unlock()
			return remove(ctx, dir)
		},
		Asked: func() error { return asked(ctx, dir) },
	})
}

// asked takes everything down in case that whoever asked does not live to do it: a second Ctrl-C ends it while it waits for the keeper.
func asked(ctx context.Context, dir string) error {
	err := remove(ctx, dir)
	// One try: whoever asked has the lock, unless it was killed, and then the lock's file is what it left.
	once, cancel := context.WithCancel(ctx)
	cancel()
	if unlock, lockErr := lockCluster(once, dir); lockErr == nil {
		unlock()
		_ = os.Remove(filepath.Dir(dir))
	}
	return err
}

// serveRegistries serves the open and the private registry until the context ends.
func serveRegistries(ctx context.Context, p plan, l layout) error {
	open, err := images.NewRegistry(l.registry("open"))
	if err != nil {
		return err
	}
	private, err := images.NewRegistry(l.registry("private"))
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	var servers []*http.Server
	for address, handler := range map[string]http.Handler{
		p.Registry.String():        open,
		p.PrivateRegistry.String(): images.BasicAuth(private, registryUser, p.RegistryPassword),
	} {
		listener, err := listenIn(ctx, p.netnsPath(), address)
		if err != nil {
			return fmt.Errorf("registry: %w", err)
		}
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: time.Minute,
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		servers = append(servers, server)
		go func() { ended <- server.Serve(listener) }()
	}
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	for _, server := range servers {
		err = errors.Join(err, server.Close())
	}
	return err
}
