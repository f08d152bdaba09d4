// Package preflight says what speaks against an installation before anything is changed: judgements are pure functions of what
// is to be installed and of what the cluster tells.
package preflight

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// operatorName is the name of the operator's Deployment, ours and that of Istio until 1.23.
const operatorName = "istio-operator"

// Target is what is to be installed.
type Target struct {
	// Plan has the objects that the bootstrap itself applies.
	installation.Plan
	// Watched are the namespaces in which the operator looks for IstioOperators.
	Watched []string
	// Rendering is what the operator will make of the IstioOperator.
	Rendering render.Rendering
}

// rendered returns the objects of all components.
func (t Target) rendered() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, c := range t.Rendering.Components {
		all = append(all, c.Objects...)
	}
	return all
}

// Finding is one thing that is in the way, and what to do about it.
type Finding struct{ Problem, Remedy string }

// Report is what a preflight found out.
type Report struct {
	// Version is the cluster's, such as "v1.37.2".
	Version string
	// Rights is how many rights were asked for.
	Rights int
	// Findings are in the way of the installation.
	Findings []Finding
	// Notes are worth knowing.
	Notes []Finding
	// Stale are objects of an earlier document that nothing needs any more.
	Stale []*unstructured.Unstructured
}

// Check reads what the cluster tells and judges it. Nothing is changed. The error says that the cluster could not be asked.
func Check(ctx context.Context, c Cluster, t Target) (Report, error) {
	// The first question of all tells whether there is somebody to answer.
	v, err := c.Version()
	if err != nil {
		return Report{}, fmt.Errorf("cannot reach the cluster, or it does not take the credentials: %w", err)
	}
	hasSail, err := c.serves(sailKind())
	if err != nil {
		return Report{}, err
	}
	rights := needed(t.Rights(), hasSail)
	denied, err := c.denied(ctx, rights)
	if err != nil {
		return Report{}, err
	}
	s, err := c.snapshot(ctx, t, denied)
	if err != nil {
		return Report{}, err
	}
	s.version = v
	for _, kind := range t.foreignKinds() {
		served, err := c.serves(kind)
		if err != nil {
			return Report{}, err
		}
		if !served {
			s.unserved = append(s.unserved, kind)
		}
	}
	r := Report{Version: s.version.GitVersion, Rights: len(rights), Stale: stale(t, s)}
	for _, judge := range []func(Target, snapshot) []Finding{
		kubernetes, permissions, unserved, terminating, otherOperators, unwatched, installations, sail, injectors, deadWebhooks, podSecurity,
	} {
		r.Findings = append(r.Findings, judge(t, s)...)
	}
	r.Notes = slices.Concat(secondControlPlanes(t, s), leaving(t, s), takenOver(t, s), onboarded(t, s))
	return r, nil
}

func key(o *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// title names an object as messages do.
func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// number says such as "Deployment a/b and 3 more".
func number(titles []string) string {
	switch len(titles) {
	case 0:
		return "nothing"
	case 1:
		return titles[0]
	default:
		return fmt.Sprintf("%s and %d more", titles[0], len(titles)-1)
	}
}
