package conformance

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The kinds of servers that the coverage table tells apart.
const (
	kindHTTP             = "HTTP"
	kindRedirect         = "httpsRedirect"
	kindSimple           = "HTTPS simple"
	kindMutual           = "HTTPS mutual"
	kindHTTPSPassthrough = "HTTPS passthrough"
	kindTLSPassthrough   = "TLS passthrough"
	kindAutoPassthrough  = "auto-passthrough"
	kindTLSTerminated    = "TLS terminated"
	kindTCP              = "TCP"
	// kindOdd are those that Istio's webhook refuses and its generator takes all the same. The table leaves them out.
	kindOdd = "odd"
)

// serverKindsFor returns the kinds of servers that take the kind of route.
func serverKindsFor(kind policy.RouteKind) []string {
	switch kind {
	case policy.HTTPRoute:
		return []string{kindHTTP, kindRedirect, kindSimple, kindMutual}
	case policy.TLSRoute:
		return []string{kindHTTPSPassthrough, kindTLSPassthrough}
	}
	return []string{kindTLSTerminated, kindTCP}
}

func allServerKinds() []string {
	return []string{
		kindHTTP, kindRedirect, kindSimple, kindMutual, kindHTTPSPassthrough, kindTLSPassthrough, kindAutoPassthrough, kindTLSTerminated, kindTCP,
	}
}

// kindOfServer tells which kind a server is of.
func kindOfServer(s *networking.Server) string {
	p := protocol.Parse(s.GetPort().GetProtocol())
	mode := s.GetTls().GetMode()
	switch {
	case p.IsHTTP() && s.Tls == nil:
		return kindHTTP
	case p.IsHTTP() && s.Tls.HttpsRedirect:
		return kindRedirect
	case s.Tls == nil && p == protocol.TCP:
		return kindTCP
	case s.Tls == nil || p.IsHTTP():
		return kindOdd
	case mode == networking.ServerTLSSettings_AUTO_PASSTHROUGH:
		return kindAutoPassthrough
	case mode == networking.ServerTLSSettings_PASSTHROUGH && p == protocol.HTTPS:
		return kindHTTPSPassthrough
	case mode == networking.ServerTLSSettings_PASSTHROUGH && p == protocol.TLS:
		return kindTLSPassthrough
	case mode == networking.ServerTLSSettings_SIMPLE && p == protocol.HTTPS:
		return kindSimple
	case mode == networking.ServerTLSSettings_MUTUAL && p == protocol.HTTPS:
		return kindMutual
	case p == protocol.TLS:
		return kindTLSTerminated
	}
	return kindOdd
}

// gateway adds a Gateway that fits the VirtualService and the workloads more often than not.
func (d *alignmentDraw) gateway(name string) {
	namespace := d.namespace()
	if d.chance(30) {
		namespace = d.v.Namespace
	}
	g := NewGateway(namespace, name, d.age())
	g.Spec.Selector = map[string]string{"istio": d.label(oneOf(d.draw, "public", "internal", "nobody"))}
	if n := len(d.world.Workloads); n > 0 && d.chance(94) {
		w := oneOf(d.draw, d.world.Workloads...)
		g.Spec.Selector = map[string]string{"istio": w.Labels["istio"]}
		if tier, ok := w.Labels["tier"]; ok && d.chance(50) {
			g.Spec.Selector["tier"] = tier
		}
		if d.world.Settings.ScopeGateways && d.chance(85) {
			g.Namespace = w.Namespace
		}
	}
	// Without scope such a Gateway needs a run of Istio's generator of its own, and that takes a while.
	if d.chance(map[bool]int{true: 8, false: 1}[d.world.Settings.ScopeGateways]) {
		g.Spec.Selector = nil
	}
	if len(d.world.Gateways) > 0 && d.chance(10) {
		// Another one of its name: only the namespace tells them apart.
		key := policy.Key{Namespace: g.Namespace, Name: d.world.Gateways[0].Name}
		if d.world.Gateway(key) == nil {
			g.Name = key.Name
		}
	}
	d.world.Gateways = append(d.world.Gateways, g)
	for i := range weighted(d.draw, weight[int]{1, 58}, weight[int]{2, 27}, weight[int]{3, 15}) {
		s := d.server(i, d.serverKind())
		s.Hosts = d.serverHosts(g)
		if i > 0 {
			d.clash(g.Spec.Servers[0], s)
		}
		g.Spec.Servers = append(g.Spec.Servers, s)
	}
}

