package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Right is to do something with objects of a resource. An empty namespace or name stands for all of them.
type Right struct{ Verb, Group, Resource, Namespace, Name string }

// String returns such as "patch deployments.apps istio-operator in namespace istio-operator".
func (r Right) String() string { return r.Verb + " " + r.object() }

func (r Right) object() string {
	text := r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace != "" {
		text += " in namespace " + r.Namespace
	}
	return text
}

// Rights returns every right that installing the target may take, preflight included, each once and sorted. The rights that the
// operator needs for what it installs itself are not among them: they are handed to it, which takes `escalate` and `bind`.
func (t Target) Rights() []Right {
	rights := t.readingRights()
	for _, o := range t.Objects() {
		of := rightsOn(o)
		// Server-side apply is a patch, and the creation of an object that is not there.
		rights = append(rights, of("get"), of("create"), of("patch"))
		switch o.GetKind() {
		case "Role", "ClusterRole":
			rights = append(rights, of("escalate"))
		case "RoleBinding", "ClusterRoleBinding":
			rights = append(rights, bind(o))
		}
	}
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Verb, b.Verb))
	})
	return slices.Compact(rights)
}

// readingRights are those of the preflight, of the wait, of the words about a failure, and of taking away what an earlier
// document needed.
func (t Target) readingRights() []Right {
	const rbac, webhooks = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	rights := []Right{
		// Who installed Istio before, and what would keep it from being installed.
		{Verb: "list", Group: "apps", Resource: "deployments", Name: operatorName}, // by a field selector
		{Verb: "list", Group: "install.istio.io", Resource: "istiooperators"},
		{Verb: "list", Group: sailKind().Group, Resource: "istios"}, // where the cluster has them
		{Verb: "list", Group: webhooks, Resource: "mutatingwebhookconfigurations"},
		{Verb: "list", Group: webhooks, Resource: "validatingwebhookconfigurations"},
		{Verb: "list", Group: "discovery.k8s.io", Resource: "endpointslices"},
		// The operator's rights in namespaces that it watches no more.
		{Verb: "list", Group: rbac, Resource: "roles"},
		{Verb: "list", Group: rbac, Resource: "rolebindings"},
	}
	for _, o := range t.Operator {
		if kind := o.GetKind(); kind == "Role" || kind == "RoleBinding" {
			right := rightsOn(o)("delete")
			right.Namespace = "" // whichever it was
			rights = append(rights, right)
		}
	}
	for _, o := range t.rendered() {
		if isWebhookConfiguration(o) {
			continue // listed above
		}
		// Whose it is, if it is there. The names vary with the document, so the right is to all of the kind in its namespace.
		right := rightsOn(o)("get")
		right.Name = ""
		rights = append(rights, right)
	}
	for _, o := range t.workloads() {
		rights = append(rights,
			// Why they are not available.
			Right{Verb: "list", Resource: "pods", Namespace: o.GetNamespace()},
			Right{Verb: "list", Resource: "events", Namespace: o.GetNamespace()})
	}
	// What the operator tells of the IstioOperator.
	return append(rights, Right{Verb: "list", Resource: "events", Namespace: t.IstioOperator.GetNamespace()})
}

// workloads returns every Deployment and DaemonSet, the operator's own included.
func (t Target) workloads() []*unstructured.Unstructured {
	var workloads []*unstructured.Unstructured
	for _, o := range slices.Concat(t.Operator, t.rendered()) {
		if gk := o.GroupVersionKind().GroupKind(); gk.Group == "apps" && (gk.Kind == "Deployment" || gk.Kind == "DaemonSet") {
			workloads = append(workloads, o)
		}
	}
	return workloads
}

// resourceOf returns the resource of a kind that is installed. All but one are named by the usual rule.
func resourceOf(kind schema.GroupVersionKind) schema.GroupVersionResource {
	if kind.Kind == "NetworkAttachmentDefinition" {
		return kind.GroupVersion().WithResource("network-attachment-definitions")
	}
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	return resource
}

func rightsOn(o *unstructured.Unstructured) func(verb string) Right {
	resource := resourceOf(o.GroupVersionKind())
	return func(verb string) Right {
		return Right{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: o.GetNamespace(), Name: o.GetName()}
	}
}

// bind is the right to bind the role of a binding without having its rights.
func bind(binding *unstructured.Unstructured) Right {
	field := func(name string) string {
		text, _, _ := unstructured.NestedString(binding.Object, "roleRef", name)
		return text
	}
	resource := resourceOf(schema.GroupVersionKind{Group: field("apiGroup"), Kind: field("kind")})
	return Right{Verb: "bind", Group: resource.Group, Resource: resource.Resource, Namespace: binding.GetNamespace(), Name: field("name")}
}

// needed returns the rights without those on what the cluster does not have. A role made by hand need not grant them.
func needed(rights []Right, hasSail bool) []Right {
	return slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { return r.Group == sailKind().Group && !hasSail })
}

// sailKind is what the Sail operator installs Istio from.
func sailKind() schema.GroupKind { return schema.GroupKind{Group: "sailoperator.io", Kind: "Istio"} }

// serves says whether the cluster has a kind.
func (c Cluster) serves(kind schema.GroupKind) (bool, error) {
	_, err := c.Client.RESTMapper().RESTMapping(kind)
	if err != nil && !meta.IsNoMatchError(err) {
		return false, fmt.Errorf("look for the kind %s: %w", kind, err)
	}
	return err == nil, nil
}

// denied returns those of the rights that the cluster's user does not have.
func (c Cluster) denied(ctx context.Context, rights []Right) ([]Right, error) {
	var denied []Right
	for _, r := range rights {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: r.Verb, Group: r.Group, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name,
			},
		}}
		if err := c.Client.Create(ctx, review); err != nil {
			return nil, fmt.Errorf("ask whether the user may %s: %w", r, err)
		}
		if !review.Status.Allowed {
			denied = append(denied, r)
		}
	}
	return denied, nil
}

// permissions names the missing rights, one finding for an object.
func permissions(_ Target, s snapshot) []Finding {
	var findings []Finding
	for i := 0; i < len(s.denied); {
		object, verbs := s.denied[i].object(), []string(nil)
		for ; i < len(s.denied) && s.denied[i].object() == object; i++ {
			verbs = append(verbs, s.denied[i].Verb)
		}
		findings = append(findings, Finding{
			Problem: fmt.Sprintf("no right to %s %s", strings.Join(verbs, ", "), object),
			Remedy:  "grant it to the user, or run the command as another one; manifests/bootstrap/rbac.yaml has all rights",
		})
	}
	return findings
}
