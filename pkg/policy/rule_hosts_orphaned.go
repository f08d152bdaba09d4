package policy

import (
	"fmt"
	"maps"
	"slices"
)

/*
MW207: a change of a Gateway leaves no host of a VirtualService unserved that was served before.

Reads:  the Gateway before and after the change; the VirtualServices that name it; the other Gateways that these name; what
decides whether a host is served, as in MW102, MW103, MW114 and MW104
Passes: hosts that were not served before the change either; hosts that another named gateway, or the mesh, serves
Warns:  on deletion, where a denial could keep a namespace from being removed
*/
func hostsOrphaned() Rule {
	return Rule{
		ID:     "MW207",
		Name:   "hosts-orphaned",
		Kinds:  []Kind{KindGateway},
		Title:  "The change leaves hosts of existing VirtualServices unserved (update: deny, delete: warn).",
		Remedy: "Move the VirtualService to another gateway or remove the host from it first, then change the Gateway.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			if o.Replaced == nil {
				return nil
			}
			f := Finding{Path: "spec.servers"}
			if o.Gateway == nil {
				f.Action, f.Path = Warn, "metadata.name"
			}
			var found []Finding
			for v := range m.VirtualServicesOf(o.Replaced.Key) {
				lost := orphans(m, o.Replaced, v)
				if len(lost) == 0 {
					continue
				}
				f.Related = dependencies(v, o.Replaced.Key)
				if o.Gateway != nil && !maps.Equal(o.Gateway.Selector, o.Replaced.Selector) {
					f.Related = append(f.Related, groundsOf(m, o.Gateway)...)
				}
				for _, h := range lost {
					f.Host = string(h.Name)
					f.Message = fmt.Sprintf("%s uses host %q, which no gateway that it names would serve any more%s",
						v.Ref(), h.Written, whyOrphaned(m, o.Gateway, v, h))
					found = append(found, f)
				}
			}
			return found
		},
	}
}

// whyOrphaned says why the Gateway does not serve the host where it still has a server for it.
func whyOrphaned(m Mesh, g *Gateway, v *VirtualService, h Host) string {
	if g == nil {
		return ""
	}
	e := evaluationOf(m)
	p := pass(e, g, e.placements(g), v, h)
	if _, dropped := droppedFor(g, h, v.Namespace); !dropped && p.stage == notCarried {
		return ""
	}
	return ": " + whyUnserved(m, g, v, h, p)
}

// orphans returns the hosts of v that the Gateway served before and that nothing serves in m.
func orphans(m Mesh, before *Gateway, v *VirtualService) []Host {
	if v.bindsToMesh() || slices.ContainsFunc(v.Gateways, GatewayRef.openEnded) {
		return nil
	}
	e := evaluationOf(m)
	var lost []Host
	gateways := gatewaysOf(m, v)
hosts:
	for _, h := range v.Hosts {
		if !pass(e, before, e.placements(before), v, h).counts() {
			continue
		}
		for _, g := range gateways {
			if pass(e, g, e.placements(g), v, h).counts() {
				continue hosts
			}
		}
		lost = append(lost, h)
	}
	return lost
}

// dependencies are the objects besides the changed Gateway that decide whether v's hosts stay served: v, and the other
// gateways that it names, whether they are known or not.
func dependencies(v *VirtualService, changed Key) []Ref {
	refs := []Ref{v.Ref()}
	for _, i := range distinct(v.Gateways) {
		if g := v.Gateways[i]; !g.Mesh && g.Gateway != changed {
			refs = append(refs, Ref{Kind: KindGateway, Key: g.Gateway})
		}
	}
	return refs
}
