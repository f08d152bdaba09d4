package policy

// Rules returns all rules in the order of their IDs, each with its default action.
func Rules() []Rule {
	return []Rule{
		gatewayNotFound(),
		hostNotServed(),
		gatewayServesNothing(),
		matchGatewayNotListed(),
		hostsOrphaned(),
	}
}
