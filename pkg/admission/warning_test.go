package admission_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Where nothing is denied, a warning still should not be false: what it rests on is read again, once, as far as that works.
func TestHandleConfirmsWarnings(t *testing.T) {
	public, web := gateway("infra/public", "*.example.com"), virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	warned := answer{Allowed: true, Warned: []string{"MW101"}}
	for _, tc := range []struct {
		reason      string
		enforcement policy.Action
		change      func(*testing.T, *world)
		want        answer
		reads       int
	}{
		{"a missing gateway", policy.Warn, func(*testing.T, *world) {}, warned, 1},
		{"a gateway that came a moment ago", policy.Warn, func(t *testing.T, w *world) { w.store(t, public) }, answer{Allowed: true}, 1},
		{"a read that fails leaves the warning", policy.Warn, func(_ *testing.T, w *world) { w.cluster.readErr = errors.New("timed out") }, warned, 1},
		{"what is only counted costs no read", policy.Audit, func(*testing.T, *world) {}, answer{Allowed: true}, 0},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, func(o *admission.Options) {
				rules, err := policy.Configure(policy.Rules(), tc.enforcement, nil)
				if err != nil {
					t.Fatal(err)
				}
				o.Rules, o.Enforcement = rules, tc.enforcement
			})
			tc.change(t, w)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), creation(web)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if len(w.cluster.reads) != tc.reads {
				t.Errorf("read %v, want %d reads", w.cluster.reads, tc.reads)
			}
		})
	}
}
