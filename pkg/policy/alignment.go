package policy

// alignment is how the hosts of a VirtualService and the gateways that it names meet. The rules on VirtualServices share
// it, so that one cause leads to one finding.
type alignment struct {
	// missing are the positions in Gateways of those that do not exist.
	missing []int
	// unserved are the positions in Hosts of those that no gateway serves.
	unserved []int
	// useless are the positions in Gateways of those that exist and serve no host.
	useless []int
	// serving are the positions in Gateways of those that serve a host.
	serving []int
}

// align follows the definition of a VirtualService that lines up: every host is served by at least one gateway that it
// names, and every gateway that it names serves at least one host. The mesh serves every host. A gateway that is named
// twice counts once.
func align(m Mesh, v *VirtualService) alignment {
	if e, ok := m.(*evaluation); ok {
		return e.align(v)
	}
	var a alignment
	if len(v.Hosts) == 0 {
		return a
	}
	served := make([]bool, len(v.Hosts))
	for _, i := range distinct(v.Gateways) {
		ref := v.Gateways[i]
		g, ok := m.Gateway(ref.Gateway)
		if !ref.Mesh && !ok {
			a.missing = append(a.missing, i)
			continue
		}
		serves := false
		for n, h := range v.Hosts {
			if ref.Mesh || g.Carries(h.Name, v.Namespace) {
				served[n], serves = true, true
			}
		}
		if serves {
			a.serving = append(a.serving, i)
		} else {
			a.useless = append(a.useless, i)
		}
	}
	for n, ok := range served {
		if !ok && len(v.Gateways) > 0 {
			a.unserved = append(a.unserved, n)
		}
	}
	return a
}

// evaluation is the mesh of one evaluation. It remembers the alignment, for which several rules ask.
type evaluation struct {
	Mesh
	of      *VirtualService
	aligned alignment
}

func (e *evaluation) align(v *VirtualService) alignment {
	if e.of != v {
		e.of, e.aligned = v, align(e.Mesh, v)
	}
	return e.aligned
}
