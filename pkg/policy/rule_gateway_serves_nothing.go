package policy

import "fmt"

/*
MW105: every gateway that a VirtualService names serves at least one of its hosts.

Reads:  what MW102, MW103, MW114 and MW104 read
Passes: a gateway while no other one serves a host either, which is MW102 or MW101; the mesh; delegates
*/
func gatewayServesNothing() Rule {
	return Rule{
		ID:     "MW105",
		Name:   "gateway-serves-nothing",
		Kinds:  []Kind{KindVirtualService},
		Title:  "A named gateway serves none of the hosts while another one does.",
		Remedy: "Remove the gateway from spec.gateways, or add one of the hosts to one of its servers.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			a := align(m, v)
			if len(a.serving) == 0 {
				return nil
			}
			var found []Finding
			for n, i := range a.useless {
				g, _ := m.Gateway(v.Gateways[i].Gateway)
				f := Finding{
					Path:    fmt.Sprintf("spec.gateways[%d]", i),
					Message: fmt.Sprintf("gateway %s serves none of the hosts %s: %s", g.Key, hostNames(v), whyUseless(m, g, v, a.reached[n])),
					Gateway: g.String(),
					Related: []Ref{g.Ref()},
				}
				if stage := a.reached[n].stage; stage == notExported || stage == noRoute && v.asksForSource() {
					f.Related = append(f.Related, groundsOf(m, g)...)
				}
				found = append(found, f)
			}
			return found
		},
	}
}

// whyUseless says where the way of the host ends that comes furthest with the Gateway.
func whyUseless(m Mesh, g *Gateway, v *VirtualService, p passage) string {
	e := evaluationOf(m)
	for _, h := range v.Hosts {
		_, has := droppedFor(g, h, v.Namespace)
		if has && (p.stage == notCarried || pass(e, g, e.placements(g), v, h) == p) {
			return whyUnserved(m, g, v, h, p)
		}
	}
	return "it carries " + carried(g)
}

// whyUnserved says where the host's way ends in a Gateway that has a server for it.
func whyUnserved(m Mesh, g *Gateway, v *VirtualService, h Host, p passage) string {
	if p.stage == notCarried {
		dropped, _ := droppedFor(g, h, v.Namespace)
		return fmt.Sprintf("the Gateway has %s on %s, %s", h.Name, dropped, seeGateway)
	}
	s := &g.Servers[p.server]
	switch p.stage {
	case wrongKind:
		return fmt.Sprintf("%s takes %s", s.describe(p.server), takenRoutes(s))
	case noRoute:
		return fmt.Sprintf("no route applies to %s: %s", s.describe(p.server), whyNoRoute(v, h, s, g.Key))
	}
	return fmt.Sprintf("the VirtualService is visible in %s, but %s", visibility(v, m.Settings()), whereRunning(g, evaluationOf(m).placements(g)))
}

// hostNames lists the first hosts of a VirtualService for a message.
func hostNames(v *VirtualService) string {
	const shown = 5
	names := ""
	for i, h := range v.Hosts {
		switch {
		case i == shown:
			return fmt.Sprintf("%s and %d more", names, len(v.Hosts)-shown)
		case i > 0:
			names += ", "
		}
		names += h.Written
		if string(h.Name) != h.Written {
			names += fmt.Sprintf(" (%s)", h.Name)
		}
	}
	return names
}
