package istio

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestResolveHost(t *testing.T) {
	const domain = "cluster.local"
	tests := []struct {
		reason, written, namespace, domain string
		want                               policy.HostName
	}{
		{"a short name is a service of the namespace", "web", "shop", domain, "web.shop.svc.cluster.local"},
		{"a name with a dot is taken as it is", "web.shop", "shop", domain, "web.shop"},
		{"a dot anywhere counts", "web.", "shop", domain, "web."},
		{"a full name", "web.example.com", "shop", domain, "web.example.com"},
		{"a pattern has a dot", "*.example.com", "shop", domain, "*.example.com"},
		{"a single star is every host", "*", "shop", domain, "*"},
		{"a pattern without dot is taken for a short name", "*web", "shop", domain, "*web.shop.svc.cluster.local"},
		{"the empty name stays empty", "", "shop", domain, ""},
		{"an IPv4 address", "10.0.0.1", "shop", domain, "10.0.0.1"},
		{"an IPv6 address has no dot and stays nonetheless", "2001:db8::1", "shop", domain, "2001:db8::1"},
		{"an IPv6 address with a zone", "fe80::1%eth0", "shop", domain, "fe80::1%eth0"},
		{"what only looks like an address is a short name", "2001:db8", "shop", domain, "2001:db8.shop.svc.cluster.local"},
		{"letter case stays", "Web", "shop", domain, "Web.shop.svc.cluster.local"},
		{"without a domain the namespace is all that follows", "web", "shop", "", "web.shop"},
		{"without a namespace the domain is all that follows", "web", "", domain, "web.svc.cluster.local"},
		{"another domain", "web", "shop", "example.org", "web.shop.svc.example.org"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := resolveHost(tc.written, tc.namespace, tc.domain); got != tc.want {
				t.Errorf("resolveHost(%q) = %q, want %q", tc.written, got, tc.want)
			}
		})
	}
}

func TestResolveGateway(t *testing.T) {
	gateway := func(namespace, name string) policy.GatewayRef {
		return policy.GatewayRef{Gateway: policy.Key{Namespace: namespace, Name: name}}
	}
	tests := []struct {
		reason, written string
		want            policy.GatewayRef
	}{
		{"the mesh", "mesh", policy.GatewayRef{Mesh: true}},
		{"the mesh is compared exactly", "Mesh", gateway("shop", "Mesh")},
		{"a Gateway called mesh", "./mesh", gateway("shop", "mesh")},
		{"a name", "public", gateway("shop", "public")},
		{"the empty name", "", gateway("shop", "")},
		{"namespace and name", "edge/public", gateway("edge", "public")},
		{"namespace and a name with dots", "edge/public.v2", gateway("edge", "public.v2")},
		{"the namespace itself", "./public", gateway("shop", "public")},
		{"the namespace itself, only as a whole part", "../public", gateway("..", "public")},
		{"no namespace", "/public", gateway("", "public")},
		{"no name", "edge/", gateway("edge", "")},
		{"three parts", "edge/public/a", gateway("edge", "public/a")},
		{"three parts, the first one itself", "./public/a", gateway("shop", "public/a")},
		{"name.namespace", "public.edge", gateway("edge", "public")},
		{"name.namespace.svc", "public.edge.svc", gateway("edge", "public")},
		{"the full name", "public.edge.svc.cluster.local", gateway("edge", "public")},
		{"whatever follows the namespace is ignored", "public.edge.anything.at.all", gateway("edge", "public")},
		{"a dot at the end", "public.", gateway("", "public")},
		{"a dot at the front", ".edge", gateway("edge", "")},
		{"two dots", "public..svc", gateway("", "public")},
		{"a star is a name", "*", gateway("shop", "*")},
		{"a star is a namespace", "*/public", gateway("*", "public")},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			tc.want.Written = tc.written
			if diff := cmp.Diff(tc.want, resolveGateway(tc.written, "shop")); diff != "" {
				t.Errorf("resolveGateway(%q) (-want +got):\n%s", tc.written, diff)
			}
		})
	}
}

