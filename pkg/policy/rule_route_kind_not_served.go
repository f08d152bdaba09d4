package policy

import (
	"fmt"
	"strings"
)

/*
MW103: a server that carries a host takes the kind of routes that the VirtualService has.

Reads:  as MW102, and which of spec.http, spec.tls and spec.tcp the VirtualService has; Gateway spec.servers[*].port.protocol
and tls.mode
Passes: hosts that no server carries, which is MW102; a VirtualService without any route, which is MW114
Source: Istio's buildGatewayTCPBasedFilterChains and createGatewayTCPFilterChainOpts (pilot/pkg/networking/core/gateway.go):
plain HTTP and terminated HTTPS take http routes, PASSTHROUGH takes tls routes, AUTO_PASSTHROUGH none, all else tcp routes
*/
func routeKindNotServed() Rule {
	return Rule{
		ID:     "MW103",
		Name:   "route-kind-not-served",
		Kinds:  []Kind{KindVirtualService},
		Title:  "Servers carry the host, but none takes the kind of route that the VirtualService has.",
		Remedy: "Write the routes in the list that the server takes, or change the server's protocol or TLS mode.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			return unservedAt(m, v, wrongKind, func(r unserved) string {
				s := &r.gateway.Servers[r.passage.server]
				return fmt.Sprintf("host %q is carried by %s of gateway %s, which takes %s; the VirtualService has spec.%s",
					r.host.Written, s.describe(r.passage.server), r.gateway.Key, takenRoutes(s), strings.Join(v.Kinds.lists(), " and spec."))
			})
		},
	}
}

// takenRoutes says for people which routes a server takes.
func takenRoutes(s *Server) string {
	if kind := s.takes(); kind != noRoutes {
		return "spec." + string(kind) + " routes only"
	}
	return "no routes, as it finds Services by SNI"
}

// lists names the kinds that there are.
func (k RouteKinds) lists() []string {
	var kinds []string
	for _, kind := range []RouteKind{HTTPRoute, TLSRoute, TCPRoute} {
		if k.Has(kind) {
			kinds = append(kinds, string(kind))
		}
	}
	return kinds
}
