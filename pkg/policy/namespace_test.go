package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestChosenAndMeshed(t *testing.T) {
	tests := []struct {
		reason         string
		labels         map[string]string
		chosen, meshed bool
	}{
		{"no labels: no choice, and no webhook of Istio selects it", nil, false, false},
		{"other labels are no choice", map[string]string{"team": "a"}, false, false},
		{"the default webhook injects on enabled", map[string]string{"istio-injection": "enabled"}, true, true},
		{"disabled is a choice", map[string]string{"istio-injection": "disabled"}, true, false},
		{"the default webhook's selector is case-sensitive", map[string]string{"istio-injection": "Enabled"}, true, false},
		{"an empty value is a choice that injects nothing", map[string]string{"istio-injection": ""}, true, false},
		{"a revision's webhook selects it", map[string]string{"istio.io/rev": "canary"}, true, true},
		{"no webhook has the empty revision: the default one is called default", map[string]string{"istio.io/rev": ""}, true, false},
		{
			"revision webhooks require istio-injection to be absent",
			map[string]string{"istio-injection": "disabled", "istio.io/rev": "canary"},
			true, false,
		},
		{
			"an empty istio-injection is not absent",
			map[string]string{"istio-injection": "", "istio.io/rev": "canary"},
			true, false,
		},
		{
			"enabled goes to the default revision, whatever istio.io/rev says",
			map[string]string{"istio-injection": "enabled", "istio.io/rev": "canary"},
			true, true,
		},
		{"ambient", map[string]string{"istio.io/dataplane-mode": "ambient"}, true, true},
		{
			"ambient does not look at the injection label",
			map[string]string{"istio.io/dataplane-mode": "ambient", "istio-injection": "disabled"},
			true, true,
		},
		{"none is a choice", map[string]string{"istio.io/dataplane-mode": "none"}, true, false},
		{
			"none keeps ambient away, not sidecars",
			map[string]string{"istio.io/dataplane-mode": "none", "istio-injection": "enabled"},
			true, true,
		},
		{
			"none with a revision: sidecars",
			map[string]string{"istio.io/dataplane-mode": "none", "istio.io/rev": "canary"},
			true, true,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := policy.Chosen(tc.labels); got != tc.chosen {
				t.Errorf("Chosen(%v) = %t", tc.labels, got)
			}
			if got := policy.Meshed(tc.labels); got != tc.meshed {
				t.Errorf("Meshed(%v) = %t", tc.labels, got)
			}
		})
	}
}

func TestExclusions(t *testing.T) {
	configured := policy.NewExclusions("meshwarden", "istio-system", "")
	tests := []struct {
		reason     string
		exclusions policy.Exclusions
		name       string
		want       bool
	}{
		{"Kubernetes' own, whatever is configured", policy.Exclusions{}, "kube-system", true},
		{"Kubernetes' own", configured, "kube-public", true},
		{"Kubernetes' own", configured, "kube-node-lease", true},
		{"Meshwarden's own", configured, "meshwarden", true},
		{"configured", configured, "istio-system", true},
		{"names match as a whole", configured, "istio-system-2", false},
		{"a name still to be generated is excluded by no empty entry", configured, "", false},
		{"all others", configured, "shop", false},
	}
	for _, tc := range tests {
		t.Run(tc.reason+" "+tc.name, func(t *testing.T) {
			if got := tc.exclusions.Has(tc.name); got != tc.want {
				t.Errorf("Has(%q) = %t", tc.name, got)
			}
		})
	}
}

