package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// warnAgainAfter is how often the same certificate is warned about.
	warnAgainAfter = 24 * time.Hour
	// checkAtLeast is how often certificates are looked at in any case, because a clock may be set.
	checkAtLeast = time.Hour
	// readTimeout bounds a read of the Service that an Event is about.
	readTimeout = 5 * time.Second
)

// Reasons of Events about the Service.
const (
	ReasonExpiring = "CertificateExpiring"
	ReasonRenewed  = "CertificateRenewed"
	ReasonRestored = "CertificateRestored"
)

// ExpiryOptions are what an Expiry needs. All fields are required.
type ExpiryOptions struct {
	// Events takes Events about Meshwarden's Service, which Reader reads, to name it by its UID.
	Events  events.EventRecorder
	Reader  client.Reader
	Service client.ObjectKey
	// Remedy is what to do about a certificate that nobody renews; it ends the Event's sentence.
	Remedy  string
	Metrics prometheus.Registerer
	Clock   clock.Clock
	Log     logr.Logger
}

// Expiry tells, by a metric and by Events, until when the certificates are valid that this replica uses. It is safe for
// concurrent use.
type Expiry struct {
	options ExpiryOptions
	gauge   *prometheus.GaugeVec
	changed chan struct{}

	mu      sync.Mutex
	watched []watched
}

// watched is a certificate in use.
type watched struct {
	name        string // the value of the metric's label
	certificate *x509.Certificate
	warned      time.Time // zero: not yet
}

// NewExpiry registers the metric. Somebody has to start the Expiry for Events to come.
func NewExpiry(o ExpiryOptions) (*Expiry, error) {
	e := &Expiry{options: o, changed: make(chan struct{}, 1), gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "meshwarden_certificate_expiry_timestamp_seconds",
		Help: "When the serving certificate of this replica and, where it is known, the CA that signed it expire, in seconds since 1970.",
	}, []string{"certificate"})}
	if err := o.Metrics.Register(e.gauge); err != nil {
		return nil, fmt.Errorf("registering the metric of certificates: %w", err)
	}
	return e, nil
}

// Observe tells which certificates the replica uses from now on. authority is nil where the CA is not known.
func (e *Expiry) Observe(serving, authority *x509.Certificate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.watched
	e.watched = nil
	e.gauge.Reset()
	for _, w := range []watched{{name: "serving", certificate: serving}, {name: "ca", certificate: authority}} {
		if w.certificate == nil {
			continue
		}
		for _, b := range before {
			if b.certificate.Equal(w.certificate) {
				w.warned = b.warned
			}
		}
		e.gauge.WithLabelValues(w.name).Set(float64(w.certificate.NotAfter.Unix()))
		e.watched = append(e.watched, w)
	}
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// Start warns until the context ends. It implements manager.Runnable.
func (e *Expiry) Start(ctx context.Context) error {
	for {
		timer := e.options.Clock.NewTimer(e.warn(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-e.changed:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (e *Expiry) NeedLeaderElection() bool { return false }

// warn writes the Events that are due, and returns how long to wait for the next ones.
func (e *Expiry) warn(ctx context.Context) time.Duration {
	now := e.options.Clock.Now()
	due, wait := e.due(now)
	for _, w := range due {
		until := w.certificate.NotAfter.UTC().Format(time.RFC3339)
		err, tense := errors.New("a certificate is about to expire"), "expires"
		if now.After(w.certificate.NotAfter) {
			err, tense = errors.New("a certificate has expired"), "expired"
		}
		e.options.Log.Error(err, "nobody has renewed it", "certificate", w.name, "notAfter", until)
		e.Event(ctx, corev1.EventTypeWarning, ReasonExpiring, "%s %s at %s and has not been renewed; without it the API server cannot "+
			"reach Meshwarden, and no Gateway or VirtualService can be created or changed: %s", describe(w.name), tense, until, e.options.Remedy)
	}
	return wait
}

// due returns the certificates to warn about now, and for how long that is all.
func (e *Expiry) due(now time.Time) ([]watched, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var due []watched
	wait := checkAtLeast
	for i := range e.watched {
		w := &e.watched[i]
		next := warnAt(w.certificate)
		if !w.warned.IsZero() {
			next = w.warned.Add(warnAgainAfter)
		}
		if !now.Before(next) {
			w.warned, next = now, now.Add(warnAgainAfter)
			due = append(due, *w)
		}
		wait = min(wait, next.Sub(now))
	}
	return due, wait
}

// Event writes an Event about Meshwarden's Service. kubectl describe finds it by the Service's UID; without the Service,
// it has the name alone.
func (e *Expiry) Event(ctx context.Context, eventType, reason, note string, args ...any) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	service := &metav1.PartialObjectMetadata{}
	service.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	if err := e.options.Reader.Get(ctx, e.options.Service, service); err != nil {
		e.options.Log.V(1).Info("an Event names the Service without its UID", "reason", err.Error())
	}
	e.options.Events.Eventf(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service", Namespace: e.options.Service.Namespace, Name: e.options.Service.Name, UID: service.UID,
	}, nil, eventType, reason, "Certify", note, args...)
}

func describe(name string) string {
	if name == "ca" {
		return "the CA of the serving certificate"
	}
	return "the serving certificate"
}
