package istio

import (
	"fmt"

	networkingv1 "istio.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Translator turns objects into the values that the rules judge.
type Translator struct {
	// ClusterDomain is the DNS domain of the cluster, such as "cluster.local": short host names end in it.
	ClusterDomain string
}

// gatewaySpec holds the fields of a Gateway's spec that the rules read. Reading these few is an order of magnitude
// cheaper than Istio's own types, and every request pays for it; a test compares the two.
type gatewaySpec struct {
	Selector map[string]string `json:"selector"`
	Servers  []struct {
		Port *struct {
			Number   uint32 `json:"number"`
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
		} `json:"port"`
		Bind  string    `json:"bind"`
		Hosts []string  `json:"hosts"`
		TLS   *tlsBlock `json:"tls"`
	} `json:"servers"`
}

// virtualServiceSpec holds the fields of a VirtualService's spec that the rules read.
type virtualServiceSpec struct {
	Hosts    []string `json:"hosts"`
	Gateways []string `json:"gateways"`
	ExportTo []string `json:"exportTo"`
	HTTP     []route  `json:"http"`
	TLS      []route  `json:"tls"`
	TCP      []route  `json:"tcp"`
}

type route struct {
	Match []match `json:"match"`
	// Route are the destinations, of which only the number counts.
	Route []struct{} `json:"route"`
}

type match struct {
	Gateways        []string          `json:"gateways"`
	Port            uint32            `json:"port"`
	SNIHosts        []string          `json:"sniHosts"`
	SourceLabels    map[string]string `json:"sourceLabels"`
	SourceNamespace string            `json:"sourceNamespace"`
}

// Translate translates a *Gateway, a *VirtualService, a *Service, a *Secret, a *Certificate, or one of the workloads:
// *Deployment, *DaemonSet, *StatefulSet or *Pod. The error names the field that cannot be read.
func (t Translator) Translate(o any) (policy.Resource, error) {
	switch o := o.(type) {
	case *Gateway:
		return nilUnless(t.Gateway(o))
	case *VirtualService:
		return nilUnless(t.VirtualService(o))
	case *Service:
		return nilUnless(t.Service(o))
	case *Secret:
		return t.Secret(o), nil
	case *Certificate:
		return nilUnless(t.Certificate(o))
	case *Deployment:
		return nilUnless(templated(policy.KindDeployment, (*Unparsed)(o)))
	case *DaemonSet:
		return nilUnless(templated(policy.KindDaemonSet, (*Unparsed)(o)))
	case *StatefulSet:
		return nilUnless(templated(policy.KindStatefulSet, (*Unparsed)(o)))
	case *Pod:
		return nilUnless(t.Pod(o))
	}
	return nil, fmt.Errorf("not an object of the mesh: %T", o)
}

// nilUnless keeps a nil pointer from becoming an interface that is not nil.
func nilUnless[R policy.Resource](r R, err error) (policy.Resource, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Gateway translates a Gateway. The error names the field that cannot be read.
func (t Translator) Gateway(g *Gateway) (*policy.Gateway, error) {
	spec, err := decodeSpec[gatewaySpec](g.Spec, func() istioSpec { return &networkingv1.Gateway{} })
	if err != nil {
		return nil, err
	}
	out := policy.Gateway{
		Key: keyOf(&g.ObjectMeta), Created: created(&g.ObjectMeta), Selector: spec.Selector,
		Servers: make([]policy.Server, 0, len(spec.Servers)),
	}
	for i, s := range spec.Servers {
		server := policy.Server{Portless: s.Port == nil, Bind: s.Bind}
		if s.Port != nil {
			server.Port = policy.Port{Number: s.Port.Number, Name: s.Port.Name, Protocol: s.Port.Protocol}
		}
		if s.TLS != nil {
			if server.TLS, err = tlsMode(s.TLS.Mode); err != nil {
				return nil, fmt.Errorf("spec.servers[%d].tls.mode: %w", i, err)
			}
			server.Credentials, server.CA = s.TLS.credentials()
		}
		server.Hosts, server.AnyHostAmongOthers, server.Unreadable = parseServerHosts(s.Hosts, g.Namespace)
		server.Unreadable = server.Unreadable && !server.Portless
		out.Servers = append(out.Servers, server)
	}
	return policy.NewGateway(out), nil
}

// tlsMode returns the mode of a tls block. Istio's enumeration begins with PASSTHROUGH, so that is what no mode means.
func tlsMode(written string) (policy.TLSMode, error) {
	mode := policy.TLSMode(written)
	switch mode {
	case policy.NoTLS:
		return policy.TLSPassthrough, nil
	case policy.TLSPassthrough, policy.TLSSimple, policy.TLSMutual, policy.TLSAutoPassthrough, policy.TLSIstioMutual, policy.TLSOptionalMutual:
		return mode, nil
	}
	return mode, fmt.Errorf("there is no mode %q", written)
}

// VirtualService translates a VirtualService. The error names the field that cannot be read.
func (t Translator) VirtualService(v *VirtualService) (*policy.VirtualService, error) {
	spec, err := decodeSpec[virtualServiceSpec](v.Spec, func() istioSpec { return &networkingv1.VirtualService{} })
	if err != nil {
		return nil, err
	}
	out := &policy.VirtualService{
		Key: keyOf(&v.ObjectMeta), Created: created(&v.ObjectMeta),
		Kinds: policy.RouteKinds{HTTP: len(spec.HTTP) > 0, TLS: len(spec.TLS) > 0, TCP: len(spec.TCP) > 0},
	}
	for _, h := range spec.Hosts {
		out.Hosts = append(out.Hosts, policy.Host{Written: h, Name: resolveHost(h, v.Namespace, t.ClusterDomain)})
	}
	out.Gateways = resolveGateways(spec.Gateways, v.Namespace)
	for _, e := range spec.ExportTo {
		if e == "." {
			e = v.Namespace
		}
		out.ExportTo = append(out.ExportTo, e)
	}
	out.Matches = append(out.Matches, matches(policy.HTTPRoute, spec.HTTP, v.Namespace)...)
	out.Matches = append(out.Matches, matches(policy.TLSRoute, spec.TLS, v.Namespace)...)
	out.Matches = append(out.Matches, matches(policy.TCPRoute, spec.TCP, v.Namespace)...)
	return out, nil
}

// matches returns the ways into the routes. A tls route without a match has none: Istio's
// buildGatewayNetworkFiltersFromTLSRoutes goes through the matches alone.
func matches(kind policy.RouteKind, routes []route, namespace string) []policy.Match {
	var out []policy.Match
	free := false
	add := func(m policy.Match) {
		if kind == policy.HTTPRoute && len(m.Gateways) == 0 && m.Port == 0 && len(m.SourceLabels) == 0 && m.SourceNamespace == "" {
			if free {
				return
			}
			free = true
		}
		out = append(out, m)
	}
	for r, route := range routes {
		m := policy.Match{Kind: kind, Route: r, Entry: -1, Idle: kind != policy.HTTPRoute && len(route.Route) == 0}
		if len(route.Match) == 0 && kind != policy.TLSRoute {
			add(m)
		}
		for i, written := range route.Match {
			m.Entry, m.Port = i, written.Port
			m.Gateways = resolveGateways(written.Gateways, namespace)
			switch kind {
			case policy.HTTPRoute:
				m.SourceLabels, m.SourceNamespace = written.SourceLabels, written.SourceNamespace
			case policy.TLSRoute:
				m.SNIHosts = nil
				for _, sni := range written.SNIHosts {
					m.SNIHosts = append(m.SNIHosts, policy.HostName(sni))
				}
			}
			add(m)
		}
	}
	return out
}

func resolveGateways(written []string, namespace string) []policy.GatewayRef {
	if len(written) == 0 {
		return nil
	}
	refs := make([]policy.GatewayRef, 0, len(written))
	for _, w := range written {
		refs = append(refs, resolveGateway(w, namespace))
	}
	return refs
}

// created is the creationTimestamp in Unix seconds, which is how exactly it is stored; 0 when there is none.
func created(m *metav1.ObjectMeta) int64 {
	if m.CreationTimestamp.IsZero() {
		return 0
	}
	return m.CreationTimestamp.Unix()
}

func keyOf(m *metav1.ObjectMeta) policy.Key {
	return policy.Key{Namespace: m.Namespace, Name: m.Name}
}
