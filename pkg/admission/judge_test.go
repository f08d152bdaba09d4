package admission_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestHandleReadsAgain: the cache may lag behind the API server, so a denial rests on live reads.
func TestHandleReadsAgain(t *testing.T) {
	public := gateway("infra/public", "*.example.com")
	other := gateway("infra/public", "*.other.com")
	web := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	tests := []struct {
		reason         string
		cached, stored []object
		request        webhook.Request
		want           answer
		reads          int
	}{
		{
			reason: "nothing to deny, nothing to read", cached: []object{public}, stored: []object{public},
			request: creation(web), want: answer{Allowed: true},
		},
		{
			reason: "a gateway that the cache does not know yet", stored: []object{public},
			request: creation(web), want: answer{Allowed: true}, reads: 1,
		},
		{
			reason:  "a gateway that is really missing",
			request: creation(web), want: answer{Code: 422, Denied: []string{"MW101"}}, reads: 1,
		},
		{
			reason: "a gateway whose new host the cache does not know yet", cached: []object{other}, stored: []object{public},
			request: creation(web), want: answer{Allowed: true}, reads: 1,
		},
		{
			reason: "a gateway that really does not carry the host", cached: []object{other}, stored: []object{other},
			request: creation(web), want: answer{Code: 422, Denied: []string{"MW102"}}, reads: 1,
		},
		{
			reason: "a gateway that lost the host and is gone by now: the finding is another one", cached: []object{other},
			request: creation(web), want: answer{Code: 422, Denied: []string{"MW101"}}, reads: 1,
		},
		{
			reason: "a gateway that is gone while the cache has it: found by re-evaluation, not here", cached: []object{public},
			request: creation(web), want: answer{Allowed: true},
		},
		{
			reason: "what stands in the object alone needs no read", cached: []object{public}, stored: []object{public},
			request: creation(web.matching("infra/gone")), want: answer{Code: 422, Denied: []string{"MW106"}},
		},
		{
			reason: "one denial that needs no read is enough", stored: nil,
			request: creation(web.matching("infra/gone")), want: answer{Code: 422, Denied: []string{"MW101", "MW106"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, tc.cached...)
			w.store(t, tc.stored...)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), tc.request))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if len(w.cluster.reads) != tc.reads {
				t.Errorf("read %v instead of %d", w.cluster.reads, tc.reads)
			}
			if got := w.metric(t, "meshwarden_live_reads_total"); got != float64(tc.reads) {
				t.Errorf("counted %v reads instead of %d", got, tc.reads)
			}
		})
	}
}

// TestHandleOrphans: a Gateway's change is judged by VirtualServices, which the cache may know in an old version.
func TestHandleOrphans(t *testing.T) {
	before, after := gateway("infra/public", "*.example.com"), gateway("infra/public", "*.other.com")
	web := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	both := virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/second")
	tests := []struct {
		reason         string
		cached, stored []object // besides the Gateway
		request        webhook.Request
		want           answer
		reads          int
	}{
		{"in use", []object{web}, []object{web}, replacement(before, after), answer{Code: 422, Denied: []string{"MW207"}}, 1},
		{"deleted a moment ago", []object{web}, nil, replacement(before, after), answer{Allowed: true}, 1},
		{
			"moved to another host a moment ago",
			[]object{web},
			[]object{virtualService("shop/web", []string{"a.other.com"}, "infra/public")},
			replacement(before, after),
			answer{Allowed: true},
			1,
		},
		{
			"moved to another gateway a moment ago",
			[]object{web},
			[]object{virtualService("shop/web", []string{"a.example.com"}, "infra/second")},
			replacement(before, after),
			answer{Allowed: true},
			1,
		},
		{
			"another gateway took the host a moment ago",
			[]object{both},
			[]object{both, gateway("infra/second", "*.example.com")},
			replacement(before, after),
			answer{Allowed: true},
			2,
		},
		{
			"no other gateway took it",
			[]object{both},
			[]object{both, gateway("infra/second", "*.second.com")},
			replacement(before, after),
			answer{Code: 422, Denied: []string{"MW207"}},
			2,
		},
		{
			"a deletion warns: a denial could keep a namespace from going",
			[]object{web},
			[]object{web},
			deletion(before),
			answer{Allowed: true, Warned: []string{"MW207"}},
			1,
		},
		{
			"a deletion warns of nothing that is gone by now",
			[]object{web},
			nil,
			deletion(before),
			answer{Allowed: true},
			1,
		},
		{"a deletion that nobody minds", nil, nil, deletion(before), answer{Allowed: true}, 0},
		{
			"an edit that moves nothing",
			[]object{web},
			[]object{web},
			replacement(before, before.annotated("team", "infra")),
			answer{Allowed: true},
			0,
		},
		{
			"a host that was not served before is not lost",
			[]object{virtualService("shop/web", []string{"a.third.com"}, "infra/public")},
			nil,
			replacement(before, after),
			answer{Allowed: true},
			0,
		},
		{
			"what the old version carried is not known: it could not be parsed",
			[]object{web},
			[]object{web},
			replacement(newObject("Gateway", "infra/public", map[string]any{"servers": 5}), after),
			answer{Allowed: true},
			0,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, append(tc.cached, before)...)
			w.store(t, append(tc.stored, before)...)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), tc.request))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if len(w.cluster.reads) != tc.reads {
				t.Errorf("read %v instead of %d", w.cluster.reads, tc.reads)
			}
		})
	}
}

