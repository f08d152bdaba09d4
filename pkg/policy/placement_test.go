package policy

import (
	"iter"
	"slices"
	"testing"
)

// servicesOnly is a mesh of Services that all select the workload.
type servicesOnly struct {
	Mesh
	services []*Service
}

func (m servicesOnly) ServicesSelecting(string, map[string]string) iter.Seq[*Service] {
	return slices.Values(m.services)
}

func TestResolve(t *testing.T) {
	// to is a port of a Service that leads to a number, and named one that leads to a container's port.
	to := func(number, target uint32) ServicePort {
		return ServicePort{Number: number, Protocol: "TCP", Target: target}
	}
	named := func(number uint32, target string) ServicePort {
		return ServicePort{Number: number, Protocol: "TCP", TargetName: target}
	}
	with := func(name string, created int64, ports ...ServicePort) *Service {
		return &Service{Key: Key{"istio-system", name}, Created: created, Ports: ports}
	}
	keeping := with("a", 1, to(443, 8443))
	keeping.KeepsGatewayPorts = true
	application := to(443, 8443)
	application.Application = "HTTPS"
	tests := []struct {
		reason   string
		services []*Service
		want     uint32
	}{
		{"no Service", nil, 443},
		{"a Service with the port", []*Service{with("a", 1, to(443, 8443))}, 8443},
		{"a Service without the port", []*Service{with("a", 1, to(80, 8080))}, 443},
		{"a Service that leads to the port from another one", []*Service{with("a", 1, to(8443, 443))}, 443},
		{"a container's port by name", []*Service{with("a", 1, named(443, "https"))}, 9443},
		{"a name of no container's port", []*Service{with("a", 1, named(443, "tls"))}, 443},
		{"a name of a container's port of another protocol", []*Service{with("a", 1, named(443, "quic"))}, 443},
		{"a name of no container's port, and a Service that knows better", []*Service{with("a", 1, named(443, "tls")), with("b", 2, to(443, 8443))}, 8443},
		{"the oldest Service with the port decides", []*Service{with("a", 2, to(443, 8443)), with("b", 1, to(443, 9443))}, 9443},
		{"of Services of one age the name decides", []*Service{with("b", 1, to(443, 8443)), with("a", 1, to(443, 9443))}, 9443},
		{"names are compared as the beginnings of host names", []*Service{with("a-b", 1, to(443, 8443)), with("a", 1, to(443, 9443))}, 8443},
		{"an older Service without the port decides nothing", []*Service{with("a", 1, to(80, 8080)), with("b", 2, to(443, 8443))}, 8443},
		{"a Service that keeps the ports of Gateways", []*Service{keeping}, 443},
		{"a Service that keeps them, and another one", []*Service{keeping, with("b", 2, to(443, 9443))}, 9443},
		{"of two ports with one target the first counts", []*Service{with("a", 1, to(80, 8443), to(443, 8443))}, 443},
		{"two ports with one target differ by what they are for", []*Service{with("a", 1, to(80, 8443), application)}, 8443},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := &Workload{
				Reference: Ref{Kind: KindDeployment, Key: Key{"istio-system", "gateway"}},
				Ports:     []ContainerPort{{Name: "https", Protocol: "TCP", Number: 9443}, {Name: "quic", Protocol: "UDP", Number: 7443}},
			}
			p := portsOf(servicesOnly{services: tc.services}, w)
			if got := p.resolve(443); got != tc.want {
				t.Errorf("port 443 leads to %d, want %d", got, tc.want)
			}
			if got := portsOf(servicesOnly{services: tc.services}, assumed("", nil)).resolve(443); got != 443 {
				t.Errorf("on a workload that is assumed, port 443 leads to %d", got)
			}
		})
	}
}
