package policy

import (
	"fmt"
	"slices"
	"strings"
)

/*
MW114: a route of a VirtualService applies to each of its hosts where a server takes it.

Reads:  as MW103, and of each match gateways, port, sniHosts and, in http matches without gateways, sourceLabels and
sourceNamespace against the Gateway's workloads; whether tls and tcp routes have a destination
Passes: hosts for which no server takes the kind of route, which is MW103; routes that only delegate
Source: Istio's l4SingleMatch (pilot/pkg/networking/core/gateway.go), TranslateRoute and sourceMatchHTTP
(pilot/pkg/networking/core/route/route.go); match.port is the server's port, not the workload's
*/
func noRouteForHost() Rule {
	return Rule{
		ID:     "MW114",
		Name:   "no-route-for-host",
		Kinds:  []Kind{KindVirtualService},
		Title:  "A server carries the host and takes the kind of route, but no route of the VirtualService applies there.",
		Remedy: "Make a route's match fit the server: its gateways, port, sniHosts or source conditions.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			return unservedAt(m, v, noRoute, func(r unserved) string {
				s := &r.gateway.Servers[r.passage.server]
				return fmt.Sprintf("host %q is carried by %s of gateway %s, but no route applies there: %s",
					r.host.Written, s.describe(r.passage.server), r.gateway.Key, whyNoRoute(v, r.host, s, r.gateway.Key))
			})
		},
	}
}

// whyNoRoute says of each condition that keeps a route from the server which one it is, in a few words.
func whyNoRoute(v *VirtualService, h Host, s *Server, gateway Key) string {
	kind := s.takes()
	if v.Kinds == (RouteKinds{}) {
		return "the VirtualService has none"
	}
	var reasons []string
	for _, m := range v.Matches {
		if m.Kind != kind {
			continue
		}
		reason := m.Path() + " " + m.misses(h, s, gateway)
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
		if len(reasons) == 3 {
			break
		}
	}
	if len(reasons) == 0 {
		return fmt.Sprintf("no %s route has a match", kind)
	}
	return strings.Join(reasons, "; ")
}

// misses says which condition of the match is not met.
func (m *Match) misses(h Host, s *Server, gateway Key) string {
	switch {
	case m.Idle:
		return "has no destination"
	case m.Port != 0 && m.Port != s.Port.Number:
		return fmt.Sprintf("is for port %d only", m.Port)
	case !m.reaches(m.Kind, gateway, s.Port.Number):
		return fmt.Sprintf("is for gateway %s only", written(m.Gateways))
	case !m.names(h.Name):
		return fmt.Sprintf("is for sniHosts %s, none of which is within the host", hostList(m.SNIHosts))
	}
	asked := ""
	if len(m.SourceLabels) > 0 {
		asked = " with sourceLabels " + labelList(m.SourceLabels)
	}
	if m.SourceNamespace != "" {
		asked += " in sourceNamespace " + m.SourceNamespace
	}
	return fmt.Sprintf("is for workloads%s, and the gateway's are others", asked)
}

func written(refs []GatewayRef) string {
	names := make([]string, 0, len(refs))
	for _, r := range refs[:min(len(refs), gatewaysShown)] {
		names = append(names, r.Written)
	}
	return strings.Join(names, ", ")
}

func hostList(hosts []HostName) string {
	const shown = 5
	names := make([]string, 0, shown)
	for _, h := range hosts[:min(len(hosts), shown)] {
		names = append(names, string(h))
	}
	if more := len(hosts) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
