package policy_test

import (
	"testing"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestOverlaps(t *testing.T) {
	tests := []struct {
		reason string
		a, b   policy.HostName
		want   bool
	}{
		{"equal names", "a.example.com", "a.example.com", true},
		{"different names", "a.example.com", "b.example.com", false},
		{"a name and what it ends in", "a.example.com", "example.com", false},
		{"letter case counts", "a.example.com", "A.example.com", false},
		{"a pattern and a name below it", "*.example.com", "a.example.com", true},
		{"a pattern and a name two levels below it", "*.example.com", "a.b.example.com", true},
		{"a pattern and its own domain", "*.example.com", "example.com", false},
		{"a pattern and a name that only ends alike", "*.example.com", "myexample.com", false},
		{"a pattern stands for the empty text too", "*.example.com", ".example.com", true},
		{"a pattern and a name of another letter case", "*.example.com", "a.Example.com", false},
		{"a pattern without dot", "*example.com", "example.com", true},
		{"a pattern without dot and a name that ends alike", "*example.com", "myexample.com", true},
		{"a star elsewhere is a character", "a.*.com", "a.b.com", false},
		{"a star elsewhere equals itself", "a.*.com", "a.*.com", true},
		{"a single star and a name", "*", "a.example.com", true},
		{"a single star and a pattern", "*", "*.example.com", true},
		{"two single stars", "*", "*", true},
		{"a single star and the empty name", "*", "", true},
		{"the empty name and itself", "", "", true},
		{"the empty name and another", "", "a", false},
		{"equal patterns", "*.example.com", "*.example.com", true},
		{"a pattern within the other", "*.a.example.com", "*.example.com", true},
		{"patterns side by side", "*.a.example.com", "*.b.example.com", false},
		{"a pattern whose text only ends alike", "*.myexample.com", "*.example.com", false},
		{"patterns with and without dot", "*example.com", "*.example.com", true},
		{"a pattern and the longer name of no dot", "*.com", "com", false},
		{"two stars are one pattern and a character", "**.com", "*.com", true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.a.Overlaps(tc.b); got != tc.want {
				t.Errorf("%q overlaps %q: %t, want %t", tc.a, tc.b, got, tc.want)
			}
			if got := tc.b.Overlaps(tc.a); got != tc.want {
				t.Errorf("%q overlaps %q: %t, want %t as the other way round", tc.b, tc.a, got, tc.want)
			}
		})
	}
}

func TestServerHostString(t *testing.T) {
	tests := []struct {
		reason string
		host   policy.ServerHost
		want   string
	}{
		{"a namespace part is written", policy.ServerHost{Namespace: "shop", Name: "a.example.com"}, "shop/a.example.com"},
		{"every namespace is left out", policy.ServerHost{Namespace: policy.EveryNamespace, Name: "a.example.com"}, "a.example.com"},
		{"no namespace is none", policy.ServerHost{Name: "a.example.com"}, "/a.example.com"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.host.String(); got != tc.want {
				t.Errorf("String: %q, want %q", got, tc.want)
			}
		})
	}
}
