package conformance

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// AlignmentCase is a world with the VirtualService that is judged, the first one.
type AlignmentCase struct {
	Number int
	World  *World
}

// VirtualService is the one that is judged.
func (c *AlignmentCase) VirtualService() *VirtualService {
	return c.World.VirtualServices[0]
}

// alignmentDraw makes up an alignment case. What the VirtualService wants is drawn first, and the rest to fit it more
// often than not, so that about half of the cases line up.
type alignmentDraw struct {
	draw

	world      *World
	namespaces []string
	v          *VirtualService
	kinds      []policy.RouteKind
}

// anyBefore is when the oldest objects were made, in Unix seconds.
const anyBefore = 1_700_000_000

// AlignmentGenerator makes up alignment cases. Equal seeds, numbers and tokens give equal cases.
type AlignmentGenerator struct {
	seed  uint64
	cells [][]string
}

// NewAlignmentGenerator returns the generator of that seed.
func NewAlignmentGenerator(seed uint64) *AlignmentGenerator {
	g := &AlignmentGenerator{seed: seed}
	for _, cell := range NewAlignmentCoverage().Possible() {
		g.cells = append(g.cells, cell)
		if cell[len(cell)-1] == verdictServed {
			// There are far fewer of these, and the verdicts are to be even.
			g.cells = append(g.cells, cell, cell)
		}
	}
	return g
}

// Draw makes up the case of that number. Each third one is for one of the cells of the coverage table.
func (a *AlignmentGenerator) Draw(number int, token Token) *AlignmentCase {
	d := &alignmentDraw{draw: newDraw(a.seed, number), world: &World{Token: token}}
	for _, name := range []string{"app", "edge", "shop"} {
		d.namespaces = append(d.namespaces, name+string(token))
	}
	d.world.Settings.ScopeGateways = d.chance(20)
	// One default for each chunk: cases with the same settings share a run of Istio's generator.
	if d.chance(25) {
		d.world.Settings.DefaultExportTo = d.defaultExportTo(newDraw(a.seed, -1-number/chunk))
	}
	if d.world.Settings.DefaultExportTo == nil && !d.world.Settings.ScopeGateways && d.chance(6) {
		d.world.Settings.Domain = "corp.internal"
	}
	if number%3 == 0 {
		d.stratified(a.cells[number/3%len(a.cells)])
	} else {
		d.free()
	}
	d.stray()
	return &AlignmentCase{Number: number, World: d.world}
}

// free makes up a case from all that there is.
func (d *alignmentDraw) free() {
	d.kinds = weighted(d.draw,
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.HTTPRoute}, 42},
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.TLSRoute}, 26},
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.TCPRoute}, 20},
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.HTTPRoute, policy.TLSRoute}, 6},
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.HTTPRoute, policy.TCPRoute}, 3},
		weight[[]policy.RouteKind]{[]policy.RouteKind{policy.TLSRoute, policy.TCPRoute}, 2},
		weight[[]policy.RouteKind]{nil, 1})
	d.v = NewVirtualService(d.namespace(), "web", d.age())
	d.world.VirtualServices = []*VirtualService{d.v}
	d.v.Spec.Hosts = d.hosts()
	for i := range weighted(d.draw, weight[int]{0, 7}, weight[int]{1, 35}, weight[int]{2, 36}, weight[int]{3, 22}) {
		d.workload(i)
	}
	d.services()
	n := weighted(d.draw, weight[int]{1, 50}, weight[int]{2, 35}, weight[int]{3, 15})
	for i := range n {
		// A name with a dot is a legacy one where the namespace does not stand before it.
		d.gateway(fmt.Sprintf("gw%s%c", weighted(d.draw, weight[string]{"-", 97}, weight[string]{".", 3}), 'a'+i))
	}
	d.v.Spec.Gateways = d.references()
	d.v.Spec.ExportTo = d.exportTo()
	d.routes()
	d.bystanders()
}

func (d *alignmentDraw) namespace() string {
	return oneOf(d.draw, d.namespaces...)
}

// age returns a time at which objects are made. There are few, so that some are equal.
func (d *alignmentDraw) age() int64 {
	return anyBefore + int64(d.IntN(4))
}

// label returns a label's value that no other world has.
func (d *alignmentDraw) label(value string) string {
	return value + string(d.world.Token)
}

func (d *alignmentDraw) defaultExportTo(common draw) []string {
	return oneOf(common, []string{"."}, []string{"*"}, []string{"~"}, []string{}, d.namespaces[1:2], []string{".", d.namespaces[2]}, d.namespaces[:2])
}

