package conformance

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// ConflictMutations returns the ways to get the rules on Gateways wrong that a suite must notice.
func ConflictMutations() []Mutation {
	return slices.Concat(ageMutations(), bindMutations(), meetingMutations(), protocolMutations(), chainMutations(), portMutations())
}

func ageMutations() []Mutation {
	return []Mutation{
		{"swap the age order", onGateways(func(g *policy.Gateway) { g.Created = -g.Created })},
		{"order by name alone", onGateways(func(g *policy.Gateway) { g.Created = 0 })},
		{"let the youngest Service decide", onServices(func(s *policy.Service) { s.Created = -s.Created })},
	}
}

func bindMutations() []Mutation {
	return []Mutation{
		{"ignore bind", onServers(func(s *policy.Server) { s.Bind = "" })},
		{"take 0.0.0.0 for no bind in the merge", onServers(func(s *policy.Server) {
			if s.Bind == "0.0.0.0" {
				s.Bind = ""
			}
		})},
		{"take 0.0.0.0 for an address of its own in the listener", onServers(func(s *policy.Server) {
			if s.Bind == "0.0.0.0" {
				s.Bind = "10.9.9.9"
			}
		})},
	}
}

func meetingMutations() []Mutation {
	return []Mutation{
		{"forget narrower selectors", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutNarrower{m} }}},
		{"forget Gateways without a selector", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutOpen{m} }}},
		{"ignore workloads", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutWorkloads{m} }}},
		{"compare hosts without the namespace part", onServers(func(s *policy.Server) {
			for i := range s.Hosts {
				s.Hosts[i].Namespace = policy.EveryNamespace
			}
		})},
		{"compare hosts without case", Seam{Resource: withoutCase}},
		{"compare the first hosts alone", onServers(func(s *policy.Server) { s.Hosts = s.Hosts[:min(1, len(s.Hosts))] })},
		{"ignore lists that Istio's generator fails on", onServers(func(s *policy.Server) { s.Unreadable = false })},
		{"ignore that Gateways are scoped", onSettings(func(s *policy.Settings) { s.ScopeGateways = false })},
		{"scope all Gateways", onSettings(func(s *policy.Settings) { s.ScopeGateways = true })},
	}
}

func protocolMutations() []Mutation {
	plainHTTP := func(s *policy.Server) bool {
		return slices.Contains([]string{"HTTP", "HTTP2", "GRPC", "GRPC-WEB"}, strings.ToUpper(s.Port.Protocol))
	}
	return []Mutation{
		{"forget that redirect servers have a tls block", onServers(func(s *policy.Server) {
			if plainHTTP(s) {
				s.TLS = policy.NoTLS
			}
		})},
		{"take plain HTTP beside plain HTTP for a conflict", onServers(func(s *policy.Server) {
			if plainHTTP(s) {
				s.Port.Protocol = "TCP"
			}
		})},
		{"let every plain server merge", onServers(func(s *policy.Server) {
			if s.TLS == policy.NoTLS {
				s.Port.Protocol = "HTTP"
			}
		})},
		{"tell protocols apart by letter case", onServers(func(s *policy.Server) {
			if s.Port.Protocol != strings.ToUpper(s.Port.Protocol) {
				s.Port.Protocol = "UNKNOWN"
			}
		})},
		{"let HTTPS servers share a port name", onGateways(func(g *policy.Gateway) {
			for i := range g.Servers {
				g.Servers[i].Port.Name = strings.Repeat("n", i+1)
			}
		})},
	}
}

func chainMutations() []Mutation {
	return []Mutation{
		{"ignore VirtualServices", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutVirtualServices{m} }}},
		{"ignore exportTo", onVirtualServices(func(v *policy.VirtualService) { v.ExportTo = []string{"*"} })},
		{"ignore match.port", onMatches(func(m *policy.Match) { m.Port = 0 })},
		{"ignore match.gateways", onMatches(func(m *policy.Match) { m.Gateways = nil })},
		{"ignore sniHosts", onMatches(func(m *policy.Match) { m.SNIHosts = nil })},
		{"count routes without a destination", onMatches(func(m *policy.Match) { m.Idle = false })},
		{"take auto-passthrough for passthrough", onServers(func(s *policy.Server) {
			if s.TLS == policy.TLSAutoPassthrough {
				s.TLS = policy.TLSPassthrough
			}
		})},
		{"build auto-passthrough chains for Services outside the mesh", onServices(func(s *policy.Service) { s.External = false })},
		{"build auto-passthrough chains for UDP", onServices(func(s *policy.Service) {
			for i := range s.Ports {
				s.Ports[i].Application = "TCP"
			}
		})},
	}
}

func portMutations() []Mutation {
	return []Mutation{
		{"ignore Services", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutServices{m} }}},
		{"translate ports by Services that keep them", onServices(func(s *policy.Service) { s.KeepsGatewayPorts = false })},
		{"ignore the names of target ports", onServices(func(s *policy.Service) {
			for i := range s.Ports {
				if s.Ports[i].TargetName != "" {
					s.Ports[i].Target, s.Ports[i].TargetName = s.Ports[i].Number, ""
				}
			}
		})},
		{"translate every port of a Service that leads to one target", onServices(func(s *policy.Service) {
			for i := range s.Ports {
				s.Ports[i].Application = strings.Repeat("N", i+1)
			}
		})},
		{"let an unprivileged pod listen on every port", onWorkloads(func(w *policy.Workload) { w.Unprivileged = false })},
	}
}

// onWorkloads returns the seam that changes a copy of each workload.
func onWorkloads(change func(*policy.Workload)) Seam {
	return Seam{Resource: func(r policy.Resource) policy.Resource {
		w, ok := r.(*policy.Workload)
		if !ok {
			return r
		}
		c := *w
		change(&c)
		return &c
	}}
}

type withoutVirtualServices struct{ policy.Mesh }

func (withoutVirtualServices) VirtualServicesOf(policy.Key) iter.Seq[*policy.VirtualService] {
	return func(func(*policy.VirtualService) bool) {}
}

type withoutNarrower struct{ policy.Mesh }

func (n withoutNarrower) GatewaysWithin(selector map[string]string) iter.Seq[*policy.Gateway] {
	return only(n.Mesh.GatewaysWithin(selector), func(g *policy.Gateway) bool { return maps.Equal(g.Selector, selector) })
}

type withoutOpen struct{ policy.Mesh }

func (o withoutOpen) GatewaysSelecting(labels map[string]string) iter.Seq[*policy.Gateway] {
	return only(o.Mesh.GatewaysSelecting(labels), func(g *policy.Gateway) bool { return len(g.Selector) > 0 })
}

func only(all iter.Seq[*policy.Gateway], wanted func(*policy.Gateway) bool) iter.Seq[*policy.Gateway] {
	return func(yield func(*policy.Gateway) bool) {
		for g := range all {
			if wanted(g) && !yield(g) {
				return
			}
		}
	}
}
