package policy

// alignment is how the hosts of a VirtualService and the gateways that it names meet. The rules on VirtualServices share
// it, so that one cause leads to one finding.
type alignment struct {
	// missing are the positions in Gateways of those that do not exist.
	missing []int
	// hosts is how each of Hosts fares at best.
	hosts []passage
	// useless are the positions in Gateways of those that exist and serve no host, and reached how far a host gets with each.
	useless []int
	reached []passage
	// serving are the positions in Gateways of those that serve a host.
	serving []int
}

// align follows the definition of a VirtualService that lines up: every host is served by at least one gateway that it
// names, and every gateway that it names serves at least one host. The mesh serves every host. A gateway that is named
// twice counts once.
func align(m Mesh, v *VirtualService) *alignment {
	e := evaluationOf(m)
	if e.of != v {
		e.of, e.aligned = v, e.align(v)
	}
	return &e.aligned
}

func (e *evaluation) align(v *VirtualService) alignment {
	a := alignment{hosts: make([]passage, len(v.Hosts))}
	if len(v.Hosts) == 0 {
		return a
	}
	for n := range a.hosts {
		a.hosts[n] = passage{server: -1, known: true}
		if len(v.Gateways) == 0 {
			a.hosts[n].stage = served
		}
	}
	for _, i := range distinct(v.Gateways) {
		ref := v.Gateways[i]
		g, ok := e.Gateway(ref.Gateway)
		if !ref.openEnded() && !ok {
			a.missing = append(a.missing, i)
			continue
		}
		furthest := passage{server: -1, known: true}
		for n, h := range v.Hosts {
			p := passage{stage: served, server: -1, known: true}
			if !ref.openEnded() {
				p = pass(e, g, e.placements(g), v, h)
			}
			furthest, a.hosts[n] = further(furthest, p), further(a.hosts[n], p)
		}
		if furthest.counts() {
			a.serving = append(a.serving, i)
		} else {
			a.useless, a.reached = append(a.useless, i), append(a.reached, furthest)
		}
	}
	return a
}

// further returns the passage that gets further. A guess that a host is served gets further than the certainty that it is
// not.
func further(a, b passage) passage {
	if b.stage > a.stage || b.stage == a.stage && b.counts() && !a.counts() {
		return b
	}
	return a
}

// at returns the positions in Hosts of those that come to the stage and no further, which no gateway serves. A host is not
// blamed while a named gateway is missing: that may be the one cause.
func (a *alignment) at(s stage) []int {
	if len(a.missing) > 0 {
		return nil
	}
	var hosts []int
	for n, p := range a.hosts {
		if p.stage == s {
			hosts = append(hosts, n)
		}
	}
	return hosts
}

// evaluation is the mesh of one evaluation. It remembers what several rules ask for.
type evaluation struct {
	Mesh
	of      *VirtualService
	aligned alignment
	placed  map[*Gateway][]placement
	// rival is the Gateway whose conflicts are in lost.
	rival *Gateway
	lost  []lostServer
}

// evaluationOf returns the evaluation that the rules were handed, or one for a mesh as such.
func evaluationOf(m Mesh) *evaluation {
	if e, ok := m.(*evaluation); ok {
		return e
	}
	return &evaluation{Mesh: m}
}

func (e *evaluation) placements(g *Gateway) []placement {
	on, ok := e.placed[g]
	if !ok {
		on = placements(e.Mesh, g)
		if e.placed == nil {
			e.placed = map[*Gateway][]placement{}
		}
		e.placed[g] = on
	}
	return on
}

func (e *evaluation) conflicts(o Object) []lostServer {
	if e.rival != o.Gateway {
		e.rival, e.lost = o.Gateway, conflicts(e.Mesh, o)
	}
	return e.lost
}
