package informer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestInformersFollow: whichever way the API server sends its lists, the model comes to hold what it holds.
func TestInformersFollow(t *testing.T) {
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming lists: %t", streams), func(t *testing.T) {
			w := newWorld(t, streams)
			public, web := gateway("infra/public", "a.example.com"), virtualService("shop/web", "a.example.com")
			w.server.put("gateways", public)
			w.server.put("virtualservices", web)
			if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "gateways are not read yet") || !strings.Contains(err.Error(), "virtualservices") {
				t.Errorf("before the start: %v", err)
			}
			w.start(t)
			w.ready(t)
			w.eventually(t, "the stored objects", w.holds("Gateway infra/public", "VirtualService shop/web"))
			w.server.put("gateways", gateway("infra/second", "b.example.com"))
			w.eventually(t, "an added object", w.holds("Gateway infra/public", "Gateway infra/second", "VirtualService shop/web"))
			w.server.put("gateways", gateway("infra/public", "c.example.com"))
			w.eventually(t, "an updated object", w.serves("public", "c.example.com"))
			w.server.remove("gateways", public)
			w.server.remove("virtualservices", web)
			w.eventually(t, "two deleted objects", w.holds("Gateway infra/second"))
			for kind, want := range map[string]float64{"Gateway": 1, "VirtualService": 0} {
				if got, _ := w.metric(t, "meshwarden_model_objects", kind); got != want {
					t.Errorf("%s objects counted: %v", kind, got)
				}
				if got, _ := w.metric(t, "meshwarden_model_synced", kind); got != 1 {
					t.Errorf("%s synced: %v", kind, got)
				}
			}
		})
	}
}

// TestInformerRepairsWhatItMissed: what changed between two watches is in the next list.
func TestInformerRepairsWhatItMissed(t *testing.T) {
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming lists: %t", streams), func(t *testing.T) {
			w := newWorld(t, streams)
			w.server.put("gateways", gateway("infra/old", "a.example.com"))
			w.server.put("gateways", newObject("Gateway", "infra/broken", map[string]any{"servers": 5}))
			w.start(t)
			w.ready(t)
			w.server.swap(gateway("infra/new", "a.example.com"))
			w.eventuallyRetrying(t, "one object for two", func() bool { return w.holds("Gateway infra/new")() && len(w.Unparsable()) == 0 })
		})
	}
}

// TestInformersWithoutCRDs: a cluster without Istio has no objects, which is known, and gets ready. A CRD that comes is
// noticed without a restart.
func TestInformersWithoutCRDs(t *testing.T) {
	tests := []struct {
		reason string
		notice func(*testing.T, *world)
	}{
		{"noticed by looking again", func(t *testing.T, w *world) {
			t.Helper()
			w.eventuallyRetrying(t, "noticed", w.holds("Gateway infra/public"))
		}},
		{"noticed at once by who holds an object of the kind", func(t *testing.T, w *world) {
			t.Helper()
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			if err := w.WaitReady(ctx, policy.KindGateway); err != nil || !w.holds("Gateway infra/public")() {
				t.Errorf("WaitReady returns %v; the Gateway is there: %t", err, w.holds("Gateway infra/public")())
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.answer("gateways", http.StatusNotFound)
			w.server.answer("virtualservices", http.StatusNotFound)
			w.start(t)
			w.ready(t)
			if err := w.WaitReady(t.Context(), "Namespace"); err != nil {
				t.Errorf("who holds no object of the mesh waits for %v", err)
			}
			w.server.answer("gateways", http.StatusOK)
			w.server.put("gateways", gateway("infra/public", "a.example.com"))
			tc.notice(t, w)
			if err := w.WaitReady(t.Context(), policy.KindGateway); err != nil {
				t.Errorf("a Gateway cannot be judged: %v", err)
			}
		})
	}
}

// TestWaitReadyGivesUp: who holds an object of a kind that is not read waits, and is told why it was in vain.
func TestWaitReadyGivesUp(t *testing.T) {
	tests := []struct {
		reason string
		status int
		kind   policy.Kind
		says   string
	}{
		{"the kind's CRD is not served, though an object of it exists", http.StatusNotFound, policy.KindGateway, "gateways are not read yet"},
		{"the kind may not be read", http.StatusForbidden, policy.KindGateway, "cannot read gateways: "},
		{"the other kind may not be read, and the rules need it", http.StatusForbidden, policy.KindVirtualService, "cannot read gateways: "},
		{"nobody holds an object of the kind, but it may exist", http.StatusForbidden, "Namespace", "cannot read gateways: "},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.answer("gateways", tc.status)
			w.start(t)
			w.eventually(t, "one list has failed, and the others are there", func() bool {
				err := w.Ready()
				if tc.status == http.StatusNotFound {
					return err == nil
				}
				return err != nil && strings.HasPrefix(err.Error(), tc.says) && !strings.Contains(err.Error(), "\n")
			})
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer stop()
			err := w.WaitReady(ctx, tc.kind)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("WaitReady returns %v", err)
			}
		})
	}
}

