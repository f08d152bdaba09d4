package policy

import (
	"fmt"
	"slices"
)

// VirtualService is an Istio VirtualService as the rules see it, with every name resolved as Istio resolves it. It is
// never changed once it is made.
type VirtualService struct {
	Key
	// Created is the creationTimestamp in Unix seconds. Of routes to the same, the oldest wins.
	Created int64
	// Hosts is spec.hosts. A VirtualService without hosts is a delegate: it binds to no gateway itself.
	Hosts []Host
	// Gateways is spec.gateways. Empty means the mesh alone, as in Istio's getGatewayNames.
	Gateways []GatewayRef
	// ExportTo is spec.exportTo with "." resolved to the namespace. Empty means the mesh's default.
	ExportTo []string
	// Matches are the conditions under which its routes apply, in the order of http, tls and tcp. Of the http matches that
	// ask for nothing that is known before a request comes, only the first is here.
	Matches []Match
	// Kinds says which kinds of routes it has, those without any match or destination included.
	Kinds RouteKinds
}

// RouteKind is a kind of route: the name of the list in the spec that holds it.
type RouteKind string

// The kinds of routes.
const (
	HTTPRoute RouteKind = "http"
	TLSRoute  RouteKind = "tls"
	TCPRoute  RouteKind = "tcp"
)

// RouteKinds says which kinds of routes there are.
type RouteKinds struct {
	HTTP, TLS, TCP bool
}

// Has says whether the kind is among them.
func (k RouteKinds) Has(kind RouteKind) bool {
	return kind == HTTPRoute && k.HTTP || kind == TLSRoute && k.TLS || kind == TCPRoute && k.TCP
}

// Match is one way into a route: an entry of its match list, or the route as such where that list is empty.
type Match struct {
	Kind RouteKind
	// Route is the position of the route in its list, and Entry that of the match in the route, or -1 for the route as such.
	Route, Entry int
	// Idle is set where the route is tls or tcp and leads to no destination: Istio builds nothing for it.
	Idle bool
	// Gateways are match.gateways; empty matches any.
	Gateways []GatewayRef
	// Port is match.port; 0 matches any.
	Port uint32
	// SNIHosts are a tls match's sniHosts.
	SNIHosts []HostName
	// SourceLabels and SourceNamespace are what an http match asks of the workload that the route is built for. Istio ignores
	// both where match.gateways is set.
	SourceLabels    map[string]string
	SourceNamespace string
}

// Path is the field path of the match, such as "spec.http[0].match[1]".
func (m Match) Path() string {
	if m.Entry < 0 {
		return fmt.Sprintf("spec.%s[%d]", m.Kind, m.Route)
	}
	return fmt.Sprintf("spec.%s[%d].match[%d]", m.Kind, m.Route, m.Entry)
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
	// Generated is set for a Gateway that istiod makes of one of the Gateway API. It is no object that anybody could look up,
	// and what it serves is not known: everything, as far as the rules are concerned.
	Generated bool
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

// Ref names the VirtualService.
func (v *VirtualService) Ref() Ref {
	return Ref{Kind: KindVirtualService, Key: v.Key}
}

// openEnded says whether the reference leads to what serves every host, as far as is known.
func (r GatewayRef) openEnded() bool {
	return r.Mesh || r.Generated
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

// reaches says whether the match leads routes of the kind through a server of the Gateway with that port: Istio's
// l4SingleMatch. What an http match asks of the workload besides is matchesWorkload's.
func (m *Match) reaches(kind RouteKind, gateway Key, port uint32) bool {
	if m.Kind != kind || m.Idle || m.Port != 0 && m.Port != port {
		return false
	}
	return len(m.Gateways) == 0 || slices.ContainsFunc(m.Gateways, func(r GatewayRef) bool {
		return !r.Mesh && r.Gateway == gateway
	})
}

// takesWorkload says whether an http match accepts the workload: Istio's sourceMatchHTTP
// (pilot/pkg/networking/core/route/route.go). Where match.gateways is set, nothing else is asked.
func (m *Match) takesWorkload(w *Workload) bool {
	return len(m.Gateways) > 0 || w.assumedOnly() ||
		w.mayHave(m.SourceLabels) && (m.SourceNamespace == "" || m.SourceNamespace == w.Reference.Namespace)
}

// asksForSource says whether some http match asks for something of the gateway's workloads.
func (v *VirtualService) asksForSource() bool {
	return slices.ContainsFunc(v.Matches, func(m Match) bool {
		return len(m.Gateways) == 0 && (len(m.SourceLabels) > 0 || m.SourceNamespace != "")
	})
}

const (
	exportedEverywhere = "*"
	exportedNowhere    = "~"
	exportedHere       = "."
)

// exports is where the VirtualService is visible, and whether the mesh's default says so.
func (v *VirtualService) exports(s Settings) (namespaces []string, byDefault bool) {
	if len(v.ExportTo) > 0 {
		return v.ExportTo, false
	}
	for _, e := range s.DefaultExportTo {
		if e == exportedHere {
			e = v.Namespace
		}
		namespaces = append(namespaces, e)
	}
	if len(namespaces) == 0 {
		return []string{exportedEverywhere}, true
	}
	return namespaces, true
}

// The classes of visibility, in the order in which Istio looks through the VirtualServices of a gateway.
const (
	private = iota
	exported
	public
	hidden
)

// publicity is how the VirtualService is visible to gateway workloads in the namespace: Istio's initVirtualServices and
// VirtualServicesForGateway (pilot/pkg/model/push_context.go).
func (v *VirtualService) publicity(namespace string, s Settings) int {
	if len(v.ExportTo) == 0 && len(s.DefaultExportTo) == 0 {
		return public
	}
	exports, _ := v.exports(s)
	switch {
	case slices.Contains(exports, exportedEverywhere):
		return public
	case slices.Contains(exports, exportedNowhere), !slices.Contains(exports, namespace):
		return hidden
	case namespace == v.Namespace:
		return private
	}
	return exported
}

// visibleIn says whether gateway workloads in the namespace see the VirtualService.
func (v *VirtualService) visibleIn(namespace string, s Settings) bool {
	return v.publicity(namespace, s) != hidden
}
