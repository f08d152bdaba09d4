package conformance

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// ConflictCase is a set of Gateways that share workloads, one of which is the submitted one.
type ConflictCase struct {
	Number int `json:"number"`
	// World is the mesh with the submitted Gateway as it is meant to be.
	World *World `json:"world"`
	// Submitted names the Gateway that is created or changed.
	Submitted policy.Key `json:"submitted"`
	// Old is the submitted Gateway as it was, or nil when it is created.
	Old *Gateway `json:"old,omitempty"`
}

// conflictDraw makes up one case.
type conflictDraw struct {
	draw
	world *World
	// selectors are those that Gateways of the case may have.
	selectors []map[string]string
	// kinds are those of its servers.
	kinds []string
	// numbers are the few ports, so that servers meet.
	numbers []uint32
	// binds are the few addresses.
	binds []string
	// anyHost is how many of 100 lists of hosts have "*/*" among others.
	anyHost int
	// close has the Gateways share their workloads, and routes lead through their servers, in most cases.
	close bool
}

// DrawConflict returns the case of the number in the series of the seed. Three of five cases go through the cells of the
// coverage table in turn; the others are free.
func DrawConflict(seed uint64, number int, token Token) *ConflictCase {
	d := &conflictDraw{draw: newDraw(seed, number), world: &World{Token: token}}
	if d.chance(3) {
		d.world.Settings.Domain = "example.org"
	}
	if d.chance(4) {
		d.world.Settings.DefaultExportTo = []string{"."}
	}
	if block, place := number/5, number%5; place < 3 {
		d.stratum(3*block + place)
	} else {
		d.world.Settings.ScopeGateways = d.chance(4)
		d.temper()
		d.gateways()
		d.workloads(35)
	}
	d.routes()
	submitted := d.world.Gateways[d.IntN(len(d.world.Gateways))]
	c := &ConflictCase{Number: number, World: d.world, Submitted: submitted.Key()}
	if d.chance(35) {
		c.Old = d.older(submitted)
	}
	return c
}

// temper chooses what a free case as a whole is like.
func (d *conflictDraw) temper() {
	app, tier, both, other := d.labels("app"), d.labels("tier"), d.labels("app", "tier"), map[string]string{"app": "z" + string(d.world.Token)}
	d.selectors = []map[string]string{app, app, app}
	switch d.IntN(10) {
	case 0, 1:
		d.selectors = append(d.selectors, both)
	case 2, 3:
		d.selectors = append(d.selectors, tier, tier)
	case 4:
		d.selectors = append(d.selectors, both, tier, other)
	case 5:
		if d.chance(40) {
			d.selectors = append(d.selectors, nil, nil)
		}
	}
	d.numbers = oneOf(d.draw, []uint32{443}, []uint32{80}, []uint32{8443, 443}, []uint32{80, 8080}, []uint32{443, 80, 8080})
	d.binds = oneOf(d.draw, []string{""}, []string{""}, []string{""}, []string{"", "0.0.0.0"}, []string{"", "10.0.0.1"},
		[]string{"10.0.0.1"}, []string{"", "0.0.0.0", "10.0.0.1"}, []string{"10.0.0.1", "10.0.0.2"})
	d.kinds = d.family()
	if d.chance(26) {
		d.anyHost = 50
	}
}

// labels returns the labels of gateways of the world.
func (d *conflictDraw) labels(names ...string) map[string]string {
	l := map[string]string{}
	for _, n := range names {
		l[n] = n + string(d.world.Token)
	}
	return l
}

func (d *conflictDraw) gateways() {
	names := d.names()
	spread := d.chance(50)
	for i := range 2 + d.IntN(3) {
		namespace, name := d.namespace(), names[i]
		if !spread {
			namespace = "ns1" + string(d.world.Token)
		}
		if i > 0 && d.chance(15) {
			// Of one name in another namespace: the last resort of Istio's order.
			name = d.world.Gateways[0].Name
		}
		if d.world.Gateway(policy.Key{Namespace: namespace, Name: name}) != nil {
			name = names[i]
		}
		g := NewGateway(namespace, name, d.age())
		g.Spec.Selector = d.selectors[d.IntN(len(d.selectors))]
		d.servers(g, i, 1+d.IntN(3))
		d.world.Gateways = append(d.world.Gateways, g)
	}
}

