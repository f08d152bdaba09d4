package conformance_test

// differences are all of them, with the reasons.
func differences() []difference {
	const (
		winner   = "the analyzer names both sides of a conflict; Meshwarden names the one whose server Istio drops, which is the younger one, and says to whom it loses"
		oneCause = "the gateway does not exist, and a host that it does not carry is no second cause"
	)
	return []difference{
		{"analyze-list-type.yaml", "default/alpha", conflictTopic, "IST0145", "", winner},
		{"conflicting-gateways.yaml", "default/beta", conflictTopic, "IST0145", "", winner},
		{"conflicting-gateways-multiple-ports.yaml", "default/beta", conflictTopic, "IST0145", "", winner},
		{"conflicting-gateways-subSelector.yaml", "default/beta", conflictTopic, "IST0145", "", winner},
		{"gateway-secrets.yaml", "default/customgateway-wrongnamespace default/defaultgateway-noerrors", conflictTopic, "IST0145", "", winner},
		{"gateway-secrets-validation.yaml", "default/defaultgateway-invalid-keys", conflictTopic, "IST0145", "", winner},
		{
			"conflicting-gateways-subSelector.yaml", "default/alpha default/beta", portTopic, "IST0162", "",
			"no Service selects the pods: the input does not say how they are reached, and Meshwarden warns only where Services are known and none leads to the port",
		},
		{"virtualservice_conflictingmeshgatewayhosts.yaml", "bar/ratings bar/reviews team2/ratings team4/ratings", hostTopic, "IST0132", "", oneCause},
		{
			"virtualservice_dupmatches.yaml", "default/almost-duplicate-tcp-match default/duplicate-empty-tcp default/duplicate-tcp-match",
			hostTopic, "IST0132", "", oneCause,
		},
		{"virtualservice_gateways.yaml", "default/httpbin-bogus", hostTopic, "IST0132", "", oneCause},
		{
			"virtualservice_gateways.yaml", "another/crossnamespace-gw default/httpbin-gateway", workloadTopic, "IST0101", "",
			"the selector does match the ingress gateway; the analyzer looks it up among the servers of all Gateways, and these two have none",
		},
		{
			"virtualservice_internal_gateway_ref.yaml", "default/httpbin", gatewayTopic, "IST0165", "",
			"istiod makes such a Gateway of one of the Gateway API, and a VirtualService that names it is bound to it; the analyzer advises against relying on the name",
		},
	}
}
