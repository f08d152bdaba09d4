package informer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestRead(t *testing.T) {
	gatewayRef := func(namespace, name string) policy.Ref {
		return policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: namespace, Name: name}}
	}
	tests := []struct {
		reason string
		ref    policy.Ref
		found  bool
		// asked is the one path that the server is asked for; empty: none.
		asked string
	}{
		{"a Gateway", gatewayRef("infra", "public"), true, "namespaces/infra/gateways/public"},
		{
			"a VirtualService",
			policy.Ref{Kind: policy.KindVirtualService, Key: policy.Key{Namespace: "shop", Name: "web"}},
			true,
			"namespaces/shop/virtualservices/web",
		},
		{
			"a Deployment",
			policy.Ref{Kind: policy.KindDeployment, Key: policy.Key{Namespace: "edge", Name: "ingress"}},
			true,
			"namespaces/edge/deployments/ingress",
		},
		{
			"a DaemonSet that is none",
			policy.Ref{Kind: policy.KindDaemonSet, Key: policy.Key{Namespace: "edge", Name: "ingress"}},
			false,
			"namespaces/edge/daemonsets/ingress",
		},
		{"a Service", policy.Ref{Kind: policy.KindService, Key: policy.Key{Namespace: "edge", Name: "ingress"}}, true, "namespaces/edge/services/ingress"},
		{"no such object", gatewayRef("infra", "gone"), false, "namespaces/infra/gateways/gone"},
		{"the same name in another namespace", gatewayRef("shop", "public"), false, "namespaces/shop/gateways/public"},
		{"one that cannot be parsed counts as none, as in the model", gatewayRef("infra", "broken"), false, "namespaces/infra/gateways/broken"},
		{"no name", gatewayRef("infra", ""), false, ""},
		{"no namespace", gatewayRef("", "public"), false, ""},
		{"a path", gatewayRef("infra", "a/b"), false, ""},
		{"a path in the namespace", gatewayRef("infra/gateways", "public"), false, ""},
		{"the parent", gatewayRef("infra", ".."), false, ""},
		{"the folder itself", gatewayRef(".", "public"), false, ""},
		{"an escaped path", gatewayRef("infra", "%2f"), false, ""},
		{"longer than any name, and than what an API server takes as an address", gatewayRef("infra", strings.Repeat("a", 1<<20)), false, ""},
		{"one longer than any name", gatewayRef(strings.Repeat("a", 254), "public"), false, ""},
		{"as long as a name may be", gatewayRef("infra", strings.Repeat("a", 253)), false, "namespaces/infra/gateways/" + strings.Repeat("a", 253)},
		{"a query", gatewayRef("infra", "public?watch=true"), false, "namespaces/infra/gateways/public?watch=true"},
		{"a fragment", gatewayRef("infra", "public#"), false, "namespaces/infra/gateways/public#"},
		{"spaces and line breaks", gatewayRef("infra", " a\r\nb "), false, "namespaces/infra/gateways/ a\r\nb "},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.put("gateways", gateway("infra/public", "a.example.com"))
			w.server.put("gateways", newObject("Gateway", "infra/broken", map[string]any{"servers": 5}))
			w.server.put("virtualservices", virtualService("shop/web", "a.example.com"))
			w.server.put("deployments", workload("Deployment", "edge/ingress", nil))
			w.server.put("services", newObject("Service", "edge/ingress", nil))
			got, err := w.Read(t.Context(), tc.ref)
			if err != nil || (got != nil) != tc.found || tc.found && got.Ref() != tc.ref {
				t.Errorf("read %v, %v", got, err)
			}
			var want []string
			if tc.asked != "" {
				want = []string{tc.asked}
			}
			if diff := cmp.Diff(want, w.server.requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadFails: what is not known is an error, never "there is none".
func TestReadFails(t *testing.T) {
	tests := []struct {
		reason string
		kind   policy.Kind
		fail   func(*world) context.Context
		says   string
	}{
		{"forbidden", policy.KindGateway, func(w *world) context.Context {
			w.server.answer("gateways", http.StatusForbidden)
			return context.Background()
		}, "get gateways infra/public: the fake server says 403"},
		{"broken", policy.KindGateway, func(w *world) context.Context {
			w.server.answer("gateways", http.StatusInternalServerError)
			return context.Background()
		}, "get gateways infra/public: the fake server says 500"},
		{"out of time", policy.KindGateway, func(*world) context.Context {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			return ctx
		}, "context canceled"},
		{"nobody there", policy.KindGateway, func(w *world) context.Context {
			w.server.Close()
			return context.Background()
		}, "connection refused"},
		{"a Pod, which is read from files alone", policy.KindPod, func(*world) context.Context { return context.Background() }, "no resource holds objects of kind Pod"},
		{"another kind", "ServiceEntry", func(*world) context.Context { return context.Background() }, "no resource holds objects of kind ServiceEntry"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.put("gateways", gateway("infra/public", "a.example.com"))
			got, err := w.Read(tc.fail(w), policy.Ref{Kind: tc.kind, Key: policy.Key{Namespace: "infra", Name: "public"}})
			if err == nil || got != nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("read %v, %v", got, err)
			}
		})
	}
}

