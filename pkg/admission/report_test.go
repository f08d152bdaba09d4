package admission_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// decision is what the tests read of a line of the log.
type decision struct {
	Level                             int
	Msg, UID, User, Object, Operation string
	DryRun                            bool
	Rules, Findings                   []string
	FindingCount                      int
}

func TestDecisionLog(t *testing.T) {
	broken := virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/gone").matching("infra/a", "infra/b")
	said := []string{"deny spec.gateways[1]: MW101 ", "deny spec.http[0].match[0].gateways[0]: MW106 ", "deny spec.http[0].match[0].gateways[1]: MW106 "}
	var warned, audited []string
	for _, s := range said {
		warned = append(warned, strings.Replace(s, "deny", "warn", 1))
		audited = append(audited, strings.Replace(s, "deny", "audit", 1))
	}
	line := decision{
		Msg: "request denied", UID: string(requestUID), User: "jane@example.com", Object: "VirtualService shop/web",
		Operation: "CREATE", Rules: []string{"MW101", "MW106"}, Findings: said, FindingCount: 3,
	}
	change := func(f func(*decision)) []decision { l := line; f(&l); return []decision{l} }
	tests := []struct {
		reason      string
		enforcement policy.Action
		request     webhook.Request
		want        []decision
	}{
		{"who was denied what and why", policy.Deny, creation(broken), []decision{line}},
		{"a dry run says so", policy.Deny, dryRun(creation(broken)), change(func(d *decision) {
			d.DryRun, d.Findings = true, append([]string{warned[0]}, said[1:]...)
		})},
		{"what was admitted with warnings is for debugging", policy.Warn, creation(broken), change(func(d *decision) {
			d.Level, d.Msg, d.Findings = 1, "request admitted with findings", warned
		})},
		{"an audit has no other place to speak", policy.Audit, creation(broken), change(func(d *decision) {
			d.Msg, d.Findings = "request admitted with findings", audited
		})},
		{"no line for what is in order", policy.Deny, creation(virtualService("shop/web", []string{"a.example.com"}, "infra/public")), nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			rules, err := policy.Configure(policy.Rules(), tc.enforcement, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, func(o *admission.Options) { o.Rules, o.Enforcement = rules, tc.enforcement })
			w.cache(t, gateway("infra/public", "*.example.com"))
			w.Handle(t.Context(), tc.request)
			got := w.log.decisions(t)
			for _, d := range got {
				for i, f := range d.Findings {
					// The words after the rule's ID are the rule's own.
					id := strings.Index(f, ": MW") + len(": MW101 ")
					d.Findings[i] = f[:id]
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecisionLogIsBounded: a name in an object is anybody's text, of any length, and must not become a log of its own.
func TestDecisionLogIsBounded(t *testing.T) {
	w := newWorld(t, func(o *admission.Options) { o.Rules = []policy.Rule{finds(50, policy.Deny, 100_000)} })
	w.Handle(t.Context(), creation(virtualService("shop/web", nil)))
	got := w.log.decisions(t)
	if len(got) != 1 || len(got[0].Findings) != 20 || got[0].FindingCount != 50 {
		t.Fatalf("%d lines, of which the first has %d findings of %d", len(got), len(got[0].Findings), got[0].FindingCount)
	}
	if length := len(w.log.lines[0]); length > 64<<10 {
		t.Errorf("the line has %d bytes", length)
	}
}

func (l *logLines) decisions(t *testing.T) []decision {
	t.Helper()
	var decisions []decision
	for _, line := range l.lines {
		var d decision
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		decisions = append(decisions, d)
	}
	return decisions
}

func TestMetrics(t *testing.T) {
	public := gateway("infra/public", "*.example.com")
	good := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	bad := virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/gone")
	foreign, odd := creation(good), creation(good)
	foreign.Kind.Kind, odd.Operation = "Anything", "ANYTHING"
	empty := creation(good)
	empty.Object.Raw = nil
	tests := []struct {
		reason                   string
		readErr                  error
		request                  webhook.Request
		kind, operation, outcome string
	}{
		{"allowed", nil, creation(good), "VirtualService", "CREATE", "allowed"},
		{"denied", nil, creation(bad), "VirtualService", "CREATE", "denied"},
		{"warned", nil, replacement(bad, bad), "VirtualService", "UPDATE", "warned"},
		{"a deletion", nil, deletion(public), "Gateway", "DELETE", "allowed"},
		{"not to be judged", nil, replacement(bad, bad.with("deletionTimestamp", "2026-01-01T00:00:00Z")), "VirtualService", "UPDATE", "skipped"},
		{"could not be judged", errors.New("refused"), creation(bad), "VirtualService", "CREATE", "error"},
		{"could not be read", nil, empty, "VirtualService", "CREATE", "error"},
		{"the kinds that a stranger can think of make no series", nil, foreign, "other", "CREATE", "skipped"},
		{"nor do the operations", nil, odd, "VirtualService", "other", "skipped"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, public)
			w.cluster.readErr = tc.readErr
			w.Handle(t.Context(), tc.request)
			if got := w.metric(t, "meshwarden_admission_requests_total", tc.kind, tc.operation, tc.outcome); got != 1 {
				t.Errorf("requests counted: %v", got)
			}
			if got := w.metric(t, "meshwarden_admission_duration_seconds", tc.kind); got != 1 {
				t.Errorf("durations observed: %v", got)
			}
			denied, warned := w.metric(t, "meshwarden_decisions_total", "deny", "MW101"), w.metric(t, "meshwarden_decisions_total", "warn", "MW101")
			if (denied == 1) != (tc.outcome == "denied") || (warned == 1) != (tc.outcome == "warned") {
				t.Errorf("findings counted: %v denied, %v warned", denied, warned)
			}
		})
	}
}

// TestMetricsAreRegisteredOnce: a second registration is an error that the caller sees, not a panic.
func TestMetricsAreRegisteredOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	if _, err := admission.NewMetrics(r); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.NewMetrics(r); err == nil {
		t.Error("registered twice")
	}
}

// TestExpect: the model's lag is measured by what reaches storage, so only such a generation may be announced.
func TestExpect(t *testing.T) {
	good := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	bad := virtualService("shop/web", []string{"a.example.com"}, "infra/gone")
	tests := []struct {
		reason  string
		request webhook.Request
		want    []string
	}{
		{"a creation", creation(good), []string{"VirtualService shop/web@1"}},
		{"an update of the spec", replacement(good, good.with("generation", 2)), []string{"VirtualService shop/web@2"}},
		{"a creation of which something is to be said", creation(gateway("infra/odd").with("generation", 1)), []string{"Gateway infra/odd@1"}},
		{"an update with a warning", replacement(bad, bad.with("generation", 5)), []string{"VirtualService shop/web@5"}},
		{"an update of the metadata alone: the model may never see a difference", replacement(good, good.annotated("team", "shop")), nil},
		{"a dry run", dryRun(creation(good)), nil},
		{"a denial", creation(bad), nil},
		{"a deletion", deletion(gateway("infra/public")), nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t)
			w.cache(t, gateway("infra/public", "*.example.com"))
			w.store(t, gateway("infra/public", "*.example.com"))
			w.Handle(t.Context(), tc.request)
			if diff := cmp.Diff(tc.want, w.cluster.expected); diff != "" {
				t.Errorf("expected (-want +got):\n%s", diff)
			}
		})
	}
}
