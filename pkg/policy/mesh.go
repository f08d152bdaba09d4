package policy

import "iter"

// Mesh is the world as the rules see it: the stored objects with the object under judgement applied. It does not change
// while a rule reads it, and a rule must not change what it is handed.
type Mesh interface {
	// Gateway returns the Gateway of that name, or false when there is none.
	Gateway(Key) (*Gateway, bool)
	// GatewaysNamed yields the Gateways of that name in all namespaces, ordered by namespace.
	GatewaysNamed(name string) iter.Seq[*Gateway]
	// VirtualServicesOf yields the VirtualServices that name the Gateway in spec.gateways, ordered by namespace and name.
	VirtualServicesOf(gateway Key) iter.Seq[*VirtualService]
}
