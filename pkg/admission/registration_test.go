package admission_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// TestRegistration holds what waits for Meshwarden, for how long, and what happens when it does not answer.
func TestRegistration(t *testing.T) {
	rule := func(r admissionregistrationv1.RuleWithOperations) string {
		return fmt.Sprintf("%s of %s %s %s %s", r.Operations, r.APIGroups, r.APIVersions, r.Resources, *r.Scope)
	}
	var got []string
	for _, w := range admission.Mutating("own").Webhooks {
		got = append(got, fmt.Sprint(w.Name, " ", *w.FailurePolicy, " ", *w.TimeoutSeconds, "s ", *w.SideEffects, " ", *w.MatchPolicy, " ",
			w.ClientConfig.Service.Namespace, *w.ClientConfig.Service.Path, " ", len(w.Rules), " ", rule(w.Rules[0])))
	}
	for _, w := range admission.Validating("own").Webhooks {
		got = append(got, fmt.Sprint(w.Name, " ", *w.FailurePolicy, " ", *w.TimeoutSeconds, "s ", *w.SideEffects, " ", *w.MatchPolicy, " ",
			w.ClientConfig.Service.Namespace, *w.ClientConfig.Service.Path, " ", len(w.Rules), " ", rule(w.Rules[0])))
	}
	want := []string{
		"namespace.meshwarden.io Ignore 2s None Equivalent own/mutate-namespace 1 [CREATE] of [] [v1] [namespaces] Cluster",
		"virtualservice.meshwarden.io Fail 5s NoneOnDryRun Equivalent own/validate 1 [CREATE UPDATE] of [networking.istio.io] [v1] [virtualservices] Namespaced",
		"gateway.meshwarden.io Fail 5s NoneOnDryRun Equivalent own/validate 1 [CREATE UPDATE] of [networking.istio.io] [v1] [gateways] Namespaced",
		"gateway-delete.meshwarden.io Ignore 5s NoneOnDryRun Equivalent own/validate 1 [DELETE] of [networking.istio.io] [v1] [gateways] Namespaced",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered (-want +got):\n%s", diff)
	}
}

// TestRegistrationLeavesDeletionAlone: what fails closed must not stand between an object and its end, and what fails open
// needs no condition.
func TestRegistrationLeavesDeletionAlone(t *testing.T) {
	for _, w := range admission.Validating("own").Webhooks {
		var got []string
		for _, c := range w.MatchConditions {
			got = append(got, c.Expression)
		}
		var want []string
		if *w.FailurePolicy == admissionregistrationv1.Fail {
			want = []string{"!has(object.metadata.deletionTimestamp)"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("conditions of %s (-want +got):\n%s", w.Name, diff)
		}
	}
}
