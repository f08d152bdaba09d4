package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// lostServer is a server that a Gateway's presence makes Istio lose, on one workload.
type lostServer struct {
	loss
	on *Workload
}

// lossKey tells whether two losses are the same one: of a dropped server the server, of a duplicate chain the match.
type lossKey struct {
	dropped   member
	duplicate chainMatch
}

func (l loss) key() lossKey {
	if l.kind == duplicateChain {
		return lossKey{duplicate: l.chain}
	}
	return lossKey{dropped: l.loser}
}

// conflicts returns what the object's Gateway does to the servers on its workloads, each loss once, with the first workload
// on which it happens. Of a change, these are the losses that Istio has with the Gateway and would not have without it; of a
// Gateway as it stands, the losses of its own servers.
func conflicts(m Mesh, o Object) []lostServer {
	if unreadable(o.Gateway) {
		return nil
	}
	of := lossesBy
	if o.Standing {
		of = lossesOf
	}
	var lost []lostServer
	seen := map[lossKey]bool{}
	for _, w := range arenas(m, o.Gateway) {
		for _, l := range of(m, o.Gateway, w) {
			if !seen[l.key()] {
				seen[l.key()] = true
				lost = append(lost, lostServer{l, w})
			}
		}
	}
	return lost
}

// arenas returns the workloads on which the Gateway meets others: the known ones that it selects and, for it and each
// Gateway that selects no known one, a workload with just the labels that are asked for, as far as the Gateway would select
// it, too. Such a workload is assumed where the Gateway is that asks for it.
func arenas(m Mesh, g *Gateway) []*Workload {
	workloads := workloadsOf(m, g)
	for _, d := range demands(m, g, len(workloads) > 0) {
		if d.met {
			continue
		}
		slices.Sort(d.namespaces)
		first := assumed(d.namespaces[0], d.selector)
		workloads = append(workloads, first)
		// Thousands of Gateways with one selector may stand in as many namespaces.
		if others := slices.Compact(d.namespaces)[1:]; len(others) > 0 && namespaceMatters(m, g, first) {
			for _, namespace := range others {
				workloads = append(workloads, assumed(namespace, d.selector))
			}
		}
	}
	return workloads
}

// demand is a selector, the namespaces of the Gateways that have it, and whether a known workload meets it.
type demand struct {
	selector   map[string]string
	namespaces []string
	met        bool
}

// demands returns the selectors of the Gateways that select no more than the given one does. known says whether its own is
// met.
func demands(m Mesh, g *Gateway, known bool) []*demand {
	own := &demand{selector: g.Selector, met: known}
	found := []*demand{own}
	scoped := m.Settings().ScopeGateways
	for other := range m.GatewaysWithin(g.Selector) {
		if scoped && other.Namespace != g.Namespace || unreadable(other) {
			continue
		}
		i := slices.IndexFunc(found, func(d *demand) bool { return maps.Equal(d.selector, other.Selector) })
		if i < 0 {
			i = len(found)
			found = append(found, &demand{selector: other.Selector, met: len(workloadsOf(m, other)) > 0})
		}
		found[i].namespaces = append(found[i].namespaces, other.Namespace)
	}
	if len(own.namespaces) == 0 {
		own.namespaces = []string{g.Namespace}
	}
	slices.SortFunc(found, func(a, b *demand) int { return cmp.Compare(fmt.Sprint(a.selector), fmt.Sprint(b.selector)) })
	return found
}

// namespaceMatters says whether it makes a difference to the Gateway in which namespace the workload runs: a filter chain may
// depend on a VirtualService that not every namespace sees.
func namespaceMatters(m Mesh, g *Gateway, w *Workload) bool {
	settings := m.Settings()
	return slices.ContainsFunc(append(rivalsOn(m, g, w), g), func(o *Gateway) bool {
		if !slices.ContainsFunc(o.Servers, func(s Server) bool { return s.takes() == TLSRoute || s.takes() == TCPRoute }) {
			return false
		}
		for v := range m.VirtualServicesOf(o.Key) {
			if exports, _ := v.exports(settings); !slices.Contains(exports, exportedEverywhere) {
				return true
			}
		}
		return false
	})
}

