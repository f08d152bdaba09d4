package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	// readAtLeast is how many objects are read again, past the cache, before a denial is judged once more, if there are
	// as many in doubt. A denial that rests on more has all of them read at once.
	readAtLeast = 8
	// readAtMost is how many of the objects that one denial rests on are read again. Only a VirtualService with dozens of
	// gateways has more, and for these the cache is believed: a request must not cost thousands of reads.
	readAtMost = 64
)

// verdict is what a judgement came to.
type verdict struct {
	// findings have the actions that are to be taken.
	findings []policy.Finding
	// overridden are those of the findings whose denial the object's annotation turned into a warning.
	overridden []policy.Finding
}

// judge judges the change in the world that it would make. The cache may lag behind the API server, and a denial that
// rests on it would be false; so whatever a denying finding names is read again first, until one denial rests on fresh reads
// alone or none is left. What warnings rest on is read again as well, once and as far as it can be. A false allowance is
// possible; the re-evaluation of stored objects finds it.
func (v *Validator) judge(ctx context.Context, c change) (verdict, error) {
	world := v.Model.World().At(v.Clock.Now())
	fresh := map[policy.Ref]bool{c.ref: true}
	for {
		found, err := v.evaluate(world, c)
		if err != nil {
			return verdict{}, err
		}
		action := strictest(found.findings)
		if action == policy.Audit {
			return found, nil
		}
		if len(fresh) == 1 {
			terminating, err := v.Cluster.Terminating(ctx, c.ref.Namespace)
			if err != nil && action == policy.Deny {
				return verdict{}, fmt.Errorf("cannot tell whether its namespace is being deleted: %w", err)
			}
			if terminating {
				return verdict{}, nil
			}
		}
		stale := staleReferences(found.findings, action, fresh)
		if len(stale) == 0 || action == policy.Warn && len(fresh) > 1 {
			return found, nil
		}
		if err := world.Refresh(ctx, v.Cluster, stale); err != nil {
			if action == policy.Deny {
				return verdict{}, fmt.Errorf("cannot confirm a denial: %w", err)
			}
			return found, nil // a warning that cannot be confirmed stands
		}
		v.Metrics.reread(len(stale))
		for _, ref := range stale {
			fresh[ref] = true
		}
	}
}

// strictest is the strictest action of the findings: Audit when there are none.
func strictest(findings []policy.Finding) policy.Action {
	action := policy.Audit
	for _, f := range findings {
		if f.Action.AtMost(action) == action {
			action = f.Action
		}
	}
	return action
}

// staleReferences returns what to read again before the findings of the action are believed: nothing once one of them
// rests on fresh objects alone.
func staleReferences(findings []policy.Finding, action policy.Action, fresh map[policy.Ref]bool) []policy.Ref {
	var stale []policy.Ref
	chosen := map[policy.Ref]bool{}
	first := slices.IndexFunc(findings, func(f policy.Finding) bool { return f.Action == action })
	for i, f := range findings {
		if f.Action != action {
			continue
		}
		rests := false
		for _, ref := range f.Related[:min(len(f.Related), readAtMost)] {
			if fresh[ref] {
				continue
			}
			rests = true
			// All that the first one rests on, and of the others as much as makes the round worth it.
			if i != first && len(stale) >= readAtLeast {
				break
			}
			if !chosen[ref] {
				chosen[ref] = true
				stale = append(stale, ref)
			}
		}
		if !rests {
			return nil
		}
	}
	return stale
}

// evaluate applies the change to the world, judges it, and softens the denials that are not to be.
func (v *Validator) evaluate(world *mesh.World, c change) (verdict, error) {
	if err := put(world, c.ref, c.after); err != nil {
		return verdict{}, err
	}
	result := verdict{findings: policy.Evaluate(world, c.object(), v.Rules)}
	if !policy.Denies(result.findings) {
		return result, nil
	}
	known, err := v.knownFindings(world, c)
	if err != nil {
		return verdict{}, err
	}
	allowed := c.allowed()
	for i := range result.findings {
		f := &result.findings[i]
		wanted, possible := slices.Contains(allowed, f.Rule), slices.Contains(v.Overridable, f.Rule)
		switch {
		case f.Action != policy.Deny:
		case known[f.Identity()] > 0:
			// What the old object has once, the new one may have once.
			known[f.Identity()]--
			f.Action = policy.Warn
		case c.dryRun && len(f.Related) > 0:
			f.Action = policy.Warn
		case wanted && possible:
			f.Action = policy.Warn
			result.overridden = append(result.overridden, *f)
		case wanted:
			f.Remedy += fmt.Sprintf(" (%s names %s, but the platform does not let objects override this rule.)", AllowAnnotation, f.Rule)
		case possible:
			f.Remedy += fmt.Sprintf(" Where no order of changes avoids this, annotate the object with %s: %s.", AllowAnnotation, f.Rule)
		}
	}
	return result, nil
}

// knownFindings are the identities of what is to be said of the old object in the same world: an edit that has nothing to
// do with these must pass.
func (v *Validator) knownFindings(world *mesh.World, c change) (map[string]int, error) {
	if c.before == nil || c.before.parsed == nil || c.after == nil {
		return nil, nil
	}
	if err := put(world, c.ref, c.before); err != nil {
		return nil, err
	}
	known := map[string]int{}
	for _, f := range policy.Evaluate(world, c.previous(), v.Rules) {
		known[f.Identity()]++
	}
	return known, put(world, c.ref, c.after)
}

func put(world *mesh.World, ref policy.Ref, v *version) error {
	if v == nil {
		world.Remove(ref)
		return nil
	}
	return world.Put(v.parsed)
}
