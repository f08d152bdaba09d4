package operator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// The labels by which istioctl and the operator of Istio 1.23 mark what they install (operator/pkg/manifest/name.go in istio.io/istio).
const (
	labelOwner          = "install.operator.istio.io/owning-resource"
	labelOwnerNamespace = "install.operator.istio.io/owning-resource-namespace"
	labelNotPruned      = "install.operator.istio.io/owning-resource-not-pruned"
	labelManaged        = "operator.istio.io/managed"
	labelComponent      = "operator.istio.io/component"
	labelVersion        = "operator.istio.io/version"
	labelRevision       = "istio.io/rev"
)

// ownerOf returns the IstioOperator that an object is marked as belonging to; an empty one if it is not marked. What the charts render for
// nobody, as for Helm, says just that in the label.
func ownerOf(o *unstructured.Unstructured) types.NamespacedName {
	labels := o.GetLabels()
	if labels[labelOwner] == "unknown" && labels[labelOwnerNamespace] == "" {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: labels[labelOwnerNamespace], Name: labels[labelOwner]}
}

// installed says whether an object is the operator's own work. Controllers copy labels to what they make of such an object: EndpointSlices of a Service.
func installed(o *unstructured.Unstructured) bool {
	return ownerOf(o).Name != "" && metav1.GetControllerOf(o) == nil
}

// ownerLabels are on all that an IstioOperator owns.
func ownerLabels(owner types.NamespacedName) map[string]string {
	return map[string]string{labelOwner: owner.Name, labelOwnerNamespace: owner.Namespace}
}

// mark is what the labels of an object say.
type mark struct {
	owner     types.NamespacedName
	component string
	revision  string
	version   string // of this program
}

// marked returns a copy of a rendered object with the labels: what is applied.
func (m mark) marked(rendered *unstructured.Unstructured) *unstructured.Unstructured {
	o := rendered.DeepCopy()
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelOwner], labels[labelOwnerNamespace] = m.owner.Name, m.owner.Namespace
	labels[labelManaged], labels[labelComponent] = "Reconcile", m.component
	labels[labelRevision], labels[labelVersion] = m.revision, m.version
	o.SetLabels(labels)
	return o
}

// claim is what one living IstioOperator wants to be in the cluster.
type claim struct {
	owner   types.NamespacedName
	created time.Time
	// objects are what it renders, each with the digest of its content. Where the spec is invalid, they are what the cluster has of it, with the digest
	// unknown: it keeps what it has.
	objects map[object.ObjMetadata]string
}

// unknown is the digest of an object that only the cluster knows of.
const unknown = ""

// share says to whom an object belongs, and what the owner renders.
type share struct {
	owner  types.NamespacedName
	digest string
}

// assign gives each object to the oldest of those that want it, so that nobody fights over what they share: the CRDs, above all. The order does not
// depend on that of the claims.
func assign(claims []claim) map[object.ObjMetadata]share {
	byAge := slices.SortedFunc(slices.Values(claims), func(a, b claim) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.owner.Namespace, b.owner.Namespace), cmp.Compare(a.owner.Name, b.owner.Name))
	})
	shares := map[object.ObjMetadata]share{}
	for _, c := range byAge {
		for id, digest := range c.objects {
			if _, taken := shares[id]; !taken {
				shares[id] = share{owner: c.owner, digest: digest}
			}
		}
	}
	return shares
}

// disputed says why a component cannot be installed: an object of it belongs to another IstioOperator, which renders it differently, or to one that
// this operator does not watch. It returns nothing where there is no such object.
func disputed(c render.Component, owner types.NamespacedName, shares map[object.ObjMetadata]share, stored objects, watched []string) string {
	var faults []string
	for _, o := range c.Objects {
		id := object.UnstructuredToObjMetadata(o)
		s := shares[id]
		if s.owner != owner {
			if s.digest != unknown && s.digest != digest(o.Object) {
				faults = append(faults, fmt.Sprintf("%s belongs to the older IstioOperator %s, which describes it differently: give one of them another revision or name, or disable the component", title(o), s.owner))
			}
			continue
		}
		if now := stored[id]; now != nil {
			if foreign := ownerOf(now); foreign.Name != "" && !slices.Contains(watched, foreign.Namespace) {
				faults = append(faults, fmt.Sprintf("%s belongs to IstioOperator %s in a namespace that this operator does not watch: watch it too, or remove the object's label %s if that IstioOperator is gone", title(o), foreign, labelOwner))
			}
		}
	}
	return strings.Join(faults, "\n")
}

// stale returns what an IstioOperator owns and does not want any more. That waits until what came in its place works: the rest of its component has to be
// healthy, and where there is nothing left of the component, all others. CRDs stay, because the users' objects would go with them, and so does what
// another IstioOperator is about to take over.
func stale(owner types.NamespacedName, components map[string]componentState, shares map[object.ObjMetadata]share, stored objects) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	allHealthy := outcome{components: components}.phase() == healthy
	for id, o := range stored {
		if ownerOf(o) != owner || isCRD(o) || o.GetDeletionTimestamp() != nil || o.GetLabels()[labelNotPruned] == "true" {
			continue
		}
		if _, wanted := shares[id]; wanted {
			continue
		}
		if c, rendered := components[o.GetLabels()[labelComponent]]; rendered && c.phase != healthy || !rendered && !allHealthy {
			continue
		}
		found = append(found, o)
	}
	return found
}

// inherited says whether an object is left of an IstioOperator that does not exist any more and shared it with the one that renders these: the latter
// would have taken it over with its next pass, but is being deleted itself. What nobody rendered may be somebody else's: istioctl sets the same labels.
func inherited(o *unstructured.Unstructured, rendered map[object.ObjMetadata]string, existing []types.NamespacedName, watched []string) bool {
	_, wanted := rendered[object.UnstructuredToObjMetadata(o)]
	return wanted && slices.Contains(watched, ownerOf(o).Namespace) && !slices.Contains(existing, ownerOf(o))
}

// objects are objects of the cluster by what names them.
type objects map[object.ObjMetadata]*unstructured.Unstructured

// title names an object as messages do.
func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// LabelValue returns a text with what a label's value cannot have replaced, and no longer than it can be.
func LabelValue(text string) string {
	allowed := strings.Map(func(c rune) rune {
		if c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '-'
	}, text)
	return strings.Trim(allowed[:min(len(allowed), validation.LabelValueMaxLength)], "-_.")
}
