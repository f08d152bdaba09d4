package conformance

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Mutation is one way to get the rules wrong.
type Mutation struct {
	Name string
	Seam Seam
}

// AlignmentMutations returns the ways to get the rules on VirtualServices wrong that a suite must notice.
func AlignmentMutations() []Mutation {
	return slices.Concat(serverMutations(), virtualServiceMutations(), matchMutations(), workloadMutations(), settingsMutations(), findingMutations())
}

func serverMutations() []Mutation {
	return []Mutation{
		{"ignore the namespace part of a server's host", onServers(func(s *policy.Server) {
			for i := range s.Hosts {
				s.Hosts[i].Namespace = policy.EveryNamespace
			}
		})},
		{"read every namespace part as the Gateway's own", onGateways(func(g *policy.Gateway) {
			for _, s := range g.Servers {
				for i := range s.Hosts {
					if s.Hosts[i].Namespace != policy.EveryNamespace {
						s.Hosts[i].Namespace = g.Namespace
					}
				}
			}
		})},
		{"read a server's \"*\" as a name", onServers(func(s *policy.Server) {
			for i := range s.Hosts {
				if s.Hosts[i].Name == "*" {
					s.Hosts[i].Name = "any"
				}
			}
		})},
		{"ignore bind", onServers(func(s *policy.Server) { s.Bind = "" })},
		{"ignore the names of ports", onServers(func(s *policy.Server) { s.Port.Name = "" })},
		{"ignore lists that Istio's generator fails on", onServers(func(s *policy.Server) { s.Unreadable = false })},
		{"forget that redirect servers have a tls block", onServers(func(s *policy.Server) {
			if strings.HasPrefix(strings.ToUpper(s.Port.Protocol), "HTTP") && !strings.EqualFold(s.Port.Protocol, "HTTPS") {
				s.TLS = policy.NoTLS
			}
		})},
		{"take HTTPS passthrough for HTTP", onServers(func(s *policy.Server) {
			if strings.EqualFold(s.Port.Protocol, "HTTPS") && s.TLS == policy.TLSPassthrough {
				s.TLS = policy.TLSSimple
			}
		})},
		{"take auto-passthrough for passthrough", onServers(func(s *policy.Server) {
			if s.TLS == policy.TLSAutoPassthrough {
				s.TLS = policy.TLSPassthrough
			}
		})},
		{"take terminated TLS for passthrough", onServers(func(s *policy.Server) {
			if strings.EqualFold(s.Port.Protocol, "TLS") && s.TLS != policy.NoTLS {
				s.TLS = policy.TLSPassthrough
			}
		})},
		{"tell protocols apart by letter case", onServers(func(s *policy.Server) {
			if s.Port.Protocol != strings.ToUpper(s.Port.Protocol) {
				s.Port.Protocol = "UNKNOWN"
			}
		})},
		{"compare hosts without case", Seam{Resource: withoutCase}},
	}
}

func virtualServiceMutations() []Mutation {
	return []Mutation{
		{"ignore exportTo", onVirtualServices(func(v *policy.VirtualService) { v.ExportTo = []string{"*"} })},
		{"let the first entry of exportTo decide", onVirtualServices(func(v *policy.VirtualService) { v.ExportTo = v.ExportTo[:min(1, len(v.ExportTo))] })},
		{"leave short host names as they are", onVirtualServices(func(v *policy.VirtualService) {
			for i := range v.Hosts {
				v.Hosts[i].Name = policy.HostName(v.Hosts[i].Written)
			}
		})},
		{"leave legacy gateway names as they are", onVirtualServices(func(v *policy.VirtualService) {
			for i, ref := range v.Gateways {
				if strings.Contains(ref.Written, ".") && !strings.Contains(ref.Written, "/") {
					v.Gateways[i].Gateway = policy.Key{Namespace: v.Namespace, Name: ref.Written}
				}
			}
		})},
		{"look for every gateway in the VirtualService's namespace", onVirtualServices(func(v *policy.VirtualService) {
			for i := range v.Gateways {
				v.Gateways[i].Gateway.Namespace = v.Namespace
			}
		})},
		{"take the mesh for a Gateway", onVirtualServices(func(v *policy.VirtualService) {
			for i, ref := range v.Gateways {
				if ref.Mesh {
					v.Gateways[i] = policy.GatewayRef{Written: ref.Written, Gateway: policy.Key{Namespace: v.Namespace, Name: ref.Written}}
				}
			}
		})},
		{"ignore all gateways but the first", onVirtualServices(func(v *policy.VirtualService) { v.Gateways = v.Gateways[:min(1, len(v.Gateways))] })},
		{"ignore all hosts but the first", onVirtualServices(func(v *policy.VirtualService) { v.Hosts = v.Hosts[:min(1, len(v.Hosts))] })},
		{"let every kind of route through every server", onVirtualServices(func(v *policy.VirtualService) {
			v.Kinds = policy.RouteKinds{HTTP: true, TLS: true, TCP: true}
			for _, kind := range []policy.RouteKind{policy.HTTPRoute, policy.TLSRoute, policy.TCPRoute} {
				v.Matches = append(v.Matches, policy.Match{Kind: kind, Entry: -1})
			}
		})},
	}
}

