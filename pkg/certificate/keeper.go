package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// soon is the pause after a write that met a newer state: long enough for the cache to catch up.
	soon = 100 * time.Millisecond
	// lookAtLeast is how often the keeper looks in any case, because a clock may be set.
	lookAtLeast = time.Hour
	// injectPause is the time between two injections into the same configuration. Should somebody else insist on another
	// caBundle, the two must not wear out the API server.
	injectPause = time.Second
	// certManagerAnnotation is on every Secret that cert-manager issues.
	certManagerAnnotation = "cert-manager.io/certificate-name"
	// ownLabel is on every Secret that a keeper has made.
	ownLabel, ownLabelValue = "app.kubernetes.io/name", "meshwarden"
)

// keeper reads, asks Next, and writes. The manager never runs it twice at once.
type keeper struct {
	client  client.Client // reads come from the cache
	options Options
	// injections counts caBundles that had to be written, by the kind of the configuration.
	injections *prometheus.CounterVec

	remembered State
	complained string               // what was last said about the Secret
	injected   map[string]time.Time // when this replica last wrote the caBundle, by the kind of the configuration
}

func newKeeper(c client.Client, options Options) (*keeper, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	k := &keeper{client: c, options: options, injected: map[string]time.Time{}, injections: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshwarden_ca_bundle_injections_total",
		Help: "How often this replica wrote the caBundle of a webhook configuration: for a new CA, or because somebody had removed it.",
	}, []string{"kind"})}
	for _, c := range configurations() {
		k.injections.WithLabelValues(kindOf(c))
	}
	if err := options.Metrics.Register(k.injections); err != nil {
		return nil, fmt.Errorf("registering the metric of caBundles: %w", err)
	}
	return k, nil
}

// Reconcile brings the Secret, the webhook configurations and this replica one step further. To meet a state newer than
// the cache's is no error: other replicas do the same at the same time, and one is first.
func (k *keeper) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	wait, err := k.keep(ctx)
	switch {
	case err == nil:
		return reconcile.Result{RequeueAfter: wait}, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{RequeueAfter: wait}, nil // Meshwarden is being removed
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		logf.FromContext(ctx).V(1).Info("somebody else was first", "reason", err.Error())
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{}, err
}

// keep returns when to look again.
func (k *keeper) keep(ctx context.Context) (time.Duration, error) {
	secret, configurations, err := k.read(ctx)
	if err != nil {
		return lookAtLeast, err
	}
	now := k.options.Clock.Now()
	stored, renewal := k.parse(ctx, secret)
	paused, injectErr := k.load(ctx, stored, configurations, now, foreign(secret) != nil)
	if foreign(secret) != nil {
		return lookAtLeast, injectErr
	}
	step, err := Next(Situation{
		Stored: stored, Remembered: k.remembered, Renewal: renewal,
		Bundles: bundles(configurations), Now: now, Terms: k.options.Terms,
	})
	if err != nil {
		return lookAtLeast, errors.Join(injectErr, err)
	}
	wait := lookAtLeast
	if !step.Again.IsZero() {
		wait = min(wait, step.Again.Sub(now))
	}
	if paused > 0 {
		wait = min(wait, paused)
	}
	if len(step.Changes) == 0 && !step.Begun {
		return wait, injectErr
	}
	if err := k.write(ctx, secret, step); err != nil {
		return wait, errors.Join(injectErr, err)
	}
	return wait, injectErr // the write comes back as an event, and is loaded then
}

// read returns the Secret, an empty one if there is none, and those of the two configurations that exist.
func (k *keeper) read(ctx context.Context) (*corev1.Secret, []client.Object, error) {
	secret := &corev1.Secret{}
	if err := k.client.Get(ctx, k.options.Secret, secret); client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("reading secret %s: %w", k.options.Secret, err)
	}
	var existing []client.Object
	for _, c := range configurations() {
		err := k.client.Get(ctx, client.ObjectKey{Name: k.options.Configuration}, c)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s %s: %w", kindOf(c), k.options.Configuration, err)
		}
		existing = append(existing, c)
	}
	return secret, existing, nil
}

// foreign returns why the Secret is not Meshwarden's to write, or nil. Two keepers would undo each other's work, one that is
// being replaced by the other has to give way, and nobody's private key may be lost because of its name.
func foreign(secret *corev1.Secret) error {
	switch {
	case secret.Annotations[certManagerAnnotation] != "":
		return fmt.Errorf("cert-manager keeps it (annotation %s), so Meshwarden only serves it: to have Meshwarden keep it, delete the "+
			"Certificate and then the Secret", certManagerAnnotation)
	case len(secret.Data) > 0 && secret.Labels[ownLabel] != ownLabelValue:
		return fmt.Errorf("somebody else made it (it has no label %s=%s), so Meshwarden does not write it: delete it, or give another name "+
			"with --certificate-secret", ownLabel, ownLabelValue)
	}
	return nil
}

// parse returns what the Secret holds and asks for, and says once what of it cannot be read.
func (k *keeper) parse(ctx context.Context, secret *corev1.Secret) (State, Renewal) {
	if secret.ResourceVersion == "" {
		return State{}, NoRenewal
	}
	stored, err := Parse(secret.Data, secret.Annotations)
	if reason := foreign(secret); reason != nil {
		err = reason
	}
	renewal, renewalErr := ParseRenewal(secret.Annotations[RenewAnnotation])
	complaint := ""
	if err := errors.Join(err, renewalErr); err != nil {
		complaint = err.Error()
		if complaint != k.complained {
			logf.FromContext(ctx).Error(err, "the Secret of the certificate is not as it should be")
		}
	}
	k.complained = complaint
	return stored, renewal
}

// load serves what is stored, provided that it is good, and has the configurations trust it. What this replica served
// before stays in place otherwise. Of a foreign certificate, the keeper sees to trust only where nobody else has. It
// returns how long an injection has to wait, zero for none.
func (k *keeper) load(ctx context.Context, stored State, configurations []client.Object, now time.Time, foreign bool) (time.Duration, error) {
	issuer := stored.Issuer(now, k.options.Terms.DNSNames)
	if issuer < 0 {
		return 0, nil
	}
	holder := k.options.Holder
	if before := holder.current.Swap(stored.Serving); before == nil || !before.Leaf.Equal(stored.Serving.Leaf) {
		logf.FromContext(ctx).Info("serving certificate loaded", "certificate", fingerprint(stored.Serving.Leaf), "notAfter", stored.Serving.Leaf.NotAfter)
	}
	k.remembered = stored
	ca := stored.Authorities[issuer].Certificate
	k.options.Expiry.Observe(stored.Serving.Leaf, ca)
	trusted := trustedBy(configurations, ca)
	if trusted {
		holder.trusted.Store(true)
		if foreign {
			return 0, nil
		}
	}
	return k.inject(ctx, stored.Bundle(), configurations, now)
}

// trustedBy says whether every webhook of the configurations trusts the CA.
func trustedBy(configurations []client.Object, ca *x509.Certificate) bool {
	for _, bundle := range bundles(configurations) {
		if !Trusts(bundle, ca) {
			return false
		}
	}
	return true
}
