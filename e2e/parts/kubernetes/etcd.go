package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd runs a single etcd member whose clients need a certificate, with the flag names of the real program. It never
// calls fsync: the data of a test cluster need not survive a power cut, and the disk is the slowest part of it.
func runEtcd() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serveEtcd(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func serveEtcd(ctx context.Context, args []string) error {
	config, err := etcdConfig(args)
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return fmt.Errorf("serving: %w", err)
	case <-server.Server.StopNotify():
		return fmt.Errorf("stopped by itself, see the lines above")
	}
}

func etcdConfig(args []string) (*embed.Config, error) {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dataDir := flags.String("data-dir", "", "folder of the data")
	client := flags.String("listen-client-urls", "", "https URL for clients")
	peer := flags.String("listen-peer-urls", "", "http URL for other members, of which there are none")
	tls := transport.TLSInfo{ClientCertAuth: true}
	flags.StringVar(&tls.CertFile, "cert-file", "", "certificate of the server")
	flags.StringVar(&tls.KeyFile, "key-file", "", "key of the server")
	flags.StringVar(&tls.TrustedCAFile, "trusted-ca-file", "", "authority that signs the clients' certificates")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	clientURL, err := url.Parse(*client)
	if err != nil {
		return nil, fmt.Errorf("--listen-client-urls: %w", err)
	}
	peerURL, err := url.Parse(*peer)
	if err != nil {
		return nil, fmt.Errorf("--listen-peer-urls: %w", err)
	}
	config := embed.NewConfig()
	config.Name = "etcd"
	config.Dir = *dataDir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.ClientTLSInfo = tls
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.QuotaBackendBytes = 4 << 30
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "0"
	return config, nil
}
