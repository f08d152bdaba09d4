package conformance

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The kinds of servers that alignment tells apart and conflicts don't.
const (
	kindHTTPS       = "HTTPS"
	kindPassthrough = "passthrough"
)

// conflictKinds are the kinds of servers whose meetings the coverage table counts.
func conflictKinds() []string {
	return []string{kindHTTP, kindRedirect, kindHTTPS, kindTLSTerminated, kindPassthrough, kindAutoPassthrough, kindTCP}
}

// family returns the kinds of servers of a case. A few kinds meet more often than many.
func (d *conflictDraw) family() []string {
	switch d.IntN(8) {
	case 0:
		return []string{kindHTTP, kindRedirect, kindTCP}
	case 1:
		return []string{kindHTTPS, kindPassthrough, kindTLSTerminated}
	case 2:
		return []string{kindAutoPassthrough, kindAutoPassthrough, kindPassthrough}
	case 3:
		return []string{kindHTTP, kindHTTPS}
	case 4:
		return append(conflictKinds(), kindOdd)
	}
	return conflictKinds()
}

// shape sets the protocol and the tls block of a server of the kind.
func (d *conflictDraw) shape(kind string, s *networking.Server) {
	terminated := &networking.ServerTLSSettings{
		CredentialName: "cert",
		Mode: oneOf(d.draw, networking.ServerTLSSettings_SIMPLE, networking.ServerTLSSettings_SIMPLE, networking.ServerTLSSettings_MUTUAL,
			networking.ServerTLSSettings_OPTIONAL_MUTUAL, networking.ServerTLSSettings_ISTIO_MUTUAL),
	}
	if terminated.Mode == networking.ServerTLSSettings_ISTIO_MUTUAL {
		terminated.CredentialName = ""
	}
	switch kind {
	case kindHTTP:
		s.Port.Protocol = oneOf(d.draw, "HTTP", "HTTP", "HTTP", "HTTP2", "GRPC", "http", "GRPC-WEB", "HTTP_PROXY")
	case kindRedirect:
		s.Port.Protocol = oneOf(d.draw, "HTTP", "HTTP", "HTTP2")
		s.Tls = &networking.ServerTLSSettings{HttpsRedirect: true}
		if d.chance(5) {
			s.Tls.Mode = networking.ServerTLSSettings_AUTO_PASSTHROUGH
		}
	case kindHTTPS:
		s.Port.Protocol, s.Tls = oneOf(d.draw, "HTTPS", "HTTPS", "https"), terminated
	case kindTLSTerminated:
		s.Port.Protocol, s.Tls = "TLS", terminated
	case kindPassthrough:
		s.Port.Protocol, s.Tls = oneOf(d.draw, "TLS", "HTTPS"), &networking.ServerTLSSettings{}
	case kindAutoPassthrough:
		s.Port.Protocol = oneOf(d.draw, "TLS", "TLS", "HTTPS")
		s.Tls = &networking.ServerTLSSettings{Mode: networking.ServerTLSSettings_AUTO_PASSTHROUGH}
	case kindTCP:
		s.Port.Protocol = oneOf(d.draw, "TCP", "TCP", "TCP", "MONGO", "REDIS", "MYSQL", "tcp")
	case kindOdd:
		s.Port.Protocol = oneOf(d.draw, "TCP", "HTTPS", "TLS", "UDP", "bogus")
		if s.Port.Protocol == "TCP" && d.chance(70) {
			s.Tls = terminated
		}
	}
}

// workloads adds what runs the Gateways and what leads to it. In so many of 100 cases it is not known.
func (d *conflictDraw) workloads(unknown int) {
	t := string(d.world.Token)
	if d.chance(unknown) {
		return
	}
	for i := range 1 + d.IntN(2) {
		w := &Workload{
			Kind: oneOf(d.draw, policy.KindDeployment, policy.KindDaemonSet, policy.KindStatefulSet, policy.KindPod), Name: fmt.Sprintf("proxy%d", i),
			Namespace: d.namespace(), Labels: d.labels("app", "pod"),
			Router: d.chance(75), Unprivileged: d.chance(12),
		}
		switch n := d.IntN(6); {
		case n < 3, n < 5 && d.close:
			w.Labels["tier"] = "tier" + t
		case n == 3:
			w.Labels["app"] = "z" + t
		}
		for n, name := range []string{"web", "secure", "extra"} {
			w.Ports = append(w.Ports, corev1.ContainerPort{Name: name, ContainerPort: []int32{8080, 8443, 443}[n], Protocol: corev1.ProtocolTCP})
		}
		d.world.Workloads = append(d.world.Workloads, w)
		if d.chance(60) {
			for s := range 1 + d.IntN(2) {
				d.entry(w, fmt.Sprintf("entry%d%d", i, s))
			}
		}
	}
	if d.chance(30) {
		d.world.Workloads = append(d.world.Workloads, &Workload{
			Kind: policy.KindDeployment, Name: "bystander", Namespace: d.namespace(), Labels: map[string]string{"app": "web" + t},
		})
	}
}

