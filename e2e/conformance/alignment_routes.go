package conformance

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// destination is where all routes of the world lead: no other world has it.
func (w *World) destination() *networking.Destination {
	return &networking.Destination{Host: "backend" + string(w.Token) + ".internal", Port: &networking.PortSelector{Number: 8000}}
}

func (d *alignmentDraw) routes() {
	for _, kind := range d.kinds {
		n := weighted(d.draw, weight[int]{1, 60}, weight[int]{2, 28}, weight[int]{3, 12})
		for range n {
			switch kind {
			case policy.HTTPRoute:
				d.v.Spec.Http = append(d.v.Spec.Http, d.httpRoute())
			case policy.TLSRoute:
				d.v.Spec.Tls = append(d.v.Spec.Tls, d.tlsRoute())
			case policy.TCPRoute:
				d.v.Spec.Tcp = append(d.v.Spec.Tcp, d.tcpRoute())
			}
		}
	}
}

func (d *alignmentDraw) httpRoute() *networking.HTTPRoute {
	r := &networking.HTTPRoute{}
	switch n := d.IntN(100); {
	case n < 12:
		r.Delegate = &networking.Delegate{Name: "delegate"}
	case n < 25:
		r.Redirect = &networking.HTTPRedirect{Uri: "/"}
	case n < 37:
		r.DirectResponse = &networking.HTTPDirectResponse{Status: 200}
	default:
		r.Route = []*networking.HTTPRouteDestination{{Destination: d.world.destination()}}
	}
	for range weighted(d.draw, weight[int]{0, 45}, weight[int]{1, 40}, weight[int]{2, 15}) {
		m := &networking.HTTPMatchRequest{Gateways: d.matchGateways(), Port: d.matchPort()}
		if d.chance(35) {
			m.Uri = &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: oneOf(d.draw, "/", "/a", "/b")}}
		}
		if d.chance(12) {
			m.SourceLabels = d.sourceLabels()
		}
		if d.chance(14) {
			m.SourceNamespace = d.namespace()
		}
		r.Match = append(r.Match, m)
	}
	return r
}

// sourceLabels returns labels that one of the workloads may have.
func (d *alignmentDraw) sourceLabels() map[string]string {
	if len(d.world.Workloads) == 0 || d.chance(35) {
		return map[string]string{"istio": d.label(oneOf(d.draw, "public", "internal"))}
	}
	return oneOf(d.draw, d.world.Workloads...).Labels
}

func (d *alignmentDraw) tlsRoute() *networking.TLSRoute {
	r := &networking.TLSRoute{Route: d.destinations()}
	for range weighted(d.draw, weight[int]{0, 2}, weight[int]{1, 70}, weight[int]{2, 28}) {
		m := &networking.TLSMatchAttributes{Gateways: d.matchGateways(), Port: d.matchPort()}
		for range weighted(d.draw, weight[int]{1, 65}, weight[int]{2, 25}, weight[int]{3, 10}) {
			if sni := d.sniHost(); !slices.Contains(m.SniHosts, sni) {
				m.SniHosts = append(m.SniHosts, sni)
			}
		}
		switch d.IntN(100) {
		case 0, 1, 2:
			m.SourceLabels = d.sourceLabels()
		case 3, 4, 5:
			m.SourceNamespace = d.namespace()
		case 6:
			// Istio's webhook refuses it, and its generator builds a chain for every client.
			m.SniHosts = nil
		}
		r.Match = append(r.Match, m)
	}
	return r
}

func (d *alignmentDraw) tcpRoute() *networking.TCPRoute {
	r := &networking.TCPRoute{Route: d.destinations()}
	for range weighted(d.draw, weight[int]{0, 45}, weight[int]{1, 40}, weight[int]{2, 15}) {
		m := &networking.L4MatchAttributes{Gateways: d.matchGateways(), Port: d.matchPort()}
		if d.chance(5) {
			m.SourceLabels = d.sourceLabels()
		}
		r.Match = append(r.Match, m)
	}
	return r
}

