package conformance

import (
	"fmt"
	"slices"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The rules that Istio's merge is the judge of.
const (
	ruleHostTaken      = "MW201"
	rulePortConflict   = "MW202"
	ruleDuplicateChain = "MW203"
	ruleAnyHost        = "MW204"
)

func conflictRules() []string {
	return []string{ruleHostTaken, rulePortConflict, ruleDuplicateChain, ruleAnyHost}
}

// The kinds of disagreements about conflicts.
const (
	missedDrop       = "missed drop"
	falseDrop        = "false drop"
	missedDuplicate  = "missed duplicate"
	falseDuplicate   = "false duplicate"
	generatorFailure = "generator failure"
	notNamed         = "not named"
	wrongServer      = "wrong server"
	wrongWinner      = "wrong winner"
	wrongAsItStands  = "wrong as it stands"
)

// ConflictVerdict is what the rules say about a case.
type ConflictVerdict struct {
	// Found are the findings about the change, and Standing those about each Gateway as it stands.
	Found    []policy.Finding
	Standing map[policy.Key][]policy.Finding
}

// Verdict has the rules judge the case through the seam.
func (c *ConflictCase) Verdict(s Seam) (*ConflictVerdict, error) {
	m, err := c.World.Model(s)
	if err != nil {
		return nil, err
	}
	var change policy.Object
	if c.Old != nil {
		old, err := translate(policy.KindGateway, c.Old, m.Settings().ClusterDomain)
		if err != nil {
			return nil, err
		}
		change.Replaced, _ = s.resource(old).(*policy.Gateway)
	}
	rules := slices.DeleteFunc(policy.Rules(), func(r policy.Rule) bool { return !slices.Contains(conflictRules(), r.ID) })
	v := &ConflictVerdict{Standing: map[policy.Key][]policy.Finding{}}
	for _, written := range c.World.Gateways {
		g, ok := m.Gateway(written.Key())
		if !ok {
			return nil, fmt.Errorf("the model has no Gateway %s", written.Key())
		}
		if g.Key == c.Submitted {
			change.Gateway = g
			v.Found = policy.Evaluate(m, change, rules)
		}
		v.Standing[g.Key] = policy.Evaluate(m, policy.Object{Gateway: g, Standing: true}, rules)
	}
	return v, nil
}

// denying returns the rules that deny the submitted Gateway.
func (v *ConflictVerdict) denying() map[string]bool {
	rules := map[string]bool{}
	for _, f := range v.Found {
		if f.Action == policy.Deny {
			rules[f.Rule] = true
		}
	}
	return rules
}

// Disagreements returns where the rules and Istio part.
func (c *ConflictCase) Disagreements(t *ConflictTruth, v *ConflictVerdict) []Disagreement {
	k := &conflictComparison{ConflictCase: c, truth: t}
	k.refusal("the change", k.Submitted, v.Found)
	k.drops(v.Found)
	k.duplicates(v.Found)
	for _, g := range c.World.Gateways {
		k.refusal("as it stands", g.Key(), v.Standing[g.Key()])
	}
	k.standing(v.Standing)
	return k.found
}

// conflictComparison collects the disagreements about a case.
type conflictComparison struct {
	*ConflictCase
	truth *ConflictTruth
	found []Disagreement
}

func (k *conflictComparison) disagree(kind, format string, args ...any) {
	k.found = append(k.found, Disagreement{kind, fmt.Sprintf(format, args...)})
}

// refusal holds MW204 to the generator's failures.
func (k *conflictComparison) refusal(what string, g policy.Key, found []policy.Finding) {
	refused := slices.ContainsFunc(found, func(f policy.Finding) bool { return f.Rule == ruleAnyHost && f.Action == policy.Deny })
	if fails := k.truth.Fails[g]; refused != fails {
		k.disagree(generatorFailure, "%s, %s: MW204 denies: %t; Istio's generator fails: %t", g, what, refused, fails)
	}
}

// drops holds MW201 and MW202 to the servers that Istio's merge drops: each one is named as the loser of a finding, and no
// other one is.
func (k *conflictComparison) drops(found []policy.Finding) {
	lost, told := map[string]bool{}, map[string]bool{}
	for _, l := range k.truth.Caused() {
		if l.Dropped != "" {
			lost[l.Dropped] = true
		}
	}
	for _, f := range found {
		if f.Rule != ruleHostTaken && f.Rule != rulePortConflict {
			continue
		}
		loser, _ := k.parties(f)
		told[loser] = true
		if loser != "" && !lost[loser] {
			k.disagree(falseDrop, "Istio does not drop server %s: %s %s", loser, f.Rule, f.Message)
		}
	}
	for server := range lost {
		if !told[server] {
			k.disagree(missedDrop, "Istio drops server %s, and neither MW201 nor MW202 says so", server)
		}
	}
}

// duplicates holds MW203 to the listeners that have two filter chains of one match: it names each match, and servers of such
// a listener.
func (k *conflictComparison) duplicates(found []policy.Finding) {
	matches, places, told := map[string]bool{}, map[Place]bool{}, map[string]bool{}
	for _, l := range k.truth.Caused() {
		if l.Match != "" {
			matches[l.serverName()], places[l.Place] = true, true
		}
	}
	for _, f := range found {
		if f.Rule != ruleDuplicateChain {
			continue
		}
		told[f.Host] = true
		if !matches[f.Host] {
			k.disagree(falseDuplicate, "no listener has two filter chains for %q: %s", f.Host, f.Message)
			continue
		}
		loser, winner := k.parties(f)
		meet := false
		for p := range places {
			meet = meet || slices.Contains(k.truth.Behind[p], loser) && slices.Contains(k.truth.Behind[p], winner)
		}
		if !meet && loser != "" {
			k.disagree(wrongServer, "servers %s and %s do not meet in a listener with two filter chains of one match: %s", loser, winner, f.Message)
		}
	}
	for match := range matches {
		if !told[match] {
			k.disagree(missedDuplicate, "a listener has two filter chains for %q, and MW203 does not say so", match)
		}
	}
}

// standing compares the findings about the Gateways one by one with all that Istio loses.
func (k *conflictComparison) standing(found map[policy.Key][]policy.Finding) {
	some := false
	told := map[string]bool{}
	for g, of := range found {
		for _, f := range of {
			if f.Rule == ruleAnyHost {
				continue
			}
			some = true
			loser, _ := k.parties(f)
			if f.Rule != ruleDuplicateChain {
				told[loser] = true
			}
			if f.Gateway != g.String() {
				k.disagree(wrongAsItStands, "%s is told of a loss of %s: %s", g, f.Gateway, f.Message)
			}
		}
	}
	if lost := len(k.truth.With) > 0; lost != some {
		k.disagree(wrongAsItStands, "as they stand, some Gateway has a finding: %t; Istio loses something: %t", some, lost)
	}
	for l := range k.truth.With {
		if l.Dropped != "" && !told[l.Dropped] {
			k.disagree(wrongAsItStands, "Istio drops server %s, and no finding about its Gateway as it stands says so", l.Dropped)
		}
	}
}
