package certificate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// world is a fake API server with a clock; its replicas share both.
type world struct {
	t      *testing.T
	server client.WithWatch
	clock  *clocktesting.FakeClock
	events *events.FakeRecorder

	mu sync.Mutex
	// meanwhile runs once, just before the next write reaches the server, and may fail that write.
	meanwhile func(context.Context, client.Client) error
	// refuse answers each write of an object in place of the server, unless it returns nil.
	refuse func(client.Object) error
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), admissionregistrationv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, clock: clocktesting.NewFakeClock(start), events: &events.FakeRecorder{Events: make(chan string, 100)},
		server: fake.NewClientBuilder().WithScheme(scheme).WithReturnManagedFields().WithGlobalResourceVersionCounter().
			WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithObjects(objects...).Build(),
	}
}

// client returns the client of a replica.
func (w *world) client() client.Client {
	before := func(ctx context.Context, o client.Object) error {
		w.mu.Lock()
		act := w.meanwhile
		w.meanwhile = nil
		w.mu.Unlock()
		if act != nil {
			if err := act(ctx, w.server); err != nil {
				return err
			}
		}
		if w.refuse != nil {
			return w.refuse(o)
		}
		return nil
	}
	return interceptor.NewClient(w.server, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := before(ctx, o); err != nil {
				return err
			}
			return c.Patch(ctx, o, patch, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if err := before(ctx, &corev1.Secret{}); err != nil {
				return err
			}
			return c.Apply(ctx, o, opts...)
		},
	})
}

// member is a replica of a world.
type member struct {
	*keeper
	w        *world
	holder   *Holder
	registry *prometheus.Registry
}

// replica starts another replica.
func (w *world) replica() *member {
	w.t.Helper()
	m := &member{w: w, holder: &Holder{}, registry: prometheus.NewRegistry()}
	expiry, err := NewExpiry(ExpiryOptions{
		Events: w.events, Reader: w.server, Service: client.ObjectKey{Namespace: "meshwarden", Name: "meshwarden-webhook"},
		Remedy: "see the log", Metrics: m.registry, Clock: w.clock, Log: testr.New(w.t),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m.keeper, err = newKeeper(w.client(), Options{
		Secret:        client.ObjectKey{Namespace: "meshwarden", Name: "meshwarden-certificate"},
		Configuration: "meshwarden", Terms: testTerms(), Holder: m.holder, Expiry: expiry, Metrics: m.registry, Clock: w.clock,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// visit reconciles once.
func (m *member) visit() (reconcile.Result, error) {
	m.w.t.Helper()
	return m.Reconcile(logf.IntoContext(m.w.t.Context(), testr.New(m.w.t)), reconcile.Request{})
}

// settle reconciles until nothing is left to be written. Each write comes back as an event.
func (m *member) settle() {
	m.w.t.Helper()
	for range 10 {
		before := m.w.versions()
		result, err := m.visit()
		if err != nil {
			m.w.t.Fatal(err)
		}
		if before == m.w.versions() && result.RequeueAfter != soon {
			return
		}
	}
	m.w.t.Fatal("never settles")
}

// versions are the versions of all objects.
func (w *world) versions() string {
	text := w.secret().ResourceVersion
	for _, c := range configurations() {
		if w.get("", "meshwarden", c) {
			text += " " + c.GetResourceVersion()
		}
	}
	return text
}

// get reads an object and says whether there is one.
func (w *world) get(namespace, name string, into client.Object) bool {
	w.t.Helper()
	err := w.server.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

// secret returns the stored Secret, an empty one if there is none.
func (w *world) secret() *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{}
	w.get("meshwarden", "meshwarden-certificate", s)
	return s
}

// stored returns what the Secret holds.
func (w *world) stored() State {
	w.t.Helper()
	secret := w.secret()
	s, err := Parse(secret.Data, secret.Annotations)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// change changes a stored object.
func (w *world) change(o client.Object, namespace, name string, change func()) {
	w.t.Helper()
	if !w.get(namespace, name, o) {
		w.t.Fatalf("no %s", name)
	}
	change()
	if err := w.server.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// bundles returns the caBundles of all webhooks.
func (w *world) bundles() []string {
	w.t.Helper()
	var existing []client.Object
	for _, c := range configurations() {
		if w.get("", "meshwarden", c) {
			existing = append(existing, c)
		}
	}
	var all []string
	for _, b := range bundles(existing) {
		all = append(all, string(b))
	}
	return all
}

// sent returns the Events sent so far.
func (w *world) sent() []string {
	var sent []string
	for {
		select {
		case event := <-w.events.Events:
			sent = append(sent, event)
		default:
			return sent
		}
	}
}

// metric returns the value of a metric with one label, zero if there is none.
func (m *member) metric(name, label string) float64 {
	m.w.t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		m.w.t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == name && metric.GetLabel()[0].GetValue() == label {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// registered returns webhook configurations as the manifests make them.
func registered() []client.Object {
	none := admissionregistrationv1.SideEffectClassNone
	config := admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "meshwarden", Name: "meshwarden-webhook"}}
	validating := func(name string) admissionregistrationv1.ValidatingWebhook {
		return admissionregistrationv1.ValidatingWebhook{Name: name, ClientConfig: config, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}
	}
	return []client.Object{
		&admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "meshwarden"},
			Webhooks:   []admissionregistrationv1.ValidatingWebhook{validating("gateway.meshwarden.io"), validating("virtualservice.meshwarden.io")},
		},
		&admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "meshwarden"},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: "namespace.meshwarden.io", ClientConfig: config, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			}},
		},
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.clock.Step(d) }