// clash has the server meet the Gateway's first one now and then: on its port, under its name, with one of its hosts.
func (d *alignmentDraw) clash(first, s *networking.Server) {
	if d.chance(30) {
		s.Port.Number = first.Port.Number
		if d.chance(40) {
			s.Bind = first.Bind
			s.Hosts = append(s.Hosts, oneOf(d.draw, first.Hosts...))
		}
	}
	if d.chance(4) {
		s.Port.Name = first.Port.Name
	}
	if d.chance(5) {
		s.Hosts = append(s.Hosts, first.Hosts[0])
	}
}

func (d *alignmentDraw) serverKind() string {
	if len(d.kinds) == 0 || d.chance(8) {
		return oneOf(d.draw, append(allServerKinds(), kindOdd)...)
	}
	return oneOf(d.draw, serverKindsFor(oneOf(d.draw, d.kinds...))...)
}

// server returns a server of the kind without hosts.
func (d *alignmentDraw) server(i int, kind string) *networking.Server {
	s := &networking.Server{Port: &networking.Port{Number: 443, Protocol: "HTTPS"}}
	tls := func(mode networking.ServerTLSSettings_TLSmode) *networking.ServerTLSSettings {
		return &networking.ServerTLSSettings{Mode: mode}
	}
	switch kind {
	case kindHTTP:
		s.Port = &networking.Port{Number: 80, Protocol: oneOf(d.draw, "HTTP", "HTTP", "HTTP", "HTTP2", "GRPC", "GRPC-Web", "http")}
	case kindRedirect:
		s.Port = &networking.Port{Number: 80, Protocol: oneOf(d.draw, "HTTP", "HTTP", "HTTP2")}
		s.Tls = &networking.ServerTLSSettings{HttpsRedirect: true}
	case kindSimple:
		s.Tls = tls(networking.ServerTLSSettings_SIMPLE)
	case kindMutual:
		s.Tls = tls(networking.ServerTLSSettings_MUTUAL)
	case kindHTTPSPassthrough:
		s.Tls = tls(networking.ServerTLSSettings_PASSTHROUGH)
	case kindTLSPassthrough:
		s.Port.Protocol, s.Tls = oneOf(d.draw, "TLS", "TLS", "tls"), tls(networking.ServerTLSSettings_PASSTHROUGH)
	case kindAutoPassthrough:
		s.Port = &networking.Port{Number: 15443, Protocol: oneOf(d.draw, "TLS", "TLS", "HTTPS")}
		s.Tls = tls(networking.ServerTLSSettings_AUTO_PASSTHROUGH)
	case kindTLSTerminated:
		s.Port.Protocol = "TLS"
		s.Tls = tls(oneOf(d.draw, networking.ServerTLSSettings_SIMPLE, networking.ServerTLSSettings_MUTUAL, networking.ServerTLSSettings_ISTIO_MUTUAL))
	case kindTCP:
		s.Port = &networking.Port{Number: oneOf(d.draw, uint32(9000), 9000, 443), Protocol: "TCP"}
	case kindOdd:
		d.odd(s)
	}
	if s.Tls.GetMode() == networking.ServerTLSSettings_SIMPLE || s.Tls.GetMode() == networking.ServerTLSSettings_MUTUAL {
		s.Tls.CredentialName = "cert"
	}
	s.Port.Name = fmt.Sprintf("port-%d", i)
	if d.chance(12) {
		s.Port.Number = oneOf(d.draw, uint32(8080), 8443, 80, 443)
	}
	if d.chance(10) {
		s.Bind = oneOf(d.draw, "10.0.0.1", "10.0.0.2", "0.0.0.0")
	}
	return s
}

