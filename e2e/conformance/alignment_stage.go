package conformance

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// stage is how far a host comes on its way through a Gateway, and so the rule that it is told by: the one whose number it
// has, in the order in which the host comes past them.
type stage int

const (
	stageCarried  stage = iota // no server carries the host: MW102
	stageKind                  // no server that does takes the kind of route: MW103
	stageRoute                 // no route applies there: MW114
	stageExported              // the workload does not see the VirtualService: MW104
	stageGuessed               // nor does the one that is assumed where none is known: MW104, as a warning
	stageServed
)

// finding is what the rules say of a host that comes no further than the stage.
func (s stage) finding() string {
	return []string{"MW102 deny", "MW103 deny", "MW114 deny", "MW104 deny", "MW104 warn", ""}[s]
}

// easing makes a question easier for the host, so that Istio's answer tells what it was that stood in the way.
type easing struct {
	// passed is the stage that is passed where Istio serves the host then.
	passed   stage
	question Question
}

// findStages asks Istio how far the hosts come that have not come to the end.
func findStages(cases []*AlignmentCase, pairs [][]Pair) error {
	var questions []Question
	var passed []func([]Answer)
	for i, c := range cases {
		for n := range pairs[i] {
			p := &pairs[i][n]
			for _, e := range c.easings(*p) {
				questions = append(questions, e.question)
				passed = append(passed, func(answers []Answer) {
					if c.served(answers) {
						p.Stage = max(p.Stage, e.passed)
					}
				})
			}
		}
	}
	answers, err := Ask(questions)
	if err != nil {
		return err
	}
	for i, a := range answers {
		passed[i](a)
	}
	return nil
}

// easings returns what must be asked about a pair besides. For an assumed workload exportTo is eased from the start: whether
// that was needed makes the difference between a guess and a fact.
func (c *AlignmentCase) easings(p Pair) []easing {
	v := c.reduced(p)
	switch {
	case p.Assumed && p.Serves:
		strict := c.World.question(p.Gateway, v)
		strict.VirtualServices[0].Spec.ExportTo = v.Spec.ExportTo
		return []easing{{stageServed, strict}, {stageGuessed, c.World.question(p.Gateway, v)}}
	case p.Assumed:
		return c.eased(p, v, stageGuessed)
	case p.Serves:
		return nil
	}
	return c.eased(p, v, stageExported)
}

// eased returns the questions from the least help to the most.
func (c *AlignmentCase) eased(p Pair, v *VirtualService, visible stage) []easing {
	seen := *v
	seen.Spec = proto.Clone(v.Spec).(*networking.VirtualService)
	seen.Spec.ExportTo = []string{"*"}
	host := c.World.resolve(v).Hosts[0]
	fitting, every := seen, seen
	fitting.Spec = c.open(seen.Spec, host, c.VirtualService().Spec)
	kinds := &networking.VirtualService{Http: []*networking.HTTPRoute{{}}, Tls: []*networking.TLSRoute{{}}, Tcp: []*networking.TCPRoute{{}}}
	every.Spec = c.open(seen.Spec, host, kinds)
	// A server for auto-passthrough takes no route, and carries hosts like any other.
	open := *p.Gateway
	open.Spec = proto.Clone(p.Gateway.Spec).(*networking.Gateway)
	for _, s := range open.Spec.Servers {
		if s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH {
			s.Tls.Mode = networking.ServerTLSSettings_PASSTHROUGH
		}
	}
	return []easing{
		{visible, c.World.question(p.Gateway, &seen)},
		{stageRoute, c.World.question(p.Gateway, &fitting)},
		{stageKind, c.World.question(&open, &every)},
	}
}

// open returns the VirtualService with one route that nothing keeps from applying for each kind of route in like.
func (c *AlignmentCase) open(v *networking.VirtualService, host string, like *networking.VirtualService) *networking.VirtualService {
	o := &networking.VirtualService{Hosts: v.Hosts, Gateways: v.Gateways, ExportTo: v.ExportTo}
	to := []*networking.RouteDestination{{Destination: c.World.destination()}}
	if len(like.Http) > 0 {
		o.Http = []*networking.HTTPRoute{{Route: []*networking.HTTPRouteDestination{{Destination: c.World.destination()}}}}
	}
	if len(like.Tls) > 0 {
		o.Tls = []*networking.TLSRoute{{Match: []*networking.TLSMatchAttributes{{SniHosts: []string{host}}}, Route: to}}
	}
	if len(like.Tcp) > 0 {
		o.Tcp = []*networking.TCPRoute{{Route: to}}
	}
	return o
}

// silent says that the case has no route at all. Two rules describe that as well as each other.
func (c *AlignmentCase) silent() bool {
	v := c.VirtualService().Spec
	return len(v.Http)+len(v.Tls)+len(v.Tcp) == 0
}

// hostFindings returns what the rules must say of each host that is not served. They say nothing while a gateway is
// missing: that may be the one cause.
func (c *AlignmentCase) hostFindings(t *AlignmentTruth) []string {
	v := c.VirtualService().Spec
	if t.Mesh || len(t.Missing) > 0 {
		return nil
	}
	best := make([]stage, len(v.Hosts))
	for _, p := range t.Pairs {
		best[p.Host] = max(best[p.Host], p.Stage)
	}
	var findings []string
	for n, s := range best {
		if f := s.finding(); f != "" && len(v.Gateways) > 0 {
			findings = append(findings, fmt.Sprintf("%s spec.hosts[%d]", f, n))
		}
	}
	slices.Sort(findings)
	return findings
}

// hostRules are the rules that speak of hosts.
func hostRules() []string {
	return []string{"MW102", "MW103", "MW104", "MW114"}
}

func saidOfHosts(findings []policy.Finding) []string {
	var said []string
	for _, f := range findings {
		if slices.Contains(hostRules(), f.Rule) {
			said = append(said, fmt.Sprintf("%s %s %s", f.Rule, f.Action, f.Path))
		}
	}
	slices.Sort(said)
	return said
}