func TestTerminating(t *testing.T) {
	going := metav1.Now()
	reader := fake.NewClientBuilder().WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "going", DeletionTimestamp: &going, Finalizers: []string{"test/wait"}}},
	).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if key.Name == "secret" {
				return errors.New("forbidden")
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	tests := []struct {
		reason, namespace string
		want              bool
		says              string
	}{
		{"it stays", "shop", false, ""},
		{"it is being deleted", "going", true, ""},
		{"it is gone already", "gone", true, ""},
		{"nobody knows", "secret", false, "get namespace secret: forbidden"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := newWorldWith(t, true, reader, istio.MeshSettings{}).Terminating(t.Context(), tc.namespace)
			if got != tc.want || (err != nil) != (tc.says != "") || err != nil && err.Error() != tc.says {
				t.Errorf("terminating %t, %v", got, err)
			}
		})
	}
}

const lag = "meshwarden_model_lag_seconds"

// TestLag: what admission let pass is measured until the model has it, once, and nothing else is.
func TestLag(t *testing.T) {
	ref := policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: "public"}}
	public := gateway("infra/public", "a.example.com")
	tests := []struct {
		reason string
		run    func(*testing.T, *world)
		count  float64
		sum    float64
	}{
		{"a change that nobody announced", func(_ *testing.T, w *world) { w.server.put("gateways", public) }, 0, 0},
		{"a creation", func(_ *testing.T, w *world) {
			w.Expect(ref, 1)
			w.clock.Step(3 * time.Second)
			w.server.put("gateways", public)
		}, 1, 3},
		{"a later generation holds the change too", func(_ *testing.T, w *world) {
			w.Expect(ref, 2)
			w.clock.Step(3 * time.Second)
			w.server.put("gateways", public.generation(4))
		}, 1, 3},
		{"an earlier one does not", func(_ *testing.T, w *world) {
			w.Expect(ref, 2)
			w.server.put("gateways", public.generation(1))
		}, 0, 0},
		{"once for one announcement", func(_ *testing.T, w *world) {
			w.Expect(ref, 1)
			w.server.put("gateways", public)
			w.server.put("gateways", public.generation(2))
		}, 1, 0},
		{"another object's", func(_ *testing.T, w *world) {
			w.Expect(policy.Ref{Kind: policy.KindVirtualService, Key: ref.Key}, 1)
			w.server.put("gateways", public)
		}, 0, 0},
		{"what somebody else refused never arrived, and what comes long after is another change", func(_ *testing.T, w *world) {
			w.Expect(ref, 1)
			w.clock.Step(2 * time.Minute)
			w.server.put("gateways", public)
		}, 0, 0},
		{"through a list as well as through a watch", func(t *testing.T, w *world) {
			w.Expect(ref, 1)
			w.server.swap(public)
			w.eventuallyRetrying(t, "listed", w.holds("Gateway infra/public"))
		}, 1, -1},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.start(t)
			w.ready(t)
			tc.run(t, w)
			// Changes come in their order: what was measured is measured once this one is there.
			w.server.put("gateways", gateway("infra/last", "a.example.com"))
			w.eventually(t, "the last change", w.serves("last", "a.example.com"))
			count, sum := w.metric(t, lag)
			if count != tc.count || tc.sum >= 0 && sum != tc.sum {
				t.Errorf("%v observations, %v seconds in all", count, sum)
			}
		})
	}
}

// TestLagIsBounded: what never arrives must not fill the memory, nor keep later changes from being measured.
func TestLagIsBounded(t *testing.T) {
	w := newWorld(t, true)
	w.start(t)
	w.ready(t)
	for i := range 1024 {
		w.Expect(policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: fmt.Sprint("refused", i)}}, 1)
	}
	for i, want := range []float64{0, 1} {
		name := fmt.Sprint("n", i)
		w.Expect(policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: name}}, 1)
		w.server.put("gateways", gateway("infra/"+name, "a.example.com"))
		w.server.put("gateways", gateway("infra/then-"+name, "a.example.com"))
		w.eventually(t, "arrived", w.serves("then-"+name, "a.example.com"))
		if got, _ := w.metric(t, lag); got != want {
			t.Errorf("%v observations after %d changes", got, i+1)
		}
		w.clock.Step(2 * time.Minute)
	}
}
