package policy

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// NetworkPolicyName is the name of the policy in every namespace under care.
	NetworkPolicyName = "allow-istio-communication"
	// ManagedByLabel with the value FieldManager marks the policy as Meshwarden's.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// FieldManager is the field owner of everything that Meshwarden applies.
	FieldManager = "meshwarden"
)

// DefaultNetworkPolicy returns the default policy of a namespace: every pod may talk to
// every peer, both ways, so that no default deny cuts a sidecar off from istiod
// or from its peers. The result is the caller's to change.
func DefaultNetworkPolicy(namespace string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta: metav1.TypeMeta{
			APIVersion: networkingv1.SchemeGroupVersion.String(),
			Kind:       "NetworkPolicy",
		},
		ObjectMeta: metav1.ObjectMeta{
			Name:      NetworkPolicyName,
			Namespace: namespace,
			Labels:    map[string]string{ManagedByLabel: FieldManager},
		},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress},
		},
	}
}

// NetworkPolicyStep is what has to happen to bring a namespace's policy to the
// state that is wanted.
type NetworkPolicyStep int

const (
	// KeepPolicy says that all is as it should be.
	KeepPolicy NetworkPolicyStep = iota
	// CreatePolicy says that the policy is wanted and absent.
	CreatePolicy
	// RepairPolicy says that Meshwarden's policy is wanted and was changed.
	RepairPolicy
	// RemovePolicy says that Meshwarden's policy is there as it was made, and not wanted any more.
	RemovePolicy
	// ReportForeignPolicy says that the policy is wanted, but somebody else's has its name.
	ReportForeignPolicy
)

// NextNetworkPolicyStep decides what to do about the policy named
// NetworkPolicyName, which is nil when it is absent. It needs the object's
// managedFields. A policy that somebody else made is never changed or removed;
// one that is being deleted is left until it is gone.
func NextNetworkPolicyStep(wanted bool, have *networkingv1.NetworkPolicy) NetworkPolicyStep {
	switch {
	case have == nil && wanted:
		return CreatePolicy
	case have == nil || have.DeletionTimestamp != nil:
		return KeepPolicy
	case !ours(have) && wanted:
		return ReportForeignPolicy
	case !ours(have):
		return KeepPolicy
	case !wanted && !specified(have):
		// Somebody is making it theirs. Their wish to have none of Meshwarden's must not cost them their own.
		return KeepPolicy
	case !wanted:
		return RemovePolicy
	case drifted(have):
		return RepairPolicy
	}
	return KeepPolicy
}

// ours reports whether Meshwarden made the policy: it carries the label, or, if
// somebody removed that, was once applied by Meshwarden's field manager.
func ours(have *networkingv1.NetworkPolicy) bool {
	if have.Labels[ManagedByLabel] == FieldManager {
		return true
	}
	for _, entry := range have.ManagedFields {
		if entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply {
			return true
		}
	}
	return false
}

// drifted reports whether a field that Meshwarden owns differs from the default
// policy. Other labels and annotations are anybody's.
func drifted(have *networkingv1.NetworkPolicy) bool {
	return have.Labels[ManagedByLabel] != FieldManager || !specified(have)
}

// specified reports whether the policy's spec is the default one.
func specified(have *networkingv1.NetworkPolicy) bool {
	return equality.Semantic.DeepEqual(have.Spec, DefaultNetworkPolicy(have.Namespace).Spec)
}
