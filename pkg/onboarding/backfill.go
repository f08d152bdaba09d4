package onboarding

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// backfill writes label and mark into a namespace that admission did not see and
// that the mode takes. Afterwards object is as the API server stored it. It
// returns false when it cannot decide yet, because the time of the installation
// is not known.
func (r *reconciler) backfill(ctx context.Context, object *metav1.PartialObjectMetadata) (decided bool, err error) {
	mode, ns := r.options.Backfill, namespaceValue(object)
	if !mode.Considers(ns, r.options.Excluded) {
		return true, nil
	}
	installed, err := r.options.InstalledAt(ctx)
	if err != nil {
		r.metrics.count(waiting)
		logf.FromContext(ctx).V(1).Info("backfill waits: the time of the installation is not known", "reason", err.Error())
		return false, nil
	}
	if !mode.Takes(ns, r.options.Excluded, installed) {
		return true, nil
	}
	keepPolicies := false
	if ns.OlderThan(installed) {
		if keepPolicies, err = r.hasPolicies(ctx, ns.Name); err != nil {
			return false, err
		}
	}
	add := policy.BackfillAdditions(ns, keepPolicies)
	if err := r.write(ctx, object, add); err != nil {
		return false, err
	}
	r.reportBackfill(ctx, object, add)
	return true, nil
}

// hasPolicies reports whether somebody else's NetworkPolicies are in the
// namespace. Asking for one of them is enough, and happens once for a namespace.
func (r *reconciler) hasPolicies(ctx context.Context, namespace string) (bool, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicyList"})
	others, err := labels.Parse(policy.ManagedByLabel + "!=" + policy.FieldManager)
	if err != nil {
		return false, fmt.Errorf("selecting the network policies of others: %w", err)
	}
	err = r.live.List(ctx, list,
		client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: others}, client.Limit(1))
	if err != nil {
		return false, fmt.Errorf("looking for network policies in namespace %s: %w", namespace, err)
	}
	return len(list.Items) > 0, nil
}

// additionsPatch is the JSON merge patch for policy.Additions. An empty map is
// left out: null would delete all labels, or all annotations.
type additionsPatch struct {
	Metadata struct {
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels,omitempty"`
		Annotations     map[string]string `json:"annotations,omitempty"`
	} `json:"metadata"`
}

// write adds labels and annotations by a patch that holds only on the version
// which was read: a choice that the user makes meanwhile wins.
func (r *reconciler) write(ctx context.Context, object *metav1.PartialObjectMetadata, add policy.Additions) error {
	name := object.Name
	var patch additionsPatch
	patch.Metadata.ResourceVersion = object.ResourceVersion
	patch.Metadata.Labels = add.Labels
	patch.Metadata.Annotations = add.Annotations
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding the patch of namespace %s: %w", name, err)
	}
	err = r.client.Patch(ctx, object, client.RawPatch(types.MergePatchType, body), client.FieldOwner(policy.FieldManager))
	if err != nil {
		return fmt.Errorf("adding onboarding label and mark to namespace %s: %w", name, err)
	}
	return nil
}

// reportBackfill counts and logs what was added, and sends an Event when the
// namespace got no NetworkPolicy for the sake of those it has.
func (r *reconciler) reportBackfill(ctx context.Context, object *metav1.PartialObjectMetadata, add policy.Additions) {
	what := marked
	if len(add.Labels) > 0 {
		what = labelled
	}
	r.metrics.count(what)
	logf.FromContext(ctx).Info("namespace backfilled", "labels", add.Labels, "annotations", add.Annotations)
	if add.Annotations[policy.NetworkPolicyKey] != policy.ValueDisabled {
		return
	}
	r.options.Events.Eventf(object, nil, corev1.EventTypeNormal, "NetworkPolicyDeclined", "Backfill",
		"namespace %s is older than Meshwarden and has network policies, which %s would cancel, so it gets none; "+
			"make sure that they let its pods reach istiod and their peers, or remove the annotation %s to get it",
		object.Name, policy.NetworkPolicyName, policy.NetworkPolicyKey)
}