func matchMutations() []Mutation {
	return []Mutation{
		{"ignore match.port", onMatches(func(m *policy.Match) { m.Port = 0 })},
		{"ignore match.gateways", onMatches(func(m *policy.Match) { m.Gateways = nil })},
		{"ignore sniHosts", onMatches(func(m *policy.Match) { m.SNIHosts = nil })},
		{"ignore all sniHosts but the first", onMatches(func(m *policy.Match) { m.SNIHosts = m.SNIHosts[:min(1, len(m.SNIHosts))] })},
		{"ignore sourceLabels", onMatches(func(m *policy.Match) { m.SourceLabels = nil })},
		{"ignore sourceNamespace", onMatches(func(m *policy.Match) { m.SourceNamespace = "" })},
		{"heed source conditions beside match.gateways", onMatches(func(m *policy.Match) {
			if m.SourceNamespace != "" || len(m.SourceLabels) > 0 {
				m.Gateways = nil
			}
		})},
		{"count routes without a destination", onMatches(func(m *policy.Match) { m.Idle = false })},
	}
}

func workloadMutations() []Mutation {
	return []Mutation{
		{"ignore Services", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutServices{m} }}},
		{"ignore workloads", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return withoutWorkloads{m} }}},
		{"take selectors for all of a workload's labels", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return equalLabels{m} }}},
		{"take the Gateway's namespace for its workloads'", Seam{Mesh: func(m policy.Mesh) policy.Mesh { return gatewaysNamespace{m} }}},
		{"let the youngest Service decide", onServices(func(s *policy.Service) { s.Created = -s.Created })},
		{"translate ports by Services that keep them", onServices(func(s *policy.Service) { s.KeepsGatewayPorts = false })},
		{"ignore the names of target ports", onServices(func(s *policy.Service) {
			for i := range s.Ports {
				if s.Ports[i].TargetName != "" {
					s.Ports[i].Target, s.Ports[i].TargetName = s.Ports[i].Number, ""
				}
			}
		})},
		{"let an unprivileged pod listen on every port", Seam{Resource: func(r policy.Resource) policy.Resource {
			if w, ok := r.(*policy.Workload); ok {
				c := *w
				c.Unprivileged = false
				return &c
			}
			return r
		}}},
	}
}

func settingsMutations() []Mutation {
	return []Mutation{
		{"ignore defaultVirtualServiceExportTo", onSettings(func(s *policy.Settings) { s.DefaultExportTo = nil })},
		{"ignore that Gateways are scoped", onSettings(func(s *policy.Settings) { s.ScopeGateways = false })},
		{"scope all Gateways", onSettings(func(s *policy.Settings) { s.ScopeGateways = true })},
	}
}

func findingMutations() []Mutation {
	take := func(from, to string) Seam {
		return Seam{Finding: func(f *policy.Finding) {
			if f.Rule == from {
				f.Rule = to
			}
		}}
	}
	return []Mutation{
		{"take a wrong kind of route for a host that nothing carries", take("MW103", "MW102")},
		{"take a route that does not apply for one of the wrong kind", take("MW114", "MW103")},
		{"take a VirtualService that is not exported for one without a route", take("MW104", "MW114")},
		{"deny on a guess", Seam{Finding: func(f *policy.Finding) { f.Action = policy.Deny }}},
	}
}

