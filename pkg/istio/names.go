package istio

import (
	"net/netip"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// meshGateway is the reserved gateway name that stands for the sidecars. Istio compares it exactly.
const meshGateway = "mesh"

// resolveHost returns the fully qualified form of a host of a VirtualService: Istio's ResolveShortnameToFQDN
// (pilot/pkg/model/config.go). A name with a dot, an IP address and "*" stay as they are.
func resolveHost(written, namespace, clusterDomain string) policy.HostName {
	if written == "" || written == "*" || strings.Contains(written, ".") {
		return policy.HostName(written)
	}
	if _, err := netip.ParseAddr(written); err == nil {
		return policy.HostName(written)
	}
	if namespace != "" {
		written += "." + namespace
	}
	if clusterDomain != "" {
		written += ".svc." + clusterDomain
	}
	return policy.HostName(written)
}

// resolveGateway returns what a gateway's name in a VirtualService of the namespace leads to: Istio's resolveGatewayName
// (pilot/pkg/model/config.go). The forms are "mesh", "name", "namespace/name", "./name" and the legacy
// "name.namespace[.svc...]".
func resolveGateway(written, namespace string) policy.GatewayRef {
	ref := policy.GatewayRef{Written: written}
	if written == meshGateway {
		ref.Mesh = true
		return ref
	}
	if ns, name, ok := strings.Cut(written, "/"); ok {
		if ns == "." {
			ns = namespace
		}
		ref.Gateway = policy.Key{Namespace: ns, Name: name}
		return ref
	}
	name, domain, legacy := strings.Cut(written, ".")
	if !legacy {
		ref.Gateway = policy.Key{Namespace: namespace, Name: name}
		return ref
	}
	ns, _, _ := strings.Cut(domain, ".")
	ref.Gateway = policy.Key{Namespace: ns, Name: name}
	return ref
}

// parseServerHosts tells the parts of a server's hosts apart: Istio's sanitizeServerHostNamespace
// (pilot/pkg/model/gateway.go) followed by host.NamesForNamespace. Once one entry is "*/*", the list as a whole is "*".
func parseServerHosts(written []string, gatewayNamespace string) []policy.ServerHost {
	hosts := make([]policy.ServerHost, 0, len(written))
	for _, w := range written {
		h := parseServerHost(w, gatewayNamespace)
		if h.Namespace == policy.EveryNamespace && h.Name == "*" && strings.HasPrefix(w, "*/") {
			return []policy.ServerHost{h}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func parseServerHost(written, gatewayNamespace string) policy.ServerHost {
	namespace, name, ok := strings.Cut(written, "/")
	if !ok {
		return policy.ServerHost{Namespace: policy.EveryNamespace, Name: policy.HostName(written)}
	}
	if namespace == "." || namespace == policy.EveryNamespace {
		// Istio keeps what stands between the first two slashes here, and everything after the first one elsewhere.
		name, _, _ = strings.Cut(name, "/")
	}
	if namespace == "." {
		namespace = gatewayNamespace
	}
	return policy.ServerHost{Namespace: namespace, Name: policy.HostName(name)}
}
