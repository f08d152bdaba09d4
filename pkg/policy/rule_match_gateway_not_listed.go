package policy

import "fmt"

/*
MW106: a route's match names only gateways that its VirtualService binds to.

Reads:  VirtualService spec.gateways; spec.http[*].match[*].gateways, and the same of spec.tls and spec.tcp
Passes: any gateway that spec.gateways names too, in whatever form; "mesh" where spec.gateways names it or is empty;
delegates, whose matches are merged into a root that names gateways of its own
Source: Istio binds a VirtualService by spec.gateways alone (pilot/pkg/model/push_context.go, getGatewayNames); a match for
another gateway is dead
*/
func matchGatewayNotListed() Rule {
	return Rule{
		ID:     "MW106",
		Name:   "match-gateway-not-listed",
		Kinds:  []Kind{KindVirtualService},
		Title:  "A route's match.gateways names a gateway, or mesh, that spec.gateways does not.",
		Remedy: "Add the gateway to spec.gateways, or take it out of the match.",
		Action: Deny,
		Check: func(_ Mesh, o Object) []Finding {
			v := o.VirtualService
			if len(v.Hosts) == 0 {
				return nil
			}
			bound := map[target]bool{{mesh: true}: v.bindsToMesh()}
			for _, ref := range v.Gateways {
				bound[ref.target()] = true
			}
			var found []Finding
			for _, match := range v.Matches {
				for i, ref := range match.Gateways {
					if bound[ref.target()] {
						continue
					}
					f := Finding{
						Path:    fmt.Sprintf("%s.gateways[%d]", match.Path(), i),
						Message: fmt.Sprintf("the match names gateway %q, which spec.gateways does not: the VirtualService is not bound to it, so the entry has no effect", ref.Written),
						Gateway: ref.Gateway.String(),
					}
					if ref.Mesh {
						f.Gateway = "mesh"
					}
					found = append(found, f)
				}
			}
			return found
		},
	}
}
