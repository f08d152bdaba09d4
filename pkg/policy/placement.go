package policy

import (
	"cmp"
	"slices"
)

// placement is a Gateway on one of its workloads, without any other Gateway there.
type placement struct {
	workload *Workload
	// known is false for the one workload that is assumed where none is known.
	known bool
	// live says of each server whether Istio builds it: a server that loses to another one of its own Gateway, or whose
	// port the workload cannot listen on, takes no traffic.
	live []bool
}

// namespace is where the workload runs. Where none is known, the Gateway's own is the likeliest one.
func (p placement) namespace() string {
	return p.workload.Reference.Namespace
}

// placements returns the Gateway on each workload that it selects: Istio's PushContext.mergeGateways. Where no workload is
// known, it is one that has just the labels that the Gateway asks for.
func placements(m Mesh, g *Gateway) []placement {
	var placed []placement
	for _, w := range workloadsOf(m, g) {
		placed = append(placed, placement{workload: w, known: true, live: live(m, g, w)})
	}
	if len(placed) == 0 {
		w := assumed(g.Namespace, g.Selector)
		placed = append(placed, placement{workload: w, live: live(m, g, w)})
	}
	return placed
}

// workloadsOf returns the known workloads that the Gateway selects.
func workloadsOf(m Mesh, g *Gateway) []*Workload {
	var workloads []*Workload
	scoped := m.Settings().ScopeGateways
	for w := range m.WorkloadsSelectedBy(g.Selector) {
		if !scoped || w.Reference.Namespace == g.Namespace {
			workloads = append(workloads, w)
		}
	}
	return workloads
}

// assumed is the workload that a Gateway is judged on where none is known: it runs where the Gateway is, and its labels are
// those that are asked for.
func assumed(namespace string, labels map[string]string) *Workload {
	return &Workload{Reference: Ref{Key: Key{Namespace: namespace}}, Labels: labels, Router: true}
}

// assumedOnly says whether the workload is one that assumed has made up.
func (w *Workload) assumedOnly() bool {
	return w.Reference.Kind == ""
}

// groundOf names what stands on the workload: itself, unless it is assumed, and the Services that lead to it.
func groundOf(m Mesh, w *Workload) []Ref {
	if w.assumedOnly() {
		return nil
	}
	refs := []Ref{w.Reference}
	for _, s := range portsOf(m, w).services {
		refs = append(refs, s.Ref())
	}
	return refs
}

// live says of each of the Gateway's servers whether Istio builds it on the workload.
func live(m Mesh, g *Gateway, w *Workload) []bool {
	ports := portsOf(m, w)
	alone := g.alone
	if ports.confuse(g) {
		alone = serversAlone(g, ports.resolve)
	}
	if !w.Unprivileged {
		return alone
	}
	live := slices.Clone(alone)
	for i := range g.Servers {
		live[i] = live[i] && !privileged(ports.resolve(g.Servers[i].Port.Number))
	}
	return live
}

// privileged says whether only a privileged process can listen on the port.
func privileged(port uint32) bool {
	return port < 1024
}

// serversAlone says of each server whether it comes to be when the Gateway is merged with itself alone.
func serversAlone(g *Gateway, resolve func(uint32) uint32) []bool {
	live := make([]bool, len(g.Servers))
	if unreadable(g) {
		return live
	}
	m := mergeAll([]*Gateway{g}, func(n uint32) (uint32, bool) { return resolve(n), true })
	for i := range g.Servers {
		s := member{g, i}
		live[i] = m.served(s, resolve(g.Servers[i].Port.Number))
	}
	return live
}

// unreadable says whether Istio's generator fails on the Gateway.
func unreadable(g *Gateway) bool {
	return slices.ContainsFunc(g.Servers, func(s Server) bool { return s.Unreadable })
}

// same is the resolution of ports where no Service translates them.
func same(number uint32) uint32 {
	return number
}

// ports leads from the ports of Gateways to those of one workload.
type ports struct {
	workload *Workload
	services []*Service
}

// portsOf returns how ports are resolved on the workload. The oldest Service decides: Istio's SetServiceTargets
// (pilot/pkg/model/context.go) sorts by creation and then by host name, which begins with the Service's own.
func portsOf(m Mesh, w *Workload) ports {
	p := ports{workload: w}
	if w.assumedOnly() {
		return p
	}
	for s := range m.ServicesSelecting(w.Reference.Namespace, w.Labels) {
		p.services = append(p.services, s)
	}
	slices.SortFunc(p.services, func(a, b *Service) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name+".", b.Name+"."))
	})
	return p
}

// resolve returns the port on which the workload listens for a Gateway's port: Istio's resolvePorts. The first Service
// that has a port of the number decides; where there is none, the number itself is the port.
func (p ports) resolve(number uint32) uint32 {
	for _, s := range p.services {
		if s.KeepsGatewayPorts {
			continue
		}
		if target, ok := p.target(s, number); ok {
			return target
		}
	}
	return number
}

// target is where the Service's port of that number leads to. Of several ports with one target and application protocol, Istio knows the
// first only (GetProxyServiceTargetsByPod).
func (p ports) target(s *Service, number uint32) (uint32, bool) {
	for i, port := range s.Ports {
		target, ok := p.targetOf(port)
		if !ok || port.Number != number {
			continue
		}
		if !slices.ContainsFunc(s.Ports[:i], func(earlier ServicePort) bool {
			t, ok := p.targetOf(earlier)
			return ok && t == target && earlier.Application == port.Application
		}) {
			return target, true
		}
	}
	return 0, false
}

// targetOf is the port of the workload that a port of a Service leads to: Istio's FindPort.
func (p ports) targetOf(port ServicePort) (uint32, bool) {
	if port.TargetName == "" {
		return port.Target, true
	}
	for _, c := range p.workload.Ports {
		if c.Name == port.TargetName && c.Protocol == port.Protocol {
			return c.Number, true
		}
	}
	return 0, false
}

// confuse says whether two of the Gateway's ports lead to one, so that servers meet that do not meet as written.
func (p ports) confuse(g *Gateway) bool {
	if len(p.services) == 0 {
		return false
	}
	for i := range g.Servers {
		a := g.Servers[i].Port.Number
		for j := range i {
			if b := g.Servers[j].Port.Number; a != b && p.resolve(a) == p.resolve(b) {
				return true
			}
		}
	}
	return false
}
