package admission_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestHandleConflicts: a change is denied for what it takes from others as well, and an edit that takes nothing passes.
func TestHandleConflicts(t *testing.T) {
	tls := func(name, day string, hosts ...string) object {
		return ingress(name, "443 HTTPS", "SIMPLE", hosts...).created(day)
	}
	older, younger := tls("infra/older", "2026-01-01", "a.example.com"), tls("shop/younger", "2026-01-02", "b.example.com")
	taking, both := tls("infra/older", "2026-01-01", "a.example.com", "b.example.com"), tls("infra/older", "2026-01-01", "b.example.com")
	denied, warned := answer{Code: 422, Denied: []string{"MW201"}}, answer{Allowed: true, Warned: []string{"MW201"}}
	tests := []struct {
		reason         string
		cached, stored []object
		request        webhook.Request
		want           answer
	}{
		{reason: "no two have a host in common", cached: []object{older}, request: creation(younger), want: answer{Allowed: true}},
		{reason: "an edit that takes nothing from anybody", cached: []object{older, younger}, request: replacement(older, older.annotated("team", "infra")), want: answer{Allowed: true}},
		{
			reason: "what an edit takes already is no reason to refuse it", cached: []object{taking, younger},
			request: replacement(taking, taking.annotated("team", "infra")), want: warned,
		},
		{
			reason: "nor what it loses already", cached: []object{taking, younger},
			request: replacement(younger, younger.annotated("team", "shop")), want: warned,
		},
		{
			reason: "the other one is gone by now", cached: []object{older, younger}, stored: []object{older},
			request: replacement(older, taking), want: answer{Allowed: true},
		},
		{
			reason: "the other one has another host by now", cached: []object{older, younger},
			stored:  []object{older, tls("shop/younger", "2026-01-02", "c.example.com")},
			request: replacement(older, taking), want: answer{Allowed: true},
		},
		{reason: "in a dry run the other one may be about to go", cached: []object{older, younger}, request: dryRun(replacement(older, taking)), want: warned},
		{reason: "the one that takes too much goes", cached: []object{taking, younger}, request: deletion(taking), want: answer{Allowed: true}},
		{
			reason: "the older one takes the host of the younger one, which loses its server", cached: []object{older, younger},
			request: replacement(older, taking), want: denied,
		},
		{reason: "the older one takes it in place of its own", cached: []object{older, younger}, request: replacement(older, both), want: denied},
		{
			reason: "the younger one takes the host of the older one, and loses", cached: []object{older, younger},
			request: replacement(younger, tls("shop/younger", "2026-01-02", "a.example.com")), want: denied,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			if tc.stored == nil {
				tc.stored = tc.cached
			}
			w.cache(t, tc.cached...)
			w.store(t, tc.stored...)
			r := w.Handle(t.Context(), tc.request)
			if diff := cmp.Diff(tc.want, summary(r)); diff != "" {
				t.Fatalf("answer (-want +got):\n%s", diff)
			}
			if tc.want.Allowed {
				return
			}
			for _, name := range []string{"infra/older", "shop/younger"} {
				if text := r.Result.Details.Causes[0].Message; !strings.Contains(text, name) {
					t.Errorf("cause %q lacks %s", text, name)
				}
			}
		})
	}
}

// TestHandleCountsWhatIsKnown: what the old object has once, the new one may have once, and not twice.
func TestHandleCountsWhatIsKnown(t *testing.T) {
	public := gateway("infra/public", "a.example.com")
	once := virtualService("shop/web", []string{"a.example.com"}, "infra/public").matching("infra/public", "infra/other")
	twice := virtualService("shop/web", []string{"a.example.com"}, "infra/public").matching("infra/public", "infra/other", "infra/other")
	w := newWorld(t)
	w.cache(t, public, once)
	w.store(t, public, once)
	if got := summary(w.Handle(t.Context(), replacement(once, once.annotated("team", "shop")))); !got.Allowed {
		t.Errorf("an edit beside it: %+v", got)
	}
	if got := summary(w.Handle(t.Context(), replacement(once, twice))); got.Allowed {
		t.Errorf("the same fault once more: %+v", got)
	}
}

// TestHandleReadsWorkloads: where a gateway runs is read again before a denial rests on it.
func TestHandleReadsWorkloads(t *testing.T) {
	public := ingress("infra/public", "80 HTTP", "", "*.example.com")
	elsewhere := deployment("edge/ingress", "ingress")
	private := virtualService("shop/web", []string{"a.example.com"}, "infra/public").routing(anyMap{"exportTo": []string{"."}, "http": []any{anyMap{}}})
	tests := []struct {
		reason string
		stored []object
		want   answer
	}{
		{"it is where the cache has it", []object{public, elsewhere}, answer{Code: 422, Denied: []string{"MW104"}}},
		{"it has another label by now: no workload is known, and a guess denies nothing", []object{public, deployment("edge/ingress", "egress")}, answer{Allowed: true, Warned: []string{"MW104"}}},
		{"it is gone by now", []object{public}, answer{Allowed: true, Warned: []string{"MW104"}}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, public, elsewhere)
			w.store(t, tc.stored...)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), creation(private)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHandleLearnsTheDomain: a request that comes before the mesh's settings are known is judged with them.
func TestHandleLearnsTheDomain(t *testing.T) {
	w := newWorld(t)
	w.cache(t, gateway("infra/public", "web.shop.svc.k8s.example.com"))
	w.store(t, gateway("infra/public", "web.shop.svc.k8s.example.com"))
	web := creation(virtualService("shop/web", []string{"web"}, "infra/public"))
	if diff := cmp.Diff(answer{Code: 422, Denied: []string{"MW102"}}, summary(w.Handle(t.Context(), web))); diff != "" {
		t.Errorf("with Istio's default (-want +got):\n%s", diff)
	}
	w.cluster.becomesReady = func(c *fakeCluster) { c.domain = "k8s.example.com" }
	if diff := cmp.Diff(answer{Allowed: true}, summary(w.Handle(t.Context(), web))); diff != "" {
		t.Errorf("with what came to be known (-want +got):\n%s", diff)
	}
}

// TestHandleJudgesItsKindsAlone: what the rules read besides is not what they judge.
func TestHandleJudgesItsKindsAlone(t *testing.T) {
	for _, kind := range []policy.Kind{policy.KindDeployment, policy.KindService, policy.KindPod, "ConfigMap"} {
		r := newWorld(t).Handle(t.Context(), creation(newObject(string(kind), "shop/web", nil)))
		if !r.Allowed || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "does not judge CREATE") {
			t.Errorf("%s: allowed %t, %v", kind, r.Allowed, r.Warnings)
		}
	}
}
