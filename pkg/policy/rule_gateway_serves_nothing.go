package policy

import "fmt"

/*
MW105: every gateway that a VirtualService names serves at least one of its hosts.

Reads:  VirtualService spec.hosts, spec.gateways, its namespace; Gateway spec.servers[*].hosts
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
			for _, i := range a.useless {
				g, _ := m.Gateway(v.Gateways[i].Gateway)
				found = append(found, Finding{
					Path: fmt.Sprintf("spec.gateways[%d]", i),
					Message: fmt.Sprintf("gateway %s serves none of the hosts %s: it carries %s",
						g.Key, hostNames(v), carried(g)),
					Gateway: g.String(),
					Related: []Ref{g.Ref()},
				})
			}
			return found
		},
	}
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
	}
	return names
}
