package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// noRoutes is the kind of the servers that take no route of a VirtualService: those that find their way by SNI alone.
const noRoutes RouteKind = ""

// takes is the kind of routes that Istio builds for the server: buildGatewayTCPBasedFilterChains and
// createGatewayTCPFilterChainOpts (pilot/pkg/networking/core/gateway.go).
func (s *Server) takes() RouteKind {
	switch {
	case s.plainHTTP(), s.terminatesHTTPS():
		return HTTPRoute
	case s.TLS == TLSAutoPassthrough:
		return noRoutes
	case s.TLS == TLSPassthrough:
		return TLSRoute
	}
	return TCPRoute
}

// plainHTTP says whether the port's protocol is HTTP without TLS: Istio's protocol.Instance.IsHTTP.
func (s *Server) plainHTTP() bool {
	switch strings.ToLower(s.Port.Protocol) {
	case "http", "http2", "http_proxy", "grpc", "grpc-web":
		return true
	}
	return false
}

func (s *Server) https() bool {
	return strings.EqualFold(s.Port.Protocol, "https")
}

func (s *Server) passthrough() bool {
	return s.TLS == TLSPassthrough || s.TLS == TLSAutoPassthrough
}

// terminatesHTTPS is Istio's gateway.IsHTTPSServerWithTLSTermination.
func (s *Server) terminatesHTTPS() bool {
	return s.TLS != NoTLS && s.https() && !s.passthrough()
}

// speaksTLS is Istio's gateway.IsTLSServer: a plain HTTP server with a tls block only redirects.
func (s *Server) speaksTLS() bool {
	return s.TLS != NoTLS && !s.plainHTTP()
}

// hasRoutes is Istio's gateway.IsHTTPServer.
func (s *Server) hasRoutes() bool {
	return s.plainHTTP() || s.https() && !s.passthrough()
}

// routeName is the name of the server's route configuration, empty when it has none: Istio's gatewayRDSRouteName
// (pilot/pkg/model/gateway.go). Servers of one name share their virtual hosts.
func (s *Server) routeName(port uint32, gateway Key) string {
	bind := ""
	if s.Bind != "" {
		bind = "." + s.Bind
	}
	switch {
	case s.plainHTTP():
		return "http." + strconv.FormatUint(uint64(port), 10) + bind
	case s.hasRoutes():
		return fmt.Sprintf("https.%d.%s.%s.%s%s", s.Port.Number, s.Port.Name, gateway.Name, gateway.Namespace, bind)
	}
	return ""
}

// sniHosts are the names by which clients ask for the server, without their namespace parts: Istio's
// GetSNIHostsForServer. Nil means every client.
func (s *Server) sniHosts() []HostName {
	if s.TLS == NoTLS {
		return nil
	}
	names := make([]HostName, 0, len(s.Hosts))
	for _, h := range s.Hosts {
		names = append(names, h.Name)
	}
	return names
}

// describe names the server for people, as in "spec.servers[0] (port 443, HTTPS, SIMPLE)".
func (s *Server) describe(position int) string {
	text := fmt.Sprintf("spec.servers[%d] (port %d, %s", position, s.Port.Number, s.Port.Protocol)
	switch {
	case s.plainHTTP() && s.TLS != NoTLS:
		text += ", with a tls block"
	case s.TLS != NoTLS:
		text += ", " + string(s.TLS)
	case s.https() || strings.EqualFold(s.Port.Protocol, "tls"):
		text += ", no tls block"
	}
	if s.Bind != "" {
		text += ", bind " + s.Bind
	}
	return text + ")"
}
