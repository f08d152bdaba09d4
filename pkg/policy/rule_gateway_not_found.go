package policy

import (
	"fmt"
	"strings"
)

/*
MW101: every gateway that a VirtualService names exists.

Reads:  VirtualService spec.gateways; Gateways by name
Passes: the reserved name "mesh"; Gateways that istiod makes of those of the Gateway API, which are no objects; delegates; the gateways that only a route's match names (MW106)
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
					Message: fmt.Sprintf("gateway %q does not exist: there is no Gateway %s%s", ref.Written, ref.Gateway, hint(m, ref)),
					Gateway: ref.Gateway.String(),
					Related: []Ref{{Kind: KindGateway, Key: ref.Gateway}},
				})
			}
			return found
		},
	}
}

// hint says what was probably meant: the reserved name, a name that Istio reads otherwise, or a Gateway of another
// namespace.
func hint(m Mesh, ref GatewayRef) string {
	if strings.EqualFold(ref.Written, "mesh") {
		return "; the reserved name is mesh, in lower case"
	}
	if strings.Contains(ref.Written, ".") && !strings.Contains(ref.Written, "/") {
		text := "; Istio reads a name with a dot as name.namespace"
		if found := namesakes(m, ref.Written); found != "" {
			text += ", and a Gateway with a dot in its name has to be written with its namespace: there is " + found
		}
		return text
	}
	if found := namesakes(m, ref.Gateway.Name); found != "" {
		return ", but there is " + found
	}
	return ""
}

// namesakes names up to three Gateways of that name.
func namesakes(m Mesh, name string) string {
	var keys []string
	for g := range m.GatewaysNamed(name) {
		if keys = append(keys, g.String()); len(keys) == 3 {
			break
		}
	}
	return strings.Join(keys, " and ")
}
