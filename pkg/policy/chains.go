package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// everyAddress is the address of a server without bind. Istio's merge tells "" from "0.0.0.0"; the listener is the same one.
const everyAddress = "0.0.0.0"

// listenerKey names a listener: Istio's getListenerName.
type listenerKey struct {
	address string
	port    uint32
}

// chainMatch is what a filter chain matches in a listener: one name that clients ask for, or "*" for every client.
type chainMatch struct {
	listener listenerKey
	name     string
}

// chain is a filter chain: the server that it belongs to, and the VirtualService whose route it leads to where it exists because
// of one.
type chain struct {
	member
	via *VirtualService
}

// chains collects the filter chain matches of the listeners of one workload. Envoy rejects a listener in which one comes
// twice.
type chains struct {
	mesh     Mesh
	workload *Workload
	// of are the chains of the match, in their order, and order the matches in the order of their first chains.
	of    map[chainMatch][]chain
	order []chainMatch
	// sni are the names that routes to passthrough servers have taken, by port, each with the bind of the last one. Istio
	// leaves out a later route with one of them.
	sni map[uint32]map[HostName]string
	// automatic counts the AUTO_PASSTHROUGH servers of a listener.
	automatic map[listenerKey]int
}

// buildChains returns the filter chains that Istio builds of what it has merged: buildGatewayListeners
// (pilot/pkg/networking/core/gateway.go).
func buildChains(m Mesh, w *Workload, merged *merge) *chains {
	c := &chains{
		mesh: m, workload: w, of: map[chainMatch][]chain{}, sni: map[uint32]map[HostName]string{},
		automatic: map[listenerKey]int{},
	}
	for _, at := range merged.order {
		for _, s := range at.members {
			if s.server().TLS == TLSAutoPassthrough {
				c.automatic[at.key.listener()]++
			}
		}
	}
	for _, at := range merged.order {
		if w.Unprivileged && privileged(at.key.port) {
			continue
		}
		if at.members[0].server().plainHTTP() {
			c.add(at.key, chain{at.members[0], nil}, nil)
			continue
		}
		for _, s := range at.members {
			c.build(at.key, s)
		}
	}
	return c
}

// build adds the chains of one server.
func (c *chains) build(key listenKey, s member) {
	server := s.server()
	switch {
	case server.terminatesHTTPS():
		c.add(key, chain{s, nil}, server.sniHosts())
	case server.TLS == TLSAutoPassthrough:
		c.buildServices(key, s)
	case server.TLS == TLSPassthrough:
		c.buildRoutes(key, s)
	default:
		if v := c.tcpRoute(s); v != nil {
			c.add(key, chain{s, v}, server.sniHosts())
		}
	}
}

// tcpRoute returns a VirtualService with a tcp route for the server, or nil. Without one, the server has no chain.
func (c *chains) tcpRoute(s member) *VirtualService {
	for v := range c.mesh.VirtualServicesOf(s.gateway.Key) {
		if c.binds(s, v) && slices.ContainsFunc(v.Matches, func(m Match) bool {
			return m.reaches(TCPRoute, s.gateway.Key, s.server().Port.Number)
		}) {
			return v
		}
	}
	return nil
}

// buildRoutes adds a chain for each match of a tls route that leads through the server.
func (c *chains) buildRoutes(key listenKey, s member) {
	taken := c.sni[key.port]
	if taken == nil {
		taken = map[HostName]string{}
		c.sni[key.port] = taken
	}
	for _, v := range c.bound(s) {
		for _, m := range v.Matches {
			if !m.reaches(TLSRoute, s.gateway.Key, s.server().Port.Number) {
				continue
			}
			if slices.ContainsFunc(m.SNIHosts, func(h HostName) bool {
				bind, ok := taken[h]
				return ok && bind == key.bind
			}) {
				continue
			}
			for _, h := range m.SNIHosts {
				taken[h] = key.bind
			}
			c.add(key, chain{s, v}, m.SNIHosts)
		}
	}
}

// bound returns the VirtualServices that the server may take routes of, in Istio's order: those of the workload's own
// namespace that nobody else sees, those that are exported to it, and the public ones; the oldest first.
func (c *chains) bound(s member) []*VirtualService {
	var bound []*VirtualService
	for v := range c.mesh.VirtualServicesOf(s.gateway.Key) {
		if c.binds(s, v) {
			bound = append(bound, v)
		}
	}
	namespace, settings := c.workload.Reference.Namespace, c.mesh.Settings()
	slices.SortStableFunc(bound, func(a, b *VirtualService) int {
		return cmp.Or(
			cmp.Compare(a.publicity(namespace, settings), b.publicity(namespace, settings)),
			cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace),
		)
	})
	return bound
}

// binds says whether the VirtualService is visible to the workload and has a host in common with the server.
func (c *chains) binds(s member, v *VirtualService) bool {
	return v.visibleIn(c.workload.Reference.Namespace, c.mesh.Settings()) && s.gateway.serversFor(v)[s.position]
}

// buildServices adds a chain for each port of each Service within the server's hosts: Istio's
// builtAutoPassthroughFilterChains. Only two servers of that kind can have a chain in common, as these chains ask for
// Istio's own protocols within TLS.
func (c *chains) buildServices(key listenKey, s member) {
	if c.automatic[key.listener()] < 2 {
		return
	}
	names := s.server().sniHosts()
	suffix := ".svc." + c.mesh.Settings().ClusterDomain
	for service := range c.mesh.Services() {
		name := HostName(service.Name + "." + service.Namespace + suffix)
		if service.External || !slices.ContainsFunc(names, func(h HostName) bool { return name.within(h) }) {
			continue
		}
		for _, port := range service.Ports {
			if port.Application != "UDP" {
				c.match(key, chain{s, nil}, fmt.Sprintf("outbound_.%d_._.%s", port.Number, name))
			}
		}
	}
}

// add adds a chain for the names, or for every client when there are none or one of them is "*": Istio's
// toFilterChainMatch.
func (c *chains) add(key listenKey, of chain, names []HostName) {
	if len(names) == 0 || slices.Contains(names, "*") {
		c.match(key, of, "*")
		return
	}
	seen := make(map[HostName]bool, len(names))
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			c.match(key, of, string(name))
		}
	}
}

// match adds one name of a chain.
func (c *chains) match(key listenKey, of chain, name string) {
	at := chainMatch{key.listener(), name}
	if len(c.of[at]) == 0 {
		c.order = append(c.order, at)
	}
	c.of[at] = append(c.of[at], of)
}

// clash says whether some match comes twice.
func (c *chains) clash() bool {
	for _, of := range c.of {
		if len(of) > 1 {
			return true
		}
	}
	return false
}

// listener is the listener that the slot is part of.
func (k listenKey) listener() listenerKey {
	return listenerKey{cmp.Or(k.bind, everyAddress), k.port}
}
