package bootstrap

import (
	"context"
	"fmt"

	"istio.io/istio/operator/pkg/manifest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// unwanted returns what the cluster has of the IstioOperator and its rendering has no more, and of how many kinds the user may not
// ask for that.
func (b Bootstrap) unwanted(ctx context.Context, t preflight.Target) ([]*unstructured.Unstructured, int, error) {
	var stored []*unstructured.Unstructured
	unseen := 0
	owned := client.MatchingLabels{
		manifest.OwningResourceName: t.IstioOperator.GetName(), manifest.OwningResourceNamespace: t.IstioOperator.GetNamespace(),
	}
	for _, kind := range operator.Kinds() {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		switch err := b.Cluster.Client.List(ctx, list, owned); {
		case apierrors.IsForbidden(err):
			unseen++
		case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
			// a kind that the cluster does not have
		case err != nil:
			return nil, 0, fmt.Errorf("list what the operator has installed, %s: %w", kind.Kind, err)
		}
		for i := range list.Items {
			stored = append(stored, &list.Items[i])
		}
	}
	return left(stored, t.Rendering), unseen, nil
}

// left returns those of an IstioOperator's stored objects that the operator removes, as the rendering does not have them: no CRDs, no
// copies that controllers make with their labels.
func left(stored []*unstructured.Unstructured, r render.Rendering) []*unstructured.Unstructured {
	rendered := map[string]bool{}
	for _, c := range r.Components {
		for _, o := range c.Objects {
			rendered[title(o)] = true
		}
	}
	var found []*unstructured.Unstructured
	for _, o := range stored {
		kept := o.GetKind() == "CustomResourceDefinition" || metav1.GetControllerOf(o) != nil || o.GetLabels()[manifest.OwningResourceNotPruned] == "true"
		if !kept && !rendered[title(o)] {
			found = append(found, o)
		}
	}
	return found
}

// scaled returns the Deployments whose replicas an autoscaler of the rendering sets, by their titles.
func scaled(r render.Rendering) map[string]bool {
	titles := map[string]bool{}
	for _, c := range r.Components {
		for _, o := range c.Objects {
			target, found, _ := unstructured.NestedStringMap(o.Object, "spec", "scaleTargetRef")
			if found && o.GetKind() == "HorizontalPodAutoscaler" {
				titles[target["kind"]+" "+o.GetNamespace()+"/"+target["name"]] = true
			}
		}
	}
	return titles
}
