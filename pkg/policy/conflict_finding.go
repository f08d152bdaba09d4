package policy

import (
	"fmt"
	"slices"
	"strings"
)

// lostTo returns a finding for each server that the Gateway makes Istio lose for one of the reasons. Of a stored object as it
// stands, only its own losses are told: those of others are theirs.
func lostTo(m Mesh, o Object, kinds ...lossKind) []Finding {
	if o.Gateway == nil {
		return nil
	}
	var found []Finding
	for _, l := range evaluationOf(m).conflicts(o) {
		if !slices.Contains(kinds, l.kind) {
			continue
		}
		own := l.loser.gateway.Key == o.Gateway.Key
		f := Finding{Path: "spec.servers", Message: l.message(own), Host: l.host, Gateway: l.loser.gateway.String()}
		switch {
		case own:
			f.Path = fmt.Sprintf("spec.servers[%d]", l.loser.position)
		case l.winner.gateway.Key == o.Gateway.Key:
			f.Path = fmt.Sprintf("spec.servers[%d]", l.winner.position)
		}
		f.Related = l.related(m, o.Gateway)
		found = append(found, f)
	}
	return found
}

// related are the objects besides the Gateway that the loss depends on.
func (l lostServer) related(m Mesh, g *Gateway) []Ref {
	var refs []Ref
	add := func(r Ref) {
		if r != g.Ref() && !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	add(l.loser.gateway.Ref())
	add(l.winner.gateway.Ref())
	for _, v := range l.routes {
		add(v.Ref())
	}
	for _, r := range groundOf(m, l.on) {
		add(r)
	}
	return refs
}

// message says which server loses what to whom, and why. own says that the server is the judged Gateway's.
func (l lostServer) message(own bool) string {
	loser, winner := l.loser.describe(), l.winner.describe()
	drops := "Istio drops " + loser
	if !own {
		drops = "this Gateway makes Istio drop " + loser
	}
	switch l.kind {
	case hostTaken:
		return fmt.Sprintf("%s with all its hosts: host %q is taken on %s by %s%s", drops, l.host, l.where(), winner, l.precedence())
	case portTaken:
		return fmt.Sprintf("%s with all its hosts: its protocol cannot share %s with that of %s%s", drops, l.where(), winner, l.precedence())
	case nameTaken:
		return fmt.Sprintf("%s with all its hosts: %s has a port %d with the name %q as well, and the name has to tell HTTPS servers apart",
			drops, winner, l.winner.server().Port.Number, l.winner.server().Port.Name)
	}
	name := fmt.Sprintf("SNI %q", l.host)
	if l.host == string(everyHost) {
		name = "every client"
	}
	if l.loser == l.winner {
		return fmt.Sprintf("Envoy rejects the whole listener on %s: %s has two filter chains that match %s%s", l.where(), loser, name, l.through())
	}
	return fmt.Sprintf("Envoy rejects the whole listener on %s: %s and %s both match %s%s", l.where(), loser, winner, name, l.through())
}

// through names the VirtualServices whose routes have a part in a duplicate chain.
func (l lostServer) through() string {
	if len(l.routes) == 0 {
		return ""
	}
	var names []string
	for _, v := range l.routes {
		names = append(names, v.String())
	}
	return ", by routes of VirtualService " + strings.Join(names, " and ")
}

// where names the port on which the two servers meet.
func (l lostServer) where() string {
	switch {
	case !l.on.assumedOnly():
		return fmt.Sprintf("port %d of %s", l.port, l.on.Reference)
	case l.loser.gateway.Key == l.winner.gateway.Key:
		return fmt.Sprintf("port %d of every workload of the Gateway", l.port)
	}
	return fmt.Sprintf("port %d of every workload that both select", l.port)
}

// everyHost is the host that covers every other one.
const everyHost HostName = "*"

// precedence says why the winner wins.
func (l lostServer) precedence() string {
	a, b := l.winner.gateway, l.loser.gateway
	switch {
	case a.Key == b.Key && l.winner.position < l.loser.position:
		return ", which comes first"
	case a.Key == b.Key || compareAge(a, b) > 0:
		return ", which takes its place"
	case a.Created < b.Created:
		return ", which is older"
	case a.Name == b.Name:
		return ", which was created in the same second and comes first by namespace"
	}
	return ", which was created in the same second and comes first by name"
}

// describe names the server and its Gateway.
func (m member) describe() string {
	return fmt.Sprintf("%s of Gateway %s", m.server().describe(m.position), m.gateway.Key)
}
