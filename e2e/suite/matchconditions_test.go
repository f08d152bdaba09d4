package suite

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What changes only what nobody reads never reaches Meshwarden, and everything else does. The package cel holds the
// conditions to many more changes.
func TestNoiseIsKeptAway(t *testing.T) {
	t.Parallel()
	e := start(t, setup{withoutRaceDetector: true}) // one object is so large that its verdict takes a good part of its time
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "shop.example.com"))
	e.mustApply(t, virtualService("shop", "vs", "shop.example.com", "gw"))

	gw, vs := object("Gateway", "shop", "gw"), object("VirtualService", "shop", "vs")
	older := vs.DeepCopy()
	older.SetAPIVersion("networking.istio.io/v1alpha3")
	merge := func(o *unstructured.Unstructured, patch string) func(context.Context) error {
		return func(ctx context.Context) error {
			return e.client.Patch(ctx, o.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
		}
	}
	for _, tc := range []struct {
		reason string
		write  func(context.Context) error
		// counted says that Meshwarden is asked.
		counted bool
	}{
		{"labels", merge(vs, `{"metadata":{"labels":{"team":"a"}}}`), false},
		{"another annotation", merge(gw, `{"metadata":{"annotations":{"example.com/note":"a"}}}`), false},
		{"labels in an older version", merge(older, `{"metadata":{"labels":{"team":"b"}}}`), false},
		{"no annotations at all", merge(gw, `{"metadata":{"annotations":null}}`), false},
		{"finalizers", merge(vs, `{"metadata":{"finalizers":["example.com/hold"]}}`), false},
		{"no finalizers", merge(vs, `{"metadata":{"finalizers":null}}`), false},
		{"nothing", merge(vs, `{}`), false},
		{"a generation that a client made up", merge(vs, `{"metadata":{"generation":99}}`), false},
		{"status, in the object itself", merge(gw, `{"status":{"observedGeneration":"7"}}`), false},
		{"status", func(ctx context.Context) error {
			return e.client.Status().Patch(ctx, gw.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":"7"}}`)))
		}, false},
		{"the same once more, applied", func(ctx context.Context) error {
			return e.apply(ctx, virtualService("shop", "vs", "shop.example.com", "gw"))
		}, false},
		{"the annotation that allows", merge(gw, `{"metadata":{"annotations":{"meshwarden.io/allow":"MW207"}}}`), true},
		{"another value of it", merge(gw, `{"metadata":{"annotations":{"meshwarden.io/allow":"MW101"}}}`), true},
		{"the annotation taken away", merge(gw, `{"metadata":{"annotations":{"meshwarden.io/allow":null}}}`), true},
		{"the spec", merge(vs, `{"spec":{"exportTo":["*"]}}`), true},
		{"the spec in an older version", merge(older, `{"spec":{"exportTo":null}}`), true},
		{"a field that no rule reads", merge(vs, `{"spec":{"http":[{"timeout":"5s","route":[{"destination":{"host":"web"}}]}]}}`), true},
		{"the spec with a generation that a client kept", merge(vs, `{"metadata":{"generation":1},"spec":{"exportTo":["."]}}`), true},
		{"a VirtualService as large as etcd takes it", func(ctx context.Context) error {
			var routes []string
			for i := range 15000 {
				routes = append(routes, fmt.Sprintf(`{"match":[{"uri":{"prefix":"/%d"}}],"route":[{"destination":{"host":"web"}}]}`, i))
			}
			return merge(vs, `{"spec":{"http":[`+strings.Join(routes, ",")+`]}}`)(ctx)
		}, true},
		{"a label on it", merge(vs, `{"metadata":{"labels":{"team":"c"}}}`), false},
		{"a creation that pretends to be a deletion", func(ctx context.Context) error {
			o := documents(gateway("shop", "ending", "a.example.com"))[0]
			o.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			return e.client.Create(ctx, o, client.DryRunAll)
		}, true},
	} {
		before := e.answered(t)
		if err := tc.write(t.Context()); err != nil {
			t.Errorf("%s: %v", tc.reason, err)
			continue
		}
		after := e.answered(t)
		if counted := !maps.Equal(before, after); counted != tc.counted {
			t.Errorf("%s: Meshwarden was asked: %t, want %t: %v, then %v", tc.reason, counted, tc.counted, before, after)
		}
	}
	wantError(t, "an update cannot pretend either", merge(vs, `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"gateways":["gone"]}}`)(t.Context()), "")
}

// answered returns what the replica has counted of answers about Gateways and VirtualServices.
func (e *environment) answered(t *testing.T) map[string]int {
	t.Helper()
	text, err := e.replicas[0].Metrics(t.Context())
	noError(t, "read the metrics", err)
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, " ")
		if strings.HasPrefix(name, "meshwarden_admission_requests_total{kind=") && !strings.Contains(name, "Namespace") {
			var n int
			_, err := fmt.Sscan(value, &n)
			noError(t, "read the metrics", err)
			counts[name] = n
		}
	}
	return counts
}
