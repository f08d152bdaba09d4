package operator

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// written returns an entry of managedFields.
func written(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
}

func webhookConfiguration(webhook map[string]any) *unstructured.Unstructured {
	webhook["name"] = "rev.validation.istio.io"
	return &unstructured.Unstructured{Object: map[string]any{"kind": "ValidatingWebhookConfiguration", "webhooks": []any{webhook}}}
}

func deployment(spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"kind": "Deployment", "spec": spec}}
}

func TestYield(t *testing.T) {
	const (
		policy  = `{"f:webhooks":{"k:{\"name\":\"rev.validation.istio.io\"}":{"f:failurePolicy":{}}}}`
		bundle  = `{"f:webhooks":{"k:{\"name\":\"rev.validation.istio.io\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`
		another = `{"f:webhooks":{"k:{\"name\":\"another\"}":{"f:failurePolicy":{}}}}`
		size    = `{"f:spec":{"f:replicas":{}}}`
	)
	full := func() *unstructured.Unstructured {
		return webhookConfiguration(map[string]any{"failurePolicy": "Ignore", "clientConfig": map[string]any{"caBundle": "a", "service": "istiod"}})
	}
	for name, tc := range map[string]struct {
		reason  string
		desired *unstructured.Unstructured
		fields  []metav1.ManagedFieldsEntry
		scaled  bool
		want    *unstructured.Unstructured
	}{
		"Own": {
			reason:  "What nobody else wrote is applied as rendered.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{written(FieldManager, metav1.ManagedFieldsOperationApply, policy)},
			want: full(),
		},
		"FailurePolicyTaken": {
			reason:  "istiod has written failurePolicy, and so taken it away from the operator.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{written("pilot-discovery", metav1.ManagedFieldsOperationUpdate, policy)},
			want: webhookConfiguration(map[string]any{"clientConfig": map[string]any{"caBundle": "a", "service": "istiod"}}),
		},
		"CABundleTaken": {
			reason:  "The same with caBundle; the rest of clientConfig is applied.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{written("pilot-discovery", metav1.ManagedFieldsOperationUpdate, bundle)},
			want: webhookConfiguration(map[string]any{"failurePolicy": "Ignore", "clientConfig": map[string]any{"service": "istiod"}}),
		},
		"Shared": {
			reason:  "A field that both wrote has the operator's value: to leave it out would hand it over.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{
				written("somebody", metav1.ManagedFieldsOperationApply, policy), written(FieldManager, metav1.ManagedFieldsOperationApply, policy),
			},
			want: full(),
		},
		"SameNameAnotherWay": {
			reason:  "An update under the operator's name is not the operator's: it only applies.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{written(FieldManager, metav1.ManagedFieldsOperationUpdate, policy)},
			want: webhookConfiguration(map[string]any{"clientConfig": map[string]any{"caBundle": "a", "service": "istiod"}}),
		},
		"AnotherWebhook": {
			reason:  "Another webhook of the same configuration is none of its business.",
			desired: full(), fields: []metav1.ManagedFieldsEntry{written("pilot-discovery", metav1.ManagedFieldsOperationUpdate, another)},
			want: full(),
		},
		"Autoscaled": {
			reason:  "What an autoscaler of the rendering has scaled keeps its replicas.",
			desired: deployment(map[string]any{"replicas": int64(1)}), fields: []metav1.ManagedFieldsEntry{written("kube-controller-manager", metav1.ManagedFieldsOperationUpdate, size)},
			scaled: true, want: deployment(map[string]any{}),
		},
		"ScaledByHand": {
			reason:  "Without an autoscaler, other replicas are drift.",
			desired: deployment(map[string]any{"replicas": int64(1)}), fields: []metav1.ManagedFieldsEntry{written("kubectl", metav1.ManagedFieldsOperationUpdate, size)},
			want: deployment(map[string]any{"replicas": int64(1)}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			stored := &unstructured.Unstructured{Object: map[string]any{}}
			stored.SetManagedFields(tc.fields)
			if err := yield(tc.desired, stored, tc.scaled); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tc.desired); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestYieldUnreadable(t *testing.T) {
	stored := &unstructured.Unstructured{Object: map[string]any{"kind": "Deployment"}}
	stored.SetManagedFields([]metav1.ManagedFieldsEntry{written("somebody", metav1.ManagedFieldsOperationUpdate, `{"k:no JSON":{}}`)})
	if err := yield(deployment(nil), stored, true); err == nil {
		t.Error("what cannot be read must not be taken for nothing")
	}
}

func TestScaled(t *testing.T) {
	hpa := func(name, kind string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{
			"kind": "HorizontalPodAutoscaler", "spec": map[string]any{"scaleTargetRef": map[string]any{"kind": kind, "name": name}},
		}}
		o.SetNamespace("istio-system")
		return o
	}
	got := scaled([]*unstructured.Unstructured{hpa("istiod", "Deployment"), hpa("other", "StatefulSet"), configMap("istio", "")})
	if diff := cmp.Diff(map[string]bool{"istio-system/istiod": true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
