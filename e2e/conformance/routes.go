package conformance

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// RouteTruth is what Istio makes of the routes of a VirtualService.
type RouteTruth struct {
	// Dead are the entries of match.gateways, such as "spec.http[0].match[0].gateways[1]", that nothing comes through.
	Dead []string
	// Escaping are the entries of sniHosts, with the Gateway that a filter chain for them is built for although its
	// servers don't permit them, such as "spec.tls[0].match[0].sniHosts[0] edge/gw".
	Escaping []string
}

// JudgeRoutes returns for each case what Istio makes of its routes.
func JudgeRoutes(cases []*AlignmentCase) ([]*RouteTruth, error) {
	truths := make([]*RouteTruth, len(cases))
	var questions []Question
	var read []func([]Answer) error
	for i, c := range cases {
		truths[i] = &RouteTruth{}
		for _, e := range c.matchGateways() {
			if c.bound(e.key, e.mesh) {
				continue
			}
			truths[i].Dead = append(truths[i].Dead, e.path)
			if g := c.World.Gateway(e.key); !e.mesh && g != nil {
				questions = append(questions, c.World.question(g, c.plain()))
				read = append(read, func(answers []Answer) error { return c.mustBeDead(e.path, answers) })
			}
		}
		for _, p := range c.tlsPassages() {
			questions = append(questions, p.questions()...)
			for range p.questions() {
				read = append(read, p.read)
			}
			read[len(read)-1] = func(answers []Answer) error {
				err := p.read(answers)
				truths[i].Escaping = append(truths[i].Escaping, p.escaping()...)
				return err
			}
		}
	}
	answers, err := Ask(questions)
	if err != nil {
		return nil, err
	}
	for n, a := range answers {
		if err := read[n](a); err != nil {
			return nil, err
		}
	}
	for _, t := range truths {
		slices.Sort(t.Dead)
		slices.Sort(t.Escaping)
	}
	return truths, nil
}

// plain returns the VirtualService with every route leading somewhere itself.
func (c *AlignmentCase) plain() *VirtualService {
	v := *c.VirtualService()
	v.Spec = proto.Clone(v.Spec).(*networking.VirtualService)
	c.World.withoutDelegates(v.Spec)
	return &v
}

// mustBeDead holds the reading of match.gateways to the generator: what is called dead must be.
func (c *AlignmentCase) mustBeDead(path string, answers []Answer) error {
	for _, a := range answers {
		if a.leadsTo(c.World, c.VirtualService()) {
			return fmt.Errorf("case %d: %s was taken for dead, and Istio builds routes for it", c.Number, path)
		}
	}
	return nil
}

// matchGateway is an entry of match.gateways.
type matchGateway struct {
	path string
	key  policy.Key
	mesh bool
}

// matchGateways returns every entry of match.gateways, as Istio resolves it.
func (c *AlignmentCase) matchGateways() []matchGateway {
	var entries []matchGateway
	add := func(kind string, route, match int, names []string) {
		for i, name := range names {
			key, mesh := keyNamed(name)
			entries = append(entries, matchGateway{fmt.Sprintf("spec.%s[%d].match[%d].gateways[%d]", kind, route, match, i), key, mesh})
		}
	}
	v := c.World.resolve(c.VirtualService())
	for r, route := range v.Http {
		for m, match := range route.Match {
			add("http", r, m, match.Gateways)
		}
	}
	for r, route := range v.Tls {
		for m, match := range route.Match {
			add("tls", r, m, match.Gateways)
		}
	}
	for r, route := range v.Tcp {
		for m, match := range route.Match {
			add("tcp", r, m, match.Gateways)
		}
	}
	return entries
}

// bound says whether the VirtualService binds to the gateway.
func (c *AlignmentCase) bound(gateway policy.Key, mesh bool) bool {
	names := c.World.resolve(c.VirtualService()).Gateways
	if len(names) == 0 {
		return mesh
	}
	return slices.ContainsFunc(names, func(name string) bool {
		key, isMesh := keyNamed(name)
		return isMesh == mesh && key == gateway
	})
}

// tlsPassage is a match of a tls route on its way through a Gateway. Istio is asked about the match alone: first about the
// Gateway as a whole, to see which servers it keeps, and then about each server by itself, to see through which ones the
// match leads.
type tlsPassage struct {
	c       *AlignmentCase
	gateway *Gateway
	path    string
	match   *networking.TLSMatchAttributes
	v       *VirtualService

	asked int
	// kept are the servers that Istio keeps on each proxy, as it reads them, by name.
	kept []map[string]*networking.Server
	// through are the servers that the match leads through.
	through []*networking.Server
}

