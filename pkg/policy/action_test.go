package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestAtMost(t *testing.T) {
	tests := []struct {
		reason              string
		action, limit, want policy.Action
	}{
		{"a stricter action is limited", policy.Deny, policy.Warn, policy.Warn},
		{"the strictest one to the mildest", policy.Deny, policy.Audit, policy.Audit},
		{"warn to audit", policy.Warn, policy.Audit, policy.Audit},
		{"a milder action stays", policy.Warn, policy.Deny, policy.Warn},
		{"the mildest one always stays", policy.Audit, policy.Deny, policy.Audit},
		{"the limit itself", policy.Deny, policy.Deny, policy.Deny},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.action.AtMost(tc.limit); got != tc.want {
				t.Errorf("%s at most %s: %s, want %s", tc.action, tc.limit, got, tc.want)
			}
		})
	}
}

func TestParseAction(t *testing.T) {
	for _, want := range []policy.Action{policy.Audit, policy.Warn, policy.Deny} {
		if got, err := policy.ParseAction(string(want)); err != nil || got != want {
			t.Errorf("ParseAction(%q) = %q, %v", want, got, err)
		}
	}
	for _, s := range []string{"", "Deny", "deny ", "ignore"} {
		got, err := policy.ParseAction(s)
		if got != "" || err == nil || err.Error() != `unknown action "`+s+`": use audit, warn or deny` {
			t.Errorf("ParseAction(%q) = %q, %v", s, got, err)
		}
	}
}

func TestConfigure(t *testing.T) {
	rules := []policy.Rule{{ID: "MW001", Action: policy.Deny}, {ID: "MW002", Action: policy.Warn}, {ID: "MW003", Action: policy.Audit}}
	tests := []struct {
		reason      string
		enforcement policy.Action
		overrides   map[string]policy.Action
		want        []policy.Action
		wantErr     string
	}{
		{"each rule's own", policy.Deny, nil, []policy.Action{policy.Deny, policy.Warn, policy.Audit}, ""},
		{"no rule is stricter than the enforcement", policy.Warn, nil, []policy.Action{policy.Warn, policy.Warn, policy.Audit}, ""},
		{"audit reports everything and no more", policy.Audit, nil, []policy.Action{policy.Audit, policy.Audit, policy.Audit}, ""},
		{
			"an override may be milder or stricter than the rule", policy.Deny,
			map[string]policy.Action{"MW001": policy.Audit, "MW003": policy.Deny},
			[]policy.Action{policy.Audit, policy.Warn, policy.Deny},
			"",
		},
		{
			"an override is no stricter than the enforcement either", policy.Warn,
			map[string]policy.Action{"MW002": policy.Deny},
			[]policy.Action{policy.Warn, policy.Warn, policy.Audit},
			"",
		},
		{
			"an override of a rule that does not exist", policy.Deny,
			map[string]policy.Action{"MW001": policy.Warn, "MW999": policy.Warn},
			nil, `no rule "MW999": the rules are MW001, MW002, MW003`,
		},
		{
			"the first of several, so that the error is always the same", policy.Deny,
			map[string]policy.Action{"MW997": policy.Warn, "MW998": policy.Warn, "MW999": policy.Warn},
			nil,
			`no rule "MW997": the rules are MW001, MW002, MW003`,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			configured, err := policy.Configure(rules, tc.enforcement, tc.overrides)
			if tc.wantErr != "" {
				if err == nil || err.Error() != tc.wantErr {
					t.Errorf("Configure: %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []policy.Action
			for _, r := range configured {
				got = append(got, r.Action)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if rules[0].Action != policy.Deny {
				t.Error("Configure changed the rules that it was given")
			}
		})
	}
}

// TestEvaluateActions holds what becomes of a rule's action and of the one that its Check asks for.
func TestEvaluateActions(t *testing.T) {
	tests := []struct {
		reason            string
		rule, asked, want policy.Action
	}{
		{"the rule's own", policy.Deny, "", policy.Deny},
		{"a milder one", policy.Deny, policy.Warn, policy.Warn},
		{"a stricter one is not given", policy.Warn, policy.Deny, policy.Warn},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			rule := policy.Rule{ID: "MW001", Name: "of-test", Kinds: []policy.Kind{policy.KindGateway}, Action: tc.rule, Remedy: "Do."}
			rule.Check = func(policy.Mesh, policy.Object) []policy.Finding {
				return []policy.Finding{{Action: tc.asked, Rule: "overwritten"}}
			}
			g := policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "edge", Name: "public"}})
			want := []policy.Finding{{Rule: "MW001", Name: "of-test", Action: tc.want, Object: g.Ref(), Remedy: "Do."}}
			got := policy.Evaluate(nil, policy.Object{Gateway: g}, []policy.Rule{rule})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Evaluate (-want +got):\n%s", diff)
			}
			if denies := policy.Denies(got); denies != (tc.want == policy.Deny) {
				t.Errorf("Denies: %t", denies)
			}
			if got := policy.Evaluate(nil, policy.Object{VirtualService: &policy.VirtualService{}}, []policy.Rule{rule}); got != nil {
				t.Errorf("a rule on Gateways judged a VirtualService: %v", got)
			}
			if got := policy.Evaluate(nil, policy.Object{}, []policy.Rule{rule}); got != nil {
				t.Errorf("a rule judged an empty object: %v", got)
			}
		})
	}
}
