package onboarding

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// otherPolicy is one more policy of somebody else, under another name.
func otherPolicy() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default-deny"}}
}

func TestBackfill(t *testing.T) {
	label := map[string]string{"istio-injection": "enabled"}
	mark := map[string]string{onboardingKey: "enabled"}
	unknown := func(context.Context) (time.Time, error) {
		return time.Time{}, errors.New("webhook configuration not found")
	}
	tests := []struct {
		reason  string
		options Options
		objects []client.Object
		calls   []string
		counted map[string]float64
		pause   time.Duration
		// The namespace's labels and annotations afterwards.
		labels, annotations map[string]string
		events              int
	}{
		{
			reason:  "missed: label, mark and policy in one go",
			options: Options{Backfill: policy.BackfillMissed},
			objects: []client.Object{shop(0, nil, nil)},
			calls:   []string{"patch namespace", "get policy", "apply policy"},
			counted: map[string]float64{"labelled": 1, "policy_created": 1},
			labels:  label, annotations: mark,
		},
		{
			reason:  "missed, with a choice: the mark alone, and nothing else is lost",
			options: Options{Backfill: policy.BackfillMissed},
			objects: []client.Object{shop(0, map[string]string{"istio-injection": "disabled"}, map[string]string{"a": "b"})},
			calls:   []string{"patch namespace"},
			counted: map[string]float64{"marked": 1},
			labels:  map[string]string{"istio-injection": "disabled"}, annotations: map[string]string{"a": "b", onboardingKey: "enabled"},
		},
		{
			reason:  "missed: older ones stay as they are",
			options: Options{Backfill: policy.BackfillMissed},
			objects: []client.Object{shop(-time.Second, nil, nil)},
		},
		{
			reason:  "missed: a label that its owner removed later stays removed",
			options: Options{Backfill: policy.BackfillMissed},
			objects: []client.Object{shop(0, nil, mark)}, annotations: mark,
		},
		{
			reason:  "all: a younger one's own policies don't keep Meshwarden's away",
			options: Options{Backfill: policy.BackfillAll},
			objects: []client.Object{shop(0, nil, nil), otherPolicy()},
			calls:   []string{"patch namespace", "get policy", "apply policy"},
			counted: map[string]float64{"labelled": 1, "policy_created": 1},
			labels:  label, annotations: mark,
		},
		{
			reason:  "all: older ones, too",
			options: Options{Backfill: policy.BackfillAll},
			objects: []client.Object{shop(-time.Hour, nil, nil)},
			calls:   []string{"list policies", "patch namespace", "get policy", "apply policy"},
			counted: map[string]float64{"labelled": 1, "policy_created": 1},
			labels:  label, annotations: mark,
		},
		{
			reason:  "all: an allow-all would cancel an older one's policies",
			options: Options{Backfill: policy.BackfillAll},
			objects: []client.Object{shop(-time.Hour, nil, nil), otherPolicy()},
			calls:   []string{"list policies", "patch namespace"},
			counted: map[string]float64{"labelled": 1},
			labels:  label, annotations: map[string]string{onboardingKey: "enabled", networkPolicyKey: "disabled"},
			events: 1,
		},
		{
			reason:  "all: Meshwarden's own policy is no reason to give it up",
			options: Options{Backfill: policy.BackfillAll},
			objects: []client.Object{shop(-time.Hour, nil, nil), policy.DefaultNetworkPolicy("shop")},
			calls:   []string{"list policies", "patch namespace"},
			counted: map[string]float64{"labelled": 1},
			labels:  label, annotations: mark,
		},
		{
			reason:  "none",
			options: Options{Backfill: policy.BackfillNone, InstalledAt: unknown},
			objects: []client.Object{shop(0, nil, nil)},
		},
		{
			reason:  "the time of the installation is not known: wait, and let the policy be",
			options: Options{Backfill: policy.BackfillMissed, InstalledAt: unknown},
			objects: []client.Object{shop(0, nil, nil), policy.DefaultNetworkPolicy("shop")},
			counted: map[string]float64{"waiting": 1},
			pause:   later,
		},
		{
			reason:  "marked namespaces get their policy meanwhile",
			options: Options{Backfill: policy.BackfillMissed, InstalledAt: unknown},
			objects: []client.Object{onboarded()},
			calls:   []string{"get policy", "apply policy"},
			counted: map[string]float64{"policy_created": 1},
			labels:  label, annotations: mark,
		},
		{
			reason:  "excluded: nothing is written, whatever is there",
			options: Options{Backfill: policy.BackfillAll, Excluded: policy.NewExclusions("meshwarden", "shop")},
			objects: []client.Object{shop(0, nil, nil), policy.DefaultNetworkPolicy("shop")},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, tc.options, tc.objects...)
			w.mustVisit(t, tc.pause)
			if diff := cmp.Diff(tc.calls, w.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.counted, w.counted(t), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			ns := w.namespace(t)
			if diff := cmp.Diff(tc.labels, ns.Labels, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.annotations, ns.Annotations, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if sent := w.sent(); len(sent) != tc.events {
				t.Errorf("%d events, want %d: %q", len(sent), tc.events, sent)
			}
			// What was done is done: another visit writes nothing.
			w.calls = nil
			w.mustVisit(t, tc.pause)
			if len(w.calls) > 0 {
				t.Errorf("the second visit asks for %v", w.calls)
			}
		})
	}
}

