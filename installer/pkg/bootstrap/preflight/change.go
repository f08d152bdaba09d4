package preflight

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// foreignKinds returns the rendered kinds that no rendered CRD defines, in the order of rendering. The cluster has to have them.
func (t Target) foreignKinds() []schema.GroupKind {
	defined := map[schema.GroupKind]bool{}
	for _, o := range t.rendered() {
		if o.GetKind() == "CustomResourceDefinition" {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			defined[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	var kinds []schema.GroupKind
	for _, o := range t.rendered() {
		if kind := o.GroupVersionKind().GroupKind(); !defined[kind] && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// unserved names the kinds that Istio's charts render and the cluster does not have, such as those of OpenShift.
func unserved(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, kind := range s.unserved {
		for _, c := range t.Rendering.Components {
			at := slices.IndexFunc(c.Objects, func(o *unstructured.Unstructured) bool { return o.GroupVersionKind().GroupKind() == kind })
			if at < 0 {
				continue
			}
			findings = append(findings, Finding{
				Problem: fmt.Sprintf("component %s has %s, and the cluster has no kind %s", c.Name, title(c.Objects[at]), kind),
				Remedy:  "choose a profile or values that do without it, or install what brings the kind: the openshift profiles need OpenShift or Multus",
			})
		}
	}
	return findings
}

// leaving notes the workloads that the stored IstioOperator has and the document's has not: what the change removes, which a word in the
// document (profile, namespaces.istio, values.revision) does not show.
func leaving(t Target, s snapshot) []Finding {
	at := slices.IndexFunc(s.istioOperators, func(o *unstructured.Unstructured) bool { return key(o) == key(t.IstioOperator) })
	if at < 0 {
		return nil
	}
	before, err := render.Render(s.istioOperators[at], nil)
	if err != nil {
		return nil // what it has installed cannot be told from a spec that Istio refuses
	}
	stays := map[string]bool{}
	for _, o := range t.workloads() {
		stays[title(o)] = true
	}
	var leave []string
	for _, o := range (Target{Rendering: before}).workloads() {
		if !stays[title(o)] {
			leave = append(leave, title(o))
		}
	}
	if len(leave) == 0 {
		return nil
	}
	return []Finding{{
		Problem: "the change removes " + strings.Join(leave, ", "),
		Remedy:  "if traffic depends on it, install what comes in its place beside it first: as a revision, in an IstioOperator of its own",
	}}
}
