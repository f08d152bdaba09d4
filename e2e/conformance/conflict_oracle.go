package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/labels"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// ConflictTruth is what Istio's own code makes of a case.
type ConflictTruth struct {
	// Fails are the Gateways on which Istio's generator panics. They are left out of the rest.
	Fails map[policy.Key]bool
	// With are the losses in the world of the case, and Without those in the same world without the submitted Gateway.
	With, Without map[ConflictLoss]bool
	// Behind are the names of the servers of each listener in the world of the case.
	Behind map[Place][]string
}

// Place is a listener on a workload. A server that is dropped has a workload, but no address.
type Place struct {
	Workload, Address string
}

// ConflictLoss is something that Istio loses: a server that its merge drops, or a filter chain too many of one match, for
// which Envoy rejects the listener.
type ConflictLoss struct {
	Place
	// Dropped is the name of the server that is dropped.
	Dropped string
	// Match is what the filter chain has in common with another one, and Count says which one it is: 2 for the second chain
	// of the match, 3 for the third.
	Match string
	Count int
}

// String says what is lost.
func (l ConflictLoss) String() string {
	if l.Dropped != "" {
		return fmt.Sprintf("server %s on %s", l.Dropped, l.Workload)
	}
	return fmt.Sprintf("filter chain %d of match %q in listener %s on %s", l.Count, l.Match, l.Address, l.Workload)
}

// Caused are the losses that there would not be without the submitted Gateway.
func (t *ConflictTruth) Caused() []ConflictLoss {
	var caused []ConflictLoss
	for l := range t.With {
		if !t.Without[l] {
			caused = append(caused, l)
		}
	}
	slices.SortFunc(caused, func(a, b ConflictLoss) int { return strings.Compare(a.String(), b.String()) })
	return caused
}

// JudgeConflicts asks Istio's generator about the cases.
func JudgeConflicts(cases []*ConflictCase) ([]*ConflictTruth, error) {
	truths, err := findFailing(cases)
	if err != nil {
		return nil, err
	}
	var runs []conflictRun
	for i, c := range cases {
		runs = append(runs, c.runs(truths[i])...)
	}
	questions := make([]Question, len(runs))
	for i, r := range runs {
		questions[i] = r.question()
	}
	answers, err := Ask(questions)
	if err != nil {
		return nil, err
	}
	for i, r := range runs {
		if err := r.read(answers[i]); err != nil {
			return nil, err
		}
	}
	return truths, nil
}

// findFailing asks about each Gateway that may make the generator fail on its own.
func findFailing(cases []*ConflictCase) ([]*ConflictTruth, error) {
	truths := make([]*ConflictTruth, len(cases))
	var questions []Question
	var report []func()
	for i, c := range cases {
		t := &ConflictTruth{
			Fails: map[policy.Key]bool{}, With: map[ConflictLoss]bool{}, Without: map[ConflictLoss]bool{}, Behind: map[Place][]string{},
		}
		truths[i] = t
		for _, g := range c.World.Gateways {
			if !mayFail(g) {
				continue
			}
			questions = append(questions, Question{
				Token: c.World.Token, Gateways: []*Gateway{g}, Proxies: []Proxy{{Namespace: g.Namespace, Labels: g.Spec.Selector}},
			})
			report = append(report, func() { t.Fails[g.Key()] = true })
		}
	}
	answers, err := Ask(questions)
	if err != nil {
		return nil, err
	}
	for i := range answers {
		if answers[i][0].Failure != nil {
			report[i]()
		}
	}
	return truths, nil
}

// mayFail says whether it is worth asking whether the generator fails on the Gateway. Where it fails all the same, it does
// so in the run of the whole case, which is an error.
func mayFail(g *Gateway) bool {
	for _, s := range g.Spec.Servers {
		if len(s.Hosts) > 1 && slices.Contains(s.Hosts, "*/*") {
			return true
		}
	}
	return false
}

// arena is a workload on which Gateways meet.
type arena struct {
	name string
	// router says that Gateways without a selector take it.
	router bool
	proxy  Proxy
}

// arenas are the known workloads that are gateways and, for each Gateway that selects none of them, one that has just the
// labels that it asks for.
func (w *World) arenas(without map[policy.Key]bool) []arena {
	var found []arena
	for _, workload := range w.Workloads {
		isGateway := func(g *Gateway) bool { return len(g.Spec.Selector) > 0 && w.selects(g, workload) }
		if workload.Router || slices.ContainsFunc(w.Gateways, isGateway) {
			name := fmt.Sprintf("%s %s/%s", workload.Kind, workload.Namespace, workload.Name)
			found = append(found, arena{name, workload.Router, workload.Proxy(w.Services)})
		}
	}
	for _, g := range w.Gateways {
		selected := func(workload *Workload) bool { return w.selects(g, workload) }
		if !without[g.Key()] && !slices.ContainsFunc(w.Workloads, selected) {
			found = append(found, arena{"a workload for " + g.Key().String(), true, Proxy{Namespace: g.Namespace, Labels: g.Spec.Selector}})
		}
	}
	return found
}

