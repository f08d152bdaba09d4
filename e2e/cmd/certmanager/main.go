// Command certmanager runs cert-manager's own controllers that issue certificates, and its CA injector, against an API
// server outside of which it needs nothing. It prints a line once the controllers are at work, and ends by SIGINT,
// SIGTERM or with its parent.
//
// Not here: cert-manager's webhook, which defaults and validates what users write, and the issuers that need the
// Internet or another server (ACME, Vault, Venafi).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/meshwarden/meshwarden/e2e/process"
)

func main() {
	if err := run(os.Args[1:], process.ParentGone()); err != nil {
		fmt.Fprintln(os.Stderr, "certmanager:", err)
		os.Exit(1)
	}
}

func run(arguments []string, parentGone <-chan struct{}) error {
	flags := flag.NewFlagSet("certmanager", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that says where the API server is; required")
	klog.InitFlags(flags) // -v, which cert-manager's own installation sets to 2
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *kubeconfig == "" {
		return errors.New("--kubeconfig is missing")
	}
	ctrl.SetLogger(klog.Background())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		<-parentGone
		stop()
	}()

	manager, err := newInjector(ctx, *kubeconfig)
	if err != nil {
		return fmt.Errorf("set up the CA injector: %w", err)
	}
	if err := addIssuing(ctx, manager, *kubeconfig); err != nil {
		return fmt.Errorf("set up the issuing controllers: %w", err)
	}
	return manager.Start(ctx)
}
