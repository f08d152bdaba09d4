package admission_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestHandleUpdate holds what an edit may keep and what it may not add. The API server agrees with the cache.
func TestHandleUpdate(t *testing.T) {
	web := func(hosts ...string) object { return virtualService("shop/web", hosts, "infra/public", "infra/gone") }
	denied := answer{Code: http.StatusUnprocessableEntity, Denied: []string{"MW101"}}
	tests := []struct {
		reason        string
		before, after object
		want          answer
	}{
		{
			"both line up", virtualService("shop/web", []string{"a.example.com"}, "infra/public"),
			virtualService("shop/web", []string{"b.example.com"}, "infra/public"),
			answer{Allowed: true},
		},
		{
			"the gateway was missing before: the edit has nothing to do with it",
			web("a.example.com"), web("a.example.com").annotated("team", "shop"),
			answer{Allowed: true, Warned: []string{"MW101"}},
		},
		{
			"the path does not count: the missing gateway moved up", web("a.example.com"),
			virtualService("shop/web", []string{"a.example.com"}, "infra/gone", "infra/public"),
			answer{Allowed: true, Warned: []string{"MW101"}},
		},
		{
			"another gateway is another finding", web("a.example.com"),
			virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/other"), denied,
		},
		{
			"the old finding warns beside a new one that denies", web("a.example.com"),
			virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/gone", "infra/other"),
			answer{Code: 422, Denied: []string{"MW101"}, Warned: []string{"MW101"}},
		},
		{
			"another host is another finding", virtualService("shop/web", []string{"a.other.com"}, "infra/public"),
			virtualService("shop/web", []string{"b.other.com"}, "infra/public"),
			answer{Code: 422, Denied: []string{"MW102"}},
		},
		{
			"the same host at another gateway is another finding: what it is related to differs",
			virtualService("shop/web", []string{"a.other.com"}, "infra/public"),
			virtualService("shop/web", []string{"a.other.com"}, "infra/second"),
			answer{Code: 422, Denied: []string{"MW102"}},
		},
		{
			"another rule is another finding", virtualService("shop/web", []string{"a.other.com"}, "infra/public"),
			virtualService("shop/web", []string{"a.other.com"}, "infra/public").matching("infra/second"),
			answer{Code: 422, Denied: []string{"MW106"}, Warned: []string{"MW102"}},
		},
		{
			"a finding that depends on nothing else may stay as well",
			virtualService("shop/web", []string{"a.example.com"}, "infra/public").matching("infra/second"),
			virtualService("shop/web", []string{"b.example.com"}, "infra/public").matching("infra/second"),
			answer{Allowed: true, Warned: []string{"MW106"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			gateways := []object{gateway("infra/public", "*.example.com"), gateway("infra/second", "*.second.com")}
			w.cache(t, append(gateways, tc.before)...)
			w.store(t, gateways...)
			got := summary(w.Handle(t.Context(), replacement(tc.before, tc.after)))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandleDryRun(t *testing.T) {
	tests := []struct {
		reason  string
		request webhook.Request
		want    answer
	}{
		{
			"the gateway may come with the same set", creation(virtualService("shop/web", []string{"a.example.com"}, "infra/gone")),
			answer{Allowed: true, Warned: []string{"MW101"}},
		},
		{
			"the gateway's host may come with the same set", creation(virtualService("shop/web", []string{"a.other.com"}, "infra/public")),
			answer{Allowed: true, Warned: []string{"MW102"}},
		},
		{
			"the VirtualService may leave with the same set",
			replacement(gateway("infra/public", "*.example.com"), gateway("infra/public", "*.other.com")),
			answer{Allowed: true, Warned: []string{"MW207"}},
		},
		{
			"what is wrong with the object alone stays wrong",
			creation(virtualService("shop/web", []string{"a.example.com"}, "infra/public").matching("infra/gone")),
			answer{Code: 422, Denied: []string{"MW106"}},
		},
		{
			"both at once", creation(virtualService("shop/web", []string{"a.other.com"}, "infra/public").matching("infra/gone")),
			answer{Code: 422, Denied: []string{"MW106"}, Warned: []string{"MW102"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			objects := []object{gateway("infra/public", "*.example.com"), virtualService("shop/old", []string{"old.example.com"}, "infra/public")}
			w.cache(t, objects...)
			w.store(t, objects...)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), dryRun(tc.request)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			tc.request.DryRun = nil
			if r := w.Handle(t.Context(), tc.request); r.Allowed {
				t.Error("the real write is allowed: the case shows nothing")
			}
		})
	}
}

// TestHandleLeavesAlone covers what passes whatever is wrong with it.
func TestHandleLeavesAlone(t *testing.T) {
	broken := virtualService("shop/web", []string{"a.example.com"}, "infra/gone")
	unparsable := newObject("Gateway", "shop/web", map[string]any{"servers": 5})
	tests := []struct {
		reason      string
		request     webhook.Request
		terminating bool
	}{
		{
			"an object that waits for its finalizers",
			replacement(broken, broken.with("deletionTimestamp", "2026-01-01T00:00:00Z")), false,
		},
		{"the same, unparsable", replacement(gateway("shop/web"), unparsable.with("deletionTimestamp", "2026-01-01T00:00:00Z")), false},
		{"a namespace that is being deleted: finalizers of other controllers must go on", creation(broken), true},
		{"a namespace that is being deleted, unparsable", creation(unparsable), true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cluster.terminating["shop"] = tc.terminating
			if diff := cmp.Diff(answer{Allowed: true}, summary(w.Handle(t.Context(), tc.request))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if len(w.cluster.reads) > 0 {
				t.Errorf("read again for nothing: %v", w.cluster.reads)
			}
		})
	}
}

// TestHandleAsksForNamespaceOnlyToDeny keeps the GET of the namespace out of every request that is allowed anyway.
func TestHandleAsksForNamespaceOnlyToDeny(t *testing.T) {
	w := newWorld(t)
	w.cache(t, gateway("infra/public", "*.example.com"))
	w.Handle(t.Context(), creation(virtualService("shop/web", []string{"a.example.com"}, "infra/public")))
	if len(w.cluster.asked) > 0 {
		t.Errorf("asked for %v", w.cluster.asked)
	}
	w.Handle(t.Context(), creation(virtualService("shop/web", []string{"a.example.com"}, "infra/a", "infra/b")))
	if diff := cmp.Diff([]string{"shop"}, w.cluster.asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

// TestHandleProbe: istiod probes with an invalid Gateway. Each of the three marks of the probe is needed.
func TestHandleProbe(t *testing.T) {
	const mark = "internal.istio.io/webhook-always-reject"
	// istiod's probe has an empty spec; one that cannot be parsed shows in every case that it was not judged.
	probe := newObject("Gateway", "istio-system/invalid-gateway", map[string]any{"servers": 5})
	marked := probe.annotated(mark, "true")
	tests := []struct {
		reason  string
		request webhook.Request
		allowed bool
	}{
		{"the probe", dryRun(creation(marked)), true},
		{"the value of the annotation does not count", dryRun(creation(probe.annotated(mark, ""))), true},
		{"a real write of the probe", creation(marked), false},
		{"no annotation", dryRun(creation(probe)), false},
		{"another annotation", dryRun(creation(probe.annotated("team", "mesh"))), false},
		{"another name", dryRun(creation(marked.with("name", "gateway"))), false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r := newWorld(t).Handle(t.Context(), tc.request)
			if r.Allowed != tc.allowed || len(r.Warnings) > 0 {
				t.Errorf("allowed %t with warnings %q", r.Allowed, r.Warnings)
			}
		})
	}
}

// TestHandleWhatItDoesNotJudge: a request that a wrong registration sends passes, and its client learns of it.
func TestHandleWhatItDoesNotJudge(t *testing.T) {
	tests := []struct {
		reason string
		change func(*webhook.Request)
		named  string
	}{
		{"another kind of the group", func(r *webhook.Request) { r.Kind.Kind = "ServiceEntry" }, "ServiceEntry"},
		{"the Gateway of another group", func(r *webhook.Request) { r.Kind.Group = "gateway.networking.k8s.io" }, "gateway.networking.k8s.io"},
		{"a subresource", func(r *webhook.Request) { r.SubResource = "status" }, "status"},
		{"a connection", func(r *webhook.Request) { r.Operation = admissionv1.Connect }, "CONNECT"},
		{"an operation that a later API server may know", func(r *webhook.Request) { r.Operation = "RENAME" }, "RENAME"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			request := creation(newObject("Gateway", "shop/web", map[string]any{"servers": 5}))
			tc.change(&request)
			r := w.Handle(t.Context(), request)
			if !r.Allowed || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], tc.named) {
				t.Errorf("allowed %t with warnings %q", r.Allowed, r.Warnings)
			}
		})
	}
}

// TestHandleUnavailable: what cannot be judged is refused with an error that asks for another try, never with a guess.
func TestHandleUnavailable(t *testing.T) {
	tests := []struct {
		reason string
		fail   func(*fakeCluster)
		says   string
	}{
		{
			"the model is not ready until the deadline", func(c *fakeCluster) { c.notReady = errors.New("gateways are not read yet") },
			"meshwarden is not ready to judge VirtualService shop/web: gateways are not read yet",
		},
		{"the denial cannot be confirmed", func(c *fakeCluster) { c.readErr = errors.New("connection refused") }, "connection refused"},
		{"nobody knows whether the namespace is being deleted", func(c *fakeCluster) { c.terminatingErr = errors.New("timed out") }, "timed out"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			// In the bubble the deadline of an hour is over as soon as nothing else can happen.
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(o *admission.Options) { o.Deadline = time.Hour })
				tc.fail(w.cluster)
				r := w.Handle(t.Context(), creation(virtualService("shop/web", []string{"a.example.com"}, "infra/gone")))
				if r.Allowed || r.Result.Code != http.StatusServiceUnavailable || r.Result.Reason != "ServiceUnavailable" {
					t.Fatalf("allowed %t: %v", r.Allowed, r.Result)
				}
				if !strings.Contains(r.Result.Message, tc.says) || !strings.HasSuffix(r.Result.Message, "; try again") {
					t.Errorf("message %q", r.Result.Message)
				}
			})
		})
	}
}

