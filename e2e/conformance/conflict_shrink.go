package conformance

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// showConflict shrinks the case and writes it down.
func (r Run) showConflict(c *ConflictCase, d Disagreement) error {
	small, d := c.shrink(d)
	path, header, err := r.conflictCaption(small, d)
	if err != nil {
		return err
	}
	world := *small.World
	if small.Old != nil {
		header = append(header, "operation: update")
		world.Gateways = append(slices.Clone(world.Gateways), small.Old)
	}
	text, err := world.Fixture(header, small.World.Gateway(small.Submitted))
	if err != nil {
		return err
	}
	if err := WriteFixture(path, text); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "case %d, %s: %s\n  %s\n", c.Number, d.Kind, d.Detail, path)
	return nil
}

// conflictCaption returns where the fixture of the case belongs, and a header that says what Istio bears out, as far as the
// kind of the disagreement tells.
func (r Run) conflictCaption(c *ConflictCase, d Disagreement) (path string, header []string, err error) {
	v, err := c.Verdict(Seam{})
	if err != nil {
		return "", nil, err
	}
	rule := map[string]string{missedDuplicate: ruleDuplicateChain, falseDuplicate: ruleDuplicateChain, generatorFailure: ruleAnyHost}[d.Kind]
	if rule == "" {
		rule = rulePortConflict
	}
	name := "fail"
	header = []string{"reason: " + d.Kind + ": " + strings.ReplaceAll(d.Detail, string(c.World.Token), "")}
	for _, f := range v.Found {
		if f.Rule == rule && (d.Kind == falseDrop || d.Kind == falseDuplicate) {
			name = "pass"
			continue
		}
		header = append(header, fmt.Sprintf("want: %s %s", f.Rule, f.Path))
	}
	if d.Kind == missedDrop || d.Kind == missedDuplicate {
		header = append(header, fmt.Sprintf("want: %s spec.servers", rule))
	}
	return filepath.Join(r.Failures, rule, fmt.Sprintf("%s_seed%d_case%d.yaml", name, r.Seed, c.Number)), header, nil
}

// shrink returns the smallest case that is like c and shows a disagreement of the same kind, and that disagreement.
func (c *ConflictCase) shrink(d Disagreement) (*ConflictCase, Disagreement) {
	same := func(c *ConflictCase) *Disagreement {
		for _, found := range c.judgeAnew() {
			if found.Kind == d.Kind {
				return &found
			}
		}
		return nil
	}
	small := &ConflictCase{Number: c.Number, World: c.World, Submitted: c.Submitted}
	if same(small) == nil {
		small.Old = c.Old
	}
	small.World = Shrink(c.World, func(w *World) bool {
		return same(&ConflictCase{World: w, Submitted: small.Submitted, Old: small.Old}) != nil
	})
	if found := same(small); found != nil {
		d = *found
	}
	return small, d
}

// judgeAnew judges the case by Istio and by the rules. A case that cannot be judged shows no disagreement.
func (c *ConflictCase) judgeAnew() []Disagreement {
	// Istio's store gives an object without a creation time the present one.
	ageless := func(g *Gateway) bool { return g.CreationTimestamp.IsZero() }
	if c.World.Gateway(c.Submitted) == nil || slices.ContainsFunc(c.World.Gateways, ageless) {
		return nil
	}
	judged, err := JudgeConflictCases([]*ConflictCase{c})
	if err != nil {
		return nil
	}
	v, found, err := judged[0].Compare(Seam{})
	if err != nil {
		return nil
	}
	winners, err := JudgeWinners([]*ConflictCase{c}, []*ConflictTruth{judged[0].Truth}, []*ConflictVerdict{v})
	if err != nil {
		return nil
	}
	return append(found, winners[0]...)
}
