package policy

import (
	"fmt"
	"strings"
)

/*
MW101: every gateway that a VirtualService names exists.

Reads:  VirtualService spec.gateways; Gateways by name
Passes: the reserved name "mesh"; delegates; the gateways that only a route's match names (MW106)
Source: Istio's resolveGatewayName (pilot/pkg/model/config.go): "name", "namespace/name" and "name.namespace[.svc...]"
*/
func gatewayNotFound() Rule {
	return Rule{
		ID:     "MW101",
		Name:   "gateway-not-found",
		Kinds:  []Kind{KindVirtualService},
		Title:  "A gateway in spec.gateways does not exist.",
		Remedy: "Create the Gateway first, or correct its name; one of another namespace is written namespace/name.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			var found []Finding
			for _, i := range align(m, v).missing {
				ref := v.Gateways[i]
				found = append(found, Finding{
					Path:    fmt.Sprintf("spec.gateways[%d]", i),
					Message: fmt.Sprintf("gateway %q does not exist: there is no Gateway %s%s", ref.Written, ref.Gateway, namesakes(m, ref)),
					Gateway: ref.Gateway.String(),
					Related: []Ref{{Kind: KindGateway, Key: ref.Gateway}},
				})
			}
			return found
		},
	}
}

// namesakes names up to three Gateways of the missing one's name, because a forgotten namespace is the usual cause.
func namesakes(m Mesh, ref GatewayRef) string {
	var keys []string
	for g := range m.GatewaysNamed(ref.Gateway.Name) {
		if keys = append(keys, g.String()); len(keys) == 3 {
			break
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return ", but there is " + strings.Join(keys, " and ")
}
