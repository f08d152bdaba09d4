package admission_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// TestHandleOverride: the annotation turns denials of overridable rules into warnings, and no others.
func TestHandleOverride(t *testing.T) {
	const (
		refused = "(meshwarden.io/allow names MW101, but the platform does not let objects override this rule.)"
		offered = "annotate the object with meshwarden.io/allow: MW101."
	)
	web := virtualService("shop/web", []string{"a.example.com"}, "infra/gone").with("resourceVersion", "7")
	twice := web.matching("infra/other")
	tests := []struct {
		reason      string
		overridable []string
		request     webhook.Request
		want        answer
		events      int
		note        string // what the denial says about the annotation
	}{
		{"no annotation", []string{"MW101"}, creation(web), answer{Code: 422, Denied: []string{"MW101"}}, 0, offered},
		{"neither wanted nor possible", nil, creation(web), answer{Code: 422, Denied: []string{"MW101"}}, 0, ""},
		{
			"overridden",
			[]string{"MW101"},
			creation(web.annotated(admission.AllowAnnotation, "MW101")),
			answer{Allowed: true, Warned: []string{"MW101"}},
			1, "",
		},
		{
			"several, with spaces, empty ones and repetitions",
			[]string{"MW101", "MW106"},
			creation(twice.annotated(admission.AllowAnnotation, " MW106 ,,MW101,MW101 , MW106")),
			answer{Allowed: true, Warned: []string{"MW101", "MW106"}},
			2, "",
		},
		{
			"IDs are neither names nor patterns",
			[]string{"MW101"},
			creation(web.annotated(admission.AllowAnnotation, "gateway-not-found,*,MW10")),
			answer{Code: 422, Denied: []string{"MW101"}},
			0, offered,
		},
		{
			"the platform does not allow it, and the user learns that",
			[]string{"MW207"},
			creation(web.annotated(admission.AllowAnnotation, "MW101")),
			answer{Code: 422, Denied: []string{"MW101"}},
			0, refused,
		},
		{
			"the platform forbids it for all rules", nil, creation(web.annotated(admission.AllowAnnotation, "MW101")),
			answer{Code: 422, Denied: []string{"MW101"}},
			0, refused,
		},
		{
			"a dry run leaves no trace",
			[]string{"MW106"},
			dryRun(creation(twice.annotated(admission.AllowAnnotation, "MW106"))),
			answer{Allowed: true, Warned: []string{"MW101", "MW106"}},
			0, "",
		},
		{
			"denied for another reason: nothing was let pass",
			[]string{"MW101"},
			creation(twice.annotated(admission.AllowAnnotation, "MW101")),
			answer{Code: 422, Denied: []string{"MW106"}, Warned: []string{"MW101"}},
			0, "",
		},
		{
			"what warns anyway is not overridden",
			[]string{"MW101"},
			replacement(web, web.annotated(admission.AllowAnnotation, "MW101")),
			answer{Allowed: true, Warned: []string{"MW101"}},
			0, "",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, func(o *admission.Options) { o.Overridable = tc.overridable })
			r := w.Handle(t.Context(), tc.request)
			if diff := cmp.Diff(tc.want, summary(r)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			checkOverrides(t, w, tc.want.Warned, tc.events)
			for _, note := range []string{refused, offered} {
				if got := !r.Allowed && strings.Contains(r.Result.Details.Causes[0].Message, note); got != (note == tc.note) {
					t.Errorf("%q is said: %t; message %q", note, got, r.Result.Message)
				}
			}
		})
	}
}

// checkOverrides expects n of the findings on shop/web that warn to be reported as overridden, in their order.
func checkOverrides(t *testing.T, w *world, warned []string, n int) {
	t.Helper()
	if got := w.metric(t, "meshwarden_overrides_total", "MW101") + w.metric(t, "meshwarden_overrides_total", "MW106"); got != float64(n) {
		t.Errorf("counted %v overrides instead of %d", got, n)
	}
	if len(w.recorder.events) != n {
		t.Fatalf("Events %v instead of %d", w.recorder.events, n)
	}
	want := event{Type: "Warning", Reason: "RuleOverridden", Object: corev1.ObjectReference{
		APIVersion: "networking.istio.io/v1", Kind: "VirtualService", Namespace: "shop", Name: "web", UID: "u-web", ResourceVersion: "7",
	}}
	for i, e := range w.recorder.events {
		if !strings.HasPrefix(e.Message, warned[i]+" ") {
			t.Errorf("the Event says %q, not %s", e.Message, warned[i])
		}
		e.Message = ""
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("Event (-want +got):\n%s", diff)
		}
	}
}

// TestHandleOverrideOfDefault: the one rule that objects may override by default, on the object that the request changes.
func TestHandleOverrideOfDefault(t *testing.T) {
	before, after := gateway("infra/public", "*.example.com"), gateway("infra/public", "*.other.com")
	web := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	tests := []struct {
		reason        string
		before, after object
		want          answer
	}{
		{"the new version allows it", before, after.annotated(admission.AllowAnnotation, "MW207"), answer{Allowed: true, Warned: []string{"MW207"}}},
		{
			"the old version allowed it, the new one does not", before.annotated(admission.AllowAnnotation, "MW207"), after,
			answer{Code: 422, Denied: []string{"MW207"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, tc.before, web)
			w.store(t, tc.before, web)
			if diff := cmp.Diff(tc.want, summary(w.Handle(t.Context(), replacement(tc.before, tc.after)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