// entry adds a Service that leads to the workload.
func (d *conflictDraw) entry(w *Workload, name string) {
	selector := map[string]string{"pod": w.Labels["pod"]}
	if d.chance(15) {
		selector["app"] = "other" + string(d.world.Token)
	}
	s := NewService(w.Namespace, name, d.age(), selector)
	if d.chance(15) {
		s.Labels = map[string]string{"experimental.istio.io/disable-gateway-port-translation": "true"}
	}
	numbers := []int32{80, 443, 8080, 8443}
	d.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	for i, number := range numbers[:1+d.IntN(4)] {
		port := corev1.ServicePort{Name: fmt.Sprintf("%s%d", oneOf(d.draw, "http-", "tcp-", "https-", "port"), i), Port: number, Protocol: corev1.ProtocolTCP}
		port.TargetPort = oneOf(d.draw, intstr.FromInt32(8080), intstr.FromInt32(8443), intstr.FromInt32(8443), intstr.FromString("web"),
			intstr.FromString("secure"), intstr.FromString("extra"), intstr.FromString("missing"), intstr.IntOrString{})
		if d.chance(5) {
			port.Protocol = corev1.ProtocolUDP
		}
		s.Spec.Ports = append(s.Spec.Ports, port)
	}
	d.world.Services = append(d.world.Services, s)
}

// routes adds the VirtualServices without which a passthrough or TCP server gets no filter chain, and the Services that an
// auto-passthrough server makes its filter chains of.
func (d *conflictDraw) routes() {
	for i, g := range d.world.Gateways {
		count := oneOf(d.draw, 1, 1, 1, 1, 1, 2)
		if d.strays(15) {
			count = 0
		}
		for n := range count {
			d.route(g, fmt.Sprintf("route%d%d", i, n))
		}
	}
	for i, name := range []string{"db", "web"} {
		if d.chance(70) {
			s := NewService(fmt.Sprintf("ns%d%s", 1+i, d.world.Token), name, d.age(), map[string]string{"app": name})
			s.Spec.Ports = []corev1.ServicePort{{
				Name: "tcp", Port: 9000, Protocol: oneOf(d.draw, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP),
			}}
			if d.chance(20) {
				s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "outside.example.com"
			}
			d.world.Services = append(d.world.Services, s)
		}
	}
}

// strays is true in so many of 100 cases, and in a third of these where the case is to be a close one.
func (d *conflictDraw) strays(percent int) bool {
	return d.chance(percent) && (!d.close || d.chance(33))
}

// route adds a VirtualService on the Gateway.
func (d *conflictDraw) route(g *Gateway, name string) {
	v := NewVirtualService(d.namespace(), name, d.age())
	server := g.Spec.Servers[d.IntN(len(g.Spec.Servers))]
	if permitted, _, ok := strings.Cut(server.Hosts[0], "/"); ok && strings.HasPrefix(permitted, "ns") && !d.strays(15) {
		v.Namespace = permitted
	}
	if strings.HasPrefix(server.Hosts[0], "./") && !d.strays(15) {
		v.Namespace = g.Namespace
	}
	for _, h := range server.Hosts {
		if h = h[strings.LastIndex(h, "/")+1:]; !slices.Contains(v.Spec.Hosts, h) {
			v.Spec.Hosts = append(v.Spec.Hosts, h)
		}
	}
	if d.strays(15) {
		v.Spec.Hosts = []string{d.host(false)}
	}
	v.Spec.Gateways = []string{g.Key().String()}
	if d.chance(20) {
		v.Spec.Gateways = append(v.Spec.Gateways, d.world.Gateways[d.IntN(len(d.world.Gateways))].Key().String())
	}
	if d.strays(12) {
		v.Spec.ExportTo = []string{oneOf(d.draw, ".", "*", d.namespace())}
	}
	to := []*networking.RouteDestination{{Destination: &networking.Destination{Host: "db.ns1" + string(d.world.Token) + ".svc." + d.world.Settings.clusterDomain()}}}
	if !d.strays(25) {
		r := &networking.TCPRoute{Route: to}
		if d.chance(5) {
			r.Route = nil
		}
		if d.strays(20) {
			r.Match = []*networking.L4MatchAttributes{{Port: oneOf(d.draw, server.Port.Number, 443)}}
		}
		v.Spec.Tcp = append(v.Spec.Tcp, r)
	}
	if !d.strays(25) {
		v.Spec.Tls = append(v.Spec.Tls, d.tlsRoute(g, v, to))
	}
	if d.chance(20) {
		v.Spec.Tls = append(v.Spec.Tls, d.tlsRoute(g, v, to))
	}
	d.world.VirtualServices = append(d.world.VirtualServices, v)
}

func (d *conflictDraw) tlsRoute(g *Gateway, v *VirtualService, to []*networking.RouteDestination) *networking.TLSRoute {
	m := &networking.TLSMatchAttributes{SniHosts: v.Spec.Hosts}
	if d.strays(25) {
		m.SniHosts = []string{oneOf(d.draw, "a.example.com", "b.example.com", "*.example.com", "*")}
	}
	if d.chance(20) {
		m.SniHosts = m.SniHosts[:1]
	}
	if d.strays(12) {
		m.Port = oneOf(d.draw, g.Spec.Servers[0].Port.Number, 443)
	}
	if d.strays(20) {
		m.Gateways = []string{d.world.Gateways[d.IntN(len(d.world.Gateways))].Key().String()}
	}
	r := &networking.TLSRoute{Match: []*networking.TLSMatchAttributes{m}, Route: to}
	if d.chance(10) {
		r.Match = append(r.Match, &networking.TLSMatchAttributes{SniHosts: []string{d.host(false)}})
	}
	if d.chance(4) {
		r.Route = nil
	}
	return r
}
