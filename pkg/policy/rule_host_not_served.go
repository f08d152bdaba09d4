package policy

import (
	"fmt"
	"strings"
)

/*
MW102: every host of a VirtualService is carried by a server of a gateway that it names.

Reads:  VirtualService spec.hosts, spec.gateways, its namespace; Gateway spec.servers[*].hosts
Passes: hosts while a named gateway is missing, which is MW101 and may be the one cause; a VirtualService that binds to
the mesh, which serves every host; a host that only some of the gateways carry; delegates
Source: Istio's host.NamesForNamespace and host.Names.Intersection (pkg/config/host/names.go), pickMatchingGatewayHosts
(pilot/pkg/networking/core/gateway.go)
*/
func hostNotServed() Rule {
	return Rule{
		ID:     "MW102",
		Name:   "host-not-served",
		Kinds:  []Kind{KindVirtualService},
		Title:  "No named gateway has a server whose hosts carry this host for this namespace.",
		Remedy: "Add the host to a server of the gateway, or name a gateway that carries it.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			a := align(m, v)
			if len(a.missing) > 0 || len(a.unserved) == 0 {
				return nil
			}
			gateways := gatewaysOf(m, v)
			related := refsOf(gateways)
			var found []Finding
			for _, i := range a.unserved {
				found = append(found, Finding{
					Path:    fmt.Sprintf("spec.hosts[%d]", i),
					Message: hostNotServedMessage(v, v.Hosts[i], gateways, i),
					Host:    string(v.Hosts[i].Name),
					Related: related,
				})
			}
			return found
		},
	}
}

// explained is how many findings of one object say which entry nearly fits. An answer shows no more, and a search
// through every entry for every one of ten thousand hosts would take seconds.
const explained = 20

func hostNotServedMessage(v *VirtualService, h Host, gateways []*Gateway, i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "host %q is carried by no server of %s", h.Written, gatewayNames(gateways))
	if string(h.Name) != h.Written {
		fmt.Fprintf(&b, " (the short name stands for %s)", h.Name)
	}
	if i >= explained {
		return b.String()
	}
	for _, g := range gateways[:min(len(gateways), gatewaysShown)] {
		subject := "it"
		if len(gateways) > 1 {
			subject = g.String()
		}
		entry, otherCase, ok := g.hosts.nearMiss(h.Name, v.Namespace)
		switch {
		case ok && otherCase:
			fmt.Fprintf(&b, "; %s carries %s, and Istio tells upper from lower case", subject, entry)
		case ok:
			fmt.Fprintf(&b, "; %s carries %s for namespace %s only", subject, entry.Name, entry.Namespace)
		default:
			fmt.Fprintf(&b, "; %s carries %s", subject, carried(g))
		}
	}
	return b.String()
}

// carried lists the first hosts of a Gateway for a message.
func carried(g *Gateway) string {
	const shown = 5
	var hosts []string
	for _, e := range g.hosts.entries {
		if len(hosts) == shown {
			return fmt.Sprintf("%s and %d more", strings.Join(hosts, ", "), len(g.hosts.entries)-shown)
		}
		hosts = append(hosts, e.String())
	}
	if len(hosts) == 0 {
		return "no host"
	}
	return strings.Join(hosts, ", ")
}

// gatewaysOf returns the Gateways that the VirtualService names and that exist, each once.
func gatewaysOf(m Mesh, v *VirtualService) []*Gateway {
	var gateways []*Gateway
	for _, i := range distinct(v.Gateways) {
		ref := v.Gateways[i]
		if g, ok := m.Gateway(ref.Gateway); ok && !ref.Mesh {
			gateways = append(gateways, g)
		}
	}
	return gateways
}

func refsOf(gateways []*Gateway) []Ref {
	refs := make([]Ref, 0, len(gateways))
	for _, g := range gateways {
		refs = append(refs, g.Ref())
	}
	return refs
}

// gatewaysShown is how many gateways a message names: thousands of hosts on a thousand gateways would fill the memory.
const gatewaysShown = 5

func gatewayNames(gateways []*Gateway) string {
	if len(gateways) == 1 {
		return "gateway " + gateways[0].String()
	}
	var names []string
	for _, g := range gateways[:min(len(gateways), gatewaysShown)] {
		names = append(names, g.String())
	}
	list := "the gateways " + strings.Join(names, ", ")
	if more := len(gateways) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
