package preflight

import (
	"fmt"
	"slices"

	"istio.io/istio/istioctl/pkg/install/k8sversion"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
)

// kubernetes holds the cluster to what this version of Istio supports.
func kubernetes(_ Target, s snapshot) []Finding {
	supported, err := k8sversion.CheckKubernetesVersion(s.version)
	if err != nil {
		return []Finding{{Problem: fmt.Sprintf("the version of Kubernetes, %q, cannot be read", s.version.GitVersion)}}
	}
	if supported {
		return nil
	}
	return []Finding{{
		Problem: fmt.Sprintf("Kubernetes %s is too old for this Istio, which needs 1.%d", s.version.GitVersion, k8sversion.MinK8SVersion),
		Remedy:  "upgrade Kubernetes first, or use an older installer",
	}}
}

// terminating names namespaces that are on their way out, where nothing can be created, and an IstioOperator that is.
func terminating(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, o := range t.Namespaces {
		if ns := s.namespaces[o.GetName()]; ns != nil && ns.DeletionTimestamp != nil {
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("namespace %s is being deleted", ns.Name),
				Remedy:  waitForIt,
			})
		}
	}
	for _, o := range s.istioOperators {
		if key(o) == key(t.IstioOperator) && o.GetDeletionTimestamp() != nil {
			remedy := waitForIt
			if !slices.ContainsFunc(s.operators, managed) {
				remedy = "nobody is left to finish that, as the operator is gone. What it installed is taken over by the next run, if you let go of the IstioOperator: " +
					fmt.Sprintf(`kubectl patch istiooperators.install.istio.io -n %s %s --type=merge -p '{"metadata":{"finalizers":null}}'`, o.GetNamespace(), o.GetName())
			}
			findings = append(findings, Finding{Problem: title(o) + " is being deleted", Remedy: remedy})
		}
	}
	return findings
}

// managed says whether an operator's Deployment is ours.
func managed(d appsv1.Deployment) bool {
	return d.Labels[installation.ManagedByLabel] == installation.ManagedBy
}

const waitForIt = "wait until it is gone, and run the command again"

// otherOperators names operators that would work on the same objects: Istio's own, until 1.23, and ours in another namespace.
func otherOperators(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, d := range s.operators {
		ours := managed(d)
		home := slices.ContainsFunc(t.Operator, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == "Deployment" && o.GetNamespace() == d.Namespace
		})
		remove := fmt.Sprintf("kubectl delete deployment -n %s %s", d.Namespace, d.Name)
		switch {
		case ours && home:
		case ours:
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("Meshwarden's operator runs in namespace %s already, and two would work against each other", d.Namespace),
				Remedy:  "to move it, remove it there first; Istio goes on running meanwhile: " + remove,
			})
		default:
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("Deployment %s/%s is an operator of somebody else, such as Istio's own until 1.23, and would work against this one",
					d.Namespace, d.Name),
				Remedy: "remove it; Istio goes on running, and its IstioOperators are taken over: " + remove,
			})
		}
	}
	return findings
}

// unwatched names IstioOperators that nobody would look after any more: ours, and those of others that an operator has taken up
// where ours would lose its rights. Their finalizer would keep them for ever.
func unwatched(t Target, s snapshot) []Finding {
	var findings []Finding
	lost := map[string]bool{}
	for _, o := range stale(t, s) {
		lost[o.GetNamespace()] = true
	}
	for _, o := range s.istioOperators {
		ours := o.GetLabels()[installation.ManagedByLabel] == installation.ManagedBy
		held := lost[o.GetNamespace()] && slices.Contains(o.GetFinalizers(), operator.Finalizer)
		if (ours || held) && !slices.Contains(t.Watched, o.GetNamespace()) {
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("%s is in a namespace that the document does not watch any more", title(o)),
				Remedy:  "put the namespace back into namespaces.watched, or remove the control plane while the operator still sees it: " + remove(o),
			})
		}
	}
	return findings
}

// secondControlPlanes names IstioOperators of ours in watched namespaces that are not the document's: it was renamed, say.
func secondControlPlanes(t Target, s snapshot) []Finding {
	var notes []Finding
	for _, o := range s.istioOperators {
		if o.GetLabels()[installation.ManagedByLabel] == installation.ManagedBy && slices.Contains(t.Watched, o.GetNamespace()) && key(o) != key(t.IstioOperator) {
			notes = append(notes, Finding{
				Problem: fmt.Sprintf("%s describes a control plane as well, and the document does not name it any more", title(o)),
				Remedy:  "what both describe goes over to the document's when it is removed: " + remove(o),
			})
		}
	}
	return notes
}

func remove(istioOperator *unstructured.Unstructured) string {
	return fmt.Sprintf("kubectl delete istiooperators.install.istio.io -n %s %s", istioOperator.GetNamespace(), istioOperator.GetName())
}

// stale returns the rights of our operator in namespaces that the document does not watch any more.
func stale(t Target, s snapshot) []*unstructured.Unstructured {
	names, wanted := map[string]bool{}, map[string]bool{}
	for _, o := range t.Operator {
		names[o.GetKind()+" "+o.GetName()], wanted[title(o)] = true, true
	}
	var objects []*unstructured.Unstructured
	add := func(kind string, o metav1.Object) {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("rbac.authorization.k8s.io/v1")
		object.SetKind(kind)
		object.SetNamespace(o.GetNamespace())
		object.SetName(o.GetName())
		if names[kind+" "+o.GetName()] && !wanted[title(object)] {
			objects = append(objects, object)
		}
	}
	// A binding is worth nothing without its role, and a role nothing without its binding: either order is safe.
	for i := range s.bindings {
		add("RoleBinding", &s.bindings[i])
	}
	for i := range s.roles {
		add("Role", &s.roles[i])
	}
	return objects
}

// sail names control planes that the Sail operator keeps where ours is to be.
func sail(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, o := range s.sail {
		namespace, _, _ := unstructured.NestedString(o.Object, "spec", "namespace")
		// An Istio named default has no revision, as the charts see it.
		if namespace != t.Rendering.Namespace && o.GetName() != t.Rendering.Revision {
			continue
		}
		findings = append(findings, Finding{
			Problem: fmt.Sprintf("Istio %s of the Sail operator has its control plane in namespace %s, and would collide with this one", o.GetName(), namespace),
			Remedy:  "remove it first: kubectl delete istios.sailoperator.io " + o.GetName(),
		})
	}
	return findings
}
