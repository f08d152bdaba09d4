package policy

import "fmt"

/*
MW207: a change of a Gateway leaves no host of a VirtualService unserved that was served before.

Reads:  the Gateway before and after the change; the VirtualServices that name it; the other Gateways that these name
Passes: hosts that no server carried before the change either; hosts that another named gateway, or the mesh, serves
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
				for _, h := range lost {
					f.Host = string(h.Name)
					f.Message = fmt.Sprintf("%s uses host %q, which no gateway that it names would carry any more", v.Ref(), h.Written)
					found = append(found, f)
				}
			}
			return found
		},
	}
}

// orphans returns the hosts of v that the Gateway carried before and that nothing carries in m.
func orphans(m Mesh, before *Gateway, v *VirtualService) []Host {
	if v.bindsToMesh() {
		return nil
	}
	var lost []Host
	gateways := gatewaysOf(m, v)
hosts:
	for _, h := range v.Hosts {
		if !before.Carries(h.Name, v.Namespace) {
			continue
		}
		for _, g := range gateways {
			if g.Carries(h.Name, v.Namespace) {
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
