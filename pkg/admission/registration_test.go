package admission_test

import (
	"encoding/json"
	"fmt"
	"slices"
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
		"virtualservice.meshwarden.io Fail 5s NoneOnDryRun Equivalent own/validate/see/docs/operations.md/in-an-emergency/kubectl/delete/validatingwebhookconfiguration/meshwarden 1 [CREATE UPDATE] of [networking.istio.io] [v1] [virtualservices] Namespaced",
		"gateway.meshwarden.io Fail 5s NoneOnDryRun Equivalent own/validate/see/docs/operations.md/in-an-emergency/kubectl/delete/validatingwebhookconfiguration/meshwarden 1 [CREATE UPDATE] of [networking.istio.io] [v1] [gateways] Namespaced",
		"gateway-delete.meshwarden.io Ignore 5s NoneOnDryRun Equivalent own/validate/see/docs/operations.md/in-an-emergency/kubectl/delete/validatingwebhookconfiguration/meshwarden 1 [DELETE] of [networking.istio.io] [v1] [gateways] Namespaced",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered (-want +got):\n%s", diff)
	}
}

// TestRegistrationConditions: what fails closed must stand between no object and its end, nor in the way of an update that
// is none of Meshwarden's business. What fails open needs no condition. The end-to-end suite evaluates the expressions.
func TestRegistrationConditions(t *testing.T) {
	for _, w := range admission.Validating("own").Webhooks {
		var got []string
		for _, c := range w.MatchConditions {
			got = append(got, c.Name+": "+c.Expression)
		}
		var want []string
		if *w.FailurePolicy == admissionregistrationv1.Fail {
			want = []string{
				`not-being-deleted: !has(object.metadata.deletionTimestamp)`,
				`changes-what-is-judged: request.operation != "UPDATE" || object.metadata.?generation != oldObject.metadata.?generation || ` +
					`object.metadata.?annotations[?"meshwarden.io/allow"] != oldObject.metadata.?annotations[?"meshwarden.io/allow"]`,
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("conditions of %s (-want +got):\n%s", w.Name, diff)
		}
	}
}

// TestUnchangedIsNeverDenied: what the conditions keep away would have passed. An update that changes nothing that is read
// leads to warnings at most, whatever is wrong with the object and with the annotation as well as without.
func TestUnchangedIsNeverDenied(t *testing.T) {
	for rule, c := range wrongByRule() {
		t.Run(rule, func(t *testing.T) {
			var o object
			if err := json.Unmarshal(c.request.Object.Raw, &o); err != nil {
				t.Fatal(err)
			}
			for _, o := range []object{o, o.annotated(admission.AllowAnnotation, rule)} {
				w := newWorld(t)
				w.cache(t, append(slices.Clone(c.stored), o)...)
				w.store(t, append(slices.Clone(c.stored), o)...)
				if r := w.Handle(t.Context(), replacement(o, o.with("labels", map[string]string{"team": "a"}))); !r.Allowed {
					t.Errorf("denied: %v", r.Result)
				}
				if len(w.recorder.events) > 0 || len(w.cluster.expected) > 0 {
					t.Errorf("told of events %v and generations %v, want nothing that would be missed", w.recorder.events, w.cluster.expected)
				}
			}
		})
	}
}