// TestHandleOutlivesItsServer: a request that is in flight when the process is told to stop still gets its answer.
func TestHandleOutlivesItsServer(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := summary(w.Handle(ctx, creation(virtualService("shop/web", []string{"a.example.com"}, "infra/gone"))))
	if diff := cmp.Diff(answer{Code: 422, Denied: []string{"MW101"}}, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestHandleEnforcement(t *testing.T) {
	broken := virtualService("shop/web", []string{"a.example.com"}, "infra/public").matching("infra/gone")
	unparsable := newObject("VirtualService", "shop/web", map[string]any{"hosts": 5})
	tests := []struct {
		reason      string
		enforcement policy.Action
		actions     map[string]policy.Action
		object      object
		want        answer
	}{
		{"deny is the default", policy.Deny, nil, broken, answer{Code: 422, Denied: []string{"MW106"}}},
		{"a roll-out warns first", policy.Warn, nil, broken, answer{Allowed: true, Warned: []string{"MW106"}}},
		{"audit tells the client nothing", policy.Audit, nil, broken, answer{Allowed: true}},
		{"one rule only warns", policy.Deny, map[string]policy.Action{"MW106": policy.Warn}, broken, answer{Allowed: true, Warned: []string{"MW106"}}},
		{"no rule is stricter than the enforcement", policy.Audit, map[string]policy.Action{"MW106": policy.Deny}, broken, answer{Allowed: true}},
		{"Istio would ignore the object", policy.Deny, nil, unparsable, answer{Code: 422, Denied: []string{"MW000"}}},
		{"unparsable in a roll-out", policy.Warn, nil, unparsable, answer{Allowed: true, Warned: []string{"MW000"}}},
		{"unparsable under audit", policy.Audit, nil, unparsable, answer{Allowed: true}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			rules, err := policy.Configure(policy.Rules(), tc.enforcement, tc.actions)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, func(o *admission.Options) { o.Enforcement, o.Rules = tc.enforcement, rules })
			w.cache(t, gateway("infra/public", "*.example.com"))
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), creation(tc.object)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			id := append(append([]string{}, tc.want.Denied...), tc.want.Warned...)
			if len(id) == 0 && len(w.log.lines) != 1 {
				t.Errorf("audit wrote %d lines instead of 1", len(w.log.lines))
			}
		})
	}
}