// destinations returns none now and then: Istio builds nothing for such a route.
func (d *alignmentDraw) destinations() []*networking.RouteDestination {
	if d.chance(7) {
		return nil
	}
	to := []*networking.RouteDestination{{Destination: d.world.destination()}}
	if d.chance(15) {
		to[0].Weight = 60
		to = append(to, &networking.RouteDestination{Destination: d.world.destination(), Weight: 40})
	}
	return to
}

// sniHost returns a name that a tls match asks for: one of the hosts, or narrower, or wider, or something else.
func (d *alignmentDraw) sniHost() string {
	h := d.resolved(oneOf(d.draw, d.v.Spec.Hosts...))
	return weighted(d.draw,
		weight[string]{h, 62}, weight[string]{narrower(h), 22}, weight[string]{wider(h), 8},
		weight[string]{d.resolved(d.host()), 5}, weight[string]{strings.ToUpper(h[:1]) + h[1:], 2}, weight[string]{strings.ToLower(h), 3}, weight[string]{d.v.Spec.Hosts[0], 3})
}

// matchGateways returns the gateways of a match: mostly none, or one that the VirtualService binds to.
func (d *alignmentDraw) matchGateways() []string {
	if !d.chance(20) {
		return nil
	}
	var refs []string
	for range weighted(d.draw, weight[int]{1, 68}, weight[int]{2, 32}) {
		switch {
		case d.chance(70):
			refs = append(refs, d.boundInSomeForm())
		case d.chance(45):
			refs = append(refs, d.reference(oneOf(d.draw, d.world.Gateways...).Key()))
		case d.chance(60):
			refs = append(refs, "mesh")
		default:
			refs = append(refs, d.missing())
		}
	}
	return refs
}

// boundInSomeForm returns a name of a gateway that the VirtualService binds to, not always the one by which it does.
func (d *alignmentDraw) boundInSomeForm() string {
	if len(d.v.Spec.Gateways) == 0 {
		return "mesh"
	}
	ref := oneOf(d.draw, d.v.Spec.Gateways...)
	key, mesh := d.world.gatewayNamed(ref, d.v)
	if mesh || d.chance(50) {
		return ref
	}
	return d.reference(key)
}

// matchPort returns the port of a match: mostly none, or that of a server.
func (d *alignmentDraw) matchPort() uint32 {
	switch {
	case !d.chance(15):
		return 0
	case d.chance(25):
		return oneOf(d.draw, uint32(80), 443, 8080, 8443, 9000)
	}
	return oneOf(d.draw, oneOf(d.draw, d.world.Gateways...).Spec.Servers...).Port.Number
}

// stray adds something to a match now and then that changes nothing for the hosts: a gateway that the VirtualService does
// not bind to, or a name that a server may not permit.
func (d *alignmentDraw) stray() {
	dead := []string{d.missing()}
	v := d.v.Spec
	switch {
	case len(v.Http) > 0 && d.chance(3):
		r := oneOf(d.draw, v.Http...)
		if len(r.Match) == 0 {
			r.Match = []*networking.HTTPMatchRequest{{}}
		}
		r.Match = append(r.Match, &networking.HTTPMatchRequest{Gateways: dead})
	case len(v.Tcp) > 0 && d.chance(4):
		r := oneOf(d.draw, v.Tcp...)
		if len(r.Match) == 0 {
			r.Match = []*networking.L4MatchAttributes{{}}
		}
		r.Match = append(r.Match, &networking.L4MatchAttributes{Gateways: dead})
	case len(v.Tls) > 0 && d.chance(12):
		if r := oneOf(d.draw, v.Tls...); len(r.Match) > 0 && len(r.Match[0].SniHosts) > 0 {
			m := r.Match[0]
			m.SniHosts = append(m.SniHosts, oneOf(d.draw, wider(m.SniHosts[0]), "stray.example.org"))
		}
	}
}