// hosts returns the hosts of the VirtualService. Istio's webhook refuses hosts that overlap in one, so few do.
func (d *alignmentDraw) hosts() []string {
	n := weighted(d.draw, weight[int]{1, 58}, weight[int]{2, 28}, weight[int]{3, 14})
	var hosts []string
	for range 20 {
		h := d.host()
		if !slices.ContainsFunc(hosts, func(o string) bool { return overlap(o, h) }) || d.chance(2) {
			hosts = append(hosts, h)
		}
		if len(hosts) == n {
			break
		}
	}
	return hosts
}

func (d *alignmentDraw) host() string {
	return weighted(d.draw,
		weight[string]{"a.example.com", 26}, weight[string]{"b.example.com", 14}, weight[string]{"x.a.example.com", 6},
		weight[string]{"example.com", 4}, weight[string]{"other.org", 5},
		weight[string]{"*.example.com", 10}, weight[string]{"*.a.example.com", 6}, weight[string]{"*.com", 3}, weight[string]{"*", 4},
		weight[string]{"A.example.com", 4}, weight[string]{"*.Example.com", 2},
		weight[string]{"reviews", 5}, weight[string]{"reviews." + d.v.Namespace + ".svc." + d.world.Settings.clusterDomain(), 3},
		weight[string]{"ratings." + d.namespaces[1] + ".svc." + d.world.Settings.clusterDomain(), 2}, weight[string]{"10.1.2.3", 2})
}

// overlap says whether two hosts have a name in common, in any letter case.
func overlap(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return policy.HostName(a).Overlaps(policy.HostName(b))
}

// resolved is a host of the VirtualService as Istio reads it.
func (d *alignmentDraw) resolved(host string) string {
	if host == "reviews" {
		return host + "." + d.v.Namespace + ".svc." + d.world.Settings.clusterDomain()
	}
	return host
}

// workload adds what Gateways may run on. Labels overlap between them.
func (d *alignmentDraw) workload(i int) {
	w := &Workload{
		Kind:      oneOf(d.draw, policy.KindDeployment, policy.KindDeployment, policy.KindDaemonSet, policy.KindStatefulSet, policy.KindPod),
		Namespace: d.namespace(), Name: fmt.Sprintf("proxy-%d", i), Router: d.chance(75), Unprivileged: d.chance(14),
		Labels: map[string]string{"istio": d.label(oneOf(d.draw, "public", "public", "internal"))},
	}
	if d.chance(50) {
		w.Labels["tier"] = d.label(oneOf(d.draw, "front", "back"))
	}
	if d.chance(50) {
		w.Ports = []corev1.ContainerPort{
			{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP},
			{Name: "secure", ContainerPort: 8443, Protocol: corev1.ProtocolTCP},
			{Name: "secure", ContainerPort: 9443, Protocol: corev1.ProtocolUDP},
		}
	}
	d.world.Workloads = append(d.world.Workloads, w)
}

// services adds Services that lead to the workloads, or past them.
func (d *alignmentDraw) services() {
	for i, w := range d.world.Workloads {
		for n := range weighted(d.draw, weight[int]{0, 45}, weight[int]{1, 40}, weight[int]{2, 15}) {
			s := NewService(w.Namespace, fmt.Sprintf("%c-proxy-%d", 'a'+d.IntN(3), 10*i+n), d.age(), map[string]string{"istio": w.Labels["istio"]})
			if d.chance(8) {
				s.Spec.Selector = w.Labels
			}
			if d.chance(4) {
				s.Namespace = d.namespace()
			}
			switch n := d.IntN(100); {
			case n < 12:
				s.Labels = map[string]string{"experimental.istio.io/disable-gateway-port-translation": "true"}
			case n < 15:
				s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "elsewhere.org"
			case n < 18:
				s.Spec.Selector = nil
			}
			s.Spec.Ports = d.servicePorts()
			d.world.Services = append(d.world.Services, s)
		}
	}
}

func (d *alignmentDraw) servicePorts() []corev1.ServicePort {
	var ports []corev1.ServicePort
	for _, number := range []int32{80, 443, 8080, 9000} {
		if d.chance(30) {
			continue
		}
		p := corev1.ServicePort{Name: fmt.Sprintf("%s-%d", oneOf(d.draw, "http", "http2", "tcp", "web", "https"), number), Port: number, Protocol: corev1.ProtocolTCP}
		switch target := map[int32][]int32{80: {8080, 80, 443}, 443: {8443, 443}, 8080: {8080, 9000}, 9000: {9000, 8080}}[number]; {
		case d.chance(70):
			p.TargetPort = intstr.FromInt32(oneOf(d.draw, target...))
		case d.chance(40):
			p.TargetPort = intstr.FromString(oneOf(d.draw, "web", "secure", "absent"))
		}
		if d.chance(6) {
			p.AppProtocol = oneOf(d.draw, new("http"), new("tls"), new("tcp"))
		}
		if d.chance(6) {
			p.Protocol = corev1.ProtocolUDP
		}
		ports = append(ports, p)
	}
	if d.chance(20) {
		slices.Reverse(ports)
	}
	return ports
}

