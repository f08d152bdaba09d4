package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd runs a single etcd member until SIGINT or SIGTERM.
func runEtcd(arguments []string, parentGone <-chan struct{}) error {
	go exitOn(parentGone)
	config, err := etcdConfig(arguments)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer server.Close()
	select {
	case <-signals:
		return nil
	case err := <-server.Err():
		return fmt.Errorf("serve etcd: %w", err)
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	}
}

func etcdConfig(arguments []string) (*embed.Config, error) {
	config := embed.NewConfig()
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	flags.StringVar(&config.Dir, "data-dir", "", "folder of the data")
	address := flags.String("address", "", "host:port to listen on for clients")
	ca := flags.String("ca-file", "", "certificate authority of clients")
	certificate := flags.String("cert-file", "", "certificate of the server")
	key := flags.String("key-file", "", "key of the server")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	clients := url.URL{Scheme: "https", Host: *address}
	config.ListenClientUrls = []url.URL{clients}
	config.AdvertiseClientUrls = []url.URL{clients}
	// A cluster of one has no peers to listen for.
	config.ListenPeerUrls = nil
	// Other users of the machine must not get at the Secrets in here.
	config.ClientTLSInfo = transport.TLSInfo{
		TrustedCAFile: *ca, CertFile: *certificate, KeyFile: *key, ClientCertAuth: true,
	}
	// What a crash of the machine would lose is of no use after it.
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.LogOutputs = []string{"stderr"}
	return config, nil
}
