package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/operator/pkg/manifest"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// installer is what somebody installs Istio with.
type installer int

const (
	nobody installer = iota // who left a trace
	helm
	sailOperator
	istioctl // or an IstioOperator that is gone: both leave the same labels
	anotherOperator
	gitOps
)

// owner is who installed an object.
type owner struct {
	by installer
	// id is the Helm release, or the IstioOperator.
	id           types.NamespacedName
	tool, remedy string
	// unpruned is the annotation that has a gitOps tool leave an object when it is taken out of there.
	unpruned string
}

// The annotations by which Helm knows the objects of its releases, and its word to a chart for what it must not delete.
const (
	releaseName      = "meta.helm.sh/release-name"
	releaseNamespace = "meta.helm.sh/release-namespace"
	resourcePolicy   = "helm.sh/resource-policy"
	keep             = "keep"
)

// helmReleaseName is the label by which Flux's helm-controller knows what it has installed. The release bears Helm's own marks besides.
const helmReleaseName = "helm.toolkit.fluxcd.io/name"

// ownerOf says by what it bears who installed an object, and whether that is somebody else.
func ownerOf(t Target, s snapshot, o *unstructured.Unstructured) (owner, bool) {
	for _, reference := range o.GetOwnerReferences() {
		if strings.HasPrefix(reference.APIVersion, "sailoperator.io/") {
			return owner{
				by: sailOperator, tool: "Sail (" + reference.Kind + " " + reference.Name + ")", remedy: "delete the Istio object that Sail installed it for",
			}, true
		}
	}
	annotations, labels := o.GetAnnotations(), o.GetLabels()
	// The label alone says nothing: Istio's charts bear it whoever renders them.
	applied := appliedBy(o)
	if release := annotations[releaseName]; release != "" {
		id := types.NamespacedName{Namespace: annotations[releaseNamespace], Name: release}
		if labels[helmReleaseName] != "" {
			return owner{by: helm, id: id, tool: applied.tool, remedy: applied.remedy}, true
		}
		return cmp.Or(applied, owner{
			by: helm, id: id, tool: fmt.Sprintf("Helm (release %s)", id), remedy: fmt.Sprintf("helm uninstall -n %s %s", id.Namespace, id.Name),
		}), true
	}
	name, namespace := labels[manifest.OwningResourceName], labels[manifest.OwningResourceNamespace]
	if name == "" || name == "unknown" && namespace == "" { // the charts' word for: not from an IstioOperator
		return cmp.Or(applied, owner{by: nobody, tool: "somebody who left no trace", remedy: "remove it the way it was installed"}), true
	}
	id := types.NamespacedName{Namespace: namespace, Name: name}
	lives := func(id types.NamespacedName) bool {
		return slices.ContainsFunc(s.istioOperators, func(o *unstructured.Unstructured) bool { return key(o) == id })
	}
	living, watched := lives(id), slices.Contains(t.Watched, namespace)
	switch {
	case id == key(t.IstioOperator), living && watched:
		return owner{}, false
	case watched && lives(key(t.IstioOperator)):
		return owner{}, false // of one that was there a moment ago: the operator is taking it over
	case living:
		return owner{
			by: anotherOperator, id: id, tool: fmt.Sprintf("IstioOperator %s", id),
			remedy: fmt.Sprintf("add %s to namespaces.watched, or delete that IstioOperator", namespace),
		}, true
	default:
		return cmp.Or(applied, owner{
			by: istioctl, id: id, tool: fmt.Sprintf("istioctl (%s)", id),
			remedy: fmt.Sprintf("to take it over, begin namespaces.watched with %s and set istio_spec.name to %s; or remove it: istioctl uninstall --purge", namespace, name),
		}), true
	}
}

// appliedBy says which tool applies an object from a repository, over and over, by the marks that Flux and Argo CD set; nothing where there are none.
func appliedBy(o *unstructured.Unstructured) owner {
	annotations, labels := o.GetAnnotations(), o.GetLabels()
	application, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":")
	application = cmp.Or(application, labels["argocd.argoproj.io/instance"])
	switch {
	case labels[helmReleaseName] != "":
		id := types.NamespacedName{Namespace: labels["helm.toolkit.fluxcd.io/namespace"], Name: labels[helmReleaseName]}
		return owner{
			by: gitOps, tool: fmt.Sprintf("Flux (HelmRelease %s)", id), unpruned: resourcePolicy + ": " + keep,
			remedy: fmt.Sprintf("remove the HelmRelease %s from what Flux applies: what is deleted by hand comes back", id),
		}
	case labels["kustomize.toolkit.fluxcd.io/name"] != "":
		id := types.NamespacedName{Namespace: labels["kustomize.toolkit.fluxcd.io/namespace"], Name: labels["kustomize.toolkit.fluxcd.io/name"]}
		return owner{
			by: gitOps, tool: fmt.Sprintf("Flux (Kustomization %s)", id), unpruned: "kustomize.toolkit.fluxcd.io/prune: disabled",
			remedy: fmt.Sprintf("take that out of the Kustomization %s: what is deleted by hand comes back", id),
		}
	case application != "":
		return owner{
			by: gitOps, tool: fmt.Sprintf("Argo CD (application %s)", application), unpruned: "argocd.argoproj.io/sync-options: Prune=false",
			remedy: fmt.Sprintf("take that out of the application %s: what is deleted by hand comes back", application),
		}
	default:
		return owner{}
	}
}

// holding is what one owner has of the target's objects.
type holding struct {
	owner owner
	// decisive are those without which there is no Istio: workloads and webhook configurations.
	decisive, others, crds []*unstructured.Unstructured
}

// holdings returns what others have, in the order in which it was read. The bootstrap's own objects are among it if they bear a mark of an
// installation: Istio's old operator leaves some behind that bear none, and who applies from a repository may have put its own on all there is.
func holdings(t Target, s snapshot) []*holding {
	var all []*holding
	for _, o := range s.existing {
		by, other := ownerOf(t, s, o)
		own := slices.ContainsFunc(t.Objects(), func(p *unstructured.Unstructured) bool { return title(p) == title(o) })
		if !other || own && (by.by == nobody || by.by == gitOps) {
			continue
		}
		at := slices.IndexFunc(all, func(h *holding) bool { return h.owner == by })
		if at < 0 {
			at, all = len(all), append(all, &holding{owner: by})
		}
		switch h := all[at]; {
		case o.GetKind() == "CustomResourceDefinition":
			h.crds = append(h.crds, o)
		case isWebhookConfiguration(o), o.GroupVersionKind().Group == "apps":
			h.decisive = append(h.decisive, o)
		default:
			h.others = append(h.others, o)
		}
	}
	return all
}

// definitions returns the CRDs that go when a Helm release is uninstalled, and those that it keeps: all of Istio's own chart.
func (h *holding) definitions() (doomed, kept []*unstructured.Unstructured) {
	for _, o := range h.crds {
		if o.GetAnnotations()[resourcePolicy] == keep {
			kept = append(kept, o)
		} else {
			doomed = append(doomed, o)
		}
	}
	return doomed, kept
}

// isWebhookConfiguration says whether an object has webhooks. All of these in the cluster are looked at.
func isWebhookConfiguration(o *unstructured.Unstructured) bool {
	return o.GroupVersionKind().Group == "admissionregistration.k8s.io" && strings.HasSuffix(o.GetKind(), "WebhookConfiguration")
}
