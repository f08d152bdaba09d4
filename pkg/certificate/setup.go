package certificate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	// timeout bounds one reconciliation.
	timeout = 30 * time.Second
	// The pause before a failed attempt is repeated doubles from firstRetry to lastRetry.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Options are what keeping the certificate in a Secret needs. All fields are required.
type Options struct {
	// Secret is where all replicas find the CAs and the serving certificate, and which they make where it is missing.
	Secret client.ObjectKey
	// Configuration is the name of the mutating and the validating webhook configuration whose webhooks are to trust it.
	Configuration string
	Terms         Terms
	// Holder gets the serving certificate; Expiry watches it.
	Holder  *Holder
	Expiry  *Expiry
	Metrics prometheus.Registerer
	Clock   clock.PassiveClock
}

func (o Options) validate() error {
	switch {
	case o.Secret.Namespace == "" || o.Secret.Name == "" || o.Configuration == "":
		return errors.New("the names of the Secret and of the webhook configurations are required")
	case len(o.Terms.DNSNames) == 0 || o.Terms.Lifetime <= 0 || o.Terms.CALifetime < 2*o.Terms.Lifetime:
		return errors.New("a certificate needs a name, a lifetime, and a CA that lasts at least twice as long")
	case o.Holder == nil || o.Expiry == nil || o.Metrics == nil || o.Clock == nil:
		return errors.New("Holder, Expiry, Metrics and Clock are required")
	}
	return nil
}

// configurations returns an empty object of either kind.
func configurations() []client.Object {
	return []client.Object{
		&admissionregistrationv1.ValidatingWebhookConfiguration{}, &admissionregistrationv1.MutatingWebhookConfiguration{},
	}
}

// Cached returns what the manager's cache is to hold of the kinds that Setup watches: the objects of these names and no
// others, so that RBAC may be narrowed to them.
func Cached(secret client.ObjectKey, configuration string) map[client.Object]cache.ByObject {
	cached := map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{
			secret.Namespace: {FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, secret.Name)},
		}},
	}
	for _, c := range configurations() {
		cached[c] = cache.ByObject{Field: fields.OneTermEqualSelector(metav1.ObjectNameField, configuration)}
	}
	return cached
}

// Setup adds to the manager what keeps the certificate. It runs on every replica: one that is no leader has to serve as
// well. The manager's cache must be as Cached says, and its scheme must know the kinds.
func Setup(mgr ctrl.Manager, options Options) error {
	k, err := newKeeper(mgr.GetClient(), options)
	if err != nil {
		return fmt.Errorf("setting up the keeper of the certificate: %w", err)
	}
	request := reconcile.Request{NamespacedName: options.Secret}
	toSecret := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{request}
	})
	everyReplica := false
	b := ctrl.NewControllerManagedBy(mgr).Named("certificate").
		Watches(&corev1.Secret{}, toSecret).
		// Where nothing exists yet, nothing else would make it look.
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(request)
			return nil
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1, // the keeper has a memory
			NeedLeaderElection:      &everyReplica,
			ReconciliationTimeout:   timeout,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		})
	for _, c := range configurations() {
		b = b.Watches(c, toSecret)
	}
	if err := b.Complete(k); err != nil {
		return fmt.Errorf("setting up the keeper of the certificate: %w", err)
	}
	return nil
}
