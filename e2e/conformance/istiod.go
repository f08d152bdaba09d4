package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/serviceregistry/kube"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/labels"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Request is what Istio's generator is run on. Worlds with tokens of their own may share one.
type Request struct {
	Settings        Settings
	Gateways        []*Gateway
	VirtualServices []*VirtualService
	// Services are in Istio's registry. Which of them lead to a proxy is up to the proxy's targets.
	Services []*corev1.Service
	Proxies  []Proxy
}

// Proxy is a pod that runs as a gateway.
type Proxy struct {
	Namespace    string
	Labels       map[string]string
	Unprivileged bool
	Targets      []model.ServiceTarget
}

// Answer is what Istio's generator makes of a Request for one proxy.
type Answer struct {
	// Failure is what the generator panicked with, or nil. The rest is then empty.
	Failure any
	// Merged is nil where no Gateway selects the proxy.
	Merged    *model.MergedGateway
	Listeners []*listenerv3.Listener
	Routes    []*routev3.RouteConfiguration
}

// Proxy returns the workload as Istio sees its pods, with the ports of those of the Services that lead to it.
func (w *Workload) Proxy(services []*corev1.Service) Proxy {
	return Proxy{Namespace: w.Namespace, Labels: w.Labels, Unprivileged: w.Unprivileged, Targets: targets(w, services)}
}

// targets follows Istio's registry: the ports of the Services that select the pods, equal target ports once
// (Controller.GetProxyServiceTargetsByPod), oldest Service first (Proxy.SetServiceTargets). The order is stable there over
// a list that comes from a map, so that nothing depends on more than age and hostname.
func targets(w *Workload, services []*corev1.Service) []model.ServiceTarget {
	// The domain ends every hostname, so it does not count for their order.
	domain := Settings{}.clusterDomain()
	var found []model.ServiceTarget
	for _, stored := range services {
		if stored.Namespace != w.Namespace || !labels.Instance(stored.Spec.Selector).Match(w.Labels) {
			continue
		}
		s := defaulted(stored)
		converted := convertService(s, domain)
		seen := map[model.Port]bool{}
		for i := range s.Spec.Ports {
			port, ok := converted.Ports.Get(s.Spec.Ports[i].Name)
			if !ok {
				continue
			}
			number := targetPort(w, s.Spec.Ports[i])
			if number == 0 {
				continue
			}
			if key := (model.Port{Port: number, Protocol: port.Protocol}); !seen[key] {
				seen[key] = true
				found = append(found, model.ServiceTarget{
					Service: converted, Port: model.ServiceInstancePort{ServicePort: port, TargetPort: uint32(number)},
				})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b model.ServiceTarget) int {
		return cmp.Or(a.Service.CreationTime.Compare(b.Service.CreationTime),
			strings.Compare(string(a.Service.Hostname), string(b.Service.Hostname)))
	})
	return found
}

// targetPort follows Istio's FindPort: the number that the port of a Service leads to, or 0 where it names a port that the
// pods don't have.
func targetPort(w *Workload, p corev1.ServicePort) int {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntValue()
	}
	for _, c := range w.Ports {
		if c.Name == p.TargetPort.StrVal && cmp.Or(c.Protocol, corev1.ProtocolTCP) == p.Protocol {
			return int(c.ContainerPort)
		}
	}
	return 0
}

// defaulted fills in what the API server does.
func defaulted(s *corev1.Service) *corev1.Service {
	s = s.DeepCopy()
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == (intstr.IntOrString{}) {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	return s
}

func convertService(s *corev1.Service, domain string) *model.Service {
	return kube.ConvertService(*s, nil, domain, cluster.ID("Kubernetes"), domain)
}

// generating keeps runs apart: the switch for scoped gateways is a variable of Istio's.
//
//nolint:gochecknoglobals // it guards a global variable of Istio's
var generating sync.RWMutex

// Generate runs Istio's generator and returns its answer for each proxy, in order. An error means that it could not be
// run at all.
func Generate(r Request) ([]Answer, error) {
	quiet()
	m, err := mesh.ApplyMeshConfigDefaults(r.Settings.meshConfig())
	if err != nil {
		return nil, fmt.Errorf("cannot read the mesh configuration: %w", err)
	}
	unlock := scope(r.Settings.ScopeGateways)
	defer unlock()
	answers := make([]Answer, len(r.Proxies))
	err = test.Wrap(func(t test.Failer) {
		g := core.NewConfigGenTest(t, r.options(m))
		for i, p := range r.Proxies {
			answers[i] = answer(g, p)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot run Istio's generator: %w", err)
	}
	return answers, nil
}

// scope sets Istio's variable for the time of a run. Runs that want the same may share it.
func scope(on bool) (unlock func()) {
	generating.RLock()
	if features.ScopeGatewayToNamespace == on {
		return generating.RUnlock
	}
	generating.RUnlock()
	generating.Lock()
	before := features.ScopeGatewayToNamespace
	features.ScopeGatewayToNamespace = on
	return func() {
		features.ScopeGatewayToNamespace = before
		generating.Unlock()
	}
}

// quiet keeps Istio's log from drowning the report, and its debugger from remembering every run there ever was.
//
//nolint:gochecknoglobals // it sets global variables of Istio's
var quiet = sync.OnceFunc(func() {
	for _, s := range log.Scopes() {
		s.SetOutputLevel(log.NoneLevel)
	}
	krt.GlobalDebugHandler = nil
})

func (r Request) options(m *meshconfig.MeshConfig) core.TestOptions {
	o := core.TestOptions{MeshConfig: m}
	domain := r.Settings.clusterDomain()
	for _, g := range r.Gateways {
		// The generator writes to what it reads.
		o.Configs = append(o.Configs, config.Config{
			Meta: configMeta(gvk.Gateway, g.ObjectMeta, domain), Spec: proto.Clone(g.Spec).(*networking.Gateway),
		})
	}
	for _, v := range r.VirtualServices {
		o.Configs = append(o.Configs, config.Config{
			Meta: configMeta(gvk.VirtualService, v.ObjectMeta, domain), Spec: proto.Clone(v.Spec).(*networking.VirtualService),
		})
	}
	for _, s := range r.Services {
		o.Services = append(o.Services, convertService(defaulted(s), domain))
	}
	return o
}

func configMeta(kind config.GroupVersionKind, m metav1.ObjectMeta, domain string) config.Meta {
	return config.Meta{
		GroupVersionKind: kind, Namespace: m.Namespace, Name: m.Name, Labels: m.Labels, Annotations: m.Annotations,
		CreationTimestamp: m.CreationTimestamp.Time, Domain: domain,
	}
}

// answer generates one proxy's configuration. Where Istio's generator panics, that is the answer.
func answer(g *core.ConfigGenTest, p Proxy) (a Answer) {
	defer func() {
		if failure := recover(); failure != nil {
			a = Answer{Failure: failure}
		}
	}()
	m := &model.NodeMetadata{Namespace: p.Namespace, Labels: p.Labels}
	if p.Unprivileged {
		m.UnprivilegedPod = "true"
	}
	proxy := g.SetupProxy(&model.Proxy{Type: model.Router, ConfigNamespace: p.Namespace, Metadata: m, Labels: p.Labels})
	// The registry in memory knows no pods.
	proxy.ServiceTargets = p.Targets
	proxy.SetGatewaysForProxy(g.PushContext())
	a.Merged = proxy.MergedGateway
	if a.Merged == nil {
		return a
	}
	a.Listeners = g.Listeners(proxy)
	a.Routes = g.RoutesFromListeners(proxy, a.Listeners)
	return a
}
