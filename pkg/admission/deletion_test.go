package admission_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A deletion only ever warns, and it does not depend on what can be found out about its namespace.
func TestHandleDeletion(t *testing.T) {
	public, web := gateway("infra/public", "*.example.com"), virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	for _, tc := range []struct {
		reason string
		change func(*fakeCluster)
		want   answer
	}{
		{"who uses the Gateway is told", func(*fakeCluster) {}, answer{Allowed: true, Warned: []string{"MW207"}}},
		{
			"the objects of a namespace that is being deleted go in any order",
			func(c *fakeCluster) { c.terminating["infra"] = true },
			answer{Allowed: true},
		},
		{
			"a VirtualService that cannot be read holds up no deletion either",
			func(c *fakeCluster) { c.readErr = errors.New("timed out") },
			answer{Allowed: true, Warned: []string{"MW207"}},
		},
		{
			"an API server that does not answer holds up no deletion",
			func(c *fakeCluster) { c.terminatingErr = errors.New("timed out") },
			answer{Allowed: true, Warned: []string{"MW207"}},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, public, web)
			w.store(t, public, web)
			tc.change(w.cluster)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), deletion(public)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// Objects that are there to be slow get their answer: nothing in a judgement grows with the square of an object's size.
func TestHandleHugeObjects(t *testing.T) {
	var hosts, missing, useless []string
	var gateways []object
	for i := range 10_000 {
		hosts = append(hosts, fmt.Sprintf("h%d.example.com", i))
	}
	for i := range 100_000 {
		missing = append(missing, fmt.Sprintf("infra/m%d", i))
	}
	for i := range 200 {
		useless = append(useless, fmt.Sprintf("infra/u%d", i))
		gateways = append(gateways, gateway(useless[i], "a.other.com"))
	}
	for _, tc := range []struct {
		reason string
		object object
		denied string
	}{
		{"one host and a hundred thousand gateways that do not exist", virtualService("shop/web", hosts[:1], missing...), "MW101"},
		{"ten thousand hosts and two hundred gateways that carry none", virtualService("shop/web", hosts, useless...), "MW102"},
		{"a hundred thousand matches", virtualService("shop/web", hosts[:1], useless...).matching(missing...), "MW102"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, gateways...)
			w.store(t, gateways...)
			got := summary(w.Handle(t.Context(), creation(tc.object)))
			if got.Allowed || got.Code != 422 || len(got.Denied) == 0 || got.Denied[0] != tc.denied {
				t.Errorf("answer %+v, want a denial for %s", got, tc.denied)
			}
		})
	}
}
