package conformance

import (
	"maps"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/labels"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/wellknown"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// AlignmentTruth is Istio's verdict on an alignment case.
type AlignmentTruth struct {
	// Missing are the positions in spec.gateways of those that do not exist, Useless of those that serve no host, and
	// Unserved the positions in spec.hosts of those that no gateway serves. A gateway named twice counts where it is first.
	Missing, Useless, Unserved []int
	// Mesh says that the VirtualService binds to the mesh, which serves every host.
	Mesh bool
	// Said is what the rules must say of the hosts that are not served, such as "MW103 deny spec.hosts[0]".
	Said []string
	// Silent says that Said does not count.
	Silent bool
	// Pairs say of each Gateway and host whether the one serves the other.
	Pairs []Pair
}

// LinesUp says whether the VirtualService lines up.
func (t *AlignmentTruth) LinesUp() bool {
	return len(t.Missing)+len(t.Useless)+len(t.Unserved) == 0
}

// Pair is a Gateway and a host of the VirtualService that names it.
type Pair struct {
	// Reference and Host are positions in spec.gateways and spec.hosts.
	Reference, Host int
	Gateway         *Gateway
	// Assumed says that no workload of the Gateway is known.
	Assumed bool
	Serves  bool
	// Stage is how far the host comes.
	Stage stage
}

// resolve returns the VirtualService with its names as Istio resolves them.
func (w *World) resolve(v *VirtualService) *networking.VirtualService {
	c := config.Config{Meta: configMeta(gvk.VirtualService, v.ObjectMeta, w.Settings.clusterDomain()), Spec: v.Spec}
	return model.ResolveVirtualServiceShortnames(c).Spec.(*networking.VirtualService)
}

// gatewayNamed returns the Gateway that a name stands for in the VirtualService.
func (w *World) gatewayNamed(ref string, v *VirtualService) (key policy.Key, mesh bool) {
	c := &VirtualService{ObjectMeta: v.ObjectMeta, Spec: &networking.VirtualService{Gateways: []string{ref}}}
	return keyNamed(w.resolve(c).Gateways[0])
}

// keyNamed reads a name that is resolved.
func keyNamed(resolved string) (key policy.Key, mesh bool) {
	if resolved == "mesh" {
		return policy.Key{}, true
	}
	namespace, name, _ := strings.Cut(resolved, "/")
	return policy.Key{Namespace: namespace, Name: name}, false
}

// pairs returns what must be asked about the case.
func (c *AlignmentCase) pairs() []Pair {
	v := c.VirtualService()
	var pairs []Pair
	seen := map[string]bool{}
	for i, name := range c.World.resolve(v).Gateways {
		key, mesh := keyNamed(name)
		g := c.World.Gateway(key)
		if mesh || g == nil || seen[name] {
			continue
		}
		seen[name] = true
		for n := range v.Spec.Hosts {
			pairs = append(pairs, Pair{Reference: i, Host: n, Gateway: g, Assumed: len(c.World.workloadsOf(g)) == 0})
		}
	}
	return pairs
}

// workloadsOf returns the workloads that the Gateway selects.
func (w *World) workloadsOf(g *Gateway) []*Workload {
	var selected []*Workload
	for _, o := range w.Workloads {
		selects := labels.Instance(g.Spec.GetSelector()).SubsetOf(o.Labels)
		if len(g.Spec.GetSelector()) == 0 {
			// Anything may be a gateway, but only what is known to be one is looked at.
			selects = o.Router
		}
		if selects && (!w.Settings.ScopeGateways || o.Namespace == g.Namespace) {
			selected = append(selected, o)
		}
	}
	return selected
}

// question asks Istio about a Gateway and the VirtualService in the given form, on every workload of the Gateway. Where no
// workload is known it is one that has the selector's labels, to which the VirtualService is visible and which no source
// condition excludes.
func (w *World) question(g *Gateway, v *VirtualService) Question {
	q := Question{Token: w.Token, Settings: w.Settings, Gateways: []*Gateway{g}, VirtualServices: []*VirtualService{v}, Services: w.Services}
	for _, o := range w.workloadsOf(g) {
		q.Proxies = append(q.Proxies, o.Proxy(w.Services))
	}
	if len(q.Proxies) == 0 {
		visible := *v
		visible.Spec = proto.Clone(v.Spec).(*networking.VirtualService)
		visible.Spec.ExportTo = []string{"*"}
		for _, r := range visible.Spec.Http {
			for _, m := range r.Match {
				m.SourceLabels, m.SourceNamespace = nil, ""
			}
		}
		q.VirtualServices = []*VirtualService{&visible}
		q.Proxies = []Proxy{{Namespace: g.Namespace, Labels: g.Spec.GetSelector()}}
	}
	return q
}

// reduced returns the VirtualService with one host and one gateway, as the definition of serving has it.
func (c *AlignmentCase) reduced(p Pair) *VirtualService {
	v := *c.VirtualService()
	within := host.Name(c.World.resolve(&v).Hosts[p.Host])
	v.Spec = proto.Clone(v.Spec).(*networking.VirtualService)
	v.Spec.Hosts = v.Spec.Hosts[p.Host : p.Host+1]
	v.Spec.Gateways = v.Spec.Gateways[p.Reference : p.Reference+1]
	c.World.withoutDelegates(v.Spec)
	routes := v.Spec.Tls[:0]
	for _, r := range v.Spec.Tls {
		r.Match = slices.DeleteFunc(r.Match, func(m *networking.TLSMatchAttributes) bool {
			asked := len(m.SniHosts)
			m.SniHosts = slices.DeleteFunc(m.SniHosts, func(sni string) bool { return !host.Name(sni).SubsetOf(within) })
			return asked > 0 && len(m.SniHosts) == 0
		})
		if len(r.Match) > 0 {
			routes = append(routes, r)
		}
	}
	v.Spec.Tls = routes
	return &v
}

// withoutDelegates makes every route lead somewhere itself.
func (w *World) withoutDelegates(v *networking.VirtualService) {
	for _, r := range v.Http {
		if r.Delegate != nil {
			r.Delegate, r.Route = nil, []*networking.HTTPRouteDestination{{Destination: w.destination()}}
		}
	}
}

// truth puts Istio's answers about the pairs together.
func (c *AlignmentCase) truth(pairs []Pair) *AlignmentTruth {
	t := &AlignmentTruth{Pairs: pairs}
	v := c.VirtualService()
	served := make([]bool, len(v.Spec.Hosts))
	useful := map[int]bool{}
	for _, p := range pairs {
		useful[p.Reference] = useful[p.Reference] || p.Serves
		served[p.Host] = served[p.Host] || p.Serves
	}
	bound := c.World.resolve(v).Gateways
	for i, name := range bound {
		key, mesh := keyNamed(name)
		switch {
		case mesh:
			t.Mesh = true
			for n := range served {
				served[n] = true
			}
		case slices.Index(bound, name) < i:
		case c.World.Gateway(key) == nil:
			t.Missing = append(t.Missing, i)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(useful)) {
		if !useful[i] {
			t.Useless = append(t.Useless, i)
		}
	}
	for n, ok := range served {
		if !ok && len(bound) > 0 {
			t.Unserved = append(t.Unserved, n)
		}
	}
	t.Said, t.Silent = c.hostFindings(t), c.silent()
	return t
}

// leadsTo says whether a route or filter chain leads to the VirtualService.
func (a *Answer) leadsTo(w *World, v *VirtualService) bool {
	return a.hasRoute(v) || len(a.chains(w)) > 0
}

// hasRoute looks for the name that Istio writes into the metadata of each route (BuildConfigInfoMetadata).
func (a *Answer) hasRoute(v *VirtualService) bool {
	origin := "/apis/networking.istio.io/v1/namespaces/" + v.Namespace + "/virtual-service/" + v.Name
	for _, c := range a.Routes {
		for _, h := range c.VirtualHosts {
			for _, r := range h.Routes {
				if r.GetMetadata().GetFilterMetadata()["istio"].GetFields()["config"].GetStringValue() == origin {
					return true
				}
			}
		}
	}
	return false
}

// chain is a filter chain with the listener it is of.
type chain struct {
	listener *listenerv3.Listener
	*listenerv3.FilterChain
}

// chains returns the filter chains that lead to the world's destination without looking into the traffic.
func (a *Answer) chains(w *World) []chain {
	var found []chain
	for _, l := range a.Listeners {
		for _, c := range l.FilterChains {
			if slices.ContainsFunc(c.Filters, func(f *listenerv3.Filter) bool { return proxiesTo(f, w.destination().Host) }) {
				found = append(found, chain{l, c})
			}
		}
	}
	return found
}

func proxiesTo(f *listenerv3.Filter, destination string) bool {
	if f.Name != wellknown.TCPProxy {
		return false
	}
	p := &tcpproxyv3.TcpProxy{}
	if err := f.GetTypedConfig().UnmarshalTo(p); err != nil {
		return false
	}
	clusters := []string{p.GetCluster()}
	for _, c := range p.GetWeightedClusters().GetClusters() {
		clusters = append(clusters, c.Name)
	}
	return slices.ContainsFunc(clusters, func(c string) bool { return strings.HasSuffix(c, "|"+destination) })
}