// tlsPassages returns the ways of each tls match through each Gateway that the VirtualService names.
func (c *AlignmentCase) tlsPassages() []*tlsPassage {
	var passages []*tlsPassage
	v := c.VirtualService()
	var seen []*Gateway
	for _, name := range c.World.resolve(v).Gateways {
		key, mesh := keyNamed(name)
		g := c.World.Gateway(key)
		if mesh || g == nil || slices.Contains(seen, g) {
			continue
		}
		seen = append(seen, g)
		named := *g
		named.Spec = proto.Clone(g.Spec).(*networking.Gateway)
		for i, s := range named.Spec.Servers {
			s.Name = fmt.Sprint(i)
		}
		for r, route := range v.Spec.Tls {
			for m, match := range route.Match {
				alone := c.plain()
				alone.Spec.Http, alone.Spec.Tcp = nil, nil
				alone.Spec.Tls = []*networking.TLSRoute{{Match: []*networking.TLSMatchAttributes{match}, Route: route.Route}}
				passages = append(passages, &tlsPassage{c: c, gateway: &named, path: fmt.Sprintf("spec.tls[%d].match[%d]", r, m), match: match, v: alone})
			}
		}
	}
	return passages
}

func (p *tlsPassage) questions() []Question {
	questions := []Question{p.c.World.question(p.gateway, p.v)}
	if len(p.gateway.Spec.Servers) == 1 {
		return questions
	}
	for i := range p.gateway.Spec.Servers {
		g := *p.gateway
		g.Spec = proto.Clone(g.Spec).(*networking.Gateway)
		g.Spec.Servers = g.Spec.Servers[i : i+1]
		questions = append(questions, p.c.World.question(&g, p.v))
	}
	return questions
}

// read takes the answers to the questions, one after the other.
func (p *tlsPassage) read(answers []Answer) error {
	server := fmt.Sprint(p.asked - 1)
	p.asked++
	only := len(p.gateway.Spec.Servers) == 1
	if only {
		server = "0"
	}
	for n, a := range answers {
		if p.asked == 1 {
			p.kept = append(p.kept, keptServers(a))
		}
		if p.asked == 1 && !only {
			continue
		}
		if s, ok := p.kept[n][server]; ok && len(a.chains(p.c.World)) > 0 && !slices.Contains(p.through, s) {
			p.through = append(p.through, s)
		}
	}
	return nil
}

func keptServers(a Answer) map[string]*networking.Server {
	kept := map[string]*networking.Server{}
	if a.Merged != nil {
		for _, m := range a.Merged.MergedServers {
			for _, s := range m.Servers {
				kept[s.Name] = s
			}
		}
	}
	return kept
}

// escaping returns the SNI hosts of the match that no server permits which it leads through.
func (p *tlsPassage) escaping() []string {
	var entries []string
	for i, sni := range p.match.SniHosts {
		permitted := slices.ContainsFunc(p.through, func(s *networking.Server) bool {
			return slices.ContainsFunc(host.NamesForNamespace(s.Hosts, p.v.Namespace), func(h host.Name) bool { return host.Name(sni).SubsetOf(h) })
		})
		if len(p.through) > 0 && !permitted {
			entries = append(entries, fmt.Sprintf("%s.sniHosts[%d] %s", p.path, i, p.gateway.Key()))
		}
	}
	return entries
}

// Disagreement returns what the findings say about the routes that is not the truth, or nil.
func (t *RouteTruth) Disagreement(findings []policy.Finding) *Disagreement {
	var dead, escaping []string
	for _, f := range findings {
		switch f.Rule {
		case "MW106":
			dead = append(dead, f.Path)
		case "MW107":
			escaping = append(escaping, f.Path+" "+f.Gateway)
		}
	}
	slices.Sort(dead)
	slices.Sort(escaping)
	if !slices.Equal(dead, t.Dead) {
		return &Disagreement{"MW106", fmt.Sprintf("the rules call [%s] dead, and Istio lets nothing through [%s]",
			strings.Join(dead, ", "), strings.Join(t.Dead, ", "))}
	}
	if !slices.Equal(escaping, t.Escaping) {
		return &Disagreement{"MW107", fmt.Sprintf("the rules say that [%s] reach beyond, and Istio lets through [%s]",
			strings.Join(escaping, ", "), strings.Join(t.Escaping, ", "))}
	}
	return nil
}
