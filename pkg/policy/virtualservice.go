package policy

// VirtualService is an Istio VirtualService as the rules see it, with every name resolved as Istio resolves it. It is
// never changed once it is made.
type VirtualService struct {
	Key
	// Hosts is spec.hosts. A VirtualService without hosts is a delegate: it binds to no gateway itself.
	Hosts []Host
	// Gateways is spec.gateways. Empty means the mesh alone, as in Istio's getGatewayNames.
	Gateways []GatewayRef
	// RouteGateways are the gateways that the matches of its routes name, in the order of http, tls and tcp.
	RouteGateways []RouteGateway
}

// Host is an entry of spec.hosts.
type Host struct {
	// Written is the entry as the user wrote it.
	Written string
	// Name is the entry with a short name resolved to its fully qualified form.
	Name HostName
}

// GatewayRef is a reference to a Gateway, or to the mesh.
type GatewayRef struct {
	// Written is the reference as the user wrote it.
	Written string
	// Mesh is set for the reserved name "mesh": the sidecars rather than a Gateway.
	Mesh bool
	// Gateway is the Gateway that the reference resolves to, unless Mesh is set. It may name an object that cannot
	// exist, such as one with an empty name.
	Gateway Key
}

// target is what a reference leads to, however it is written.
type target struct {
	mesh    bool
	gateway Key
}

func (r GatewayRef) target() target {
	return target{mesh: r.Mesh, gateway: r.Gateway}
}

// distinct returns the positions of the references that lead where no earlier one does.
func distinct(refs []GatewayRef) []int {
	seen := make(map[target]bool, len(refs))
	positions := make([]int, 0, len(refs))
	for i, r := range refs {
		if t := r.target(); !seen[t] {
			seen[t] = true
			positions = append(positions, i)
		}
	}
	return positions
}

// RouteGateway is an entry of match.gateways of one of the routes.
type RouteGateway struct {
	GatewayRef
	// Path is the entry's field path, such as "spec.http[0].match[1].gateways[0]".
	Path string
}

// Ref names the VirtualService.
func (v *VirtualService) Ref() Ref {
	return Ref{Kind: KindVirtualService, Key: v.Key}
}

// bindsToMesh says whether the sidecars are among what the VirtualService binds to.
func (v *VirtualService) bindsToMesh() bool {
	for _, g := range v.Gateways {
		if g.Mesh {
			return true
		}
	}
	return len(v.Gateways) == 0
}
