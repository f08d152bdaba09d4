package conformance

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// parties returns the names of the servers that the finding is about: the one that is lost, and the one that it loses to. The
// message must name both with their Gateways, and the fields of the finding must name the Gateways.
func (k *conflictComparison) parties(f policy.Finding) (loser, winner string) {
	named := k.named(f.Message)
	if len(named) == 1 && strings.Contains(f.Message, "has two filter chains") {
		named = append(named, named[0])
	}
	if len(named) != 2 {
		k.disagree(notNamed, "%s names %d servers of the case: %s", f.Rule, len(named), f.Message)
		return "", ""
	}
	if f.Gateway != named[0].gateway.String() {
		k.disagree(notNamed, "%s is about %s, and its message about %s: %s", f.Rule, f.Gateway, named[0].gateway, f.Message)
	}
	for _, s := range named {
		ref := policy.Ref{Kind: policy.KindGateway, Key: s.gateway}
		if f.Object != ref && !slices.Contains(f.Related, ref) {
			k.disagree(notNamed, "%s names %s in its message and not in its fields: %s", f.Rule, s.gateway, f.Message)
		}
		if k.truth.Fails[s.gateway] {
			k.disagree(notNamed, "%s names %s, on which Istio's generator fails: %s", f.Rule, s.gateway, f.Message)
		}
	}
	return named[0].name, named[1].name
}

// namedServer is a server that a message names.
type namedServer struct {
	gateway policy.Key
	name    string
}

// named returns the servers that the message names as "spec.servers[0] ... of Gateway ns/name", in its order.
func (k *conflictComparison) named(message string) []namedServer {
	var found []namedServer
	for {
		_, after, ok := strings.Cut(message, "spec.servers[")
		if !ok {
			return found
		}
		var position int
		if _, err := fmt.Sscanf(after, "%d]", &position); err != nil {
			return found
		}
		_, after, _ = strings.Cut(after, "of Gateway ")
		key, end := after, strings.IndexAny(after, ":, ")
		if end >= 0 {
			key = after[:end]
		}
		namespace, name, _ := strings.Cut(key, "/")
		g := k.World.Gateway(policy.Key{Namespace: namespace, Name: name})
		if g != nil && position < len(g.Spec.Servers) {
			found = append(found, namedServer{g.Key(), g.Spec.Servers[position].Name})
		}
		message = after
	}
}

// JudgeWinners asks Istio whether the servers that MW201 and MW202 call winners are: where there are no other servers, the
// loser is dropped, too.
func JudgeWinners(cases []*ConflictCase, truths []*ConflictTruth, verdicts []*ConflictVerdict) ([][]Disagreement, error) {
	var questions []Question
	var read []func([]Answer)
	found := make([][]Disagreement, len(cases))
	for i, c := range cases {
		k := &conflictComparison{ConflictCase: c, truth: truths[i]}
		for _, f := range verdicts[i].Found {
			loser, winner := "", ""
			if f.Rule == ruleHostTaken || f.Rule == rulePortConflict {
				loser, winner = k.parties(f)
			}
			if loser == "" {
				continue
			}
			r := conflictRun{ConflictCase: c, arenas: c.World.arenas(truths[i].Fails), gateways: c.World.only(loser, winner)}
			questions = append(questions, r.question())
			read = append(read, func(answers []Answer) {
				if !slices.ContainsFunc(answers, func(a Answer) bool { return a.Merged != nil && dropped(a.Merged)[loser] }) {
					found[i] = append(found[i], Disagreement{
						wrongWinner, fmt.Sprintf("server %s does not lose to %s where there are no others: %s %s", loser, winner, f.Rule, f.Message),
					})
				}
			})
		}
	}
	answers, err := Ask(questions)
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		read[i](a)
	}
	return found, nil
}

// only returns the Gateways of the world with the servers of those names and no others.
func (w *World) only(names ...string) []*Gateway {
	var left []*Gateway
	for _, g := range w.Gateways {
		reduced := *g
		reduced.Spec = &networking.Gateway{Selector: g.Spec.Selector}
		for _, s := range g.Spec.Servers {
			if slices.Contains(names, s.Name) {
				reduced.Spec.Servers = append(reduced.Spec.Servers, s)
			}
		}
		if len(reduced.Spec.Servers) > 0 {
			left = append(left, &reduced)
		}
	}
	return left
}
