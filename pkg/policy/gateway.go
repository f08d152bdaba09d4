package policy

import (
	"cmp"
)

// Gateway is an Istio Gateway as the rules see it. It is never changed once NewGateway has made it.
type Gateway struct {
	Key
	// Created is the creationTimestamp in Unix seconds. Older Gateways win conflicts.
	Created int64
	// Selector is what the labels of the Gateway's workloads hold. Empty selects every workload that is a gateway.
	Selector map[string]string
	Servers  []Server

	hosts hostIndex
	// alone says of each server whether it comes to be where no other Gateway and no Service has a say.
	alone []bool
}

// Server is one entry of a Gateway's spec.servers.
type Server struct {
	Port Port
	// Portless is set where the server has no port at all: Istio leaves it out.
	Portless bool
	// Bind is the address that the server listens on; empty means every address.
	Bind string
	// TLS is the mode of the tls block, or NoTLS when there is none. A server that only redirects to HTTPS has a block,
	// too.
	TLS TLSMode
	// Credentials are the certificates, with their keys, that the tls block asks for by name; empty where it names files or
	// none.
	Credentials []Credential
	// CA is what it asks for to check clients' certificates against; the zero value where that comes with the Credentials.
	CA Credential
	// Hosts are the entries of hosts, as Istio's sanitizeServerHostNamespace leaves them: "*/*" anywhere in the list makes
	// the list as a whole "*".
	Hosts []ServerHost
	// AnyHostAmongOthers says that the list has "*/*" beside other entries, and Unreadable that Istio's generator fails on
	// the list as a whole: sanitizeServerHostNamespace (pilot/pkg/model/gateway.go) goes on with the positions of the old
	// list when "*/*" has made it shorter.
	AnyHostAmongOthers, Unreadable bool
}

// Port is the port of a server as the Gateway writes it, before a Service's targetPort is looked up.
type Port struct {
	Number   uint32
	Name     string
	Protocol string
}

// TLSMode is the mode of a server's tls block.
type TLSMode string

// The modes of Istio's ServerTLSSettings. A block that names no mode means TLSPassthrough.
const (
	NoTLS              TLSMode = ""
	TLSPassthrough     TLSMode = "PASSTHROUGH"
	TLSSimple          TLSMode = "SIMPLE"
	TLSMutual          TLSMode = "MUTUAL"
	TLSAutoPassthrough TLSMode = "AUTO_PASSTHROUGH"
	TLSIstioMutual     TLSMode = "ISTIO_MUTUAL"
	TLSOptionalMutual  TLSMode = "OPTIONAL_MUTUAL"
)

// NewGateway returns the Gateway with its hosts indexed. It keeps what g holds, which must not change afterwards.
func NewGateway(g Gateway) *Gateway {
	g.hosts = newHostIndex(g.Servers)
	g.alone = serversAlone(&g, same)
	return &g
}

// Ref names the Gateway.
func (g *Gateway) Ref() Ref {
	return Ref{Kind: KindGateway, Key: g.Key}
}

// Carries says whether a server of the Gateway carries the host for VirtualServices of the namespace. The host may be a
// pattern: Istio serves what the two names have in common (host.Names.Intersection for HTTP, pickMatchingGatewayHosts
// for TLS and TCP).
func (g *Gateway) Carries(host HostName, namespace string) bool {
	for range g.hosts.carrying(host, namespace) {
		return true
	}
	return false
}

// serversFor says of each server whether it has a host in common with the VirtualService, for its namespace: Istio's
// pickMatchingGatewayHosts (pilot/pkg/networking/core/gateway.go).
func (g *Gateway) serversFor(v *VirtualService) []bool {
	meets := make([]bool, len(g.Servers))
	for _, h := range v.Hosts {
		for i := range g.hosts.carrying(h.Name, v.Namespace) {
			meets[i] = true
		}
	}
	return meets
}

// compareAge orders Gateways as Istio does when they compete, the winners first: Istio's configCompareByCreationTime
// (pilot/pkg/model/config.go).
func compareAge(a, b *Gateway) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
}
