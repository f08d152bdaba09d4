package preflight

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
)

// Cluster is where to install. The client reads live.
type Cluster struct {
	Client client.Client
	// Version asks for the version of Kubernetes.
	Version func() (*version.Info, error)
}

// snapshot is what the cluster tells.
type snapshot struct {
	version *version.Info
	// denied are rights that the user lacks. What they stand for was not read.
	denied []Right
	// unserved are rendered kinds that the cluster does not have.
	unserved []schema.GroupKind
	// namespaces are those of the target that exist, by name.
	namespaces map[string]*corev1.Namespace
	// existing are the target's objects that exist, without the namespaces; their metadata alone, which say whose they are.
	existing []*unstructured.Unstructured
	// istioOperators are those of all namespaces; sail are the Sail operator's Istio objects.
	istioOperators, sail []*unstructured.Unstructured
	// operators are Deployments of the operator's name in any namespace.
	operators []appsv1.Deployment
	// roles and bindings are those that a bootstrap made, in any namespace.
	roles    []rbacv1.Role
	bindings []rbacv1.RoleBinding

	mutating   []admissionv1.MutatingWebhookConfiguration
	validating []admissionv1.ValidatingWebhookConfiguration
	// served are those Services of suspect webhooks that have a ready endpoint.
	served map[types.NamespacedName]bool
}

func (c Cluster) snapshot(ctx context.Context, t Target, denied []Right) (snapshot, error) {
	s := snapshot{
		denied: denied, namespaces: map[string]*corev1.Namespace{}, served: map[types.NamespacedName]bool{},
	}
	r := reading{ctx: ctx, client: c.Client, tolerant: len(denied) > 0}
	for _, o := range t.Namespaces {
		namespace := &corev1.Namespace{}
		if r.get(types.NamespacedName{Name: o.GetName()}, namespace) {
			s.namespaces[o.GetName()] = namespace
		}
	}
	s.readExisting(&r, t)
	s.readIstio(&r, t)
	s.readWebhooks(&r, t)
	return s, r.err
}

// readExisting reads what there is of the target, object by object: a right to list would show all others of the kind, too. Webhook
// configurations are listed anyway.
func (s *snapshot) readExisting(r *reading, t Target) {
	for _, o := range slices.Concat(t.Operator, []*unstructured.Unstructured{t.IstioOperator}, t.rendered()) {
		if isWebhookConfiguration(o) {
			continue
		}
		stored := &metav1.PartialObjectMetadata{}
		stored.SetGroupVersionKind(o.GroupVersionKind())
		if r.get(key(o), stored) {
			s.existing = append(s.existing, bare(o.GroupVersionKind(), stored))
		}
	}
}

// readIstio reads what else may belong to an installation of Istio.
func (s *snapshot) readIstio(r *reading, t Target) {
	s.istioOperators = r.listOf(t.IstioOperator.GroupVersionKind().GroupKind())
	s.sail = r.listOf(sailKind())

	operators := &appsv1.DeploymentList{}
	r.list(operators, client.MatchingFields{"metadata.name": operatorName})
	s.operators = operators.Items
	ours := client.MatchingLabels{installation.ManagedByLabel: installation.ManagedBy}
	roles, bindings := &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}
	r.list(roles, ours)
	r.list(bindings, ours)
	s.roles, s.bindings = roles.Items, bindings.Items
}

func (s *snapshot) readWebhooks(r *reading, t Target) {
	mutating, validating := &admissionv1.MutatingWebhookConfigurationList{}, &admissionv1.ValidatingWebhookConfigurationList{}
	r.list(mutating)
	r.list(validating)
	s.mutating, s.validating = mutating.Items, validating.Items

	rendered := map[string]bool{}
	for _, o := range t.rendered() {
		rendered[title(o)] = true
	}
	for _, configuration := range s.configurations() {
		if o := configuration.object; rendered[title(o)] {
			s.existing = append(s.existing, o)
		}
	}
	for _, w := range suspects(t, *s) {
		endpoints := &discoveryv1.EndpointSliceList{}
		r.list(endpoints, client.InNamespace(w.service.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: w.service.Name})
		s.served[*w.service] = slices.ContainsFunc(endpoints.Items, ready)
	}
}

// ready says whether requests may go to one of the endpoints. One that does not say counts as ready, as the API has it.
func ready(s discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready })
}

// reading reads until the first error. What the user may not read, or what the cluster does not know, counts as absent where
// the preflight has named the missing right already.
type reading struct {
	ctx      context.Context
	client   client.Client
	tolerant bool
	err      error
}

// get says whether the object exists.
func (r *reading) get(name types.NamespacedName, into client.Object) bool {
	if r.err != nil {
		return false
	}
	err := r.client.Get(r.ctx, name, into)
	r.keep(err, fmt.Sprintf("read %s", name))
	return err == nil
}

func (r *reading) list(into client.ObjectList, options ...client.ListOption) {
	if r.err == nil {
		r.keep(r.client.List(r.ctx, into, options...), fmt.Sprintf("list %T", into))
	}
}

// listOf returns all objects of a kind, in whatever version; none where the cluster does not know it.
func (r *reading) listOf(kind schema.GroupKind) []*unstructured.Unstructured {
	if r.err != nil {
		return nil
	}
	mapping, err := r.client.RESTMapper().RESTMapping(kind)
	if err != nil {
		r.keep(err, fmt.Sprintf("look for the kind %s", kind))
		return nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mapping.GroupVersionKind)
	r.list(list)
	var items []*unstructured.Unstructured
	for i := range list.Items {
		items = append(items, &list.Items[i])
	}
	return items
}

func (r *reading) keep(err error, doing string) {
	absent := apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
	if err == nil || absent || r.tolerant && apierrors.IsForbidden(err) {
		return
	}
	r.err = fmt.Errorf("preflight: %s: %w", doing, err)
}