// lossesOf returns what the Gateway's own servers lose on the workload.
func lossesOf(m Mesh, g *Gateway, w *Workload) []loss {
	on := rivalsOn(m, g, w)
	lost, built := losses(m, w, append(on, g), portsAs(m, g, w))
	lost = slices.DeleteFunc(lost, func(l loss) bool { return l.loser.gateway.Key != g.Key })
	for _, match := range built.order {
		of := built.of[match]
		if loser, winner := rivals(g, of); loser.gateway.Key == g.Key && len(of) > 1 {
			lost = append(lost, duplicate(match, loser, winner))
		}
	}
	return lost
}

// lossesBy returns the losses on the workload with the Gateway that are not there without it.
func lossesBy(m Mesh, g *Gateway, w *Workload) []loss {
	others, resolve := rivalsOn(m, g, w), portsAs(m, g, w)
	with, chainsWith := losses(m, w, append(slices.Clip(others), g), resolve)
	if len(with) == 0 && !chainsWith.clash() {
		return nil
	}
	without, chainsWithout := losses(m, w, others, resolve)
	known := map[lossKey]bool{}
	for _, l := range without {
		known[l.key()] = true
	}
	lost := slices.DeleteFunc(with, func(l loss) bool { return known[l.key()] })
	for _, match := range chainsWith.order {
		if of := chainsWith.of[match]; len(of) > max(1, len(chainsWithout.of[match])) {
			loser, winner := rivals(g, of)
			lost = append(lost, duplicate(match, loser, winner))
		}
	}
	return lost
}

// rivalsOn returns the other Gateways on the workload that the Gateway can meet there: all of them, or none where it plainly
// keeps to itself.
func rivalsOn(m Mesh, g *Gateway, w *Workload) []*Gateway {
	others := slices.DeleteFunc(gatewaysOn(m, w), func(o *Gateway) bool { return o.Key == g.Key })
	if keepsToItself(g, others, portsOf(m, w)) {
		return nil
	}
	return others
}

// portsAs returns the resolution of ports on the workload, for those alone that the Gateway has: what happens on one port has
// nothing to do with another one.
func portsAs(m Mesh, g *Gateway, w *Workload) func(uint32) (uint32, bool) {
	ports := portsOf(m, w)
	of := map[uint32]bool{}
	for i := range g.Servers {
		of[ports.resolve(g.Servers[i].Port.Number)] = true
	}
	return func(number uint32) (uint32, bool) {
		port := ports.resolve(number)
		return port, of[port]
	}
}

func duplicate(match chainMatch, loser, winner chain) loss {
	l := loss{
		kind: duplicateChain, loser: loser.member, winner: winner.member, port: match.listener.port, host: match.name, chain: match,
	}
	for _, c := range []chain{loser, winner} {
		if c.via != nil && !slices.Contains(l.routes, c.via) {
			l.routes = append(l.routes, c.via)
		}
	}
	return l
}

// rivals returns two of the chains that are one too many, as far as the Gateway has a part in it: its own is the
// loser unless it was first.
func rivals(g *Gateway, of []chain) (loser, winner chain) {
	loser, winner = of[len(of)-1], of[0]
	for _, c := range of[1:] {
		if c.gateway.Key == g.Key {
			return c, winner
		}
	}
	return loser, winner
}

// losses returns the servers that Istio drops when it merges the Gateways on the workload, the oldest first, and the filter
// chains that it builds of the others.
func losses(m Mesh, w *Workload, gateways []*Gateway, resolve func(uint32) (uint32, bool)) ([]loss, *chains) {
	slices.SortFunc(gateways, compareAge)
	merged := mergeAll(gateways, resolve)
	return merged.losses, buildChains(m, w, merged)
}

// gatewaysOn returns the Gateways that select the workload, in no particular order. One on which Istio's generator fails is left
// out: it leaves nothing to compare.
func gatewaysOn(m Mesh, w *Workload) []*Gateway {
	var on []*Gateway
	scoped := m.Settings().ScopeGateways
	for g := range m.GatewaysSelecting(w.Labels) {
		if (len(g.Selector) > 0 || w.Router) && (!scoped || g.Namespace == w.Reference.Namespace) && !unreadable(g) {
			on = append(on, g)
		}
	}
	return on
}
