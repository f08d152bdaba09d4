package preflight

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// injectors names injectors that would inject a pod which ours injects as well. Who injects what is told apart by the labels
// that Istio's injectors look at, on the namespace and on the pod.
func injectors(t Target, s snapshot) []Finding {
	var ours []webhook
	names := map[string]bool{}
	for _, o := range t.rendered() {
		c := admissionv1.MutatingWebhookConfiguration{}
		if o.GetKind() != "MutatingWebhookConfiguration" || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &c) != nil {
			continue
		}
		names[c.Name] = true
		ours = append(ours, mutating(c).webhooks...)
	}
	var findings []Finding
	for _, c := range s.mutating {
		theirs := mutating(c)
		// Those of the same name are installations' matter; those of our own IstioOperator go when it renders them no more.
		if _, other := ownerOf(t, s, theirs.object); names[c.Name] || !other {
			continue
		}
		for _, w := range theirs.webhooks {
			if !strings.HasSuffix(w.name, "sidecar-injector.istio.io") || !overlap(w, ours) {
				continue
			}
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("webhook %s of %s injects pods that this control plane would inject as well", w.name, title(theirs.object)),
				Remedy:  "remove it (istioctl tag remove, if it is a revision tag), or install a revision: istio_spec.values.revision",
			})
			break // one is enough to say it
		}
	}
	return findings
}

// overlap says whether there are labels of a namespace and a pod for which both inject.
func overlap(theirs webhook, ours []webhook) bool {
	revisions := []string{""}
	for _, w := range append([]webhook{theirs}, ours...) {
		for _, selector := range []*metav1.LabelSelector{w.namespaces, w.objects} {
			revisions = append(revisions, revisionsIn(selector)...)
		}
	}
	namespaces := combinations("istio-injection", []string{"", "enabled", "disabled"}, revisions)
	pods := combinations("sidecar.istio.io/inject", []string{"", "true", "false"}, revisions)
	for _, ns := range namespaces {
		for _, pod := range pods {
			both := func(w webhook) bool { return matches(w.namespaces, ns) && matches(w.objects, pod) }
			if both(theirs) && slices.ContainsFunc(ours, both) {
				return true
			}
		}
	}
	return false
}

const revisionLabel = "istio.io/rev"

func revisionsIn(selector *metav1.LabelSelector) []string {
	if selector == nil {
		return nil
	}
	var found []string
	for _, e := range selector.MatchExpressions {
		if e.Key == revisionLabel && e.Operator == metav1.LabelSelectorOpIn {
			found = append(found, e.Values...)
		}
	}
	if revision, ok := selector.MatchLabels[revisionLabel]; ok {
		found = append(found, revision)
	}
	return found
}

// combinations returns the label sets of a switch and a revision, where empty means that the label is absent.
func combinations(key string, values, revisions []string) []labels.Set {
	var sets []labels.Set
	for _, value := range values {
		for _, revision := range revisions {
			set := labels.Set{}
			if value != "" {
				set[key] = value
			}
			if revision != "" {
				set[revisionLabel] = revision
			}
			sets = append(sets, set)
		}
	}
	return sets
}
