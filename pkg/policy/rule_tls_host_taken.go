package policy

/*
MW201: no server with a tls block has a host that another one has taken on the same workload, resolved port and bind.

Reads:  the Gateways that share a workload with the Gateway: spec.selector, spec.servers[*], creationTimestamp; the Services
that map the ports of the workload
Passes: what is lost without the Gateway as well; hosts that are not written alike, such as a pattern and a name that it
covers; servers whose binds differ; plain HTTP servers, which merge
Source: Istio's CheckDuplicates in mergeGateways (pilot/pkg/model/gateway.go), which drops the later server as a whole
*/
func tlsHostTaken() Rule {
	return Rule{
		ID:    "MW201",
		Name:  "tls-host-taken",
		Kinds: []Kind{KindGateway},
		Title: "A host on a server with a tls block (httpsRedirect too) is taken already on the same workload, resolved port and bind: " +
			"Istio drops the whole later server.",
		Remedy: "Remove the host from one of the two servers, or give them different workloads, ports or binds.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			return lostTo(m, o, hostTaken)
		},
	}
}
