package istio

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	networkingv1 "istio.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Translator turns Istio's objects into the values that the rules judge.
type Translator struct {
	// ClusterDomain is the DNS domain of the cluster, such as "cluster.local": short host names end in it.
	ClusterDomain string
}

// gatewaySpec holds the fields of a Gateway's spec that the rules read. Reading these few is an order of magnitude
// cheaper than Istio's own types, and every request pays for it; a test compares the two.
type gatewaySpec struct {
	Servers []struct {
		Port struct {
			Number   uint32 `json:"number"`
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
		} `json:"port"`
		Hosts []string `json:"hosts"`
	} `json:"servers"`
}

// virtualServiceSpec holds the fields of a VirtualService's spec that the rules read.
type virtualServiceSpec struct {
	Hosts    []string `json:"hosts"`
	Gateways []string `json:"gateways"`
	HTTP     []route  `json:"http"`
	TLS      []route  `json:"tls"`
	TCP      []route  `json:"tcp"`
}

type route struct {
	Match []struct {
		Gateways []string `json:"gateways"`
	} `json:"match"`
}

// Translate translates a *Gateway or a *VirtualService. The error names the field that cannot be read.
func (t Translator) Translate(o any) (policy.Resource, error) {
	switch o := o.(type) {
	case *Gateway:
		return nilUnless(t.Gateway(o))
	case *VirtualService:
		return nilUnless(t.VirtualService(o))
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
	servers := make([]policy.Server, 0, len(spec.Servers))
	for _, s := range spec.Servers {
		servers = append(servers, policy.Server{
			Port:  policy.Port{Number: s.Port.Number, Name: s.Port.Name, Protocol: s.Port.Protocol},
			Hosts: parseServerHosts(s.Hosts, g.Namespace),
		})
	}
	return policy.NewGateway(keyOf(&g.ObjectMeta), servers), nil
}

// VirtualService translates a VirtualService. The error names the field that cannot be read.
func (t Translator) VirtualService(v *VirtualService) (*policy.VirtualService, error) {
	spec, err := decodeSpec[virtualServiceSpec](v.Spec, func() istioSpec { return &networkingv1.VirtualService{} })
	if err != nil {
		return nil, err
	}
	out := &policy.VirtualService{Key: keyOf(&v.ObjectMeta)}
	for _, h := range spec.Hosts {
		out.Hosts = append(out.Hosts, policy.Host{Written: h, Name: resolveHost(h, v.Namespace, t.ClusterDomain)})
	}
	for _, g := range spec.Gateways {
		out.Gateways = append(out.Gateways, resolveGateway(g, v.Namespace))
	}
	out.RouteGateways = append(out.RouteGateways, routeGateways("http", spec.HTTP, v.Namespace)...)
	out.RouteGateways = append(out.RouteGateways, routeGateways("tls", spec.TLS, v.Namespace)...)
	out.RouteGateways = append(out.RouteGateways, routeGateways("tcp", spec.TCP, v.Namespace)...)
	return out, nil
}

func routeGateways(kind string, routes []route, namespace string) []policy.RouteGateway {
	var refs []policy.RouteGateway
	for r, route := range routes {
		for m, match := range route.Match {
			for g, written := range match.Gateways {
				refs = append(refs, policy.RouteGateway{
					GatewayRef: resolveGateway(written, namespace),
					Path:       fmt.Sprintf("spec.%s[%d].match[%d].gateways[%d]", kind, r, m, g),
				})
			}
		}
	}
	return refs
}

func keyOf(m *metav1.ObjectMeta) policy.Key {
	return policy.Key{Namespace: m.Namespace, Name: m.Name}
}

// istioSpec is a spec as Istio itself reads it.
type istioSpec interface {
	json.Unmarshaler
	json.Marshaler
}

// decodeSpec reads a spec with the API server's own rules for field names. An absent spec is an empty one. Where that
// fails, Istio's own type has the last word: it takes a few spellings more, such as a number in quotes, that a CRD without
// a schema lets through, and what Istio reads is not to be refused.
func decodeSpec[S any](raw json.RawMessage, byIstio func() istioSpec) (S, error) {
	var spec, none S
	if len(raw) == 0 {
		return none, nil
	}
	fault := utiljson.Unmarshal(raw, &spec)
	if fault == nil {
		return spec, nil
	}
	if canonical, err := rewrite(raw, byIstio()); err == nil {
		var read S
		if err := utiljson.Unmarshal(canonical, &read); err == nil {
			return read, nil
		}
	}
	if wrong := new(json.UnmarshalTypeError); errors.As(fault, &wrong) {
		return none, fmt.Errorf("%s: must be %s, not %s", strings.TrimSuffix("spec."+wrong.Field, "."), wanted(wrong.Type), given(wrong.Value))
	}
	return none, fmt.Errorf("spec: %w", fault)
}

// rewrite reads a spec as Istio does and writes it in its plainest form.
func rewrite(raw json.RawMessage, spec istioSpec) (json.RawMessage, error) {
	if err := spec.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	return spec.MarshalJSON()
}

// wanted names a type in the words of whoever wrote the YAML.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	case reflect.Uint32:
		return "a whole number from 0 to 4294967295"
	}
	return "a string"
}

// given names what stands in its place, as json.UnmarshalTypeError describes it.
func given(value string) string {
	switch value {
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + value
}
