// Package meshwarden installs Meshwarden into a local control plane and runs its replicas there. The binary, its
// arguments, its manifests and its API server are the real ones. What stands in for a cluster's kubelet and EndpointSlices
// is this package: it starts the replicas as processes, asks for their readiness, and routes the Service to those that
// are ready.
package meshwarden

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/module"
)

const (
	// Namespace is where Meshwarden is installed.
	Namespace = "meshwarden"
	// service is the Service that the webhook configurations name.
	service     = "meshwarden-webhook"
	servicePort = 443
	// probePeriod is how often a replica is asked whether it is ready.
	probePeriod = 100 * time.Millisecond
)

// Options say how to install.
type Options struct {
	// Binary is the path of Meshwarden's program.
	Binary string
	// Dir takes the serving certificate and the kubeconfig. Replicas share it.
	Dir string
	// Args are given to every replica, besides those that the installation needs.
	Args []string
	// Log gets the replicas' logs, in whole lines; nil drops them.
	Log io.Writer
}

// Installation is Meshwarden, installed. It is safe for concurrent use.
type Installation struct {
	options Options
	cp      *controlplane.ControlPlane
	client  client.Client

	mu       sync.Mutex
	replicas []*Replica
	routed   []string
}

// Install creates Meshwarden's namespace and a certificate. The webhooks are registered with Register, once a replica is
// ready, as an installation that must not disturb a cluster does it.
func Install(ctx context.Context, cp *controlplane.ControlPlane, o Options) (*Installation, error) {
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return nil, fmt.Errorf("install meshwarden: %w", err)
	}
	i := &Installation{options: o, cp: cp, client: c}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if err := c.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("install meshwarden: %w", err)
	}
	if err := controlplane.WriteKubeconfig(cp.Config(), i.kubeconfig()); err != nil {
		return nil, fmt.Errorf("install meshwarden: %w", err)
	}
	return i, nil
}

func (i *Installation) kubeconfig() string {
	return filepath.Join(i.options.Dir, "meshwarden.kubeconfig")
}
func (i *Installation) certDir() string { return filepath.Join(i.options.Dir, "certs") }

// Register applies the webhook configurations of manifests/base as they are, with the CA that cert-manager's injector
// would add.
func (i *Installation) Register(ctx context.Context) error {
	ca, err := os.ReadFile(filepath.Join(i.certDir(), "ca.crt"))
	if err != nil {
		return fmt.Errorf("register the webhooks: a replica makes the certificate when it starts: %w", err)
	}
	e2e, err := module.Dir(ctx, module.E2E)
	if err != nil {
		return err
	}
	manifest, err := os.ReadFile(filepath.Join(filepath.Dir(e2e), "manifests", "base", "webhooks.yaml"))
	if err != nil {
		return fmt.Errorf("register the webhooks: %w", err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the webhooks' manifest: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if err := injectCA(object.Object, ca); err != nil {
			return fmt.Errorf("register %s: %w", object.GetKind(), err)
		}
		if err := i.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&object), client.FieldOwner("install"), client.ForceOwnership); err != nil {
			return fmt.Errorf("register %s: %w", object.GetKind(), err)
		}
	}
}

// injectCA sets the caBundle of every webhook of the configuration.
func injectCA(configuration map[string]any, ca []byte) error {
	webhooks, found, err := unstructured.NestedSlice(configuration, "webhooks")
	if err != nil || !found {
		return errors.Join(errors.New("the manifest has no list of webhooks"), err)
	}
	for _, w := range webhooks {
		webhook, ok := w.(map[string]any)
		if !ok {
			return errors.New("the manifest's webhooks are not objects")
		}
		if err := unstructured.SetNestedField(webhook, encode(ca), "clientConfig", "caBundle"); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(configuration, webhooks, "webhooks")
}

// Stop stops every replica that still runs.
func (i *Installation) Stop(ctx context.Context) error {
	i.mu.Lock()
	replicas := append([]*Replica(nil), i.replicas...)
	i.mu.Unlock()
	var errs []error
	for _, r := range replicas {
		errs = append(errs, r.Stop(ctx))
	}
	return errors.Join(errs...)
}
