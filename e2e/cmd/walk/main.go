// Command walk starts a local control plane and Meshwarden, walks through Meshwarden's main job on the objects of the
// platform's own documentation, shows what the API server answers, and stays until it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// stopTimeout bounds how long the processes may take to stop.
const stopTimeout = 20 * time.Second

func main() {
	controlPlane := flag.String("controlplane", "", "the controlplane program")
	webhook := flag.String("webhook", "", "Meshwarden's program")
	stay := flag.Bool("stay", true, "stay until interrupted")
	flag.Parse()
	// The steps show the warnings and errors that matter; the libraries would repeat them.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := run(*controlPlane, *webhook, *stay); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "walk:", err)
		os.Exit(1)
	}
}

// run starts everything, walks, stays, and removes everything again.
func run(controlPlane, webhook string, stay bool) (err error) {
	// A closed terminal and a closed pipe end the walk as well: what it started must not outlive it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	dir, err := os.MkdirTemp("", "meshwarden-")
	if err != nil {
		return fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs, err := os.Create(filepath.Join(dir, "meshwarden.log"))
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer logs.Close() // the folder is removed next

	fmt.Println("Starting etcd and kube-apiserver ...")
	cp, err := controlplane.Start(ctx, controlplane.Options{
		Binary: controlPlane, Dir: filepath.Join(dir, "controlplane"),
		Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopping(cp.Stop)) }()
	installation, replica, c, err := install(ctx, cp, webhook, dir, logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopping(installation.Stop)) }()

	w := &walker{client: c, out: os.Stdout}
	if err := w.walk(ctx); err != nil {
		return err
	}
	if !stay {
		return nil
	}
	fmt.Printf("\nEverything keeps running. In another terminal:\n\n  export KUBECONFIG=%s\n  kubectl -n shop get gateways,virtualservices,networkpolicies\n\n"+
		"Meshwarden's log: %s\nCtrl-C stops it and leaves nothing behind.\n", cp.Kubeconfig(), logs.Name())
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping ...")
		return nil
	case <-replica.Done():
		return fmt.Errorf("meshwarden ended by itself: %w", replica.Err())
	}
}

// install applies Istio's CRDs and Meshwarden's manifests, and starts Meshwarden as their ServiceAccount.
func install(ctx context.Context, cp *controlplane.ControlPlane, webhook, dir string, logs io.Writer) (*meshwarden.Installation, *meshwarden.Replica, client.Client, error) {
	fmt.Println("Applying Istio's CRDs ...")
	crds, err := controlplane.IstioCRDs(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := cp.ApplyCRDs(ctx, crds); err != nil {
		return nil, nil, nil, err
	}
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	fmt.Println("Applying manifests/overlays/self-managed and starting Meshwarden under its ServiceAccount ...")
	installation, err := meshwarden.Install(ctx, cp, meshwarden.Options{
		Binary: webhook, Dir: dir, Log: logs, Args: []string{"--drain-delay=0s"},
	})
	if err != nil {
		return nil, nil, nil, err
	}
	replica, err := installation.Start(ctx, meshwarden.ReplicaOptions{})
	if err == nil {
		err = replica.WaitReady(ctx)
	}
	if err == nil {
		err = installation.WaitInForce(ctx)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, stopping(installation.Stop))
	}
	return installation, replica, c, nil
}

// stopping stops something although the run's own context may have ended.
func stopping(stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return stop(ctx)
}