// names returns the names of Gateways in any order: it is not theirs that the names of the servers tell.
func (d *conflictDraw) names() []string {
	names := []string{"gw-a", "gw-b", "gw-c", "gw-d"}
	d.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// servers gives the Gateway, which is the i-th, n servers.
func (d *conflictDraw) servers(g *Gateway, i, n int) {
	g.Spec.Servers = nil
	for s := range n {
		server := d.server(oneOf(d.draw, d.kinds...), oneOf(d.draw, d.numbers...), oneOf(d.draw, d.binds...))
		d.name(server, i, s)
		if s > 0 && d.chance(8) {
			server.Port.Name = g.Spec.Servers[s-1].Port.Name
		}
		g.Spec.Servers = append(g.Spec.Servers, server)
	}
}

// name gives the server, which is the s-th of the i-th Gateway, a name by which the generator's answer is read.
func (d *conflictDraw) name(server *networking.Server, i, s int) {
	server.Name = fmt.Sprintf("g%d-s%d", i, s)
	server.Port.Name = server.Name
}

// older returns the Gateway as it may have been before the change.
func (d *conflictDraw) older(g *Gateway) *Gateway {
	old := NewGateway(g.Namespace, g.Name, g.CreationTimestamp.Unix())
	old.Spec = g.Spec.DeepCopy()
	switch d.IntN(4) {
	case 0:
		old.Spec.Selector = map[string]string{"app": "old" + string(d.world.Token)}
	case 1:
		old.Spec.Servers[0].Bind = "10.9.9.9"
	case 2:
		old.Spec.Servers[0].Hosts = []string{"old.example.com"}
	default:
		old.Spec.Servers[0].Port.Number = 9443
	}
	return old
}

func (d *conflictDraw) namespace() string {
	return fmt.Sprintf("ns%d%s", 1+d.IntN(3), d.world.Token)
}

func (d *conflictDraw) age() int64 {
	return 1_700_000_000 + int64(d.IntN(3))
}

// hosts draws the hosts of a server.
func (d *conflictDraw) hosts(auto bool) []string {
	n := 1
	if d.chance(25) {
		n = 2 + d.IntN(2)
	}
	var hosts []string
	for range n {
		hosts = append(hosts, d.permission()+d.host(auto))
	}
	if d.chance(d.anyHost) {
		// Istio's generator fails on "./" and "*/" after it, and on nothing else.
		hosts = append([]string{"*/*"}, hosts...)
		if d.chance(40) {
			hosts[0], hosts[1] = hosts[1], hosts[0]
		}
	}
	return hosts
}

func (d *conflictDraw) permission() string {
	t := string(d.world.Token)
	return oneOf(d.draw, "", "", "", "", "", "", "ns1"+t+"/", "ns2"+t+"/", "./", "*/")
}

func (d *conflictDraw) host(auto bool) string {
	if suffix := string(d.world.Token) + ".svc." + d.world.Settings.clusterDomain(); auto && d.chance(85) {
		return oneOf(d.draw, "*.svc."+d.world.Settings.clusterDomain(), "*.local", "*.ns1"+suffix, "db.ns1"+suffix, "*")
	}
	return oneOf(d.draw, "a.example.com", "a.example.com", "b.example.com", "b.example.com", "c.example.com", "d.example.com",
		"*.example.com", "*.example.com", "A.example.com", "*")
}

// server draws a server of the kind.
func (d *conflictDraw) server(kind string, number uint32, bind string) *networking.Server {
	s := &networking.Server{Port: &networking.Port{Number: number}, Bind: bind}
	d.shape(kind, s)
	s.Hosts = d.hosts(kind == kindAutoPassthrough)
	return s
}