func TestAdmitNamespace(t *testing.T) {
	label := map[string]string{"istio-injection": "enabled"}
	mark := map[string]string{"meshwarden.io/onboarding": "enabled"}
	optOut := map[string]string{"meshwarden.io/onboarding": "disabled"}
	tests := []struct {
		reason string
		ns     policy.Namespace
		want   policy.Additions
	}{
		{"an ordinary namespace gets both", policy.Namespace{Name: "shop"}, policy.Additions{Labels: label, Annotations: mark}},
		{"its name may be still to be generated", policy.Namespace{}, policy.Additions{Labels: label, Annotations: mark}},
		{
			"a choice stays",
			policy.Namespace{Name: "shop", Labels: map[string]string{"istio-injection": "disabled"}},
			policy.Additions{Annotations: mark},
		},
		{
			"a revision is a choice",
			policy.Namespace{Name: "shop", Labels: map[string]string{"istio.io/rev": "canary"}},
			policy.Additions{Annotations: mark},
		},
		{
			"a mark that came along is a wish to be labelled",
			policy.Namespace{Name: "shop", Annotations: mark},
			policy.Additions{Labels: label},
		},
		{"its own result needs nothing more", policy.Namespace{Name: "shop", Labels: label, Annotations: mark}, policy.Additions{}},
		{"excluded", policy.Namespace{Name: "istio-system"}, policy.Additions{}},
		{"opted out by annotation", policy.Namespace{Name: "shop", Annotations: optOut}, policy.Additions{}},
		{"opted out by label", policy.Namespace{Name: "shop", Labels: optOut}, policy.Additions{}},
		{"the way out goes before the mark", policy.Namespace{Name: "shop", Labels: optOut, Annotations: mark}, policy.Additions{}},
		{
			"the mark's value as a label forbids nothing and marks nothing",
			policy.Namespace{Name: "shop", Labels: mark},
			policy.Additions{Labels: label, Annotations: mark},
		},
		{
			"a misspelt wish is not overwritten",
			policy.Namespace{Name: "shop", Annotations: map[string]string{"meshwarden.io/onboarding": "off"}},
			policy.Additions{},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got := policy.AdmitNamespace(tc.ns, policy.NewExclusions("meshwarden", "istio-system"))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("AdmitNamespace (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMisspelt(t *testing.T) {
	with := func(value string) map[string]string { return map[string]string{"meshwarden.io/onboarding": value} }
	tests := []struct {
		reason string
		ns     policy.Namespace
		value  string
		want   bool
	}{
		{"nothing said", policy.Namespace{}, "", false},
		{"both values are known", policy.Namespace{Annotations: with("enabled"), Labels: with("disabled")}, "", false},
		{"case counts", policy.Namespace{Annotations: with("Disabled")}, "Disabled", true},
		{"empty is no value", policy.Namespace{Annotations: with("")}, "", true},
		{"labels count as well", policy.Namespace{Labels: with("no")}, "no", true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if value, got := tc.ns.Misspelt(); value != tc.value || got != tc.want {
				t.Errorf("Misspelt() = %q, %t", value, got)
			}
		})
	}
}

func TestParseBackfill(t *testing.T) {
	tests := []struct {
		reason, text string
		want         policy.Backfill
		err          string
	}{
		{"known", "missed", policy.BackfillMissed, ""},
		{"known", "all", policy.BackfillAll, ""},
		{"known", "none", policy.BackfillNone, ""},
		{"the error lists what there is", "some", "", `backfill mode "some" is unknown: use missed, all or none`},
		{"the default is the caller's to set", "", "", `backfill mode "" is unknown: use missed, all or none`},
	}
	for _, tc := range tests {
		t.Run(tc.reason+" "+tc.text, func(t *testing.T) {
			got, err := policy.ParseBackfill(tc.text)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if got != tc.want || message != tc.err {
				t.Errorf("ParseBackfill(%q) = %q, %v", tc.text, got, err)
			}
		})
	}
}

func TestBackfillTakes(t *testing.T) {
	created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := created.Add
	annotated := func(value string) policy.Namespace {
		return policy.Namespace{Name: "shop", Created: created, Annotations: map[string]string{"meshwarden.io/onboarding": value}}
	}
	plain := policy.Namespace{Name: "shop", Created: created}
	tests := []struct {
		reason    string
		mode      policy.Backfill
		ns        policy.Namespace
		installed time.Time
		want      bool
	}{
		{"missed: younger than the installation", policy.BackfillMissed, plain, at(-time.Second), true},
		{"missed: the same second counts as younger", policy.BackfillMissed, plain, at(0), true},
		{"missed: fractions of that second don't count", policy.BackfillMissed, plain, at(900 * time.Millisecond), true},
		{"missed: older", policy.BackfillMissed, plain, at(time.Second), false},
		{"all: older, too", policy.BackfillAll, plain, at(time.Hour), true},
		{"all: younger", policy.BackfillAll, plain, at(-time.Hour), true},
		{"none: not even the younger", policy.BackfillNone, plain, at(-time.Hour), false},
		{"never again once marked", policy.BackfillAll, annotated("enabled"), at(0), false},
		{"opted out", policy.BackfillAll, annotated("disabled"), at(0), false},
		{
			"opted out by label", policy.BackfillAll,
			policy.Namespace{Name: "shop", Labels: map[string]string{"meshwarden.io/onboarding": "disabled"}},
			at(0), false,
		},
		{"excluded", policy.BackfillAll, policy.Namespace{Name: "kube-system", Created: created}, at(0), false},
		{"terminating", policy.BackfillAll, policy.Namespace{Name: "shop", Created: created, Terminating: true}, at(0), false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.mode.Takes(tc.ns, policy.Exclusions{}, tc.installed); got != tc.want {
				t.Errorf("Takes = %t", got)
			}
		})
	}
}

func TestBackfillAdditions(t *testing.T) {
	label := map[string]string{"istio-injection": "enabled"}
	tests := []struct {
		reason       string
		ns           policy.Namespace
		keepPolicies bool
		want         policy.Additions
	}{
		{
			"the same as at admission",
			policy.Namespace{Name: "shop"},
			false,
			policy.Additions{Labels: label, Annotations: map[string]string{"meshwarden.io/onboarding": "enabled"}},
		},
		{
			"a choice stays",
			policy.Namespace{Name: "shop", Labels: map[string]string{"istio.io/dataplane-mode": "none"}},
			false,
			policy.Additions{Annotations: map[string]string{"meshwarden.io/onboarding": "enabled"}},
		},
		{
			"policies that are there stay effective",
			policy.Namespace{Name: "shop"},
			true,
			policy.Additions{Labels: label, Annotations: map[string]string{
				"meshwarden.io/onboarding": "enabled", "meshwarden.io/network-policy": "disabled",
			}},
		},
		{
			"what the owner said about the policy stays",
			policy.Namespace{Name: "shop", Annotations: map[string]string{"meshwarden.io/network-policy": "enabled"}},
			true,
			policy.Additions{Labels: label, Annotations: map[string]string{"meshwarden.io/onboarding": "enabled"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, policy.BackfillAdditions(tc.ns, tc.keepPolicies)); diff != "" {
				t.Errorf("BackfillAdditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWantsNetworkPolicy(t *testing.T) {
	namespace := func(change func(*policy.Namespace)) policy.Namespace {
		ns := policy.Namespace{
			Name:        "shop",
			Labels:      map[string]string{"istio-injection": "enabled"},
			Annotations: map[string]string{"meshwarden.io/onboarding": "enabled"},
		}
		change(&ns)
		return ns
	}
	tests := []struct {
		reason string
		change func(*policy.Namespace)
		want   bool
	}{
		{"under care and meshed", func(*policy.Namespace) {}, true},
		{"a revision is meshed, too", func(n *policy.Namespace) { n.Labels = map[string]string{"istio.io/rev": "canary"} }, true},
		{"left the mesh", func(n *policy.Namespace) { n.Labels["istio-injection"] = "disabled" }, false},
		{"the label was removed", func(n *policy.Namespace) { n.Labels = nil }, false},
		{"not under care", func(n *policy.Namespace) { n.Annotations = nil }, false},
		{"opted out", func(n *policy.Namespace) { n.Annotations["meshwarden.io/onboarding"] = "disabled" }, false},
		{"opted out by label", func(n *policy.Namespace) { n.Labels["meshwarden.io/onboarding"] = "disabled" }, false},
		{"declined", func(n *policy.Namespace) { n.Annotations["meshwarden.io/network-policy"] = "disabled" }, false},
		{"declined in another spelling", func(n *policy.Namespace) { n.Annotations["meshwarden.io/network-policy"] = "Disabled" }, false},
		{"declined by a label", func(n *policy.Namespace) { n.Labels["meshwarden.io/network-policy"] = "disabled" }, false},
		{"wished for", func(n *policy.Namespace) { n.Annotations["meshwarden.io/network-policy"] = "enabled" }, true},
		{"excluded", func(n *policy.Namespace) { n.Name = "kube-public" }, false},
		{"terminating", func(n *policy.Namespace) { n.Terminating = true }, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := namespace(tc.change).WantsNetworkPolicy(policy.Exclusions{}); got != tc.want {
				t.Errorf("WantsNetworkPolicy = %t", got)
			}
		})
	}
}
