package policy_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The serialised form is the contract: it is what is applied, so each field in
// it is a field that Meshwarden owns.
func TestDefaultNetworkPolicy(t *testing.T) {
	got, err := json.Marshal(policy.DefaultNetworkPolicy("shop"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1",` +
		`"metadata":{"name":"allow-istio-communication","namespace":"shop","labels":{"app.kubernetes.io/managed-by":"meshwarden"}},` +
		`"spec":{"podSelector":{},"ingress":[{}],"egress":[{}],"policyTypes":["Egress","Ingress"]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("DefaultNetworkPolicy (-want +got):\n%s", diff)
	}
}

func TestNextNetworkPolicyStep(t *testing.T) {
	applied := []metav1.ManagedFieldsEntry{{Manager: "meshwarden", Operation: metav1.ManagedFieldsOperationApply}}
	updated := []metav1.ManagedFieldsEntry{{Manager: "meshwarden", Operation: metav1.ManagedFieldsOperationUpdate}}
	changed := func(change func(*networkingv1.NetworkPolicy)) *networkingv1.NetworkPolicy {
		have := policy.DefaultNetworkPolicy("shop")
		change(have)
		return have
	}
	asItShouldBe := policy.DefaultNetworkPolicy("shop")
	unlabelled := changed(func(p *networkingv1.NetworkPolicy) { p.Labels, p.ManagedFields = nil, applied })
	foreign := changed(func(p *networkingv1.NetworkPolicy) { p.Labels = map[string]string{"team": "a"} })
	tests := []struct {
		reason string
		wanted bool
		have   *networkingv1.NetworkPolicy
		want   policy.NetworkPolicyStep
	}{
		{"absent and wanted", true, nil, policy.CreatePolicy},
		{"absent and not wanted", false, nil, policy.KeepPolicy},
		{"as it should be", true, asItShouldBe, policy.KeepPolicy},
		{"ours and not wanted", false, asItShouldBe, policy.RemovePolicy},
		{"other labels and annotations are anybody's", true, changed(func(p *networkingv1.NetworkPolicy) {
			p.Labels["team"], p.Annotations = "a", map[string]string{"note": "b"}
		}), policy.KeepPolicy},
		{"nil and empty mean the same", true, changed(func(p *networkingv1.NetworkPolicy) {
			p.Spec.PodSelector.MatchLabels = map[string]string{}
			p.Spec.Ingress[0].From = []networkingv1.NetworkPolicyPeer{}
		}), policy.KeepPolicy},
		{"drift in the spec", true, changed(func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = nil }), policy.RepairPolicy},
		{"drift in the selector", true, changed(func(p *networkingv1.NetworkPolicy) {
			p.Spec.PodSelector.MatchLabels = map[string]string{"app": "a"}
		}), policy.RepairPolicy},
		{"the label was removed, but the field manager tells", true, unlabelled, policy.RepairPolicy},
		{"so it is still ours to remove", false, unlabelled, policy.RemovePolicy},
		{"what somebody is making theirs is not removed", false, changed(func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = nil }), policy.KeepPolicy},
		{"somebody else's", true, foreign, policy.ReportForeignPolicy},
		{"somebody else's is nobody's business where none is wanted", false, foreign, policy.KeepPolicy},
		{
			"Meshwarden applies; an update under its name is somebody else's", true,
			changed(func(p *networkingv1.NetworkPolicy) { p.Labels, p.ManagedFields = nil, updated }), policy.ReportForeignPolicy,
		},
		{"one that is being deleted is waited for", true, changed(func(p *networkingv1.NetworkPolicy) {
			p.DeletionTimestamp, p.Spec.Egress = &metav1.Time{Time: time.Unix(1, 0)}, nil
		}), policy.KeepPolicy},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := policy.NextNetworkPolicyStep(tc.wanted, tc.have); got != tc.want {
				t.Errorf("NextNetworkPolicyStep = %v, want %v", got, tc.want)
			}
		})
	}
}
