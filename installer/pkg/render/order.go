package render

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// compare orders the objects of a component as they are printed: each after those it needs, so that they can be applied from top to
// bottom. The operator's apply has an order of its own, which github.com/fluxcd/pkg/ssa gives it.
func compare(a, b *unstructured.Unstructured) int {
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.GroupVersionKind().GroupKind().String(), b.GroupVersionKind().GroupKind().String()),
		cmp.Compare(a.GetNamespace(), b.GetNamespace()),
		cmp.Compare(a.GetName(), b.GetName()),
	)
}

// rank returns the place of an object's kind. Services come last, as istioctl prints them: applied in this order, none sends a webhook's
// requests to pods that are not there.
func rank(o *unstructured.Unstructured) int {
	first := []string{
		"CustomResourceDefinition.apiextensions.k8s.io",
		"ServiceAccount",
		"ClusterRole.rbac.authorization.k8s.io",
		"Role.rbac.authorization.k8s.io",
		"ClusterRoleBinding.rbac.authorization.k8s.io",
		"RoleBinding.rbac.authorization.k8s.io",
		// A left-over one may fail closed and keep its own repair away; as rendered it fails open.
		"ValidatingWebhookConfiguration.admissionregistration.k8s.io",
		"ConfigMap",
		"Secret",
		"ResourceQuota",
	}
	last := []string{"DaemonSet.apps", "Deployment.apps", "HorizontalPodAutoscaler.autoscaling", "Service"}

	kind := o.GroupVersionKind().GroupKind().String()
	if i := slices.Index(first, kind); i >= 0 {
		return i
	}
	return len(first) + 1 + slices.Index(last, kind)
}
