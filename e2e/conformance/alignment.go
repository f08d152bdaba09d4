package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// JudgeAlignment returns Istio's verdict on each case.
func JudgeAlignment(cases []*AlignmentCase) ([]*AlignmentTruth, error) {
	var questions []Question
	pairs := make([][]Pair, len(cases))
	for i, c := range cases {
		pairs[i] = c.pairs()
		for _, p := range pairs[i] {
			questions = append(questions, c.World.question(p.Gateway, c.reduced(p)))
		}
	}
	answers, err := Ask(questions)
	if err != nil {
		return nil, err
	}
	for i, c := range cases {
		for n := range pairs[i] {
			p := &pairs[i][n]
			if p.Serves = c.served(answers[0]); p.Serves && !p.Assumed {
				p.Stage = stageServed
			}
			answers = answers[1:]
		}
	}
	if err := findStages(cases, pairs); err != nil {
		return nil, err
	}
	truths := make([]*AlignmentTruth, len(cases))
	for i, c := range cases {
		truths[i] = c.truth(pairs[i])
	}
	return truths, nil
}

// served says whether a route or filter chain for the VirtualService came out for one of the workloads.
func (c *AlignmentCase) served(answers []Answer) bool {
	return slices.ContainsFunc(answers, func(a Answer) bool { return a.leadsTo(c.World, c.VirtualService()) })
}

// alignmentRules are those of which one denies a VirtualService if and only if it does not line up.
func alignmentRules() []string {
	return []string{"MW101", "MW102", "MW103", "MW104", "MW105", "MW114"}
}

// Findings returns what the rules find about the case.
func (c *AlignmentCase) Findings(s Seam) ([]policy.Finding, error) {
	return c.World.Judge(c.VirtualService().Key(), s)
}

// Disagreement is where the rules and Istio part. Its kind stays when the case is made smaller.
type Disagreement struct {
	Kind, Detail string
}

// The kinds of disagreements on whether a VirtualService lines up.
const (
	falseDenial = "false denial"
	missed      = "missed"
	wrongBlame  = "wrong blame"
	wrongRule   = "wrong rule"
)

// Disagreement returns what the findings say that is not the truth, or nil.
func (t *AlignmentTruth) Disagreement(findings []policy.Finding) *Disagreement {
	var denied []policy.Finding
	for _, f := range findings {
		if f.Action == policy.Deny && slices.Contains(alignmentRules(), f.Rule) {
			denied = append(denied, f)
		}
	}
	switch {
	case len(denied) > 0 && t.LinesUp():
		return &Disagreement{falseDenial, "the rules deny what Istio serves: " + list(denied)}
	case len(denied) == 0 && !t.LinesUp():
		return &Disagreement{missed, "the rules pass what Istio does not serve: " + t.String()}
	}
	if got, want := strings.Join(paths(denied), ", "), strings.Join(t.blamed(), ", "); got != want {
		return &Disagreement{wrongBlame, fmt.Sprintf("the rules blame %s and should blame %s: %s", got, want, list(denied))}
	}
	if got, want := strings.Join(saidOfHosts(findings), ", "), strings.Join(t.Said, ", "); got != want && !t.Silent {
		return &Disagreement{wrongRule, fmt.Sprintf("the rules say %s and should say %s: %s", got, want, list(findings))}
	}
	return nil
}

// blamed are the fields that the rules must point to: a missing gateway alone, as it may be the one cause; else each host
// that is not served, and each gateway that serves none while another one does.
func (t *AlignmentTruth) blamed() []string {
	var fields []string
	for _, i := range t.Missing {
		fields = append(fields, fmt.Sprintf("spec.gateways[%d]", i))
	}
	if len(t.Missing) == 0 {
		for _, i := range t.Unserved {
			fields = append(fields, fmt.Sprintf("spec.hosts[%d]", i))
		}
	}
	if t.Mesh || slices.ContainsFunc(t.Pairs, func(p Pair) bool { return p.Serves }) {
		for _, i := range t.Useless {
			fields = append(fields, fmt.Sprintf("spec.gateways[%d]", i))
		}
	}
	slices.Sort(fields)
	return fields
}

// paths returns the fields that the findings point to, each once.
func paths(findings []policy.Finding) []string {
	var fields []string
	for _, f := range findings {
		fields = append(fields, f.Path)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func list(findings []policy.Finding) string {
	var texts []string
	for _, f := range findings {
		texts = append(texts, fmt.Sprintf("%s %s %s", f.Rule, f.Path, f.Message))
	}
	return strings.Join(texts, " | ")
}

// String says what is wrong.
func (t *AlignmentTruth) String() string {
	return fmt.Sprintf("missing gateways %v, useless gateways %v, unserved hosts %v", t.Missing, t.Useless, t.Unserved)
}