// TestHandleReadsEightAtOnce: however many objects a request names, it costs the API server a handful of reads at a time,
// and no more of them than a denial needs.
func TestHandleReadsEightAtOnce(t *testing.T) {
	var names []string
	var carrying, useless []object
	for i := range 12 {
		names = append(names, fmt.Sprintf("infra/g%02d", i))
		carrying = append(carrying, gateway(names[i], "a.example.com"))
		useless = append(useless, gateway(names[i], "a.other.com"))
	}
	web := creation(virtualService("shop/web", []string{"a.example.com"}, names...))
	gatewayBefore, gatewayAfter := gateway("infra/public", "*.example.com"), gateway("infra/public", "*.other.com")
	var orphans []object
	for i := range 30 {
		orphans = append(orphans, virtualService(fmt.Sprintf("shop/v%02d", i), []string{"a.example.com"}, "infra/public"))
	}
	var many []string
	var manyUseless []object
	for i := range 200 {
		many = append(many, fmt.Sprintf("infra/h%03d", i))
		manyUseless = append(manyUseless, gateway(many[i], "a.other.com"))
	}
	tests := []struct {
		reason         string
		cached, stored []object
		request        webhook.Request
		denied, reads  int
	}{
		{
			"one denial that rests on two hundred gateways: no request may cost that many reads", manyUseless, manyUseless,
			creation(virtualService("shop/web", []string{"a.example.com"}, many...)), 1, 64,
		},
		{"twelve gateways missing: eight reads confirm eight denials, and one is enough", nil, nil, web, 12, 8},
		{"eight of twelve came a moment ago: the other four are read in turn", nil, carrying[:8], web, 4, 12},
		{"all of twelve came a moment ago", nil, carrying, web, 0, 12},
		{"one denial that rests on twelve gateways: all must be read", useless, useless, web, 1, 12},
		{
			"the last of the twelve took the host a moment ago: the eleven others serve nothing", useless,
			append(append([]object{}, useless[:11]...), carrying[11]), web, 11, 12,
		},
		{"thirty VirtualServices orphaned: eight reads, and one is enough", orphans, orphans, replacement(gatewayBefore, gatewayAfter), 21, 8},
		{"thirty deleted a moment ago", orphans, nil, replacement(gatewayBefore, gatewayAfter), 0, 30},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, tc.cached...)
			w.store(t, tc.stored...)
			got := summary(w.Handle(t.Context(), tc.request))
			if len(got.Denied) != tc.denied || got.Allowed != (tc.denied == 0) {
				t.Errorf("denied for %v instead of %d reasons", got.Denied, tc.denied)
			}
			seen := map[policy.Ref]bool{}
			for _, ref := range w.cluster.reads {
				if seen[ref] {
					t.Errorf("%s is read twice", ref)
				}
				seen[ref] = true
			}
			if len(seen) != tc.reads {
				t.Errorf("read %d objects instead of %d: %v", len(seen), tc.reads, w.cluster.reads)
			}
		})
	}
}

// TestHandleChangesNothing: a judgement happens in a world of its own, whatever it puts, reads again and takes out there.
func TestHandleChangesNothing(t *testing.T) {
	w := newWorld(t)
	public := gateway("infra/public", "*.example.com")
	w.cache(t, public, virtualService("shop/stale", []string{"a.example.com"}, "infra/public"))
	w.store(t, gateway("infra/new", "new.example.com"))
	w.Handle(t.Context(), creation(virtualService("shop/web", []string{"new.example.com"}, "infra/new")))
	w.Handle(t.Context(), replacement(public, gateway("infra/public", "*.other.com")))
	w.Handle(t.Context(), deletion(public))
	var got []string
	for _, kind := range []policy.Kind{policy.KindGateway, policy.KindVirtualService} {
		for _, ref := range w.model.World().Refs(kind) {
			got = append(got, ref.String())
		}
	}
	if diff := cmp.Diff([]string{"Gateway infra/public", "VirtualService shop/stale"}, got); diff != "" {
		t.Errorf("the model after three judgements (-want +got):\n%s", diff)
	}
}
