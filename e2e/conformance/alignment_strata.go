package conformance

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// stratified makes up a case for one cell of the coverage table: a Gateway with one server, and one thing wrong where the
// host is not to be served. Chance alone would leave cells empty for very long.
func (d *alignmentDraw) stratified(cell []string) {
	server, route, form, export, verdict := cell[0], cell[1], cell[2], cell[3], cell[4]
	serve := verdict == verdictServed
	token := string(d.world.Token)
	d.v = NewVirtualService(d.namespace(), "web", d.age())
	d.world.VirtualServices = []*VirtualService{d.v}
	w := &Workload{Kind: "Deployment", Namespace: d.namespace(), Name: "proxy", Labels: map[string]string{"istio": "public" + token}, Router: true}
	d.world.Workloads = []*Workload{w}
	host := oneOf(d.draw, "a.example.com", "x.a.example.com", "other.org", "*.example.com")
	if form == formUpper {
		host = strings.Replace(host, "e", "E", 1)
	}
	d.v.Spec.Hosts = []string{host}
	g := NewGateway(d.namespace(), "gw", d.age())
	d.world.Gateways = []*Gateway{g}
	g.Spec.Selector = w.Labels
	s := d.server(0, server)
	s.Port.Number, s.Bind = map[bool]uint32{true: 8080, false: 8443}[server == kindHTTP || server == kindRedirect], ""
	g.Spec.Servers = []*networking.Server{s}
	if d.chance(40) {
		d.throughService(w, s)
	}
	d.strataExport(w, export, serve)
	if d.world.Settings.ScopeGateways {
		g.Namespace = w.Namespace
	}
	if form == formOwn && serve {
		if d.world.Settings.ScopeGateways || export == exportDot || export == exportDefault {
			g.Namespace = d.v.Namespace
			w.Namespace = d.v.Namespace
			d.strataExport(w, export, serve)
		}
		g.Namespace = d.v.Namespace
	}
	s.Hosts = d.strataHosts(host, form)
	d.v.Spec.Gateways = []string{d.reference(g.Key())}
	d.strataRoute(route)
	if !serve {
		d.spoil(form, export)
	}
	for _, o := range d.world.Services {
		o.Namespace = w.Namespace
	}
}

// throughService puts a Service before the workload, so that the server's port is not the one that is listened on.
func (d *alignmentDraw) throughService(w *Workload, s *networking.Server) {
	service := NewService(w.Namespace, "proxy", d.age(), w.Labels)
	service.Spec.Ports = []corev1.ServicePort{{Name: "tcp", Port: int32(s.Port.Number), TargetPort: intstr.FromInt32(10000), Protocol: corev1.ProtocolTCP}}
	d.world.Services = []*corev1.Service{service}
}

// strataExport sets exportTo in its form so that the workload sees the VirtualService, or moves the workload where only
// that helps.
func (d *alignmentDraw) strataExport(w *Workload, export string, serve bool) {
	v := d.v
	d.world.Settings.DefaultExportTo = nil // the cell says whether there is one
	switch export {
	case exportDot:
		v.Spec.ExportTo = []string{"."}
		if serve {
			w.Namespace = v.Namespace
		}
	case exportStar, exportNone:
		v.Spec.ExportTo = []string{export}
	case exportOne:
		v.Spec.ExportTo = []string{w.Namespace}
	case exportSeveral:
		v.Spec.ExportTo = oneOf(d.draw, []string{".", w.Namespace}, []string{w.Namespace, d.namespaces[0]}, []string{"*", d.namespaces[1]})
	case exportDefault:
		d.world.Settings.DefaultExportTo = oneOf(d.draw, []string{"*"}, []string{"."})
		if d.world.Settings.DefaultExportTo[0] == "." && serve {
			w.Namespace = v.Namespace
		}
	}
}

func (d *alignmentDraw) strataHosts(host, form string) []string {
	covering := oneOf(d.draw, host, host, wider(host), "*")
	switch form {
	case formWildcard:
		return []string{wider(host)}
	case formStar, formAny:
		return []string{form}
	case formNamespace:
		return []string{d.v.Namespace + "/" + covering}
	case formOwn, formEvery:
		if covering == "*" {
			covering = host
		}
		return []string{form + covering}
	case formAnyBesides:
		return oneOf(d.draw, []string{"*/*", "b.example.com"}, []string{"b.example.com", "*/*"}, []string{"./b.example.com", "*/*"})
	case formUpper:
		return []string{oneOf(d.draw, "", "*/") + host}
	}
	if strings.HasPrefix(host, "*") {
		return []string{narrower(host)}
	}
	return []string{host}
}

func (d *alignmentDraw) strataRoute(route string) {
	host := d.v.Spec.Hosts[0]
	to := []*networking.RouteDestination{{Destination: d.world.destination()}}
	switch route {
	case routeHTTP:
		d.v.Spec.Http = []*networking.HTTPRoute{{Route: []*networking.HTTPRouteDestination{{Destination: d.world.destination()}}}}
	case routeDelegate:
		d.v.Spec.Http = []*networking.HTTPRoute{{Delegate: &networking.Delegate{Name: "delegate"}}}
	case routeTLS:
		d.v.Spec.Tls = []*networking.TLSRoute{{Match: []*networking.TLSMatchAttributes{{SniHosts: []string{narrower(host)}}}, Route: to}}
	case routeTCP:
		d.v.Spec.Tcp = []*networking.TCPRoute{{Route: to}}
	}
}

// spoil makes one thing wrong, without leaving the cell.
func (d *alignmentDraw) spoil(form, export string) {
	elsewhere := "elsewhere" + string(d.world.Token)
	switch d.IntN(5) {
	case 0:
		if form == formNamespace {
			s := d.world.Gateways[0].Spec.Servers[0]
			_, name, _ := strings.Cut(s.Hosts[0], "/")
			s.Hosts[0] = elsewhere + "/" + name
			return
		}
	case 1:
		switch export {
		case exportOne:
			d.v.Spec.ExportTo = []string{elsewhere}
			return
		case exportSeveral:
			d.v.Spec.ExportTo = []string{elsewhere, "somewhere" + string(d.world.Token)}
			return
		}
	case 2:
		if !strings.HasSuffix(d.world.Gateways[0].Spec.Servers[0].Hosts[0], "*") && form != formAnyBesides {
			d.v.Spec.Hosts = []string{"unrelated.net"}
			return
		}
	case 3:
		d.spoilMatches(0, []string{"mesh"})
		return
	}
	d.spoilMatches(1234, nil)
}

// spoilMatches asks every route for a port or gateways that it does not come through.
func (d *alignmentDraw) spoilMatches(port uint32, gateways []string) {
	for _, r := range d.v.Spec.Http {
		r.Match = []*networking.HTTPMatchRequest{{Port: port, Gateways: gateways}}
	}
	for _, r := range d.v.Spec.Tls {
		r.Match[0].Port, r.Match[0].Gateways = port, gateways
	}
	for _, r := range d.v.Spec.Tcp {
		r.Match = []*networking.L4MatchAttributes{{Port: port, Gateways: gateways}}
	}
}
