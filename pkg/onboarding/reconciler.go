package onboarding

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	// soon is the pause after a write that met a newer state: long enough for the
	// cache to catch up.
	soon = 100 * time.Millisecond
	// later is the pause after which the time of the installation is read again.
	later = 30 * time.Second
)

// namespaceMetadata returns the empty metadata of a Namespace: what the cache
// holds of namespaces, and what is watched.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
}

// reconciler brings one namespace after the other to its wanted state.
type reconciler struct {
	client  client.Client // reads come from the cache
	live    client.Reader // reads come from the API server
	options Options
	metrics *metrics
	// reported holds by namespace the UID of the foreign NetworkPolicy that an
	// Event was sent about, so that it is sent once a policy (and process).
	reported sync.Map
}

func newReconciler(c client.Client, live client.Reader, options Options, m *metrics) *reconciler {
	return &reconciler{client: c, live: live, options: options, metrics: m}
}

// Reconcile brings the namespace that the request names to its wanted state.
// Meeting a state newer than the cache's is no error: it looks again soon.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	result, err := r.reconcile(ctx, request.Name)
	switch {
	case err == nil:
		return result, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{}, nil // the namespace takes nothing any more, nor does it need anything
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		r.metrics.count(conflict)
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	r.metrics.count(failed)
	return reconcile.Result{}, err
}

func (r *reconciler) reconcile(ctx context.Context, name string) (reconcile.Result, error) {
	object := namespaceMetadata()
	err := r.client.Get(ctx, client.ObjectKey{Name: name}, object)
	if apierrors.IsNotFound(err) {
		r.reported.Delete(name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	if object.DeletionTimestamp != nil || r.options.Excluded.Has(name) {
		return reconcile.Result{}, nil
	}
	decided, err := r.backfill(ctx, object)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !decided {
		// The namespace is not marked, so it needs no policy yet; and should it have
		// one, because somebody removed the mark, it keeps it until this is decided.
		return reconcile.Result{RequeueAfter: later}, nil
	}
	wanted := namespaceValue(object).WantsNetworkPolicy(r.options.Excluded)
	return reconcile.Result{}, r.reconcilePolicy(ctx, name, wanted)
}

// namespaceValue returns what the decisions need of a namespace's metadata.
func namespaceValue(object *metav1.PartialObjectMetadata) policy.Namespace {
	return policy.Namespace{
		Name:        object.Name,
		Labels:      object.Labels,
		Annotations: object.Annotations,
		Created:     object.CreationTimestamp.Time,
		Terminating: object.DeletionTimestamp != nil,
	}
}
