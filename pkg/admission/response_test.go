package admission_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// finds returns a rule that always reports n findings whose messages are as long as given.
func finds(n int, action policy.Action, length int) policy.Rule {
	return policy.Rule{
		ID: "MW901", Name: "always", Kinds: []policy.Kind{policy.KindVirtualService}, Remedy: "Do what helps.", Action: action,
		Check: func(policy.Mesh, policy.Object) []policy.Finding {
			var found []policy.Finding
			for i := range n {
				found = append(found, policy.Finding{
					Path: fmt.Sprintf("spec.hosts[%d]", i), Host: fmt.Sprint(i), Message: "it is wrong" + strings.Repeat(".", max(0, length-11)),
				})
			}
			return found
		},
	}
}

// TestDeniedStatus holds the whole status: kubectl prints the causes, other clients the message.
func TestDeniedStatus(t *testing.T) {
	w := newWorld(t, func(o *admission.Options) { o.Rules = []policy.Rule{finds(2, policy.Deny, 0)} })
	r := w.Handle(t.Context(), creation(virtualService("shop/web", nil)))
	want := &metav1.Status{
		Status: "Failure", Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: "VirtualService shop/web is invalid: spec.hosts[0]: MW901 always: it is wrong. Do what helps.; " +
			"spec.hosts[1]: MW901 always: it is wrong. Do what helps.",
		Details: &metav1.StatusDetails{
			Group: "networking.istio.io", Kind: "VirtualService", Name: "web",
			Causes: []metav1.StatusCause{
				{Type: "FieldValueInvalid", Field: "spec.hosts[0]", Message: "MW901 always: it is wrong. Do what helps."},
				{Type: "FieldValueInvalid", Field: "spec.hosts[1]", Message: "MW901 always: it is wrong. Do what helps."},
			},
		},
	}
	if diff := cmp.Diff(want, r.Result); diff != "" || r.Allowed {
		t.Errorf("allowed %t, status (-want +got):\n%s", r.Allowed, diff)
	}
}

func TestDeniedCausesAreCapped(t *testing.T) {
	tests := []struct {
		reason         string
		findings, want int
		last           string
	}{
		{"all fit", 20, 20, "MW901 always: it is wrong. Do what helps."},
		{"one too many", 21, 21, "and 1 more"},
		{"a long list of hosts", 10_000, 21, "and 9980 more"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, func(o *admission.Options) { o.Rules = []policy.Rule{finds(tc.findings, policy.Deny, 0)} })
			r := w.Handle(t.Context(), creation(virtualService("shop/web", nil)))
			causes := r.Result.Details.Causes
			if len(causes) != tc.want || causes[len(causes)-1].Message != tc.last {
				t.Errorf("%d causes, the last is %v", len(causes), causes[len(causes)-1])
			}
			if !strings.HasSuffix(r.Result.Message, tc.last) {
				t.Errorf("message %q", r.Result.Message)
			}
		})
	}
}

// TestWarningsAreCapped: beyond 4,096 characters in all, the API server cuts each warning to 256.
func TestWarningsAreCapped(t *testing.T) {
	tests := []struct {
		reason           string
		findings, length int
		shown            int
		last             string
	}{
		{"one", 1, 0, 1, ""},
		{"many short ones fit", 60, 0, 60, ""},
		{"many more do not", 10_000, 0, 71, "meshwarden: and 9929 more"},
		{"a few long ones do not", 6, 2_000, 4, "meshwarden: and 2 more"},
		{"one that no client could read is cut", 1, 1_000_000, 1, ""},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, func(o *admission.Options) { o.Rules = []policy.Rule{finds(tc.findings, policy.Warn, tc.length)} })
			got := w.Handle(t.Context(), creation(virtualService("shop/web", nil))).Warnings
			if total := len(strings.Join(got, "")); total > 4096 {
				t.Errorf("%d bytes", total)
			}
			if tc.last != "" {
				if last := got[len(got)-1]; last != tc.last {
					t.Errorf("the last is %q", last)
				}
				got = got[:len(got)-1]
			}
			if len(got) != tc.shown {
				t.Errorf("%d are shown instead of %d", len(got), tc.shown)
			}
			for _, text := range got {
				if !strings.HasPrefix(text, "spec.hosts[") || !strings.HasSuffix(text, "Do what helps.") {
					t.Errorf("warning %q lacks its path or its remedy", text)
				}
			}
		})
	}
}

// TestWarningsKeepTheirOrder: where one does not fit, none that comes after it is shown in its place.
func TestWarningsKeepTheirOrder(t *testing.T) {
	rule := finds(6, policy.Warn, 900)
	long := rule.Check
	rule.Check = func(m policy.Mesh, o policy.Object) []policy.Finding {
		return append(long(m, o), policy.Finding{Path: "spec", Message: "short"})
	}
	w := newWorld(t, func(o *admission.Options) { o.Rules = []policy.Rule{rule} })
	got := w.Handle(t.Context(), creation(virtualService("shop/web", nil))).Warnings
	if last := got[len(got)-1]; len(got) != 5 || last != "meshwarden: and 3 more" {
		t.Errorf("%d warnings, the last is %q", len(got), last)
	}
}
