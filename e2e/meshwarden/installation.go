// Package meshwarden installs Meshwarden into a local control plane and runs its replicas there. The program, its
// manifests, its ServiceAccount and its API server are the real ones. What a cluster has besides, this package plays:
//
//   - kubectl, which builds and applies a kustomization
//   - the kubelet, which starts what the Deployment says with a token of its ServiceAccount, keeps Secrets in folders, and
//     asks for readiness (package kubelet)
//   - the EndpointSlices, which lead the Service to the replicas that are ready.
//
// Containers are not played: a replica is a process of this machine. Whatever else the Deployment may come to say is an
// error here, never ignored.
package meshwarden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// Namespace is where the manifests install Meshwarden.
const Namespace = "meshwarden"

// name is the name of Meshwarden's Deployment.
const name = "meshwarden"

// Options say how to install.
type Options struct {
	// Binary is the path of Meshwarden's program. It takes the place of the image. Required.
	Binary string
	// Dir takes what the replicas have on disk. Required.
	Dir string
	// Overlay is what to install; empty means SelfManaged.
	Overlay Overlay
	// Components are folders in manifests/components to add.
	Components []string
	// Patches are what a user's kustomization would change.
	Patches []types.Patch
	// Args are arguments that a patch appends to those of the container.
	Args []string
	// Log gets the replicas' logs, in whole lines; nil drops them.
	Log io.Writer
}

// Installation is Meshwarden, installed. It is safe for concurrent use.
type Installation struct {
	options Options
	cp      *controlplane.ControlPlane
	client  client.Client
	// namespace is where Meshwarden is.
	namespace string
	objects   []*unstructured.Unstructured
	warnings  warningRecorder

	mu       sync.Mutex
	replicas []*Replica
	services []corev1.Service
	ready    []*Replica
}

// Install applies the overlay, as `kubectl apply --server-side -k` does. A warning of the API server is an error here. The
// caller starts the replicas.
func Install(ctx context.Context, cp *controlplane.ControlPlane, o Options) (*Installation, error) {
	if o.Overlay == "" {
		o.Overlay = SelfManaged
	}
	i, err := newInstallation(cp, Namespace, o)
	if err == nil {
		err = i.install(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("install meshwarden: %w", err)
	}
	return i, nil
}

// Adopt takes over from somebody who has applied all that Meshwarden needs to the namespace, as Helm does. Of the options,
// those that say what to install are not used.
func Adopt(ctx context.Context, cp *controlplane.ControlPlane, namespace string, o Options) (*Installation, error) {
	i, err := newInstallation(cp, namespace, o)
	if err == nil {
		err = i.readServices(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("adopt meshwarden: %w", err)
	}
	return i, nil
}

func newInstallation(cp *controlplane.ControlPlane, namespace string, o Options) (*Installation, error) {
	i := &Installation{options: o, cp: cp, namespace: namespace}
	config := cp.Config()
	config.WarningHandlerWithContext = &i.warnings
	var err error
	i.client, err = client.New(config, client.Options{})
	return i, err
}

func (i *Installation) install(ctx context.Context) error {
	dir := filepath.Join(i.options.Dir, "kustomization")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := i.options.kustomization(ctx, dir); err != nil {
		return err
	}
	var err error
	if i.objects, err = Build(dir); err != nil {
		return err
	}
	if err := Apply(ctx, i.client, i.objects); err != nil {
		return err
	}
	if warnings := i.warnings.take(); len(warnings) > 0 {
		return fmt.Errorf("the API server warns of %q", warnings)
	}
	return i.readServices(ctx)
}

// Objects returns what was applied, in its order. The caller must not change it.
func (i *Installation) Objects() []*unstructured.Unstructured { return i.objects }

// Rollout replaces the replicas that run, one after the other, as a Deployment with maxSurge 1 and maxUnavailable 0 does: a
// new one is ready before an old one is told to stop. It returns the new ones.
func (i *Installation) Rollout(ctx context.Context, o ReplicaOptions) ([]*Replica, error) {
	var replicas []*Replica
	for _, old := range i.running() {
		replacement, err := i.Start(ctx, o)
		if err != nil {
			return replicas, fmt.Errorf("roll out: %w", err)
		}
		replicas = append(replicas, replacement)
		if err := replacement.WaitReady(ctx); err != nil {
			return replicas, fmt.Errorf("roll out: %w", err)
		}
		if err := old.Stop(ctx); err != nil {
			return replicas, fmt.Errorf("roll out: %w", err)
		}
	}
	return replicas, nil
}

// running returns the replicas whose process has not ended, oldest first.
func (i *Installation) running() []*Replica {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(i.replicas), func(r *Replica) bool {
		select {
		case <-r.Done():
			return true
		default:
			return false
		}
	})
}

// Stop stops every replica that still runs, all at once.
func (i *Installation) Stop(ctx context.Context) error {
	i.mu.Lock()
	replicas := slices.Clone(i.replicas)
	i.mu.Unlock()
	errs := make([]error, len(replicas))
	var stopping sync.WaitGroup
	for n, r := range replicas {
		stopping.Go(func() { errs[n] = r.Stop(ctx) })
	}
	stopping.Wait()
	return errors.Join(errs...)
}
