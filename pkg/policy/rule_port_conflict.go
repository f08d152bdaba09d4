package policy

/*
MW202: servers that share a workload, a resolved port and a bind have protocols that can share it.

Reads:  what MW201 reads; Gateway spec.servers[*].port.protocol and port.name
Passes: what is lost without the Gateway as well; HTTP beside HTTP; TLS beside TLS, which SNI tells apart
Source: Istio's canMergeProtocols and the port names of HTTPS servers in mergeGateways (pilot/pkg/model/gateway.go)
*/
func portConflict() Rule {
	return Rule{
		ID:     "MW202",
		Name:   "port-conflict",
		Kinds:  []Kind{KindGateway},
		Title:  "Servers whose protocols cannot share a resolved port and bind: Istio drops the later server.",
		Remedy: "Give one of the two servers another port or bind, or another port name where that is what they share.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			return lostTo(m, o, portTaken, nameTaken)
		},
	}
}
