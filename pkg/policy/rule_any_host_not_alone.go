package policy

import "fmt"

// MW204: "*/*" is the only entry of a server's hosts.
//
// Reads:  Gateway spec.servers[*].hosts
// Passes: "*/*" alone; "*" and "./*" beside other hosts, which have a meaning of their own
// Warns:  where Istio takes the list as a whole for "*", so that the other entries say nothing
// Source: Istio's sanitizeServerHostNamespace (pilot/pkg/model/gateway.go) makes the list be "*" and goes on with the
// positions of the old one: an entry after it that begins with "./" or "*/" is written past the end, and the generator fails
// for every Gateway of the workload
func anyHostNotAlone() Rule {
	return Rule{
		ID:     "MW204",
		Name:   "any-host-not-alone",
		Kinds:  []Kind{KindGateway},
		Title:  `A server has "*/*" beside other hosts (deny where Istio's generator fails on the list, else warn).`,
		Remedy: `Write "*/*" alone in the list, or take it out.`,
		Action: Deny,
		Check: func(_ Mesh, o Object) []Finding {
			if o.Gateway == nil {
				return nil
			}
			var found []Finding
			for i := range o.Gateway.Servers {
				s := &o.Gateway.Servers[i]
				f := Finding{Path: fmt.Sprintf("spec.servers[%d].hosts", i), Gateway: o.Gateway.String()}
				switch {
				case s.Unreadable:
					f.Message = `an entry of "./" or "*/" after "*/*" makes Istio's generator fail: no Gateway of the workload gets its configuration any more`
				case s.AnyHostAmongOthers:
					f.Action = Warn
					f.Message = `"*/*" makes the list as a whole "*": the other entries, and the namespaces that they name, have no effect`
				default:
					continue
				}
				found = append(found, f)
			}
			return found
		},
	}
}