// selects says whether the Gateway takes the workload for one of its own.
func (w *World) selects(g *Gateway, workload *Workload) bool {
	return labels.Instance(g.Spec.Selector).SubsetOf(workload.Labels) && (len(g.Spec.Selector) > 0 || workload.Router) &&
		(!w.Settings.ScopeGateways || g.Namespace == workload.Namespace)
}

// conflictRun asks about some workloads of a case at once.
type conflictRun struct {
	*ConflictCase
	truth  *ConflictTruth
	arenas []arena
	// gateways are those of the world that the generator is given, and into is where the losses go.
	gateways []*Gateway
	into     map[ConflictLoss]bool
	with     bool
}

// runs are the questions about the case: with the submitted Gateway and without it, and each for the workloads that are
// known gateways, or assumed, and for the others, which Gateways without a selector don't take.
func (c *ConflictCase) runs(t *ConflictTruth) []conflictRun {
	open := slices.ContainsFunc(c.World.Gateways, func(g *Gateway) bool { return len(g.Spec.Selector) == 0 })
	all := c.World.arenas(t.Fails)
	var runs []conflictRun
	for _, with := range []bool{true, false} {
		for _, router := range []bool{true, false} {
			r := conflictRun{ConflictCase: c, truth: t, into: t.Without, with: with}
			if with {
				r.into = t.With
			}
			for _, a := range all {
				if a.router == router || !open {
					r.arenas = append(r.arenas, a)
				}
			}
			for _, g := range c.World.Gateways {
				if !t.Fails[g.Key()] && (with || g.Key() != c.Submitted) && (router || len(g.Spec.Selector) > 0) {
					r.gateways = append(r.gateways, g)
				}
			}
			if len(r.arenas) > 0 && (router || open) {
				runs = append(runs, r)
			}
		}
	}
	return runs
}

func (r conflictRun) question() Question {
	q := Question{
		Token: r.World.Token, Settings: r.World.Settings, Gateways: r.gateways, VirtualServices: r.World.VirtualServices,
		Services: r.World.Services,
	}
	for _, a := range r.arenas {
		q.Proxies = append(q.Proxies, a.proxy)
	}
	return q
}

// read takes the losses from the generator's answers.
func (r conflictRun) read(answers []Answer) error {
	for i, a := range answers {
		if a.Failure != nil {
			return fmt.Errorf("the generator fails on the world %s, and on none of its Gateways alone: %v", r.World.Token, a.Failure)
		}
		if a.Merged == nil {
			continue
		}
		on := r.arenas[i].name
		for server := range dropped(a.Merged) {
			r.into[ConflictLoss{Place: Place{Workload: on}, Dropped: server}] = true
		}
		for _, l := range a.Listeners {
			place := Place{on, address(l)}
			chains := chainsByMatch(l, r.World.Token)
			for match, count := range chains {
				for n := 2; n <= count; n++ {
					r.into[ConflictLoss{Place: place, Match: match, Count: n}] = true
				}
			}
			if r.with && len(chains) > 0 {
				r.truth.Behind[place] = behind(a.Merged, place.Address)
			}
		}
	}
	return nil
}

// dropped are the names of the servers that the merge was given and did not take.
func dropped(m *model.MergedGateway) map[string]bool {
	names := map[string]bool{}
	for s := range m.GatewayNameForServer {
		names[s.Name] = true
	}
	for _, merged := range m.MergedServers {
		for _, s := range merged.Servers {
			delete(names, s.Name)
		}
	}
	return names
}

// behind are the names of the servers that the listener at the address is built of.
func behind(m *model.MergedGateway, address string) []string {
	names := map[string]bool{}
	for key, merged := range m.MergedServers {
		bind := key.Bind
		if bind == "" {
			bind = "0.0.0.0"
		}
		if fmt.Sprintf("%s:%d", bind, key.Number) != address {
			continue
		}
		for _, s := range merged.Servers {
			names[s.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func address(l *listenerv3.Listener) string {
	a := l.GetAddress().GetSocketAddress()
	return fmt.Sprintf("%s:%d", a.GetAddress(), a.GetPortValue())
}

// chainsByMatch counts the listener's filter chains by what they match. Envoy looks at each name of a match on its own, and
// no name means every one. Services of other worlds, which an auto-passthrough server may reach in a shared run, don't
// count.
func chainsByMatch(l *listenerv3.Listener, token Token) map[string]int {
	counts := map[string]int{}
	for _, chain := range l.GetFilterChains() {
		own := map[string]bool{}
		for _, name := range orEvery(chain.GetFilterChainMatch().GetServerNames()) {
			if strings.HasPrefix(name, "outbound_") && !strings.Contains(name, string(token)+".") {
				continue
			}
			for _, application := range orEvery(chain.GetFilterChainMatch().GetApplicationProtocols()) {
				own[name+" "+application] = true
			}
		}
		for match := range own {
			counts[match]++
		}
	}
	return counts
}

func orEvery(names []string) []string {
	if len(names) == 0 {
		return []string{"*"}
	}
	return names
}
