package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// startScene starts an API server with Istio's CRDs, and Meshwarden from its manifests as their ServiceAccount.
func startScene(ctx context.Context, s *scene, p programs, dir string, logs io.Writer) error {
	fmt.Println("Starting etcd and kube-apiserver ...")
	cp, err := controlplane.Start(ctx, controlplane.Options{
		Binary: p.controlPlane, Dir: filepath.Join(dir, "controlplane"),
		Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer},
	})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, cp.Stop)
	s.kubeconfig = cp.Kubeconfig()
	fmt.Println("Applying Istio's CRDs ...")
	crds, err := controlplane.IstioCRDs(ctx)
	if err != nil {
		return err
	}
	if err := cp.ApplyCRDs(ctx, crds); err != nil {
		return err
	}
	if s.client, err = client.New(cp.Config(), client.Options{}); err != nil {
		return err
	}
	fmt.Println("Applying manifests/overlays/self-managed and starting Meshwarden under its ServiceAccount ...")
	installation, err := meshwarden.Install(ctx, cp, meshwarden.Options{
		Binary: p.webhook, Dir: dir, Log: logs, Args: []string{"--drain-delay=0s"},
	})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, installation.Stop)
	replica, err := installation.Start(ctx, meshwarden.ReplicaOptions{})
	if err != nil {
		return err
	}
	if err := replica.WaitReady(ctx); err != nil {
		return err
	}
	s.whose = "Meshwarden's log"
	s.look = "  kubectl -n " + application + " get gateways,virtualservices,networkpolicies\n"
	s.ended, s.err = replica.Done(), func() error { return fmt.Errorf("meshwarden ended by itself: %w", replica.Err()) }
	return installation.WaitInForce(ctx)
}
