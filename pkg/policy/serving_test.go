package policy

import "testing"

func TestWithin(t *testing.T) {
	tests := []struct {
		reason string
		h, o   HostName
		want   bool
	}{
		{"a name is within itself", "a.example.com", "a.example.com", true},
		{"a name is not within another one", "a.example.com", "b.example.com", false},
		{"letter case counts", "A.example.com", "a.example.com", false},
		{"a name is within a pattern that covers it", "a.example.com", "*.example.com", true},
		{"a name is not within a pattern for other names", "a.example.org", "*.example.com", false},
		{"a domain is not within the pattern for what is below it", "example.com", "*.example.com", false},
		{"a pattern is not within a name that it covers", "*.example.com", "a.example.com", false},
		{"a pattern is within itself", "*.example.com", "*.example.com", true},
		{"a narrower pattern is within a wider one", "*.a.example.com", "*.example.com", true},
		{"a wider pattern is not within a narrower one", "*.example.com", "*.a.example.com", false},
		{"everything is within the single star", "*.example.com", "*", true},
		{"a name is within the single star", "a.example.com", "*", true},
		{"the single star is within nothing else", "*", "*.example.com", false},
		{"the single star is within itself", "*", "*", true},
		{"a pattern without dot is wider than one with it", "*example.com", "*.example.com", false},
		{"a pattern with dot is narrower than one without it", "*.example.com", "*example.com", true},
		{"the empty name is within itself", "", "", true},
		{"the empty name is within the single star", "", "*", true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.h.within(tc.o); got != tc.want {
				t.Errorf("%q within %q: %t, want %t", tc.h, tc.o, got, tc.want)
			}
		})
	}
}

