package policy

// member is a server of a Gateway, by its position.
type member struct {
	gateway  *Gateway
	position int
}

func (m member) server() *Server {
	return &m.gateway.Servers[m.position]
}

// lossKind is why a server does not come to be.
type lossKind int

// The kinds of losses.
const (
	hostTaken      lossKind = iota // another server has the host already, on the same port and bind
	portTaken                      // another server's protocol cannot share the port and bind
	nameTaken                      // a server of the same Gateway has the port's name already
	duplicateChain                 // another server's filter chain has the same match: Envoy rejects the listener
)

// loss is a server that Istio drops, or with which it builds a listener that Envoy rejects.
type loss struct {
	kind lossKind
	// loser is the server, and winner the one that it loses to. Both may be the same one where two routes through it end in
	// the same match.
	loser, winner member
	// port is the port that the two have in common on the workload, and host the name, as Istio compares it.
	port uint32
	host string
	// chain is the match of a duplicateChain, and routes are the VirtualServices without whose routes it would not come twice.
	chain  chainMatch
	routes []*VirtualService
}

// listenKey is Istio's ServerPort: servers of one key share a place in the listener.
type listenKey struct {
	port     uint32
	protocol string
	bind     string
}

// slot is Istio's MergedServers: what listens under one key.
type slot struct {
	key     listenKey
	members []member
	route   string
}

// merge is what Istio makes of the Gateways of one workload: mergeGateways (pilot/pkg/model/gateway.go). It is followed
// step by step, as its outcome depends on the order of the steps.
type merge struct {
	ports map[uint32]*portState
	slots map[listenKey]*slot
	// order are the slots in the order in which their filter chains are built. One may come twice.
	order []*slot
	// routes are the servers of each route configuration.
	routes map[string][]member
	losses []loss
}

// portState is what the merge remembers of a port.
type portState struct {
	// hosts are the hosts of the servers with a tls block, each with the bind of the last server that has it.
	hosts map[ServerHost]taken
	// plain is the key of the last server without TLS, and plainBy that server.
	plain   *listenKey
	plainBy member
}

type taken struct {
	bind string
	by   member
}

func newMerge() *merge {
	return &merge{ports: map[uint32]*portState{}, slots: map[listenKey]*slot{}, routes: map[string][]member{}}
}

// mergeAll merges the Gateways, which are in the order of their age. resolve returns the port of the workload that a
// server's port leads to, and false for a port that is of no interest.
func mergeAll(gateways []*Gateway, resolve func(uint32) (uint32, bool)) *merge {
	m := newMerge()
	for _, g := range gateways {
		for i := range g.Servers {
			if port, ok := resolve(g.Servers[i].Port.Number); ok && !g.Servers[i].Portless {
				m.add(member{g, i}, port)
			}
		}
	}
	return m
}

func (m *merge) add(s member, port uint32) {
	server := s.server()
	key := listenKey{port, server.Port.Protocol, server.Bind}
	route := server.routeName(port, s.gateway.Key)
	at, used := m.ports[port]
	if !used {
		at = &portState{hosts: map[ServerHost]taken{}}
		m.ports[port] = at
	}
	if server.TLS != NoTLS && !m.takeHosts(at, s, port) {
		return
	}
	switch {
	case !used:
		m.open(at, key, s, route)
	case at.plain != nil:
		m.besidePlain(at, key, s, route)
	case !server.speaksTLS():
		m.openPlain(at, key, s, route)
	default:
		m.besideTLS(key, s, route)
	}
}

// takeHosts marks the server's hosts as taken, or counts it as lost when one of them is: Istio's CheckDuplicates, which
// compares the names as text, namespace part included, and remembers one bind for each. A server that is dropped later
// keeps its hosts all the same.
func (m *merge) takeHosts(at *portState, s member, port uint32) bool {
	server := s.server()
	for _, h := range server.Hosts {
		if t, ok := at.hosts[h]; ok && t.bind == server.Bind {
			m.losses = append(m.losses, loss{kind: hostTaken, loser: s, winner: t.by, port: port, host: h.String()})
			return false
		}
	}
	for _, h := range server.Hosts {
		at.hosts[h] = taken{server.Bind, s}
	}
	return true
}

