package onboarding

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	// workers keeps a burst of new namespaces short: each costs two round trips
	// to the API server, which the workers spend waiting.
	workers = 16
	// timeout bounds one reconciliation, so that an API server that never answers
	// cannot take the workers away for good.
	timeout = 30 * time.Second
	// The pause before a failed namespace is tried again doubles from firstRetry
	// to lastRetry. The library's own limit of 17 minutes would leave a namespace
	// without its policy long after the cluster has recovered.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Options are what the controller needs besides the manager. All fields except
// Excluded are required.
type Options struct {
	// Backfill says which namespaces get label and mark after their creation.
	Backfill policy.Backfill
	// Excluded are the namespaces in which nothing is ever written.
	Excluded policy.Exclusions
	// InstalledAt returns when Meshwarden was installed: the creationTimestamp of
	// its webhook configuration. It is asked once per reconciliation of a
	// namespace that the backfill may take, so the caller caches the answer. While
	// it returns an error the backfill waits; NetworkPolicies don't.
	InstalledAt func(context.Context) (time.Time, error)
	// Events takes Events on NetworkPolicies and Namespaces.
	Events events.EventRecorder
	// Metrics is where the controller registers its metrics.
	Metrics prometheus.Registerer
}

func (o Options) validate() error {
	if _, err := policy.ParseBackfill(string(o.Backfill)); err != nil {
		return err
	}
	if o.InstalledAt == nil || o.Events == nil || o.Metrics == nil {
		return errors.New("InstalledAt, Events and Metrics are required")
	}
	return nil
}

// Setup adds the controller to the manager. It runs on the leader only.
//
// The manager's scheme must know networking.k8s.io/v1. The manager's cache
// should hold of the NetworkPolicies only those named policy.NetworkPolicyName,
// and must keep their managedFields: they tell whose a policy is. Namespaces are
// cached as metadata only. A limit on the rate of the manager's client is a limit
// on the onboarding.
func Setup(mgr ctrl.Manager, options Options) error {
	if err := options.validate(); err != nil {
		return fmt.Errorf("setting up the onboarding controller: %w", err)
	}
	metrics, err := newMetrics(options.Metrics)
	if err != nil {
		return fmt.Errorf("setting up the onboarding controller: %w", err)
	}
	leaderOnly, warm := true, true
	err = ctrl.NewControllerManagedBy(mgr).
		Named("onboarding").
		WatchesMetadata(namespaceMetadata(), &handler.EnqueueRequestForObject{}).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(namespaceOf)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			NeedLeaderElection:      &leaderOnly,
			EnableWarmup:            &warm, // a new leader starts with full caches
			ReconciliationTimeout:   timeout,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				firstRetry, lastRetry),
		}).
		Complete(newReconciler(mgr.GetClient(), mgr.GetAPIReader(), options, metrics))
	if err != nil {
		return fmt.Errorf("setting up the onboarding controller: %w", err)
	}
	return nil
}

// namespaceOf maps a NetworkPolicy to the request for its namespace. Policies of
// other names are none of the controller's business, should the cache hold them.
func namespaceOf(_ context.Context, object client.Object) []reconcile.Request {
	if object.GetName() != policy.NetworkPolicyName {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: object.GetNamespace()}}}
}