// TestInformerLosesItsCRD: a removed CRD takes its objects with it, and may come back.
func TestInformerLosesItsCRD(t *testing.T) {
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming lists: %t", streams), func(t *testing.T) {
			w := newWorld(t, streams)
			w.server.put("gateways", gateway("infra/public", "a.example.com"))
			w.server.put("gateways", newObject("Gateway", "infra/broken", map[string]any{"servers": 5}))
			w.server.put("virtualservices", virtualService("shop/web", "a.example.com"))
			w.start(t)
			w.ready(t)
			w.server.answer("gateways", http.StatusNotFound)
			w.eventuallyRetrying(t, "emptied", func() bool { return w.holds("VirtualService shop/web")() && len(w.Unparsable()) == 0 })
			if err := w.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
			// Absent, not synced: the holder of a Gateway knows better.
			ctx, stop := context.WithCancel(t.Context())
			stop()
			w.eventually(t, "absent", func() bool { return w.WaitReady(ctx, policy.KindGateway) != nil })
			w.server.answer("gateways", http.StatusOK)
			w.server.put("gateways", gateway("infra/next", "a.example.com"))
			w.eventuallyRetrying(t, "back", w.holds("Gateway infra/next", "VirtualService shop/web"))
		})
	}
}

// TestInformerErrors: what cannot be read makes the replica unready, and says so; what was read once stays.
func TestInformerErrors(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError} {
		for _, synced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, synced before: %t", status, synced), func(t *testing.T) {
				w := newWorld(t, false)
				w.server.put("gateways", gateway("infra/public", "a.example.com"))
				if !synced {
					w.server.answer("gateways", status)
				}
				w.start(t)
				if synced {
					w.ready(t)
					w.server.answer("gateways", status)
				}
				before := w.lists()
				w.eventuallyRetrying(t, "two lists have failed", func() bool { return w.lists() > before+1 })
				if !synced {
					w.eventuallyRetrying(t, "the reason is known", func() bool {
						err := w.Ready()
						return err != nil && strings.Contains(err.Error(), "cannot read gateways: ") && strings.Contains(err.Error(), fmt.Sprint(status))
					})
				}
				if err := w.Ready(); synced && (err != nil || !w.holds("Gateway infra/public")()) {
					t.Errorf("what was read is given up: %v", err)
				}
				if got, _ := w.metric(t, "meshwarden_model_synced", "Gateway"); (got == 1) != synced {
					t.Errorf("synced is %v", got)
				}
				w.server.answer("gateways", http.StatusOK)
				w.server.put("gateways", gateway("infra/next", "a.example.com"))
				w.eventuallyRetrying(t, "repaired", w.holds("Gateway infra/next", "Gateway infra/public"))
				w.ready(t)
			})
		}
	}
}

// TestUnparsable: an object that cannot be read is left out and known, and hides no other one.
func TestUnparsable(t *testing.T) {
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming lists: %t", streams), func(t *testing.T) {
			broken := func(name string) object { return newObject("Gateway", name, map[string]any{"servers": 5}) }
			ref := func(name string) policy.Ref {
				return policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: name}}
			}
			w := newWorld(t, streams)
			w.server.put("gateways", broken("infra/a"))
			w.server.put("gateways", gateway("infra/b", "b.example.com"))
			w.start(t)
			w.ready(t)
			if err := w.WhyUnparsable(ref("a")); err == nil || !strings.Contains(err.Error(), "spec.servers") || w.WhyUnparsable(ref("b")) != nil {
				t.Errorf("reasons: %v, %v", err, w.WhyUnparsable(ref("b")))
			}
			w.server.put("gateways", broken("infra/b")) // was in the model, which must not keep the old version
			w.eventually(t, "both left out", func() bool { return w.holds()() && len(w.Unparsable()) == 2 })
			if got, _ := w.metric(t, "meshwarden_unparsable_objects", "Gateway"); got != 2 {
				t.Errorf("counted %v", got)
			}
			w.server.put("gateways", gateway("infra/a", "a.example.com"))
			w.eventually(t, "repaired", w.serves("a", "a.example.com"))
			w.server.remove("gateways", broken("infra/b"))
			w.eventually(t, "deleted", func() bool { return len(w.Unparsable()) == 0 })
			if err := errors.Join(w.WhyUnparsable(ref("a")), w.WhyUnparsable(ref("b"))); err != nil {
				t.Errorf("still known as unparsable: %v", err)
			}
		})
	}
}

// TestUnparsableWhileListing: a new list does not make the known faults look repaired until it has come to them.
func TestUnparsableWhileListing(t *testing.T) {
	w := newWorld(t, false)
	refs, broken := []policy.Ref{}, []object{}
	for _, name := range []string{"a", "b"} {
		broken = append(broken, newObject("Gateway", "infra/"+name, map[string]any{"servers": 5}))
		refs = append(refs, policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: name}})
	}
	w.server.swap(broken...)
	w.start(t)
	w.ready(t)
	forgotten := make(chan bool, 1024)
	w.model.Subscribe(func(mesh.Change) {
		forgotten <- w.WhyUnparsable(refs[0]) == nil || w.WhyUnparsable(refs[1]) == nil
	})
	before := w.lists()
	w.server.swap(broken...)
	w.eventuallyRetrying(t, "listed again", func() bool { return w.lists() > before && len(forgotten) >= 2 })
	for range 2 {
		if <-forgotten {
			t.Error("a fault was forgotten in between")
		}
	}
}