// open begins a slot: Istio's addPlainTextServer, which has the servers with TLS as well. A route configuration of the
// name that is there already is forgotten.
func (m *merge) open(at *portState, key listenKey, s member, route string) {
	if !s.server().speaksTLS() {
		at.plain, at.plainBy = &key, s
	}
	if s.server().hasRoutes() {
		m.routes[route] = []member{s}
	}
	m.begin(key, s, route)
}

func (m *merge) begin(key listenKey, s member, route string) {
	m.slots[key] = &slot{key: key, members: []member{s}, route: route}
	m.order = append(m.order, m.slots[key])
}

// besidePlain adds a server to a port that has one without TLS.
func (m *merge) besidePlain(at *portState, key listenKey, s member, route string) {
	plain := m.slots[*at.plain]
	switch {
	case at.plain.bind != key.bind && m.slots[key] == nil:
		m.open(at, key, s, route)
	case at.plain.bind != key.bind:
		other := m.slots[key]
		other.route, other.members = route, append(other.members, s)
		m.routes[route] = append(m.routes[route], s)
	case !s.server().plainHTTP() || !at.plainBy.server().plainHTTP():
		m.losses = append(m.losses, loss{kind: portTaken, loser: s, winner: at.plainBy, port: key.port})
	default:
		plain.members = append(plain.members, s)
		m.routes[route] = append(m.routes[route], s)
	}
}

// openPlain adds the first server without TLS to a port. Istio's documents call the mix unsupported; its code takes it.
func (m *merge) openPlain(at *portState, key listenKey, s member, route string) {
	at.plain, at.plainBy = &key, s
	if s.server().hasRoutes() {
		m.routes[route] = []member{s}
	}
	if old := m.slots[key]; old != nil {
		// What was there is replaced, and the slot has two places in the order.
		for _, lost := range old.members {
			m.losses = append(m.losses, loss{kind: portTaken, loser: lost, winner: s, port: key.port})
		}
		*old = slot{key: key, members: []member{s}, route: route}
		m.order = append(m.order, old)
		return
	}
	m.begin(key, s, route)
}

// besideTLS adds a server with TLS to a port where all have it: SNI tells them apart.
func (m *merge) besideTLS(key listenKey, s member, route string) {
	if s.server().hasRoutes() {
		if first := m.routes[route]; len(first) > 0 {
			m.losses = append(m.losses, loss{kind: nameTaken, loser: s, winner: first[0], port: key.port})
			return
		}
		m.routes[route] = []member{s}
	}
	if there := m.slots[key]; there != nil {
		there.members = append(there.members, s)
		return
	}
	m.begin(key, s, route)
}

// served says whether the server gets what it needs to take traffic: a place in a listener and, for http, its place in
// the route configuration that the listener asks for.
func (m *merge) served(s member, port uint32) bool {
	server := s.server()
	route := server.routeName(port, s.gateway.Key)
	for _, at := range m.order {
		for _, other := range at.members {
			switch {
			case server.takes() != HTTPRoute:
				if other == s {
					return true
				}
			case at.listensFor(other) == route && contains(m.routes[route], s):
				return true
			}
		}
	}
	return false
}

// listensFor is the name of the route configuration that the listener asks for on behalf of the member.
func (s *slot) listensFor(m member) string {
	if m.server().plainHTTP() {
		return s.route
	}
	if m.server().terminatesHTTPS() {
		return m.server().routeName(s.key.port, m.gateway.Key)
	}
	return ""
}

func contains(members []member, s member) bool {
	for _, m := range members {
		if m == s {
			return true
		}
	}
	return false
}
