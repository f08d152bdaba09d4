package preflight

import (
	"fmt"
	"maps"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// webhook is what mutating and validating ones have in common.
type webhook struct {
	name              string
	service           *types.NamespacedName
	rules             []admissionv1.RuleWithOperations
	namespaces        *metav1.LabelSelector
	objects           *metav1.LabelSelector
	failsClosed, free bool // free: matchConditions may let requests pass
}

// configuration is a MutatingWebhookConfiguration or a ValidatingWebhookConfiguration.
type configuration struct {
	object   *unstructured.Unstructured // without its webhooks
	webhooks []webhook
}

// configurations returns all webhook configurations of the cluster.
func (s *snapshot) configurations() []configuration {
	var all []configuration
	for _, c := range s.mutating {
		all = append(all, mutating(c))
	}
	for _, c := range s.validating {
		one := configuration{object: bare(admissionv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration"), &c)}
		for _, w := range c.Webhooks {
			one.webhooks = append(one.webhooks, webhook{
				name: w.Name, service: serviceOf(w.ClientConfig), rules: w.Rules, namespaces: w.NamespaceSelector, objects: w.ObjectSelector,
				failsClosed: failsClosed(w.FailurePolicy), free: len(w.MatchConditions) > 0,
			})
		}
		all = append(all, one)
	}
	return all
}

func mutating(c admissionv1.MutatingWebhookConfiguration) configuration {
	one := configuration{object: bare(admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"), &c)}
	for _, w := range c.Webhooks {
		one.webhooks = append(one.webhooks, webhook{
			name: w.Name, service: serviceOf(w.ClientConfig), rules: w.Rules, namespaces: w.NamespaceSelector, objects: w.ObjectSelector,
			failsClosed: failsClosed(w.FailurePolicy), free: len(w.MatchConditions) > 0,
		})
	}
	return one
}

// bare returns what tells whose an object is.
func bare(kind schema.GroupVersionKind, o metav1.Object) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(o.GetNamespace())
	object.SetName(o.GetName())
	object.SetLabels(o.GetLabels())
	object.SetAnnotations(o.GetAnnotations())
	object.SetOwnerReferences(o.GetOwnerReferences())
	return object
}

func serviceOf(c admissionv1.WebhookClientConfig) *types.NamespacedName {
	if c.Service == nil {
		return nil
	}
	return &types.NamespacedName{Namespace: c.Service.Namespace, Name: c.Service.Name}
}

func failsClosed(p *admissionv1.FailurePolicyType) bool { return p == nil || *p == admissionv1.Fail }

// writing is an object, or a pod of it, that the target leads to.
type writing struct {
	title                   string
	operations              []admissionv1.OperationType // those that may be asked for
	resource                schema.GroupVersionResource
	namespaced              bool
	namespaceLabels, labels labels.Set
}

// operations returns what may be asked for to bring an object to the cluster; nothing where it stays as it is. One that exists is
// applied even where nothing changes: the API server then asks its webhooks, too.
func operations(s snapshot, o *unstructured.Unstructured) []admissionv1.OperationType {
	is := func(other *unstructured.Unstructured) bool { return title(other) == title(o) }
	switch {
	case o.GetKind() == "Namespace" && s.namespaces[o.GetName()] != nil:
		return nil
	case o.GroupVersionKind().Group == admissionv1.GroupName:
		return nil // the API server asks no webhook about these
	case slices.ContainsFunc(s.existing, is):
		return []admissionv1.OperationType{admissionv1.Update}
	default:
		return []admissionv1.OperationType{admissionv1.Create}
	}
}

// writings returns everything that would be created or updated, the workloads' pods included.
func writings(t Target, s snapshot) []writing {
	var all []writing
	for _, o := range slices.Concat(t.Objects(), t.rendered()) {
		resource := resourceOf(o.GroupVersionKind())
		c := writing{title: title(o), operations: operations(s, o), resource: resource, namespaced: o.GetNamespace() != "", labels: o.GetLabels()}
		if c.namespaced {
			c.namespaceLabels = namespaceLabels(t, s, o.GetNamespace())
		}
		if o.GetKind() == "Namespace" {
			c.namespaceLabels = namespaceLabels(t, s, o.GetName())
		}
		all = append(all, c)
	}
	for _, o := range t.workloads() {
		podLabels, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
		all = append(all, writing{
			title: "the pods of " + title(o), operations: []admissionv1.OperationType{admissionv1.Create}, resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespaced: true,
			namespaceLabels: namespaceLabels(t, s, o.GetNamespace()), labels: podLabels,
		})
	}
	return all
}

// namespaceLabels returns the labels that a namespace has, or will have.
func namespaceLabels(t Target, s snapshot, name string) labels.Set {
	if ns := s.namespaces[name]; ns != nil {
		return ns.Labels
	}
	set := labels.Set{"kubernetes.io/metadata.name": name}
	for _, o := range t.Namespaces {
		if o.GetName() == name {
			maps.Copy(set, o.GetLabels())
		}
	}
	return set
}

// suspect is a webhook that would refuse what is to be written if nobody answered for it.
type suspect struct {
	webhook
	configuration string
	refused       []string
}

// suspects returns the webhooks that fail closed and intercept what is to be written. Those whose Service is part of the
// target are left out: an istiod that is down is what the installation repairs.
func suspects(t Target, s snapshot) []suspect {
	own := map[types.NamespacedName]bool{}
	for _, o := range t.rendered() {
		if o.GetKind() == "Service" {
			own[key(o)] = true
		}
	}
	wanted := writings(t, s)
	var found []suspect
	for _, c := range s.configurations() {
		for _, w := range c.webhooks {
			if !w.failsClosed || w.free || w.service == nil || own[*w.service] {
				continue
			}
			one := suspect{webhook: w, configuration: title(c.object)}
			for _, writing := range wanted {
				if w.intercepts(writing) {
					one.refused = append(one.refused, writing.title)
				}
			}
			if len(one.refused) > 0 {
				found = append(found, one)
			}
		}
	}
	return found
}

// deadWebhooks names webhooks that would refuse what is to be written because nobody answers for them.
func deadWebhooks(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, w := range suspects(t, s) {
		if s.served[*w.service] {
			continue
		}
		findings = append(findings, Finding{
			Problem: fmt.Sprintf("webhook %s of %s fails closed while its Service %s has no ready endpoint: it would refuse %s",
				w.name, w.configuration, w.service, number(w.refused)),
			Remedy: "bring its Service back, or remove the webhook",
		})
	}
	return findings
}

func (w webhook) intercepts(c writing) bool {
	rule := func(r admissionv1.RuleWithOperations) bool {
		one := func(list []string, value string) bool {
			return slices.Contains(list, value) || slices.Contains(list, "*")
		}
		scope := admissionv1.AllScopes
		if r.Scope != nil {
			scope = *r.Scope
		}
		asked := func(o admissionv1.OperationType) bool {
			return slices.Contains(r.Operations, o) || slices.Contains(r.Operations, admissionv1.OperationAll)
		}
		return slices.ContainsFunc(c.operations, asked) &&
			one(r.APIGroups, c.resource.Group) && (one(r.Resources, c.resource.Resource) || slices.Contains(r.Resources, "*/*")) &&
			(scope == admissionv1.AllScopes || (scope == admissionv1.NamespacedScope) == c.namespaced)
	}
	return slices.ContainsFunc(w.rules, rule) && matches(w.objects, c.labels) &&
		(c.namespaceLabels == nil || matches(w.namespaces, c.namespaceLabels))
}

func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	if selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(set)
}
