package policy

import (
	"fmt"
	"slices"
	"strings"
)

/*
MW102: every host of a VirtualService is carried by a server of a gateway that it names.

Reads:  VirtualService spec.hosts, spec.gateways, its namespace; Gateway spec.selector, spec.servers[*]; the Services that map
the ports of the Gateway's workloads, as two servers of one Gateway may meet on one port
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
			return unservedAt(m, o.VirtualService, notCarried, func(r unserved) string {
				return hostNotServedMessage(o.VirtualService, r.host, r.gateways, r.position)
			})
		},
	}
}

// unserved is a host that no gateway serves, and where its way ends.
type unserved struct {
	position int
	host     Host
	passage  passage
	// gateways are those that the VirtualService names, and gateway is the one with the server that lets the host come
	// furthest; nil where none does.
	gateways []*Gateway
	gateway  *Gateway
}

// unservedAt returns a finding for each host whose way ends at the stage.
func unservedAt(m Mesh, v *VirtualService, s stage, message func(unserved) string) []Finding {
	a := align(m, v)
	hosts := a.at(s)
	if len(hosts) == 0 {
		return nil
	}
	gateways := gatewaysOf(m, v)
	related := refsOf(gateways)
	found := make([]Finding, 0, len(hosts))
	for _, i := range hosts {
		r := unserved{position: i, host: v.Hosts[i], passage: a.hosts[i], gateways: gateways}
		if s > notCarried {
			r.gateway = reachedWith(m, gateways, v, r.host, r.passage)
		}
		found = append(found, Finding{
			Path: fmt.Sprintf("spec.hosts[%d]", i), Message: message(r), Host: string(r.host.Name),
			Related: append(slices.Clip(related), grounds(m, v, r)...),
		})
	}
	return found
}

// grounds names the workloads and Services besides the Gateways that have a say in where the way of the host ends. Most often
// there are none: what a Gateway carries, and for which routes, does not depend on what it runs on.
func grounds(m Mesh, v *VirtualService, r unserved) []Ref {
	var refs []Ref
	for _, g := range r.gateways {
		_, dropped := droppedFor(g, r.host, v.Namespace)
		if r.passage.stage == notExported && g == r.gateway ||
			r.passage.stage == noRoute && v.asksForSource() ||
			r.passage.stage == notCarried && dropped {
			refs = append(refs, groundsOf(m, g)...)
		}
	}
	return refs
}

// groundsOf names what the Gateway stands on: its workloads and the Services that lead to them.
func groundsOf(m Mesh, g *Gateway) []Ref {
	var refs []Ref
	for _, p := range evaluationOf(m).placements(g) {
		refs = append(refs, groundOf(m, p.workload)...)
	}
	return refs
}

// reachedWith returns the Gateway with which the host comes as far as the passage says.
func reachedWith(m Mesh, gateways []*Gateway, v *VirtualService, h Host, p passage) *Gateway {
	e := evaluationOf(m)
	for _, g := range gateways {
		if pass(e, g, e.placements(g), v, h) == p {
			return g
		}
	}
	return nil
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
		if dropped, ok := droppedFor(g, h, v.Namespace); ok {
			fmt.Fprintf(&b, "; %s has it on %s, %s", subject, dropped, seeGateway)
			continue
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

// seeGateway says of a server that it does not come to be, and who knows why.
const seeGateway = "which Istio does not build: see what MW201, MW202, MW204 and MW206 say about the Gateway"

// droppedFor describes a server of the Gateway that has the host and does not come to be.
func droppedFor(g *Gateway, h Host, namespace string) (string, bool) {
	for i := range g.hosts.carrying(h.Name, namespace) {
		return g.Servers[i].describe(i), true
	}
	return "", false
}

// carried lists the first hosts of a Gateway for a message, each once: many are on a server for HTTP and on one for HTTPS.
func carried(g *Gateway) string {
	const shown = 5
	seen := make(map[ServerHost]bool, len(g.hosts.entries))
	var hosts []string
	for _, e := range g.hosts.entries {
		if !seen[e] && len(hosts) < shown {
			hosts = append(hosts, e.String())
		}
		seen[e] = true
	}
	switch more := len(seen) - len(hosts); {
	case len(hosts) == 0:
		return "no host"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(hosts, ", "), more)
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
