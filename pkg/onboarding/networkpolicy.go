package onboarding

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// reconcilePolicy brings the namespace's NetworkPolicy to the wanted state. It
// reads from the cache; only before it would create the policy it asks the API
// server, because the cache may not hold yet what this controller, another
// replica or a user made a moment ago.
func (r *reconciler) reconcilePolicy(ctx context.Context, namespace string, wanted bool) error {
	have, err := readPolicy(ctx, r.client, namespace)
	if err != nil {
		return err
	}
	if have == nil && wanted {
		if have, err = readPolicy(ctx, r.live, namespace); err != nil {
			return err
		}
	}
	step := policy.NextNetworkPolicyStep(wanted, have)
	if step == policy.ReportForeignPolicy {
		r.reportForeign(ctx, have)
		return nil
	}
	r.reported.Delete(namespace)
	switch step {
	case policy.CreatePolicy:
		return r.createPolicy(ctx, namespace)
	case policy.RepairPolicy:
		return r.repairPolicy(ctx, have)
	case policy.RemovePolicy:
		return r.removePolicy(ctx, have)
	}
	return nil
}

// readPolicy returns the namespace's policy of Meshwarden's name, nil if there
// is none.
func readPolicy(ctx context.Context, from client.Reader, namespace string) (*networkingv1.NetworkPolicy, error) {
	have := &networkingv1.NetworkPolicy{}
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: policy.NetworkPolicyName}, have)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading network policy %s/%s: %w", namespace, policy.NetworkPolicyName, err)
	}
	return have, nil
}

// absentVersion is a resourceVersion that no stored object has: etcd gives its
// first revision, 1, to the empty store. The API server ignores the version of an
// apply that creates the object and refuses, as a conflict, one that would change
// an object of another version: so an apply with it creates or does nothing.
const absentVersion = "1"

// createPolicy applies the policy, provided that it is still absent. Without
// force alone, Meshwarden would add its fields to those that somebody else's
// policy leaves empty, should that come in between: a policy that forbids all
// egress has no field "egress", and would become one that allows all.
//
// It is an apply rather than a create because RBAC can narrow an apply to one
// name, and because the field manager is what tells a policy of Meshwarden's
// after somebody removed its label.
func (r *reconciler) createPolicy(ctx context.Context, namespace string) error {
	want := policy.DefaultNetworkPolicy(namespace)
	want.ResourceVersion = absentVersion
	if err := r.apply(ctx, want); err != nil {
		return fmt.Errorf("creating network policy %s/%s: %w", namespace, policy.NetworkPolicyName, err)
	}
	r.metrics.count(policyCreated)
	logf.FromContext(ctx).Info("network policy created")
	return nil
}

// repairPolicy takes back the fields that somebody changed. The version makes
// sure that it is this policy which is overwritten, not one that somebody else
// put in its place meanwhile.
func (r *reconciler) repairPolicy(ctx context.Context, have *networkingv1.NetworkPolicy) error {
	want := policy.DefaultNetworkPolicy(have.Namespace)
	want.ResourceVersion = have.ResourceVersion
	if err := r.apply(ctx, want, client.ForceOwnership); err != nil {
		return fmt.Errorf("repairing network policy %s/%s: %w", have.Namespace, have.Name, err)
	}
	r.metrics.count(policyRepaired)
	logf.FromContext(ctx).Info("network policy repaired")
	// Whoever changed it may do so again and again, a GitOps tool above all: it should learn how to have its way.
	r.options.Events.Eventf(have, nil, corev1.EventTypeWarning, "NetworkPolicyRepaired", "Onboard",
		"somebody changed this network policy, which Meshwarden keeps as it made it; to have one of your own, annotate "+
			"namespace %s with %s: %s and use that name as you like", have.Namespace, policy.NetworkPolicyKey, policy.ValueDisabled)
	return nil
}

// removePolicy deletes the policy in exactly the version that the decision was
// made on.
func (r *reconciler) removePolicy(ctx context.Context, have *networkingv1.NetworkPolicy) error {
	err := r.client.Delete(ctx, have, client.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion})
	if err != nil {
		return fmt.Errorf("removing network policy %s/%s: %w", have.Namespace, have.Name, err)
	}
	r.metrics.count(policyRemoved)
	logf.FromContext(ctx).Info("network policy removed")
	return nil
}

// apply sends the policy by server-side apply. A typed object serves as apply
// configuration here, since none of its zero values is serialised that Meshwarden
// does not mean to own.
func (r *reconciler) apply(ctx context.Context, want *networkingv1.NetworkPolicy, options ...client.ApplyOption) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return fmt.Errorf("encoding it: %w", err)
	}
	configuration := client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: fields})
	return r.client.Apply(ctx, configuration, append(options, client.FieldOwner(policy.FieldManager))...)
}

// reportForeign counts somebody else's policy and sends an Event about it, once
// for each policy.
func (r *reconciler) reportForeign(ctx context.Context, have *networkingv1.NetworkPolicy) {
	if before, known := r.reported.Swap(have.Namespace, have.UID); known && before == have.UID {
		return
	}
	r.metrics.count(foreignPolicy)
	logf.FromContext(ctx).Info("network policy is somebody else's and stays as it is", "uid", have.UID)
	r.options.Events.Eventf(have, nil, corev1.EventTypeWarning, "ForeignNetworkPolicy", "Onboard",
		"namespace %s needs a network policy of this name from Meshwarden, but this one was made by somebody else and "+
			"stays as it is; delete it to get Meshwarden's, or annotate the namespace with %s=%s to keep it",
		have.Namespace, policy.NetworkPolicyKey, policy.ValueDisabled)
}
