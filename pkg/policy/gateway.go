package policy

// Gateway is an Istio Gateway as the rules see it. It is never changed once NewGateway has made it.
type Gateway struct {
	Key
	Servers []Server

	hosts hostIndex
}

// Server is one entry of a Gateway's spec.servers.
type Server struct {
	Port  Port
	Hosts []ServerHost
}

// Port is the port of a server as the Gateway writes it, before a Service's targetPort is looked up.
type Port struct {
	Number   uint32
	Name     string
	Protocol string
}

// NewGateway returns the Gateway with its hosts indexed. It keeps servers, which must not change afterwards.
func NewGateway(key Key, servers []Server) *Gateway {
	return &Gateway{Key: key, Servers: servers, hosts: newHostIndex(servers)}
}

// Ref names the Gateway.
func (g *Gateway) Ref() Ref {
	return Ref{Kind: KindGateway, Key: g.Key}
}

// Carries says whether a server of the Gateway carries the host for VirtualServices of the namespace. The host may be a
// pattern: Istio serves what the two names have in common (host.Names.Intersection for HTTP, pickMatchingGatewayHosts
// for TLS and TCP).
func (g *Gateway) Carries(host HostName, namespace string) bool {
	return g.hosts.carries(host, namespace)
}
