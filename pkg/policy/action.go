package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Action is what a finding leads to.
type Action string

// The actions, from the mildest to the strictest.
const (
	// Audit reports a finding in logs, metrics and Events only.
	Audit Action = "audit"
	// Warn admits the object and tells the client.
	Warn Action = "warn"
	// Deny refuses the object.
	Deny Action = "deny"
)

// ParseAction returns the action of that name, or an error that lists the names.
func ParseAction(s string) (Action, error) {
	a := Action(s)
	if !slices.Contains(actions(), a) {
		return "", fmt.Errorf("unknown action %q: use audit, warn or deny", s)
	}
	return a, nil
}

// AtMost returns the milder of the two actions.
func (a Action) AtMost(limit Action) Action {
	if slices.Index(actions(), a) > slices.Index(actions(), limit) {
		return limit
	}
	return a
}

func actions() []Action {
	return []Action{Audit, Warn, Deny}
}

// Configure returns the rules with the actions that the platform chose: overrides by rule ID take the place of a rule's
// own action, and no rule stays stricter than enforcement. An override of a rule that does not exist is an error that
// lists the rules there are.
func Configure(rules []Rule, enforcement Action, overrides map[string]Action) ([]Rule, error) {
	ids := make([]string, 0, len(rules))
	configured := slices.Clone(rules)
	for i, r := range rules {
		ids = append(ids, r.ID)
		action := r.Action
		if a, ok := overrides[r.ID]; ok {
			action = a
		}
		configured[i].Action = action.AtMost(enforcement)
	}
	for _, id := range slices.Sorted(maps.Keys(overrides)) {
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("no rule %q: the rules are %s", id, strings.Join(ids, ", "))
		}
	}
	return configured, nil
}
