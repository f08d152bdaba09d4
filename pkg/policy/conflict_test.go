package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// httpsGateway returns a Gateway of that age with an HTTPS server for the hosts.
func httpsGateway(namespace, name string, created int64, hosts ...policy.HostName) *policy.Gateway {
	server := policy.Server{Port: policy.Port{Number: 443, Name: "https", Protocol: "HTTPS"}, TLS: policy.TLSSimple}
	for _, h := range hosts {
		server.Hosts = append(server.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: h})
	}
	return policy.NewGateway(policy.Gateway{
		Key: policy.Key{Namespace: namespace, Name: name}, Created: created,
		Selector: map[string]string{"istio": "ingressgateway"}, Servers: []policy.Server{server},
	})
}

// TestConflictAge is about what no fixture can say, because an API server dates objects itself: who wins when the order of
// creation and that of the names differ, and what is told of a stored Gateway as it stands.
func TestConflictAge(t *testing.T) {
	tests := []struct {
		reason   string
		stored   []policy.Resource
		judged   *policy.Gateway
		standing bool
		// loser is the Gateway that the finding says loses its server; none is none.
		loser string
	}{
		{"the younger one loses although its name comes first", []policy.Resource{httpsGateway("edge", "b", 1, "x")}, httpsGateway("edge", "a", 2, "x"), false, "edge/a"},
		{"the older one takes the host of a younger one", []policy.Resource{httpsGateway("edge", "a", 2, "x")}, httpsGateway("edge", "b", 1, "x"), false, "edge/a"},
		{"in one second the name decides", []policy.Resource{httpsGateway("edge", "b", 1, "x")}, httpsGateway("shop", "a", 1, "x"), false, "edge/b"},
		{"of one name the namespace decides", []policy.Resource{httpsGateway("shop", "a", 1, "x")}, httpsGateway("edge", "a", 1, "x"), false, "shop/a"},
		{"as it stands the older one is not told of another one's loss", []policy.Resource{httpsGateway("edge", "a", 2, "x")}, httpsGateway("edge", "b", 1, "x"), true, ""},
		{"as it stands the younger one is told of its own", []policy.Resource{httpsGateway("edge", "b", 1, "x")}, httpsGateway("edge", "a", 2, "x"), true, "edge/a"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			c := fixture.Change{Stored: tc.stored, Object: policy.Object{Gateway: tc.judged, Standing: tc.standing}}
			var losers []string
			for _, f := range findingsOf(t, c) {
				if f.Rule != "MW201" || !strings.Contains(f.Message, " of Gateway "+f.Gateway+" with all its hosts: ") {
					t.Errorf("finding %+v", f)
				}
				losers = append(losers, f.Gateway)
			}
			var want []string
			if tc.loser != "" {
				want = []string{tc.loser}
			}
			if diff := cmp.Diff(want, losers, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("losers (-want +got):\n%s", diff)
			}
		})
	}
}
