package istio

import "github.com/meshwarden/meshwarden/pkg/policy"

// The tests that read fixtures are in another package, because the fixtures are translated by this one.

func ResolveHost(written, namespace, clusterDomain string) policy.HostName {
	return resolveHost(written, namespace, clusterDomain)
}

func ResolveGateway(written, namespace string) policy.GatewayRef {
	return resolveGateway(written, namespace)
}

func ParseServerHosts(written []string, gatewayNamespace string) (hosts []policy.ServerHost, anyHostAmongOthers, unreadable bool) {
	return parseServerHosts(written, gatewayNamespace)
}

func ParseCredential(field, written string) policy.Credential {
	return parseCredential(field, written)
}