func TestNetworkPolicy(t *testing.T) {
	declined := onboarded()
	declined.Annotations[networkPolicyKey] = "disabled"
	left := onboarded()
	left.Labels["istio-injection"] = "disabled"
	out := onboarded()
	out.Annotations[onboardingKey] = "disabled"
	terminating := onboarded()
	terminating.DeletionTimestamp, terminating.Finalizers = &metav1.Time{Time: installed}, []string{"test/hold"}
	drifted := policy.DefaultNetworkPolicy("shop")
	drifted.Spec.Ingress = nil
	tests := []struct {
		reason  string
		objects []client.Object
		hidden  bool // the cache has no policy yet
		calls   []string
		counted map[string]float64
		policy  *networkingv1.NetworkPolicy // afterwards
	}{
		{"no such namespace", nil, false, nil, nil, nil},
		{"terminating: its policy goes with it", []client.Object{terminating}, false, nil, nil, nil},
		{
			"absent",
			[]client.Object{onboarded()},
			false,
			[]string{"get policy", "apply policy"},
			map[string]float64{"policy_created": 1},
			policy.DefaultNetworkPolicy("shop"),
		},
		{
			"as it should be: not a single request",
			[]client.Object{onboarded(), policy.DefaultNetworkPolicy("shop")},
			false, nil, nil,
			policy.DefaultNetworkPolicy("shop"),
		},
		{
			"made a moment ago, and the cache lags: no second write",
			[]client.Object{onboarded(), policy.DefaultNetworkPolicy("shop")},
			true,
			[]string{"get policy"},
			nil, policy.DefaultNetworkPolicy("shop"),
		},
		{
			"drifted",
			[]client.Object{onboarded(), drifted},
			false,
			[]string{"apply policy"},
			map[string]float64{"policy_repaired": 1},
			policy.DefaultNetworkPolicy("shop"),
		},
		{
			"left the mesh",
			[]client.Object{left, policy.DefaultNetworkPolicy("shop")},
			false,
			[]string{"delete policy"},
			map[string]float64{"policy_removed": 1},
			nil,
		},
		{
			"opted out",
			[]client.Object{out, policy.DefaultNetworkPolicy("shop")},
			false,
			[]string{"delete policy"},
			map[string]float64{"policy_removed": 1},
			nil,
		},
		{
			"declined",
			[]client.Object{declined, policy.DefaultNetworkPolicy("shop")},
			false,
			[]string{"delete policy"},
			map[string]float64{"policy_removed": 1},
			nil,
		},
		{"somebody else's, where none is wanted", []client.Object{declined, foreign("1")}, false, nil, nil, foreign("1")},
		{
			"somebody else's",
			[]client.Object{onboarded(), foreign("1")},
			false, nil,
			map[string]float64{"foreign_policy": 1},
			foreign("1"),
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, Options{Backfill: policy.BackfillNone}, tc.objects...)
			w.hidden = tc.hidden
			w.mustVisit(t, 0)
			if diff := cmp.Diff(tc.calls, w.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.counted, w.counted(t), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			bookkeeping := cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion", "ManagedFields", "UID")
			typeMeta := cmpopts.IgnoreTypes(metav1.TypeMeta{})
			if diff := cmp.Diff(tc.policy, w.stored(t), bookkeeping, typeMeta); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

// A policy that lost its label is told from somebody else's by the field manager.
func TestRepairAfterLabelRemoved(t *testing.T) {
	w := newWorld(t, Options{Backfill: policy.BackfillNone}, onboarded())
	w.mustVisit(t, 0)
	changed := w.stored(t)
	changed.Labels, changed.Spec.Egress = nil, nil
	if err := w.server.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	w.mustVisit(t, 0)
	if diff := cmp.Diff(map[string]float64{"policy_created": 1, "policy_repaired": 1}, w.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if step := policy.NextNetworkPolicyStep(true, w.stored(t)); step != policy.KeepPolicy {
		t.Errorf("the policy is not as it should be: %v", w.stored(t))
	}
}

func TestForeignPolicyIsReportedOnce(t *testing.T) {
	w := newWorld(t, Options{Backfill: policy.BackfillNone}, onboarded(), foreign("1"))
	w.mustVisit(t, 0)
	want := []string{"Warning ForeignNetworkPolicy namespace shop needs a network policy of this name from Meshwarden, " +
		"but this one was made by somebody else and stays as it is; delete it to get Meshwarden's, " +
		"or annotate the namespace with meshwarden.io/network-policy=disabled to keep it"}
	if diff := cmp.Diff(want, w.sent()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.mustVisit(t, 0)
	if sent := w.sent(); len(sent) > 0 {
		t.Errorf("the same policy again: %q", sent)
	}
	if err := errors.Join(w.server.Delete(t.Context(), foreign("1")), w.server.Create(t.Context(), foreign("2"))); err != nil {
		t.Fatal(err)
	}
	w.mustVisit(t, 0)
	if sent := w.sent(); len(sent) != 1 {
		t.Errorf("another policy of that name: %d events", len(sent))
	}
	if diff := cmp.Diff(map[string]float64{"foreign_policy": 2}, w.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
