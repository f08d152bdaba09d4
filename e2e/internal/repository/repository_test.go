package repository_test

import (
	"testing"

	"github.com/meshwarden/meshwarden/e2e/internal/repository"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		reason, image, name string
		want                bool
	}{
		{"the repository alone", "istio/pilot", "istio/pilot", true},
		{"with a tag", "istio/pilot:1.31.1", "istio/pilot", true},
		{"with a digest", "istio/pilot@sha256:ab", "istio/pilot", true},
		{"with both", "istio/pilot:1@sha256:ab", "istio/pilot", true},
		{"in a registry with a port", "registry.example.com:5000/istio/pilot:1", "istio/pilot", true},
		{"its last part", "registry.example.com/release/pilot:1", "pilot", true},
		{"another that ends alike", "example.com/autopilot:1", "pilot", false},
		{"another below it", "example.com/pilot/agent:1", "pilot", false},
		{"a tag of that name", "example.com/app:pilot", "pilot", false},
		{"a registry of that name", "pilot:5000/app", "pilot", false},
		{"a dot is no wildcard", "example.com/a-b", "a.b", false},
	} {
		if got := repository.Match(tc.image, tc.name); got != tc.want {
			t.Errorf("%s: %q and %q: %t, want %t", tc.reason, tc.image, tc.name, got, tc.want)
		}
	}
}