func TestMatchReaches(t *testing.T) {
	public, internal := Key{"edge", "public"}, Key{"edge", "internal"}
	to := func(keys ...Key) []GatewayRef {
		var refs []GatewayRef
		for _, k := range keys {
			refs = append(refs, GatewayRef{Gateway: k})
		}
		return refs
	}
	tests := []struct {
		reason string
		match  Match
		kind   RouteKind
		want   bool
	}{
		{"a match that asks for nothing", Match{Kind: HTTPRoute}, HTTPRoute, true},
		{"another kind of route", Match{Kind: TCPRoute}, HTTPRoute, false},
		{"servers without routes have no kind", Match{Kind: TLSRoute}, noRoutes, false},
		{"a route that leads nowhere", Match{Kind: TCPRoute, Idle: true}, TCPRoute, false},
		{"the server's port", Match{Kind: TCPRoute, Port: 443}, TCPRoute, true},
		{"another port", Match{Kind: TCPRoute, Port: 8443}, TCPRoute, false},
		{"the gateway", Match{Kind: TLSRoute, Gateways: to(public)}, TLSRoute, true},
		{"the gateway among others", Match{Kind: TLSRoute, Gateways: to(internal, public)}, TLSRoute, true},
		{"another gateway", Match{Kind: TLSRoute, Gateways: to(internal)}, TLSRoute, false},
		{"the mesh", Match{Kind: HTTPRoute, Gateways: []GatewayRef{{Mesh: true}}}, HTTPRoute, false},
		{"the gateway and another port", Match{Kind: HTTPRoute, Gateways: to(public), Port: 80}, HTTPRoute, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.match.reaches(tc.kind, public, 443); got != tc.want {
				t.Errorf("reaches: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMatchTakesWorkload(t *testing.T) {
	ingress := &Workload{
		Reference: Ref{Kind: KindDeployment, Key: Key{"istio-system", "ingress"}}, Labels: map[string]string{"istio": "ingress", "zone": "a"},
	}
	labels := func(value string) map[string]string { return map[string]string{"istio": value} }
	tests := []struct {
		reason string
		match  Match
		on     *Workload
		want   bool
	}{
		{"nothing is asked", Match{}, ingress, true},
		{"a label that it has", Match{SourceLabels: labels("ingress")}, ingress, true},
		{"another value", Match{SourceLabels: labels("egress")}, ingress, false},
		{"a label that it lacks", Match{SourceLabels: map[string]string{"app": ""}}, ingress, false},
		{"its namespace", Match{SourceNamespace: "istio-system"}, ingress, true},
		{"another namespace", Match{SourceNamespace: "shop"}, ingress, false},
		{"its labels in another namespace", Match{SourceLabels: labels("ingress"), SourceNamespace: "shop"}, ingress, false},
		{"beside gateways nothing is asked", Match{Gateways: []GatewayRef{{}}, SourceLabels: labels("egress"), SourceNamespace: "shop"}, ingress, true},
		{"a label that pods get besides", Match{SourceLabels: map[string]string{"topology.istio.io/cluster": "east"}}, &Workload{}, true},
		{"of a workload that is assumed nothing is known", Match{SourceLabels: labels("egress"), SourceNamespace: "shop"}, assumed("", nil), true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.match.takesWorkload(tc.on); got != tc.want {
				t.Errorf("takesWorkload: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMatchNames(t *testing.T) {
	tests := []struct {
		reason string
		match  Match
		want   bool
	}{
		{"an http match asks for no SNI", Match{Kind: HTTPRoute}, true},
		{"a tcp match asks for no SNI", Match{Kind: TCPRoute}, true},
		{"a tls match without names takes every client", Match{Kind: TLSRoute}, true},
		{"the host", Match{Kind: TLSRoute, SNIHosts: []HostName{"*.example.com"}}, true},
		{"a part of the host", Match{Kind: TLSRoute, SNIHosts: []HostName{"a.example.com"}}, true},
		{"one of several", Match{Kind: TLSRoute, SNIHosts: []HostName{"a.example.org", "a.example.com"}}, true},
		{"more than the host", Match{Kind: TLSRoute, SNIHosts: []HostName{"*"}}, false},
		{"something else", Match{Kind: TLSRoute, SNIHosts: []HostName{"a.example.org"}}, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.match.names("*.example.com"); got != tc.want {
				t.Errorf("names: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestPublicity(t *testing.T) {
	tests := []struct {
		reason             string
		exportTo, defaults []string
		in                 string
		want               int
	}{
		{"nothing is said", nil, nil, "edge", public},
		{"everywhere", []string{"*"}, nil, "edge", public},
		{"everywhere among others", []string{"shop", "*"}, nil, "edge", public},
		{"everywhere beside nowhere", []string{"~", "*"}, nil, "edge", public},
		{"nowhere", []string{"~"}, nil, "shop", hidden},
		{"nowhere beside a namespace", []string{"~", "edge"}, nil, "edge", hidden},
		{"its own namespace", []string{"shop"}, nil, "shop", private},
		{"its own namespace, seen from another one", []string{"shop"}, nil, "edge", hidden},
		{"another namespace", []string{"edge"}, nil, "edge", exported},
		{"another namespace, seen from its own", []string{"edge"}, nil, "shop", hidden},
		{"both", []string{"shop", "edge"}, nil, "edge", exported},
		{"the default is everywhere", nil, []string{"*"}, "edge", public},
		{"the default is the own namespace", nil, []string{"."}, "shop", private},
		{"the default is the own namespace, seen from another one", nil, []string{"."}, "edge", hidden},
		{"the default is nowhere", nil, []string{"~"}, "shop", hidden},
		{"the default names a namespace", nil, []string{"edge"}, "edge", exported},
		{"exportTo counts before the default", []string{"*"}, []string{"~"}, "edge", public},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			v := &VirtualService{Key: Key{"shop", "web"}, ExportTo: tc.exportTo}
			s := Settings{DefaultExportTo: tc.defaults}
			if got := v.publicity(tc.in, s); got != tc.want {
				t.Errorf("publicity: %d, want %d", got, tc.want)
			}
			if got := v.visibleIn(tc.in, s); got != (tc.want != hidden) {
				t.Errorf("visibleIn: %t", got)
			}
		})
	}
}