func TestParseServerHost(t *testing.T) {
	host := func(namespace string, name policy.HostName) policy.ServerHost {
		return policy.ServerHost{Namespace: namespace, Name: name}
	}
	tests := []struct {
		reason, written string
		want            policy.ServerHost
	}{
		{"no namespace part", "a.example.com", host("*", "a.example.com")},
		{"the empty host", "", host("*", "")},
		{"a namespace", "shop/a.example.com", host("shop", "a.example.com")},
		{"a namespace before a star", "shop/*", host("shop", "*")},
		{"the Gateway's namespace", "./a.example.com", host("edge", "a.example.com")},
		{"the Gateway's namespace before a star", "./*", host("edge", "*")},
		{"every namespace", "*/a.example.com", host("*", "a.example.com")},
		{"every namespace and host", "*/*", host("*", "*")},
		{"an empty namespace admits nobody", "/a.example.com", host("", "a.example.com")},
		{"nothing after the slash", "shop/", host("shop", "")},
		{"nothing after the slash of the Gateway's namespace", "./", host("edge", "")},
		{"a second slash after a namespace is the host's", "shop/a/b", host("shop", "a/b")},
		{"a second slash after ./ ends the host", "./a/b", host("edge", "a")},
		{"a second slash after */ ends the host", "*/a/b", host("*", "a")},
		{"two dots are a namespace", "../a", host("..", "a")},
		{"a namespace part is not cut at a star", "*a/b", host("*a", "b")},
		{"letter case stays", "./A", host("edge", "A")},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseServerHost(tc.written, "edge")); diff != "" {
				t.Errorf("parseServerHost(%q) (-want +got):\n%s", tc.written, diff)
			}
		})
	}
}

func TestParseServerHosts(t *testing.T) {
	everything := []policy.ServerHost{{Namespace: "*", Name: "*"}}
	tests := []struct {
		reason         string
		written        []string
		want           []policy.ServerHost
		amongOthers    bool
		wantUnreadable bool
	}{
		{"no host", nil, []policy.ServerHost{}, false, false},
		{"in order", []string{"b", "./a"}, []policy.ServerHost{{Namespace: "*", Name: "b"}, {Namespace: "edge", Name: "a"}}, false, false},
		{"*/* alone", []string{"*/*"}, everything, false, false},
		{"*/* takes the place of what is before it", []string{"shop/a", "*/*"}, everything, true, false},
		{"*/* takes the place of what is after it", []string{"*/*", "shop/a"}, everything, true, false},
		{"*/* counts with another slash too", []string{"a", "*/*/b"}, everything, true, false},
		{"*/* twice stands beside itself alone", []string{"*/*", "*/*"}, everything, false, false},
		{"Istio fails on ./ after */*", []string{"*/*", "./a"}, everything, true, true},
		{"Istio fails on */ after */*", []string{"*/*", "*/b"}, everything, true, true},
		{"Istio fails on them wherever they come", []string{"a", "*/*", "shop/b", "./c"}, everything, true, true},
		{"Istio does not fail on them before */*", []string{"./a", "*/b", "*/*"}, everything, true, false},
		{"a dot and a star without a slash are no namespace parts", []string{"*/*", ".", "*"}, everything, true, false},
		{
			"a single star is one entry among others",
			[]string{"shop/a", "*"},
			[]policy.ServerHost{{Namespace: "shop", Name: "a"}, {Namespace: "*", Name: "*"}},
			false,
			false,
		},
		{
			"./* is one entry among others",
			[]string{"shop/a", "./*"},
			[]policy.ServerHost{{Namespace: "shop", Name: "a"}, {Namespace: "edge", Name: "*"}},
			false,
			false,
		},
		{"*/*.a is a pattern", []string{"*/*.a"}, []policy.ServerHost{{Namespace: "*", Name: "*.a"}}, false, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, amongOthers, unreadable := parseServerHosts(tc.written, "edge")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("parseServerHosts(%q) (-want +got):\n%s", tc.written, diff)
			}
			if amongOthers != tc.amongOthers || unreadable != tc.wantUnreadable {
				t.Errorf("parseServerHosts(%q): among others %t, unreadable %t, want %t and %t", tc.written, amongOthers, unreadable, tc.amongOthers, tc.wantUnreadable)
			}
		})
	}
}
