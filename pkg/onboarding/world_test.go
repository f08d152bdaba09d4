package onboarding

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	onboardingKey    = "meshwarden.io/onboarding"
	networkPolicyKey = "meshwarden.io/network-policy"
	policyName       = "allow-istio-communication"
)

// installed is when the worlds of these tests got their Meshwarden.
var installed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a reconciler on a fake API server, with a record of what it asks for.
type world struct {
	*reconciler
	server   client.WithWatch
	registry *prometheus.Registry
	events   *events.FakeRecorder

	mu    sync.Mutex
	calls []string
	// meanwhile runs once, just before the next write reaches the server, and may
	// fail that write; hidden makes the cache lag: it has no policy yet.
	meanwhile func(context.Context, client.Client) error
	hidden    bool
}

// newWorld returns a world in which the objects are stored. Server-side apply
// deduces the fields' types, because the fake client takes NetworkPolicies for a
// kind with a status, which their schema then refuses. So maps merge that the API
// server would replace.
func newWorld(t *testing.T, options Options, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), networkingv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{
		server: fake.NewClientBuilder().WithScheme(scheme).WithReturnManagedFields().WithGlobalResourceVersionCounter().
			WithTypeConverters(managedfields.NewDeducedTypeConverter()).
			WithObjects(objects...).Build(),
		registry: prometheus.NewRegistry(),
		events:   &events.FakeRecorder{Events: make(chan string, 10)},
	}
	options.Events, options.Metrics = w.events, w.registry
	if options.InstalledAt == nil {
		options.InstalledAt = func(context.Context) (time.Time, error) { return installed, nil }
	}
	m, err := newMetrics(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	w.reconciler = newReconciler(w.cached(), w.uncached(), options, m)
	return w
}

func (w *world) record(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
}

// interfere lets the rest of the world act before a write.
func (w *world) interfere(ctx context.Context) error {
	w.mu.Lock()
	act := w.meanwhile
	w.meanwhile = nil
	w.mu.Unlock()
	if act == nil {
		return nil
	}
	return act(ctx, w.server)
}

// cached returns the client whose reads would come from the cache, which cost
// nothing and are not recorded.
func (w *world) cached() client.Client {
	return interceptor.NewClient(w.server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, isPolicy := o.(*networkingv1.NetworkPolicy); isPolicy && w.hidden {
				key.Name = "hidden"
			}
			return c.Get(ctx, key, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			w.record("patch namespace")
			if err := w.interfere(ctx); err != nil {
				return err
			}
			return c.Patch(ctx, o, patch, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			w.record("apply policy")
			if err := w.interfere(ctx); err != nil {
				return err
			}
			return c.Apply(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			w.record("delete policy")
			if err := w.interfere(ctx); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
	})
}

// uncached returns the reader whose reads go to the API server.
func (w *world) uncached() client.Reader {
	return interceptor.NewClient(w.server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			w.record("get policy")
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			w.record("list policies")
			return c.List(ctx, list, opts...)
		},
	})
}

// visit reconciles the namespace "shop" once.
func (w *world) visit(t *testing.T) (reconcile.Result, error) {
	t.Helper()
	return w.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "shop"}})
}

// mustVisit reconciles "shop" once and expects the pause.
func (w *world) mustVisit(t *testing.T, pause time.Duration) {
	t.Helper()
	result, err := w.visit(t)
	if err != nil {
		t.Fatalf("Reconcile: %v", err)
	}
	if result.RequeueAfter != pause {
		t.Fatalf("Reconcile wants to come back after %s, expected %s", result.RequeueAfter, pause)
	}
}

// counted returns the outcomes that were counted.
func (w *world) counted(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if value := metric.GetCounter().GetValue(); value > 0 {
				counts[metric.GetLabel()[0].GetValue()] = value
			}
		}
	}
	return counts
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

// stored returns the stored policy of "shop", nil if there is none.
func (w *world) stored(t *testing.T) *networkingv1.NetworkPolicy {
	t.Helper()
	have, err := readPolicy(t.Context(), w.server, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// namespace returns the stored namespace "shop".
func (w *world) namespace(t *testing.T) *corev1.Namespace {
	t.Helper()
	ns := &corev1.Namespace{}
	if err := w.server.Get(t.Context(), client.ObjectKey{Name: "shop"}, ns); err != nil {
		t.Fatal(err)
	}
	return ns
}

// shop returns the namespace "shop", created so long after the installation.
func shop(after time.Duration, labels, annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "shop", Labels: labels, Annotations: annotations,
		CreationTimestamp: metav1.NewTime(installed.Add(after)),
	}}
}

// onboarded returns the namespace "shop" as admission leaves it.
func onboarded() *corev1.Namespace {
	return shop(time.Minute, map[string]string{"istio-injection": "enabled"}, map[string]string{onboardingKey: "enabled"})
}

// foreign returns a policy of Meshwarden's name that somebody else made.
func foreign(uid types.UID) *networkingv1.NetworkPolicy {
	theirs := policy.DefaultNetworkPolicy("shop")
	theirs.UID = uid
	theirs.Labels = map[string]string{"team": "a"}
	theirs.Spec.Egress = nil
	return theirs
}
