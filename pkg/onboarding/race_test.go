package onboarding

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Somebody acts between the controller's read and its write. The controller never
// overwrites that, and the visit after it deals with what is there.
func TestRaces(t *testing.T) {
	drifted := policy.DefaultNetworkPolicy("shop")
	drifted.UID, drifted.Spec.Egress = "ours", nil
	left := onboarded()
	left.Labels["istio-injection"] = "disabled"
	replace := func(ctx context.Context, c client.Client) error {
		return errors.Join(c.Delete(ctx, policy.DefaultNetworkPolicy("shop")), c.Create(ctx, foreign("1")))
	}
	tests := []struct {
		reason    string
		objects   []client.Object
		meanwhile func(context.Context, client.Client) error
		counted   map[string]float64 // after two visits
		spec      *networkingv1.NetworkPolicySpec
		labels    map[string]string
	}{
		{
			reason:  "the user chooses while the backfill writes: the choice wins",
			objects: []client.Object{shop(0, nil, nil)},
			meanwhile: func(ctx context.Context, c client.Client) error {
				ns := &corev1.Namespace{}
				err := c.Get(ctx, client.ObjectKey{Name: "shop"}, ns)
				ns.Labels = map[string]string{"istio-injection": "disabled"}
				return errors.Join(err, c.Update(ctx, ns))
			},
			counted: map[string]float64{"conflict": 1, "marked": 1},
			labels:  map[string]string{"istio-injection": "disabled"},
		},
		{
			reason:    "somebody forbids all egress before the creation: no field of it conflicts, and still it stays",
			objects:   []client.Object{onboarded()},
			meanwhile: func(ctx context.Context, c client.Client) error { return c.Create(ctx, foreign("1")) },
			counted:   map[string]float64{"conflict": 1, "foreign_policy": 1},
			spec:      &foreign("1").Spec,
			labels:    map[string]string{"istio-injection": "enabled"},
		},
		{
			reason:    "somebody replaces the policy before the repair",
			objects:   []client.Object{onboarded(), drifted},
			meanwhile: replace,
			counted:   map[string]float64{"conflict": 1, "foreign_policy": 1},
			spec:      &foreign("1").Spec,
			labels:    map[string]string{"istio-injection": "enabled"},
		},
		{
			reason:    "somebody replaces the policy before the removal",
			objects:   []client.Object{left, policy.DefaultNetworkPolicy("shop")},
			meanwhile: replace,
			counted:   map[string]float64{"conflict": 1},
			spec:      &foreign("1").Spec,
			labels:    map[string]string{"istio-injection": "disabled"},
		},
		{
			reason:  "another replica removes the policy first",
			objects: []client.Object{left, policy.DefaultNetworkPolicy("shop")},
			meanwhile: func(ctx context.Context, c client.Client) error {
				return c.Delete(ctx, policy.DefaultNetworkPolicy("shop"))
			},
			counted: map[string]float64{"conflict": 1},
			labels:  map[string]string{"istio-injection": "disabled"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, Options{Backfill: policy.BackfillMissed}, tc.objects...)
			w.meanwhile = tc.meanwhile
			w.mustVisit(t, soon)
			w.mustVisit(t, 0)
			if diff := cmp.Diff(tc.counted, w.counted(t)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.labels, w.namespace(t).Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			var spec *networkingv1.NetworkPolicySpec
			if have := w.stored(t); have != nil {
				spec = &have.Spec
			}
			if diff := cmp.Diff(tc.spec, spec); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	resource := schema.GroupResource{Group: "networking.k8s.io", Resource: "networkpolicies"}
	forbidden := apierrors.NewForbidden(resource, policyName, errors.New("no"))
	terminating := apierrors.NewForbidden(resource, policyName, errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	tests := []struct {
		reason  string
		answer  error
		message string // empty: no error
		pause   time.Duration
		counted map[string]float64
	}{
		{"the namespace has begun to terminate: nothing to do", terminating, "", 0, nil},
		{
			"the namespace is gone, and the cache will tell", apierrors.NewNotFound(corev1.Resource("namespaces"), "shop"), "", soon,
			map[string]float64{"conflict": 1},
		},
		{
			"another replica creates it at the same moment", apierrors.NewAlreadyExists(resource, policyName), "", soon,
			map[string]float64{"conflict": 1},
		},
		{
			"everything else is an error, tried again with growing pauses", forbidden,
			`creating network policy shop/allow-istio-communication: ` + forbidden.Error(), 0,
			map[string]float64{"error": 1},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, Options{Backfill: policy.BackfillNone}, onboarded())
			w.meanwhile = func(context.Context, client.Client) error { return tc.answer }
			result, err := w.visit(t)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if diff := cmp.Diff(tc.message, message); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if result.RequeueAfter != tc.pause {
				t.Errorf("comes back after %s, want %s", result.RequeueAfter, tc.pause)
			}
			if diff := cmp.Diff(tc.counted, w.counted(t), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}
