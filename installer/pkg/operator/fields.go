package operator

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// FieldManager is the name under which the operator applies, the same as istioctl's.
const FieldManager = "istio-operator"

// mayYield says whether objects of a kind have fields that others may take over.
func mayYield(o *unstructured.Unstructured) bool {
	return slices.Contains([]string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Deployment"}, o.GetKind())
}

// yield removes from what is to be applied the fields that somebody else has taken over in the stored object: a webhook's failurePolicy and caBundle,
// which istiod writes, and the replicas of a Deployment that an autoscaler scales. The API server keeps the book: an applier loses a field when another
// writer changes it. To apply it again would only start a fight; a field that is not applied and belongs to another stays as it is.
func yield(desired, stored *unstructured.Unstructured, scaled bool) error {
	fields, err := takenOver(stored)
	if err != nil {
		return fmt.Errorf("read who wrote %s: %w", title(stored), err)
	}
	if scaled && fields.Has(fieldpath.MakePathOrDie("spec", "replicas")) {
		unstructured.RemoveNestedField(desired.Object, "spec", "replicas")
	}
	webhooks, _ := desired.Object["webhooks"].([]any)
	for _, w := range webhooks {
		webhook, ok := w.(map[string]any)
		if !ok {
			continue
		}
		key := fieldpath.KeyByFields("name", webhook["name"])
		if fields.Has(fieldpath.MakePathOrDie("webhooks", key, "failurePolicy")) {
			unstructured.RemoveNestedField(webhook, "failurePolicy")
		}
		if fields.Has(fieldpath.MakePathOrDie("webhooks", key, "clientConfig", "caBundle")) {
			unstructured.RemoveNestedField(webhook, "clientConfig", "caBundle")
		}
	}
	return nil
}

// takenOver returns the fields of a stored object that others have written and the operator has not.
func takenOver(stored *unstructured.Unstructured) (*fieldpath.Set, error) {
	own, others := fieldpath.NewSet(), fieldpath.NewSet()
	for _, entry := range stored.GetManagedFields() {
		if entry.FieldsV1 == nil {
			continue
		}
		fields := fieldpath.NewSet()
		if err := fields.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return nil, err
		}
		if entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply {
			own = own.Union(fields)
		} else {
			others = others.Union(fields)
		}
	}
	return others.Difference(own), nil
}

// scaled returns the names of the Deployments that an autoscaler of the rendering scales, with their namespaces.
func scaled(rendered []*unstructured.Unstructured) map[string]bool {
	names := map[string]bool{}
	for _, o := range rendered {
		if kind, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "kind"); o.GetKind() != "HorizontalPodAutoscaler" || kind != "Deployment" {
			continue
		}
		name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name")
		names[o.GetNamespace()+"/"+name] = true
	}
	return names
}
