package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// remove deletes what an IstioOperator owns, except what others want too, which take it over, and the CRDs of which there are objects. When all that is
// gone, so is the finalizer.
func (r *Reconciler) remove(ctx context.Context, o *unstructured.Unstructured, s survey) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(o, Finalizer) {
		return reconcile.Result{}, nil
	}
	result := outcome{generation: o.GetGeneration()}
	if len(s.undecided) > 0 {
		result.removing = fmt.Sprintf("cannot tell what to remove: what IstioOperator %s shares with this one is unknown while its spec is invalid; correct or delete it", s.undecided[0])
		return reconcile.Result{}, r.report(ctx, o, result)
	}
	owned, err := r.owned(ctx, o, s)
	if err != nil {
		return reconcile.Result{}, err
	}
	owned = slices.DeleteFunc(owned, func(u *unstructured.Unstructured) bool {
		_, wanted := s.shares[object.UnstructuredToObjMetadata(u)]
		return wanted
	})
	kept, owned, err := r.spare(ctx, owned)
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(owned) > 0 {
		next := removalOrder(owned)[0] // the others wait until these are gone, with their pods
		result.removing = "waits until these are gone: " + list(next)
		err := r.delete(ctx, next, metav1.DeletePropagationForeground)
		return reconcile.Result{RequeueAfter: lookAgain}, errors.Join(err, r.report(ctx, o, result))
	}
	if len(kept) > 0 {
		r.tell(ctx, o, news{reasonCRDKept, "These still have objects, which would be deleted with them, and stay: " + list(kept) + "."})
	}
	before := o.DeepCopy()
	controllerutil.RemoveFinalizer(o, Finalizer)
	if err := r.client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(FieldManager)); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("remove the finalizer: %w", err))
	}
	return reconcile.Result{}, nil
}

// owned lists what is marked as the IstioOperator's, and what it inherits, from the API server itself: a cache may not have the last of it yet.
func (r *Reconciler) owned(ctx context.Context, o *unstructured.Unstructured, s survey) ([]*unstructured.Unstructured, error) {
	var owned []*unstructured.Unstructured
	for _, kind := range Kinds() {
		l := listOf(kind)
		err := r.client.List(ctx, l, client.HasLabels{labelOwner})
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue // the cluster does not have this kind
		}
		if err != nil {
			return nil, fmt.Errorf("list what is to be removed: %w", err)
		}
		for i := range l.Items {
			u := &l.Items[i]
			if installed(u) && (ownerOf(u) == client.ObjectKeyFromObject(o) || inherited(u, s.own.digests, s.existing, r.options.Namespaces)) {
				owned = append(owned, u)
			}
		}
	}
	return owned, nil
}

// spare separates the CRDs that have objects from what can go.
func (r *Reconciler) spare(ctx context.Context, owned []*unstructured.Unstructured) (kept, unwanted []*unstructured.Unstructured, err error) {
	for _, o := range owned {
		used := false
		if isCRD(o) && o.GetDeletionTimestamp() == nil {
			if used, err = r.hasObjects(ctx, o); err != nil {
				return nil, nil, err
			}
		}
		if used {
			kept = append(kept, o)
		} else {
			unwanted = append(unwanted, o)
		}
	}
	return kept, unwanted, nil
}

// hasObjects says whether there is any object of a CRD.
func (r *Reconciler) hasObjects(ctx context.Context, crd *unstructured.Unstructured) (bool, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		fields, _ := v.(map[string]any)
		name, _ := fields["name"].(string)
		if served, _ := fields["served"].(bool); !served {
			continue
		}
		// Every version shows every object.
		l := listOf(schema.GroupVersionKind{Group: group, Version: name, Kind: kind})
		err := r.client.List(ctx, l, client.Limit(1))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return false, nil // not served any more: it has been deleted in the meantime
		}
		if err != nil {
			return false, fmt.Errorf("look for objects of %s: %w", title(crd), err)
		}
		return len(l.Items) > 0, nil
	}
	return true, nil // no version is served, so nobody can tell
}

// removalOrder groups objects by component, in the opposite of the order of installing: nothing loses what it runs on. Webhooks go with
// istiod, which answers for them, at the latest, and the CRDs come last.
func removalOrder(owned []*unstructured.Unstructured) [][]*unstructured.Unstructured {
	order := []string{"EgressGateways", "IngressGateways", "Ztunnel", "Pilot", "Cni", "Base"}
	groups := make([][]*unstructured.Unstructured, len(order)+1)
	for _, o := range owned {
		i := slices.Index(order, o.GetLabels()[labelComponent])
		if i < 0 {
			i = 0 // without a known component, nothing depends on it
		}
		if o.GroupVersionKind().Group == "admissionregistration.k8s.io" {
			i = min(i, slices.Index(order, "Pilot"))
		}
		if isCRD(o) {
			i = len(order)
		}
		groups[i] = append(groups[i], o)
	}
	return slices.DeleteFunc(groups, func(g []*unstructured.Unstructured) bool { return len(g) == 0 })
}
