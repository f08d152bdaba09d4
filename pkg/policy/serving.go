package policy

// stage is how far a host of a VirtualService gets on its way through a Gateway.
type stage int

// The stages, from the one that is missed first to the end of the way.
const (
	notCarried  stage = iota // no server carries the host
	wrongKind                // a server carries it, but takes another kind of route
	noRoute                  // a server takes the kind, but no route applies there
	notExported              // a route applies, but the workload does not see the VirtualService
	served
)

// passage is how a host fares with a Gateway.
type passage struct {
	stage stage
	// server is the position of the server that lets the host come this far, or -1.
	server int
	// known is false where no workload is known, so that what depends on its namespace is a guess.
	known bool
}

// counts says whether the host is taken for served: it is, or only a guess says that it is not.
func (p passage) counts() bool {
	return p.stage == served || p.stage == notExported && !p.known
}

// pass follows a host through a Gateway as Istio does for the VirtualService with that host alone, and for no other Gateway
// or VirtualService: the host is served when one of the Gateway's workloads gets a route or filter chain for it.
func pass(m Mesh, g *Gateway, on []placement, v *VirtualService, h Host) passage {
	best := passage{server: -1, known: on[0].known}
	settings := m.Settings()
	for i := range g.hosts.carrying(h.Name, v.Namespace) {
		for _, p := range on {
			if s := stageOn(g, i, p, v, h, settings); s > best.stage {
				best.stage, best.server = s, i
			}
			if best.stage == served {
				return best
			}
		}
	}
	return best
}

// stageOn is how far the host gets with one server, which carries it, on one workload.
func stageOn(g *Gateway, server int, on placement, v *VirtualService, h Host, settings Settings) stage {
	s := &g.Servers[server]
	kind := s.takes()
	switch {
	case !on.live[server]:
		return notCarried
	case v.Kinds == RouteKinds{}:
		return noRoute
	case !v.Kinds.Has(kind):
		return wrongKind
	case !v.routesTo(h, kind, g.Key, s.Port.Number, on.workload):
		return noRoute
	case !v.visibleIn(on.workload.Reference.Namespace, settings):
		return notExported
	}
	return served
}

// routesTo says whether a route of the kind applies to the host behind a server of the Gateway with that port.
func (v *VirtualService) routesTo(h Host, kind RouteKind, gateway Key, port uint32, w *Workload) bool {
	for i := range v.Matches {
		m := &v.Matches[i]
		if m.reaches(kind, gateway, port) && m.names(h.Name) && (kind != HTTPRoute || m.takesWorkload(w)) {
			return true
		}
	}
	return false
}

// names says whether a match is for clients that ask for the host: of a tls match, one of the SNI hosts must lie within it.
func (m *Match) names(h HostName) bool {
	if m.Kind != TLSRoute || len(m.SNIHosts) == 0 {
		return true
	}
	for _, sni := range m.SNIHosts {
		if sni.within(h) {
			return true
		}
	}
	return false
}