// odd makes the server one that Istio's own webhook refuses, or that few people write.
func (d *alignmentDraw) odd(s *networking.Server) {
	switch d.IntN(7) {
	case 0:
		s.Port.Protocol = "HTTPS"
	case 1:
		s.Port.Protocol = "TLS"
	case 2:
		s.Port.Protocol, s.Tls = "TCP", &networking.ServerTLSSettings{Mode: networking.ServerTLSSettings_SIMPLE}
	case 3:
		s.Port.Protocol, s.Tls = "TCP", &networking.ServerTLSSettings{Mode: networking.ServerTLSSettings_PASSTHROUGH}
	case 4:
		s.Port.Protocol = oneOf(d.draw, "MONGO", "MYSQL", "REDIS", "UDP", "THRIFT", "SMTP")
	case 5:
		s.Tls = &networking.ServerTLSSettings{Mode: oneOf(d.draw, networking.ServerTLSSettings_OPTIONAL_MUTUAL, networking.ServerTLSSettings_ISTIO_MUTUAL)}
	case 6:
		s.Port = &networking.Port{Number: 80, Protocol: "HTTP"}
		s.Tls = &networking.ServerTLSSettings{Mode: oneOf(d.draw, networking.ServerTLSSettings_SIMPLE, networking.ServerTLSSettings_PASSTHROUGH, networking.ServerTLSSettings_AUTO_PASSTHROUGH)}
	}
}

func (d *alignmentDraw) serverHosts(g *Gateway) []string {
	var hosts []string
	for range weighted(d.draw, weight[int]{1, 64}, weight[int]{2, 24}, weight[int]{3, 12}) {
		hosts = append(hosts, d.serverHost(g))
	}
	return hosts
}

// serverHost returns an entry of a server's hosts.
func (d *alignmentDraw) serverHost(g *Gateway) string {
	if d.chance(2) {
		return oneOf(d.draw, "*/*", "*/*", "*/*", "./a.example.com/b", "*/a.example.com/b")
	}
	host := d.resolved(d.host())
	if d.chance(92) {
		host = d.resolved(oneOf(d.draw, d.v.Spec.Hosts...))
		host = weighted(d.draw, weight[string]{host, 55}, weight[string]{wider(host), 22}, weight[string]{narrower(host), 8},
			weight[string]{"*", 8}, weight[string]{strings.ToUpper(host[:1]) + host[1:], 3}, weight[string]{strings.ToLower(host), 4})
	}
	switch prefix := weighted(d.draw, weight[string]{"", 58}, weight[string]{"*/", 12}, weight[string]{"./", 12}, weight[string]{"ns/", 18}); {
	case prefix == "./" && d.v.Namespace != g.Namespace && d.chance(80):
		return host
	case prefix == "ns/" && d.chance(80):
		return d.v.Namespace + "/" + host
	case prefix == "ns/":
		return d.namespace() + "/" + host
	case prefix == "*/" && host == "*" && d.chance(50):
		return host
	default:
		return prefix + host
	}
}

// wider returns a pattern that covers the host and more.
func wider(host string) string {
	_, rest, ok := strings.Cut(strings.TrimPrefix(host, "*."), ".")
	if !ok || host == "10.1.2.3" {
		return "*"
	}
	return "*." + rest
}

// narrower returns a host that the given one covers, where it is a pattern.
func narrower(host string) string {
	switch {
	case host == "*":
		return "a.example.com"
	case strings.HasPrefix(host, "*."):
		return "n" + host[1:]
	}
	return host
}
