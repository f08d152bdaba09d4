package route_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/internal/route"
)

func TestResolver(t *testing.T) {
	one, two := "127.0.0.1:1001", "127.0.0.1:1002"
	tests := []struct {
		reason string
		table  route.Table
		// want are the hosts of successive answers.
		want    []string
		wantErr string
		refused bool
	}{
		{
			reason: "one address is the answer each time",
			table:  route.Table{"ns/svc:443": {one}},
			want:   []string{one, one},
		},
		{
			reason: "several take turns",
			table:  route.Table{"ns/svc:443": {one, two}},
			want:   []string{one, two, one},
		},
		{
			reason:  "no address is refused",
			table:   route.Table{"ns/svc:443": {}},
			wantErr: "service ns/svc:443 has no endpoints: connection refused",
			refused: true,
		},
		{
			reason:  "another port is not found",
			table:   route.Table{"ns/svc:8443": {one}},
			wantErr: "service ns/svc:443 not found",
		},
		{
			reason:  "another namespace is not found",
			table:   route.Table{"other/svc:443": {one}},
			wantErr: "service ns/svc:443 not found",
		},
		{
			reason:  "nothing is found without a table",
			wantErr: "service ns/svc:443 not found",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "routes.json")
			if test.table != nil {
				if err := route.Write(path, test.table); err != nil {
					t.Fatal(err)
				}
			}
			resolver := route.NewResolver(path)
			var got []string
			for range test.want {
				address, err := resolver.ResolveEndpoint("ns", "svc", 443)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, address.Host)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if test.wantErr == "" {
				return
			}
			_, err := resolver.ResolveEndpoint("ns", "svc", 443)
			if err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error: %v, want one with %q", err, test.wantErr)
			}
			if errors.Is(err, syscall.ECONNREFUSED) != test.refused {
				t.Errorf("error: %v; refused connection: %t, want %t", err, !test.refused, test.refused)
			}
		})
	}
}

func TestResolverFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.json")
	resolver := route.NewResolver(path)
	// Three addresses, then one, of the same length: neither a remembered turn nor a
	// file that looks the same may lead to the wrong answer.
	for _, addresses := range [][]string{{"a:1", "b:1", "c:1"}, {"d:1"}, {"e:1"}} {
		if err := route.Write(path, route.Table{route.Key("ns", "svc", 443): addresses}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range addresses {
			address, err := resolver.ResolveEndpoint("ns", "svc", 443)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, address.Host)
		}
		if diff := cmp.Diff(addresses, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	}
}
