package operator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatus(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const then = "2026-05-01T11:00:00Z"
	condition := func(kind, status, reason, message, since string) map[string]any {
		return map[string]any{
			"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": int64(2), "lastTransitionTime": since,
		}
	}
	const fine = "every component is as described and available"
	running := map[string]any{
		"status": "HEALTHY", "observedGeneration": int64(1), "revision": "default", "version": "1.31.0",
		"componentStatus": map[string]any{"Pilot": map[string]any{"status": "HEALTHY"}},
		"conditions":      []any{map[string]any{"type": "Ready", "status": "True", "reason": "Healthy", "message": fine, "observedGeneration": int64(1), "lastTransitionTime": then}},
	}
	for name, tc := range map[string]struct {
		reason  string
		outcome outcome
		present map[string]any
		want    map[string]any
	}{
		"First": {
			reason: "At first, everything is waited for; the version is none yet.",
			outcome: outcome{generation: 2, revision: "default", version: "1.31.1", components: map[string]componentState{
				"Base": {phase: healthy}, "Pilot": {phase: reconciling, message: "0 of 1 replicas available"}, "IngressGateways": {phase: reconciling, message: "waits for Pilot"},
			}},
			want: map[string]any{
				"status": "RECONCILING", "observedGeneration": int64(2), "revision": "default",
				"message": "IngressGateways: waits for Pilot\nPilot: 0 of 1 replicas available",
				"componentStatus": map[string]any{
					"Base":            map[string]any{"status": "HEALTHY"},
					"Pilot":           map[string]any{"status": "RECONCILING", "message": "0 of 1 replicas available"},
					"IngressGateways": map[string]any{"status": "RECONCILING", "message": "waits for Pilot"},
				},
				"conditions": []any{
					condition("Ready", "False", "Progressing", "IngressGateways: waits for Pilot\nPilot: 0 of 1 replicas available", "2026-05-01T12:00:00Z"),
					condition("Reconciling", "True", "Progressing", "IngressGateways: waits for Pilot\nPilot: 0 of 1 replicas available", "2026-05-01T12:00:00Z"),
				},
			},
		},
		"Upgraded": {
			reason:  "The version is written when all of it is rolled out. Ready has been true all the time.",
			outcome: outcome{generation: 2, revision: "default", version: "1.31.1", components: map[string]componentState{"Pilot": {phase: healthy}}},
			present: running,
			want: map[string]any{
				"status": "HEALTHY", "observedGeneration": int64(2), "revision": "default", "version": "1.31.1",
				"componentStatus": map[string]any{"Pilot": map[string]any{"status": "HEALTHY"}},
				"conditions":      []any{condition("Ready", "True", "Healthy", fine, then)},
			},
		},
		"Failed": {
			reason: "An error that may pass is tried again: Reconciling, and not Stalled. The worst component decides.",
			outcome: outcome{generation: 2, revision: "default", version: "1.31.1", components: map[string]componentState{
				"Base": {phase: reconciling, message: "a CRD"}, "Pilot": {phase: failed, message: "exceeded quota"},
			}},
			present: running,
			want: map[string]any{
				"status": "ERROR", "observedGeneration": int64(2), "revision": "default", "version": "1.31.0", "message": "Base: a CRD\nPilot: exceeded quota",
				"componentStatus": map[string]any{
					"Base": map[string]any{"status": "RECONCILING", "message": "a CRD"}, "Pilot": map[string]any{"status": "ERROR", "error": "exceeded quota"},
				},
				"conditions": []any{
					condition("Ready", "False", "ComponentFailed", "Base: a CRD\nPilot: exceeded quota", "2026-05-01T12:00:00Z"),
					condition("Reconciling", "True", "ComponentFailed", "Base: a CRD\nPilot: exceeded quota", "2026-05-01T12:00:00Z"),
				},
			},
		},
		"Disputed": {
			reason:  "An error that only a change of some IstioOperator ends is Stalled.",
			outcome: outcome{generation: 2, components: map[string]componentState{"Pilot": {phase: failed, message: "belongs to another", final: true}}},
			want: map[string]any{
				"status": "ERROR", "observedGeneration": int64(2), "message": "Pilot: belongs to another",
				"componentStatus": map[string]any{"Pilot": map[string]any{"status": "ERROR", "error": "belongs to another"}},
				"conditions": []any{
					condition("Ready", "False", "ComponentFailed", "Pilot: belongs to another", "2026-05-01T12:00:00Z"),
					condition("Stalled", "True", "ComponentFailed", "Pilot: belongs to another", "2026-05-01T12:00:00Z"),
				},
			},
		},
		"AnotherBuild": {
			reason:  "Who wrote it is told, so that a new operator writes a status of its own even if nothing else has changed.",
			outcome: outcome{generation: 2, revision: "default", version: "1.31.0", operator: "v0.2.0", components: map[string]componentState{"Pilot": {phase: healthy}}},
			present: running,
			want: map[string]any{
				"status": "HEALTHY", "observedGeneration": int64(2), "revision": "default", "version": "1.31.0", "operatorVersion": "v0.2.0",
				"componentStatus": map[string]any{"Pilot": map[string]any{"status": "HEALTHY"}},
				"conditions":      []any{condition("Ready", "True", "Healthy", fine, then)},
			},
		},
		"Invalid": {
			reason:  "An invalid spec says nothing of the components, which are as they were.",
			outcome: outcome{generation: 2, invalid: "unknown profile"},
			present: running,
			want: map[string]any{
				"status": "ERROR", "observedGeneration": int64(2), "revision": "default", "version": "1.31.0", "message": "unknown profile",
				"componentStatus": map[string]any{"Pilot": map[string]any{"status": "HEALTHY"}},
				"conditions": []any{
					condition("Ready", "False", "InvalidSpec", "unknown profile", "2026-05-01T12:00:00Z"),
					condition("Stalled", "True", "InvalidSpec", "unknown profile", "2026-05-01T12:00:00Z"),
				},
			},
		},
		"Removing": {
			reason:  "A deletion says what it waits for.",
			outcome: outcome{generation: 2, removing: "waits for Service istio-system/istiod"},
			present: running,
			want: map[string]any{
				"status": "RECONCILING", "observedGeneration": int64(2), "revision": "default", "version": "1.31.0", "message": "waits for Service istio-system/istiod",
				"componentStatus": map[string]any{"Pilot": map[string]any{"status": "HEALTHY"}},
				"conditions": []any{
					condition("Ready", "False", "Removing", "waits for Service istio-system/istiod", "2026-05-01T12:00:00Z"),
					condition("Reconciling", "True", "Removing", "waits for Service istio-system/istiod", "2026-05-01T12:00:00Z"),
				},
			},
		},
		"Empty": {
			reason:  "The profile empty has no components, and is healthy. A strange status is replaced.",
			outcome: outcome{generation: 2, revision: "default", components: map[string]componentState{}},
			present: map[string]any{"conditions": []any{"strange", map[string]any{"type": "Stalled", "status": "True"}}, "status": int64(5)},
			want: map[string]any{
				"status": "HEALTHY", "observedGeneration": int64(2), "revision": "default",
				"conditions": []any{condition("Ready", "True", "Healthy", fine, "2026-05-01T12:00:00Z")},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.outcome.status(tc.present, now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Fatalf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			again, err := tc.outcome.status(got, now.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("the same outcome an hour later gives another status, which would be written again and again\n-first +second:\n%s", diff)
			}
		})
	}
}

func TestNews(t *testing.T) {
	running := map[string]any{"status": "HEALTHY", "version": "1.31.0"}
	pilot := func(c componentState) map[string]componentState { return map[string]componentState{"Pilot": c} }
	for name, tc := range map[string]struct {
		reason  string
		outcome outcome
		present map[string]any
		want    []news
	}{
		"First":      {"The first time that all is healthy is news; no upgrade.", outcome{version: "1.31.1", components: pilot(componentState{phase: healthy})}, nil, []news{{reasonHealthy, "Every component is as described and available."}}},
		"Still":      {"That it still is, is none.", outcome{version: "1.31.0", components: pilot(componentState{phase: healthy})}, running, nil},
		"Upgraded":   {"Another version that is rolled out is an upgrade, or the opposite.", outcome{version: "1.31.1", components: pilot(componentState{phase: healthy})}, running, []news{{reasonUpgraded, "From 1.31.0 to 1.31.1."}}},
		"Waits":      {"Waiting is no news: the status tells.", outcome{version: "1.31.1", components: pilot(componentState{phase: reconciling, message: "a pod"})}, running, nil},
		"Failed":     {"A failure is told once, with its component.", outcome{components: pilot(componentState{phase: failed, message: "quota"})}, running, []news{{reasonFailed, "Pilot: quota"}}},
		"FailsStill": {"Not again while it is the same one.", outcome{components: pilot(componentState{phase: failed, message: "quota"})}, map[string]any{"componentStatus": map[string]any{"Pilot": map[string]any{"error": "quota"}}}, nil},
		"Invalid":    {"An invalid spec is told, and that it does no harm.", outcome{invalid: "unknown profile"}, running, []news{{reasonInvalid, "unknown profile\nWhat is installed stays as it is."}}},
		"Unchanged":  {"Once.", outcome{invalid: "unknown profile"}, map[string]any{"status": "ERROR", "message": "unknown profile"}, nil},
		"Doubted":    {"What Istio doubts is told when a generation is first seen.", outcome{generation: 2, operator: "v1", warnings: []string{"deprecated"}, components: pilot(componentState{phase: reconciling})}, map[string]any{"observedGeneration": int64(1), "operatorVersion": "v1"}, []news{{reasonDoubtful, "deprecated"}}},
		"DoubtsStay": {"Not again when the operator restarts.", outcome{generation: 2, operator: "v1", warnings: []string{"deprecated"}, components: pilot(componentState{phase: reconciling})}, map[string]any{"observedGeneration": int64(2), "operatorVersion": "v1"}, nil},
		"NewDoubts":  {"Another version may doubt something else.", outcome{generation: 2, operator: "v2", warnings: []string{"removed"}, components: pilot(componentState{phase: reconciling})}, map[string]any{"observedGeneration": int64(2), "operatorVersion": "v1"}, []news{{reasonDoubtful, "removed"}}},
		"Removing":   {"A deletion is not reported as healthy.", outcome{removing: "waits"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.outcome.news(tc.present), cmp.AllowUnexported(news{})); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAgain(t *testing.T) {
	pilot := func(p phase) map[string]componentState { return map[string]componentState{"Pilot": {phase: p}} }
	for name, tc := range map[string]struct {
		reason  string
		outcome outcome
		want    time.Duration
	}{
		"Healthy":    {"Watches tell of every change.", outcome{components: pilot(healthy)}, 0},
		"Waits":      {"Why a pod does not start is not watched.", outcome{components: pilot(reconciling)}, lookAgain},
		"Fight":      {"A repair that waits is not forgotten.", outcome{components: pilot(healthy), pause: time.Minute}, time.Minute},
		"LongFight":  {"What is waited for is looked at all the same.", outcome{components: pilot(reconciling), pause: time.Minute}, lookAgain},
		"ShortFight": {"The sooner of the two.", outcome{components: pilot(reconciling), pause: time.Second}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.outcome.again(); got != tc.want {
				t.Errorf("%s\ngot %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}
