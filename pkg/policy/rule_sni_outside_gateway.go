package policy

import (
	"fmt"
	"slices"
)

/*
MW107: the sniHosts of a tls route stay within the hosts that the gateway's servers permit.

Reads:  VirtualService spec.tls[*].match[*].sniHosts, gateways and port, spec.hosts, spec.gateways, its namespace;
Gateway spec.servers[*].hosts of PASSTHROUGH servers; what decides whether Istio builds a server, and who sees the VirtualService
Passes: matches that lead through no server, which is MW114; AUTO_PASSTHROUGH, which takes no routes; a name that another
PASSTHROUGH server of the same gateway permits, which the match leads through as well
Source: Istio's buildGatewayNetworkFiltersFromTLSRoutes (pilot/pkg/networking/core/gateway.go) asks for an overlap of the hosts
and then takes sniHosts as they are, so a route gets clients that the gateway's owner did not mean to let in
*/
func sniOutsideGateway() Rule {
	return Rule{
		ID:     "MW107",
		Name:   "sni-outside-gateway",
		Kinds:  []Kind{KindVirtualService},
		Title:  "The sniHosts of a tls route reach beyond the hosts that the gateway's servers permit.",
		Remedy: "Keep sniHosts within the hosts of the gateway's servers, or add the host to a server.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			if !v.Kinds.TLS || len(v.Hosts) == 0 {
				return nil
			}
			var found []Finding
			for _, g := range gatewaysOf(m, v) {
				for _, match := range v.Matches {
					through := leadsThrough(m, g, v, match)
					if len(through) == 0 {
						continue
					}
					for i, sni := range match.SNIHosts {
						if permitted(g, through, sni, v.Namespace) {
							continue
						}
						found = append(found, Finding{
							Path: fmt.Sprintf("%s.sniHosts[%d]", match.Path(), i),
							Message: fmt.Sprintf("sniHosts entry %q reaches beyond gateway %s: %s permits namespace %s no more than %s",
								sni, g.Key, g.Servers[through[0]].describe(through[0]), v.Namespace, permits(g, through, v.Namespace)),
							Host: string(sni), Gateway: g.String(), Related: []Ref{g.Ref()},
						})
					}
				}
			}
			return found
		},
	}
}

// leadsThrough returns the positions of the Gateway's servers through which a tls match takes clients.
func leadsThrough(m Mesh, g *Gateway, v *VirtualService, match Match) []int {
	var servers []int
	settings := m.Settings()
	meets := g.serversFor(v)
	for i := range g.Servers {
		s := &g.Servers[i]
		if !meets[i] || s.takes() != TLSRoute || !match.reaches(TLSRoute, g.Key, s.Port.Number) {
			continue
		}
		if slices.ContainsFunc(evaluationOf(m).placements(g), func(p placement) bool {
			return p.live[i] && (!p.known || v.visibleIn(p.namespace(), settings))
		}) {
			servers = append(servers, i)
		}
	}
	return servers
}

// permitted says whether one of the servers has a host for the namespace that covers the name as a whole.
func permitted(g *Gateway, servers []int, sni HostName, namespace string) bool {
	return slices.ContainsFunc(servers, func(i int) bool {
		return slices.ContainsFunc(g.Servers[i].Hosts, func(h ServerHost) bool {
			return h.admits(namespace) && sni.within(h.Name)
		})
	})
}

// permits lists the first hosts that the servers have for the namespace.
func permits(g *Gateway, servers []int, namespace string) string {
	var hosts []HostName
	for _, i := range servers {
		for _, h := range g.Servers[i].Hosts {
			if h.admits(namespace) {
				hosts = append(hosts, h.Name)
			}
		}
	}
	return hostList(hosts)
}
