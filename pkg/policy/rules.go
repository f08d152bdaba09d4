package policy

// Rules returns all rules in the order of their IDs, each with its default action.
func Rules() []Rule {
	return []Rule{
		gatewayNotFound(),
		hostNotServed(),
		routeKindNotServed(),
		notExportedToWorkloads(),
		gatewayServesNothing(),
		matchGatewayNotListed(),
		sniOutsideGateway(),
		noRouteForHost(),
		tlsHostTaken(),
		portConflict(),
		duplicateFilterChain(),
		anyHostNotAlone(),
		workloadNotFound(),
		portNotExposed(),
		hostsOrphaned(),
		credential(),
	}
}
