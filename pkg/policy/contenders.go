package policy

import "slices"

// Contenders returns the Gateways whose own losses may depend on this version of a Gateway being in the mesh, in no particular
// order. Most often there are none: its servers have ports of plain HTTP, or HTTPS with hosts that nobody else has, and then
// Istio's merge treats all others as if it were not there. Whoever judges stored Gateways again need not judge those.
func Contenders(m Mesh, g *Gateway) []*Gateway {
	var found []*Gateway
	seen := map[Key]bool{g.Key: true}
	for _, w := range arenas(m, g) {
		others := slices.DeleteFunc(gatewaysOn(m, w), func(o *Gateway) bool { return o.Key == g.Key })
		if unreadable(g) || keepsToItself(g, others, portsOf(m, w)) {
			continue
		}
		for _, o := range others {
			if !seen[o.Key] {
				seen[o.Key] = true
				found = append(found, o)
			}
		}
	}
	return found
}

// claim is what the servers of a Gateway have on a port, all of them of one kind: plain HTTP, or HTTPS that is terminated.
type claim struct {
	plain bool
	bind  string
	// names are the hosts of the servers with a tls block, without their namespace parts. Who shares none has no host in
	// common either, and no SNI.
	names map[HostName]bool
}

// keepsToItself says whether no server of the Gateway can meet one of the others, whatever else the merge does. Where it
// is not obvious, the answer is no.
func keepsToItself(g *Gateway, others []*Gateway, ports ports) bool {
	claims := map[uint32]*claim{}
	for i := range g.Servers {
		s := &g.Servers[i]
		if s.Portless {
			continue
		}
		port := ports.resolve(s.Port.Number)
		c := claims[port]
		if c == nil {
			c = &claim{plain: s.plainHTTP(), bind: s.Bind, names: map[HostName]bool{}}
			claims[port] = c
		}
		if !c.takes(s) {
			return false
		}
		for _, h := range s.Hosts {
			c.names[h.Name] = c.names[h.Name] || s.TLS != NoTLS
		}
	}
	for _, o := range others {
		for i := range o.Servers {
			s := &o.Servers[i]
			c := claims[ports.resolve(s.Port.Number)]
			if c == nil || s.Portless {
				continue
			}
			if !c.takes(s) || s.TLS != NoTLS && slices.ContainsFunc(s.Hosts, func(h ServerHost) bool { return c.names[h.Name] }) {
				return false
			}
		}
	}
	return true
}

// takes says whether the server can stand beside those of the claim as far as its kind goes.
func (c *claim) takes(s *Server) bool {
	return s.plainHTTP() == c.plain && (c.plain || s.terminatesHTTPS()) && s.Bind == c.bind
}
