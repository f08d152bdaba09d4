package policy

/*
MW203: no two servers of a listener end in the same filter chain match.

Reads:  what MW202 reads; for filter chains of PASSTHROUGH and TCP servers the VirtualServices that are bound to them; for those
of AUTO_PASSTHROUGH servers the Services of the mesh
Passes: what happens without the Gateway as well; servers that Istio drops, which are MW201 and MW202
Source: Istio's buildGatewayListeners and toFilterChainMatch (pilot/pkg/networking/core); an empty bind and 0.0.0.0 are two
binds for the merge and one listener
*/
func duplicateFilterChain() Rule {
	return Rule{
		ID:     "MW203",
		Name:   "duplicate-filter-chain",
		Kinds:  []Kind{KindGateway},
		Title:  "Two servers end in the same filter chain match: Envoy rejects the listener with all its servers.",
		Remedy: "Have one of the two servers, or one of the routes behind them, give up the name.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			return lostTo(m, o, duplicateChain)
		},
	}
}
