package policy

import (
	"fmt"
	"slices"
	"strings"
)

/*
MW206: clients can reach the port of each server of a Gateway.

Reads:  Gateway spec.servers[*].port.number; the workloads that it selects; the Services that select these
Passes: Gateways without a known workload; workloads on their node's network, or that no Service selects; a port that some
workload of the Gateway exposes
Source: Istio's resolvePorts (pilot/pkg/model/gateway.go); buildGatewayListeners (pilot/pkg/networking/core/gateway.go) skips ports
below 1024 for pods that it takes for unprivileged
*/
func portNotExposed() Rule {
	return Rule{
		ID:     "MW206",
		Name:   "port-not-exposed",
		Kinds:  []Kind{KindGateway},
		Title:  "No Service of the workload exposes the server's port, or the port is privileged and the pod is not.",
		Remedy: "Add the port to the Service of the gateway workload, or use one that it has.",
		Action: Warn,
		Check: func(m Mesh, o Object) []Finding {
			if o.Gateway == nil {
				return nil
			}
			var found []Finding
			on := workloadsOf(m, o.Gateway)
			for i := range o.Gateway.Servers {
				s := &o.Gateway.Servers[i]
				if s.Portless {
					continue
				}
				reason := ""
				for n, w := range on {
					why := unreachable(m, w, s.Port.Number)
					if why == "" {
						reason = ""
						break
					}
					if n == 0 {
						reason = why
					}
				}
				if reason != "" {
					found = append(found, Finding{
						Path:    fmt.Sprintf("spec.servers[%d].port.number", i),
						Message: fmt.Sprintf("port %d is not reachable on %s: %s", s.Port.Number, on[0].Reference, reason),
						Host:    fmt.Sprint(s.Port.Number), Gateway: o.Gateway.String(), Related: workloadRefsOf(on),
					})
				}
			}
			return found
		},
	}
}

// unreachable says why no client reaches a Gateway's port on the workload; it returns "" where one may.
func unreachable(m Mesh, w *Workload, number uint32) string {
	p := portsOf(m, w)
	port := p.resolve(number)
	switch {
	case w.Unprivileged && privileged(port):
		return fmt.Sprintf("its pods are unprivileged, and Istio does not have them listen on port %d", port)
	case w.HostNetwork || len(p.services) == 0 || p.exposes(number, port):
		return ""
	}
	services := make([]string, 0, len(p.services))
	for _, s := range p.services {
		services = append(services, s.String())
	}
	return fmt.Sprintf("none of its Services (%s) leads to it", strings.Join(services, ", "))
}

// exposes says whether a Service has the number, or leads to the port.
func (p ports) exposes(number, port uint32) bool {
	return slices.ContainsFunc(p.services, func(s *Service) bool {
		return slices.ContainsFunc(s.Ports, func(sp ServicePort) bool {
			target, ok := p.targetOf(sp)
			return ok && (target == port || sp.Number == number && !s.KeepsGatewayPorts)
		})
	})
}

func workloadRefsOf(workloads []*Workload) []Ref {
	refs := make([]Ref, 0, len(workloads))
	for _, w := range workloads {
		refs = append(refs, w.Reference)
	}
	return refs
}