// references returns spec.gateways: most of the Gateways, in every form that their names can have, and now and then one
// that is missing, the mesh, or one more than once.
func (d *alignmentDraw) references() []string {
	if d.chance(1) {
		return nil
	}
	var refs []string
	for i, g := range d.world.Gateways {
		if i == 0 || d.chance(65) {
			refs = append(refs, d.reference(g.Key()))
		}
	}
	if d.chance(4) {
		refs = append(refs, "mesh")
	}
	if d.chance(4) {
		refs = append(refs, d.missing())
	}
	if d.chance(4) {
		refs = append(refs, d.reference(oneOf(d.draw, d.world.Gateways...).Key()))
	}
	if d.chance(10) {
		slices.Reverse(refs)
	}
	return refs
}

// reference returns the name of a Gateway in one of its forms.
func (d *alignmentDraw) reference(key policy.Key) string {
	if key.Namespace == d.v.Namespace && d.chance(60) {
		return oneOf(d.draw, key.Name, key.Name, "./"+key.Name)
	}
	return oneOf(d.draw, key.String(), key.String(), key.String(), key.Name+"."+key.Namespace,
		key.Name+"."+key.Namespace+".svc."+d.world.Settings.clusterDomain(), key.Name+"."+key.Namespace+".svc")
}

// missing returns the name of a Gateway that does not exist, or that only a reader in a hurry takes for one that does.
func (d *alignmentDraw) missing() string {
	g := oneOf(d.draw, d.world.Gateways...)
	for range 20 {
		ref := oneOf(d.draw, "absent", d.namespace()+"/absent", "absent."+d.namespace(), d.namespace()+"/"+g.Name, g.Name,
			g.Name+"."+d.namespace()+".svc."+d.world.Settings.clusterDomain(), "./"+g.Name, d.namespaces[0]+"/Mesh", "", d.namespace()+"/", "/"+g.Name, strings.ToUpper(g.Name))
		if key, mesh := d.world.gatewayNamed(ref, d.v); !mesh && d.world.Gateway(key) == nil {
			return ref
		}
	}
	return "absent"
}

func (d *alignmentDraw) exportTo() []string {
	near := d.namespace()
	if len(d.world.Workloads) > 0 && d.chance(75) {
		near = oneOf(d.draw, d.world.Workloads...).Namespace
	}
	return weighted(d.draw,
		weight[[]string]{nil, 45}, weight[[]string]{[]string{"*"}, 9}, weight[[]string]{[]string{"."}, 12}, weight[[]string]{[]string{"~"}, 2},
		weight[[]string]{[]string{near}, 16}, weight[[]string]{[]string{".", near}, 6}, weight[[]string]{d.namespaces[1:], 4},
		weight[[]string]{[]string{"*", d.namespaces[0]}, 2}, weight[[]string]{[]string{"~", near}, 1}, weight[[]string]{[]string{"*", "~"}, 1},
		weight[[]string]{[]string{"elsewhere" + string(d.world.Token)}, 2})
}

// bystanders adds VirtualServices that have no say in the verdict: an older one for the same host, and a delegate.
func (d *alignmentDraw) bystanders() {
	if d.chance(10) {
		rival := NewVirtualService(d.namespace(), "rival", anyBefore-10)
		rival.Spec.Hosts, rival.Spec.Gateways = d.v.Spec.Hosts[:1], d.v.Spec.Gateways
		rival.Spec.Http = []*networking.HTTPRoute{{DirectResponse: &networking.HTTPDirectResponse{Status: 200}}}
		d.world.VirtualServices = append(d.world.VirtualServices, rival)
	}
	if d.chance(50) && slices.ContainsFunc(d.v.Spec.Http, func(r *networking.HTTPRoute) bool { return r.Delegate != nil }) {
		delegate := NewVirtualService(d.v.Namespace, "delegate", d.age())
		delegate.Spec.Http = []*networking.HTTPRoute{{DirectResponse: &networking.HTTPDirectResponse{Status: 200}}}
		d.world.VirtualServices = append(d.world.VirtualServices, delegate)
	}
}