// onGateways returns the seam that changes a copy of each Gateway.
func onGateways(change func(*policy.Gateway)) Seam {
	return Seam{Resource: func(r policy.Resource) policy.Resource {
		g, ok := r.(*policy.Gateway)
		if !ok {
			return r
		}
		c := *g
		c.Servers = slices.Clone(g.Servers)
		for i := range c.Servers {
			c.Servers[i].Hosts = slices.Clone(c.Servers[i].Hosts)
		}
		change(&c)
		return policy.NewGateway(c)
	}}
}

func onServers(change func(*policy.Server)) Seam {
	return onGateways(func(g *policy.Gateway) {
		for i := range g.Servers {
			change(&g.Servers[i])
		}
	})
}

// onVirtualServices returns the seam that changes a copy of each VirtualService.
func onVirtualServices(change func(*policy.VirtualService)) Seam {
	return Seam{Resource: func(r policy.Resource) policy.Resource {
		v, ok := r.(*policy.VirtualService)
		if !ok {
			return r
		}
		c := *v
		c.Hosts, c.Gateways, c.Matches = slices.Clone(v.Hosts), slices.Clone(v.Gateways), slices.Clone(v.Matches)
		change(&c)
		return &c
	}}
}

func onMatches(change func(*policy.Match)) Seam {
	return onVirtualServices(func(v *policy.VirtualService) {
		for i := range v.Matches {
			change(&v.Matches[i])
		}
	})
}

func onServices(change func(*policy.Service)) Seam {
	return Seam{Resource: func(r policy.Resource) policy.Resource {
		s, ok := r.(*policy.Service)
		if !ok {
			return r
		}
		c := *s
		c.Ports = slices.Clone(s.Ports)
		change(&c)
		return &c
	}}
}

func onSettings(change func(*policy.Settings)) Seam {
	return Seam{Mesh: func(m policy.Mesh) policy.Mesh {
		s := m.Settings()
		change(&s)
		return settled{m, s}
	}}
}

// settled is a world under other settings.
type settled struct {
	policy.Mesh
	settings policy.Settings
}

func (s settled) Settings() policy.Settings { return s.settings }

// withoutCase lowers every host that is compared with another one.
func withoutCase(r policy.Resource) policy.Resource {
	lower := func(h policy.HostName) policy.HostName { return policy.HostName(strings.ToLower(string(h))) }
	r = onServers(func(s *policy.Server) {
		for i := range s.Hosts {
			s.Hosts[i].Name = lower(s.Hosts[i].Name)
		}
	}).resource(r)
	return onVirtualServices(func(v *policy.VirtualService) {
		for i := range v.Hosts {
			v.Hosts[i].Name = lower(v.Hosts[i].Name)
		}
		for i := range v.Matches {
			v.Matches[i].SNIHosts = slices.Clone(v.Matches[i].SNIHosts)
			for n := range v.Matches[i].SNIHosts {
				v.Matches[i].SNIHosts[n] = lower(v.Matches[i].SNIHosts[n])
			}
		}
	}).resource(r)
}

type withoutServices struct{ policy.Mesh }

func (withoutServices) ServicesSelecting(string, map[string]string) iter.Seq[*policy.Service] {
	return func(func(*policy.Service) bool) {}
}

func (withoutServices) Services() iter.Seq[*policy.Service] {
	return func(func(*policy.Service) bool) {}
}

type withoutWorkloads struct{ policy.Mesh }

func (withoutWorkloads) WorkloadsSelectedBy(map[string]string) iter.Seq[*policy.Workload] {
	return func(func(*policy.Workload) bool) {}
}

type equalLabels struct{ policy.Mesh }

func (e equalLabels) WorkloadsSelectedBy(selector map[string]string) iter.Seq[*policy.Workload] {
	return func(yield func(*policy.Workload) bool) {
		for w := range e.Mesh.WorkloadsSelectedBy(selector) {
			if maps.Equal(w.Labels, selector) && !yield(w) {
				return
			}
		}
	}
}

type gatewaysNamespace struct{ policy.Mesh }

func (n gatewaysNamespace) WorkloadsSelectedBy(selector map[string]string) iter.Seq[*policy.Workload] {
	return func(yield func(*policy.Workload) bool) {
		for w := range n.Mesh.WorkloadsSelectedBy(selector) {
			c := *w
			for g := range n.GatewaysSelecting(w.Labels) {
				if maps.Equal(g.Selector, selector) {
					c.Reference.Namespace = g.Namespace
				}
			}
			if !yield(&c) {
				return
			}
		}
	}
}
